//! How a child is to differ from its parent.

#![allow(unsafe_code)]

use std::ffi::OsStr;
use std::path::Path;

use coproc::Result;

use super::stdio::Pipes;
use super::{CAPTURES, Process, Scope, ScopedProcess, Stdio, next_name};
use crate::call::Call;
use crate::context::{Context, Setting, Settings, Start};

/// A child process that is to be started, and in what it shall differ from its parent: what `std::thread::Builder` and
/// `std::process::Command` are for theirs. Made by [`Process::builder`].
///
/// Where nothing is said here, the child has what its parent has at that moment: environment, working directory, umask, limits, CPUs, nice value,
/// blocked and ignored signals, standard input, output and error. (Nice value, CPUs and limits as far as the system allows, which lets nobody give way
/// less than before: one thread that is nicer than the others may have all children be so.)
///
/// The child sets itself up, before its function is called; [`spawn`](Self::spawn) waits for that if anything was asked for, and returns the error if
/// the system refuses something.
///
/// ```
/// use coproc_pool::Process;
///
/// let look = || (std::env::var("LANG").ok(), std::env::current_dir().unwrap().display().to_string());
/// let process = Process::builder().name("looker").env("LANG", "C").current_dir("/").nice(5).spawn(look, ())?;
/// assert_eq!(process.name(), "looker");
/// assert_eq!(process.join()?, (Some("C".to_owned()), "/".to_owned()));
/// # Ok::<(), coproc::Error>(())
/// ```
#[derive(Debug, Default)]
#[must_use = "it starts nothing until `spawn` is called"]
pub struct Builder {
    name: Option<String>,
    daemon: bool,
    start: Start,
    stdio: [Stdio; 3],
    context: Context,
}

impl Process<()> {
    /// A child process that is to be started, of which more is to be said than its function and arguments.
    pub fn builder() -> Builder {
        Builder::default()
    }
}

