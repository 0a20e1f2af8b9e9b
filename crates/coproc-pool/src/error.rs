//! How a child process, or a task of a pool, can fail.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use coproc::Error;

/// Why a process gave no result.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// Its function returned an error: the texts of the error and of its sources.
    Failed {
        /// The error's text.
        message: String,
        /// The texts of its sources, outermost first.
        chain: Vec<String>,
    },
    /// Its function panicked.
    Panicked {
        /// What the panic said, and where.
        message: String,
        /// The backtrace, if `RUST_BACKTRACE` asked for one.
        backtrace: Option<String>,
    },
    /// It ended by itself before its function returned (`std::process::exit`).
    Exited {
        /// The exit code.
        code: i32,
    },
    /// A signal killed it.
    Killed {
        /// The number of the signal.
        signal: i32,
    },
    /// Its first thread used up its stack. (Another thread that does is seen as [`Killed`](Self::Killed) by `SIGSEGV`.)
    StackOverflow,
    /// It was at a task of a pool for longer than the pool allows, and was killed for that.
    TimedOut {
        /// What the pool allows.
        after: Duration,
    },
    /// It ended, and how is not known: somebody else has waited for it (`waitpid(-1)`), or `SIGCHLD` is ignored.
    Unknown,
    /// What it was given, or what it gave back, is no value of the type, or could not be taken over.
    Unreadable {
        /// What went wrong.
        message: String,
    },
    /// It gave a result, which an earlier join took.
    Taken,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { message, chain } => {
                write!(f, "failed: {message}")?;
                chain.iter().try_for_each(|source| write!(f, ": {source}"))
            }
            Self::Panicked { message, .. } => write!(f, "panicked: {message}"),
            Self::Exited { code } => write!(f, "exited with code {code} before its function returned"),
            Self::Killed { signal } => write!(f, "was killed by signal {signal} ({})", signal_name(*signal)),
            Self::StackOverflow => f.write_str("overflowed its stack"),
            Self::Taken => f.write_str("has given its result to an earlier join"),
            Self::TimedOut { after } => write!(f, "was killed because it took longer than {after:?}"),
            Self::Unknown => f.write_str("ended, and somebody else took its exit status"),
            Self::Unreadable { message } => write!(f, "could not exchange values with its parent: {message}"),
        }
    }
}

pub(crate) fn signal_name(signal: i32) -> &'static str {
    match signal {
        libc::SIGKILL => "SIGKILL",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGABRT => "SIGABRT",
        libc::SIGTERM => "SIGTERM",
        libc::SIGBUS => "SIGBUS",
        libc::SIGILL => "SIGILL",
        libc::SIGFPE => "SIGFPE",
        libc::SIGINT => "SIGINT",
        libc::SIGHUP => "SIGHUP",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGSYS => "SIGSYS",
        _ => "see signal(7)",
    }
}

/// A process gave no result: which one, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessError {
    /// Its process id.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// Why.
    pub cause: Cause,
}

impl fmt::Display for ProcessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {}) {}", self.name, self.pid, self.cause)
    }
}

impl StdError for ProcessError {}

impl From<ProcessError> for Error {
    fn from(error: ProcessError) -> Self {
        Self::other(error)
    }
}

/// A call of a pool failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PoolError {
    /// A task failed or panicked, or could not exchange values with the pool. Its worker lives, and so does the pool.
    Task {
        /// Which task: of a call with many items the index of the item, else how many were submitted before it.
        task: usize,
        /// Why.
        cause: Cause,
    },
    /// A worker died while it ran this task. It was replaced, and no other task was lost.
    WorkerDied {
        /// Which task, as in [`Task`](Self::Task).
        task: usize,
        /// The worker's process id.
        pid: u32,
        /// The signal that killed it, if it was one.
        signal: Option<i32>,
        /// How it died: it was killed, it exited, its panic aborted it, or the task took longer than the pool allows.
        cause: Cause,
    },
    /// Workers die before they run anything. The next call tries again.
    CrashLoop {
        /// How many have died in a row.
        deaths: usize,
        /// How the last one died.
        cause: Cause,
    },
    /// The pool takes no more tasks: [`close`](crate::Pool::close) was called.
    Closed,
    /// The pool was terminated, or dropped, before the task had ended.
    Terminated,
    /// The task was cancelled before a worker began it.
    Cancelled,
    /// The time is over, and the task goes on.
    TimedOut,
    /// The result was taken already.
    Taken,
    /// The pool belongs to the process from which this one was forked.
    Forked,
    /// The call could not be made.
    Call(Arc<Error>),
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task { task, cause } => write!(f, "task {task} {cause}"),
            Self::WorkerDied { task, pid, cause, .. } => write!(f, "task {task}: its worker (pid {pid}) {cause}"),
            Self::CrashLoop { deaths, cause } => {
                write!(f, "{deaths} workers in a row died before they ran a task; the last one {cause}")
            }
            Self::Closed => f.write_str("the pool is closed: submit before `close`, or make another pool"),
            Self::Terminated => f.write_str("the pool was terminated before the task had ended"),
            Self::Cancelled => f.write_str("the task was cancelled"),
            Self::TimedOut => f.write_str("the task has not ended in this time, and goes on"),
            Self::Taken => f.write_str("the result of the task was taken already"),
            Self::Forked => f.write_str("the pool belongs to the process that this one was forked from: make one here"),
            Self::Call(error) => error.fmt(f),
        }
    }
}

impl StdError for PoolError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Call(error) => error.source(),
            _ => None,
        }
    }
}

impl From<Error> for PoolError {
    fn from(error: Error) -> Self {
        Self::Call(Arc::new(error))
    }
}

impl From<PoolError> for Error {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Call(error) => Arc::try_unwrap(error).unwrap_or_else(|error| Self::other(PoolError::Call(error))),
            error => Self::other(error),
        }
    }
}
