//! What a child is to be like: [`Settings`], which the parent keeps, and the [`Context`], which the child gets and puts itself into before it
//! calls its function.
//!
//! A context is a list, applied in its order. For a child of the zygote it begins with what has changed in the program since the zygote was
//! started ([`Origin::differences`]); what the user has asked for comes after that, so it counts.

mod apply;
mod origin;

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use coproc::{Error, Message, Reader, Writer};
use rustix::process::Resource;

use crate::process::current_name;

pub(crate) use origin::Origin;

/// What is asked of a child that is to be started.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) name: String,
    /// Whether it is ended, rather than waited for, when its parent exits.
    pub(crate) daemon: bool,
    pub(crate) start: Start,
    pub(crate) context: Context,
}

/// How a child is started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Start {
    /// By what is quickest, of that which is safe.
    #[default]
    Auto,
    /// By executing the program anew.
    Exec,
    /// By forking the caller's process as it is. Who asked for it has promised that this is sound.
    Fork,
}

impl Settings {
    /// A child of this name that is like its parent in everything else.
    pub(crate) fn new(name: String, daemon: bool) -> Self {
        Self { name, daemon, start: Start::Auto, context: Context::default().here() }
    }
}

/// What a child sets up before it calls its function.
#[derive(Clone, Debug, Default, Message)]
pub(crate) struct Context {
    settings: Vec<Setting>,
    /// So many of them, the first, are what the parent has, and nobody has asked for them.
    inherited: usize,
    /// Whether the parent waits for a word that all is set up: what its user asked for may not be possible.
    answer: bool,
    parent: Relative,
}

/// A process, as another one knows it.
#[derive(Clone, Debug, Default, Message)]
pub(crate) struct Relative {
    pub(crate) pid: u32,
    pub(crate) name: String,
}

/// One thing to set up.
#[derive(Clone, Debug, Message)]
pub(crate) enum Setting {
    /// No variable is in the environment.
    NoVariables,
    /// A variable has this value; or is not there.
    Variable(OsString, Option<OsString>),
    /// The working directory; a relative path is seen from the one before.
    Directory(PathBuf),
    /// The working directory, open.
    OpenDirectory(File),
    /// The mode bits that new files lack.
    Umask(u32),
    /// The signals that are ignored, and no others. A bit for each: signal 1 is bit 0.
    Ignored(u64),
    /// The signals that are held back, and no others.
    Blocked(u64),
    /// A limit of resources (`setrlimit(2)`), by its index in [`RESOURCES`]: the present one, and how far it may be raised.
    Limit(usize, Option<u64>, Option<u64>),
    /// The CPUs to run on.
    Cpus(Vec<u32>),
    /// The nice value.
    Nice(i32),
    /// Standard input, output or error (0, 1, 2).
    Standard(u32, File),
}

/// The limits of resources, in the order in which a context numbers them.
const RESOURCES: [Resource; 16] = [
    Resource::Cpu,
    Resource::Fsize,
    Resource::Data,
    Resource::Stack,
    Resource::Core,
    Resource::Rss,
    Resource::Nproc,
    Resource::Nofile,
    Resource::Memlock,
    Resource::As,
    Resource::Locks,
    Resource::Sigpending,
    Resource::Msgqueue,
    Resource::Nice,
    Resource::Rtprio,
    Resource::Rttime,
];

impl Context {
    /// The same, of a child of this process.
    pub(crate) fn here(self) -> Self {
        Self { parent: Relative { pid: std::process::id(), name: current_name().to_owned() }, ..self }
    }

    /// The same, of a child that holds back these signals (a bit for each: signal 1 is bit 0), whatever the thread that starts it does.
    pub(crate) fn holding_back(mut self, signals: u64) -> Self {
        self.settings.insert(self.inherited, Setting::Blocked(signals));
        self.inherited += 1;
        self
    }

    /// Adds what the user asked for.
    pub(crate) fn ask(&mut self, setting: Setting) {
        self.settings.push(setting);
        self.answer = true;
    }

    /// This context, then that one, whose settings count where both have them.
    pub(crate) fn then(mut self, other: &Self) -> Self {
        let inherited = self.settings.len() + other.inherited;
        self.settings.extend(other.settings.iter().cloned());
        Self { settings: self.settings, inherited, ..other.clone() }
    }

    /// The parent.
    pub(crate) fn parent(&self) -> &Relative {
        &self.parent
    }

    /// Whether the parent waits for a [`Word`] before it takes the child for started.
    pub(crate) fn wants_answer(&self) -> bool {
        self.answer
    }
}

impl Setting {
    /// At most so many bytes of private memory, for good.
    pub(crate) fn memory(bytes: u64) -> Self {
        let data = RESOURCES.iter().position(|&resource| resource == Resource::Data).unwrap_or_default();
        Self::Limit(data, Some(bytes), Some(bytes))
    }

    /// Whether a child can do without, if it was not asked for: one may not give way less than the thread from which all children are started, though
    /// another thread does, nor have a limit back that root has raised for the program.
    fn can_be_missed(&self) -> bool {
        matches!(self, Self::Nice(_) | Self::Limit(..) | Self::Cpus(_))
    }

    /// What is being done when it is set up.
    fn doing(&self) -> Doing {
        match self {
            Self::NoVariables | Self::Variable(..) => Doing::Environment,
            Self::Directory(_) | Self::OpenDirectory(_) => Doing::Directory,
            Self::Umask(_) => Doing::Umask,
            Self::Ignored(_) | Self::Blocked(_) => Doing::Signals,
            Self::Limit(..) => Doing::Limit,
            Self::Cpus(_) => Doing::Cpus,
            Self::Nice(_) => Doing::Nice,
            Self::Standard(..) => Doing::Standard,
        }
    }
}

/// What could not be set up.
#[derive(Clone, Copy, Debug, Message)]
enum Doing {
    Environment,
    Directory,
    Umask,
    Signals,
    Limit,
    Cpus,
    Nice,
    Standard,
}

/// What the child says when it has, or has not, set all up: `None`, or what failed, and the number of the error.
#[derive(Debug, Message)]
pub(crate) struct Word(Option<Refused>);

/// What the system refused a child that was setting itself up.
#[derive(Clone, Copy, Debug, Message)]
pub(crate) struct Refused {
    doing: Doing,
    code: i32,
}

impl Word {
    pub(crate) fn of(result: &Result<(), Refused>) -> Self {
        Self(result.err())
    }

    pub(crate) fn settle(self) -> coproc::Result<()> {
        self.0.map_or(Ok(()), |refused| Err(refused.into()))
    }
}

impl From<Refused> for Error {
    fn from(Refused { doing, code }: Refused) -> Self {
        let doing = match doing {
            Doing::Environment => "setting the environment of a child process",
            Doing::Directory => "setting the working directory of a child process",
            Doing::Umask => "setting the umask of a child process",
            Doing::Signals => "setting the signals of a child process",
            Doing::Limit => "setting the limits of a child process",
            Doing::Cpus => "setting the CPUs of a child process",
            Doing::Nice => "setting the nice value of a child process",
            Doing::Standard => "setting standard input, output or error of a child process",
        };
        Self::Os(doing, io::Error::from_raw_os_error(code))
    }
}

/// A descriptor as a message.
#[derive(Clone, Debug)]
pub(crate) struct File(Arc<OwnedFd>);

impl From<OwnedFd> for File {
    fn from(file: OwnedFd) -> Self {
        Self(Arc::new(file))
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Message for File {
    fn write(&self, to: &mut Writer<'_>) {
        to.file(Arc::clone(&self.0));
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        from.file().map(Self)
    }
}