impl Builder {
    /// Its name: of the process, and of its first thread, for `ps` and debuggers (the first 15 bytes there). Without it, `Process-1` and so on.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Whether it is of no use without its parent. When that exits (`main` returns or panics, or `std::process::exit`), it asks its daemons to
    /// end (`SIGTERM`), waits for its other children, and then for the daemons for a second at most; those that still run are killed.
    ///
    /// Children are no daemons unless told so here. The workers of a pool are. A daemon may have children itself.
    ///
    /// A parent that waits for its children at its exit still is there for them: a queue or pipe end that it has not dropped (as a `static`, or at
    /// `std::process::exit`) is still open, and a child that waits for an item of its parent waits for ever, and its parent for it. Close
    /// what they wait for, or make them daemons.
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.daemon = daemon;
        self
    }

    /// What it has as standard input. With [`Stdio::piped`], the other end is [`Process::stdin`].
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.stdio[0] = stdin.into();
        self
    }

    /// What it has as standard output. With [`Stdio::piped`], the other end is [`Process::stdout`].
    pub fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.stdio[1] = stdout.into();
        self
    }

    /// What it has as standard error, where its panics print. With [`Stdio::piped`], the other end is [`Process::stderr`].
    pub fn stderr(mut self, stderr: impl Into<Stdio>) -> Self {
        self.stdio[2] = stderr.into();
        self
    }

    /// Sets a variable of its environment. What the C library or the loader read once, when a program starts (as `LD_PRELOAD`, `MALLOC_ARENA_MAX`),
    /// it may have read before.
    pub fn env(self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.ask(Setting::Variable(name.as_ref().to_owned(), Some(value.as_ref().to_owned())))
    }

    /// Takes a variable out of its environment.
    pub fn env_remove(self, name: impl AsRef<OsStr>) -> Self {
        self.ask(Setting::Variable(name.as_ref().to_owned(), None))
    }

    /// Takes all variables out of its environment but those set after this.
    pub fn env_clear(self) -> Self {
        self.ask(Setting::NoVariables)
    }

    /// Its working directory. A relative path is seen from the parent's.
    pub fn current_dir(self, path: impl AsRef<Path>) -> Self {
        self.ask(Setting::Directory(path.as_ref().to_owned()))
    }

    /// Its nice value, from -20 to 19: the higher, the more it gives way to others. Less than the parent's takes a privilege.
    pub fn nice(self, nice: i32) -> Self {
        self.ask(Setting::Nice(nice))
    }

    /// The CPUs that it may run on, by their numbers. Those that there are not, or that it may not use, do not count.
    pub fn affinity(self, cpus: impl IntoIterator<Item = usize>) -> Self {
        let cpus = cpus.into_iter().map(|cpu| u32::try_from(cpu).unwrap_or(u32::MAX));
        self.ask(Setting::Cpus(cpus.collect()))
    }

    /// How many bytes of its own memory it may have, that is heap, stacks of threads, and private mappings (`RLIMIT_DATA`), for good. An allocation beyond
    /// that fails, which ends a Rust program by `SIGABRT`.
    ///
    /// Shared objects do not count, nor does code: a child with a small limit can still use large arrays. (A limit of addresses, `RLIMIT_AS`, would count
    /// these, and address space that is reserved only.) What the child has at its start counts, some megabytes.
    #[doc(alias = "rlimit")]
    pub fn memory_limit(self, bytes: u64) -> Self {
        self.ask(Setting::memory(bytes))
    }

    /// Starts it by executing the program anew, though there may be a quicker way: it takes nothing over from an earlier time, as the addresses
    /// of code or what constructors of other crates have set up once.
    pub fn exec(mut self) -> Self {
        self.start = Start::Exec;
        self
    }

    /// Starts it by forking this process: the function finds what this process has in memory, copied, and its descriptors too.
    ///
    /// Whatever needs no copy of the memory is better off without this. It takes the longer the more memory this process has, and most programs cannot
    /// know that it is sound.
    ///
    /// # Safety
    /// The child has one thread, the copy of the calling one. Whatever others were doing at that moment remains half done there for good: a lock that
    /// one of them held stays locked, as those of allocators and of `std`'s standard output, if these are not made for it; and data that
    /// one of them was changing is torn. The function must not touch such things, nor what the caller itself holds locked.
    pub unsafe fn fork(mut self) -> Self {
        self.start = Start::Fork;
        self
    }

    fn ask(mut self, setting: Setting) -> Self {
        self.context.ask(setting);
        self
    }

    /// Starts the child. See [`Process::spawn`] for function and arguments.
    ///
    /// # Errors
    /// As [`Process::spawn`], and if the system refuses what was asked for: [`Error::Os`](coproc::Error::Os) says what.
    pub fn spawn<F, Args, Sig>(self, f: F, args: Args) -> Result<Process<F::Output>>
    where
        F: Call<Args, Sig>,
    {
        const { assert!(size_of::<F>() == 0, "{}", CAPTURES) };
        self.start(f, &args)
    }

    /// Starts the child in a scope: see [`scope`](crate::scope).
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    pub fn spawn_scoped<'scope, F, Args, Sig>(
        self,
        scope: &'scope Scope,
        f: F,
        args: Args,
    ) -> Result<ScopedProcess<'scope, F::Output>>
    where
        F: Call<Args, Sig>,
    {
        const { assert!(size_of::<F>() == 0, "{}", CAPTURES) };
        self.start(f, &args).map(|process| scope.enter(process))
    }

    pub(super) fn start<F, Args, Sig>(self, _: F, args: &Args) -> Result<Process<F::Output>>
    where
        F: Call<Args, Sig>,
    {
        let Self { name, daemon, start, stdio, mut context } = self;
        let pipes = Pipes::open(stdio, &mut context)?;
        let settings = Settings { name: name.unwrap_or_else(|| next_name("Process")), daemon, start, context: context.here() };
        Process::start::<F, Args, Sig>(settings, args, pipes)
    }
}
