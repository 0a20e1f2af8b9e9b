//! What a child has as standard input, output and error.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::OwnedFd;

use coproc::__private::above_standard;
use coproc::{Error, Result};

use crate::context::{Context, Setting};

/// What a child has as standard input, output or error, as `std::process::Stdio` is for a command. Made by its functions, or from a file, an
/// end of a pipe or any other descriptor.
///
/// ```
/// use std::io::Read;
/// use coproc_pool::{Process, Stdio};
///
/// let mut process = Process::builder().stdin(Stdio::null()).stdout(Stdio::piped()).spawn(|| print!("hello"), ())?;
/// let mut said = String::new();
/// process.stdout.take().unwrap().read_to_string(&mut said)?;
/// process.join()?;
/// assert_eq!(said, "hello");
/// # Ok::<(), coproc::Error>(())
/// ```
#[derive(Debug)]
pub struct Stdio(Kind);

#[derive(Debug, Default)]
enum Kind {
    #[default]
    Inherit,
    Null,
    Piped,
    File(OwnedFd),
}

impl Stdio {
    /// What the parent has. So it is without being asked for.
    pub fn inherit() -> Self {
        Self(Kind::Inherit)
    }

    /// `/dev/null`: nothing can be read, and what is written is gone.
    pub fn null() -> Self {
        Self(Kind::Null)
    }

    /// A new pipe, whose other end is in [`Process::stdin`](crate::Process::stdin) and so on.
    ///
    /// A pipe holds 64 KiB, as a rule: a child that writes more waits until its parent reads. So read before you join.
    pub fn piped() -> Self {
        Self(Kind::Piped)
    }
}

impl Default for Stdio {
    fn default() -> Self {
        Self::inherit()
    }
}

macro_rules! files {
    ($($file:ty)*) => {$(
        impl From<$file> for Stdio {
            fn from(file: $file) -> Self {
                Self(Kind::File(file.into()))
            }
        }
    )*};
}

files! { OwnedFd File PipeReader PipeWriter }

/// The parent's ends of the pipes of a child.
#[derive(Debug, Default)]
pub(super) struct Pipes {
    pub(super) stdin: Option<PipeWriter>,
    pub(super) stdout: Option<PipeReader>,
    pub(super) stderr: Option<PipeReader>,
}

impl Pipes {
    /// Has the child's context set these up.
    pub(super) fn open([stdin, stdout, stderr]: [Stdio; 3], context: &mut Context) -> Result<Self> {
        Ok(Self {
            stdin: file(stdin, 0, context)?.map(PipeWriter::from),
            stdout: file(stdout, 1, context)?.map(PipeReader::from),
            stderr: file(stderr, 2, context)?.map(PipeReader::from),
        })
    }
}

/// Has the context set up one of the three; with the parent's end, if it is a pipe.
fn file(Stdio(kind): Stdio, number: u32, context: &mut Context) -> Result<Option<OwnedFd>> {
    let failed = |error| Error::from_os("preparing standard input, output or error of a child process", error);
    let (theirs, ours) = match kind {
        Kind::Inherit => return Ok(None),
        Kind::Null => (null().map_err(failed)?, None),
        Kind::File(file) => (file, None),
        Kind::Piped => {
            let (reader, writer) = pipe().map_err(failed)?;
            if number == 0 { (reader, Some(writer)) } else { (writer, Some(reader)) }
        }
    };
    context.ask(Setting::Standard(number, theirs.into()));
    Ok(ours)
}

fn null() -> io::Result<OwnedFd> {
    above_standard(File::options().read(true).write(true).open("/dev/null")?.into())
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    Ok((above_standard(reader.into())?, above_standard(writer.into())?))
}
