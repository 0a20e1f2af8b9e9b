//! How a process ended, as its parent sees it.

use std::fmt;

use crate::error::signal_name;
use crate::sys::Status;

/// How a process ended: an exit code, a signal, or neither if nobody can know.
///
/// It is what the kernel says of the process. What its function returned, or why it did not, is what [`join`](crate::Process::join) gives.
///
/// ```
/// use coproc_pool::Process;
///
/// let process = Process::spawn(|| -> () { std::process::exit(3) }, ())?;
/// let status = process.wait();
/// assert_eq!((status.code(), status.signal(), status.success()), (Some(3), None, false));
/// # Ok::<(), coproc::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "exitcode")]
pub struct ExitStatus(pub(crate) Status);

impl ExitStatus {
    /// The exit code, if it exited: 0 if its function returned, 1 if that returned an error, 101 after a panic, or what it gave
    /// `std::process::exit`.
    pub fn code(self) -> Option<i32> {
        match self.0 {
            Status::Exited(code) => Some(code),
            _ => None,
        }
    }

    /// The signal that killed it, if one did.
    pub fn signal(self) -> Option<i32> {
        match self.0 {
            Status::Killed(signal) => Some(signal),
            _ => None,
        }
    }

    /// Whether it exited with code 0.
    pub fn success(self) -> bool {
        self.code() == Some(0)
    }

    /// Whether it ended and nobody can know how: somebody else of this program has waited for it (`waitpid(-1)`), or `SIGCHLD` is ignored.
    pub fn is_unknown(self) -> bool {
        self.0 == Status::Unknown
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Status::Exited(code) => write!(f, "exit code {code}"),
            Status::Killed(signal) => write!(f, "signal {signal} ({})", signal_name(signal)),
            Status::Unknown => f.write_str("an exit status that somebody else took"),
        }
    }
}
