//! A child process, whatever its function returns.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Weak};
use std::time::Duration;

use coproc::{Result, Waitable};

use super::ExitStatus;
use crate::keeper;

/// A child process of this one, whatever its function returns: to watch it and to end it.
///
/// What [`Process`](crate::Process) and [`ScopedProcess`](crate::ScopedProcess) can do beside `join`, they do by this: they dereference to it. A clone of it goes to other
/// threads, to end a child while one waits for it; [`active_children`](crate::active_children) gives one for each child that runs.
///
/// Nothing here goes wrong when the child ends in between, and none of it can hit another process that has got its number.
///
/// ```
/// use std::time::Duration;
/// use coproc_pool::Process;
///
/// let process = Process::spawn(|| -> () { loop { std::thread::park() } }, ())?;
/// let child = process.child().clone();
/// assert!(child.is_alive() && child.wait_timeout(Duration::ZERO).is_none());
/// child.terminate()?;
/// assert_eq!(child.wait().signal(), Some(15));
/// # Ok::<(), coproc::Error>(())
/// ```
#[derive(Clone)]
pub struct Child(Arc<Known>);

/// What is known of a child.
#[derive(Debug)]
struct Known {
    name: String,
    daemon: bool,
    child: Arc<keeper::Child>,
}

impl Child {
    pub(crate) fn new(name: String, daemon: bool, child: Arc<keeper::Child>) -> Self {
        Self(Arc::new(Known { name, daemon, child }))
    }

    pub(super) fn weak(&self) -> Weak<keeper::Child> {
        Arc::downgrade(&self.0.child)
    }

    /// Its process id. Another process may have it once this one has ended.
    #[doc(alias = "ident")]
    pub fn pid(&self) -> u32 {
        self.0.child.pid
    }

    /// Its name: what [`Builder::name`](crate::Builder::name) was given, or `Process-1` and so on, `Process-1:1` for a child's child.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether it is ended, rather than waited for, when this process exits: see [`Builder::daemon`](crate::Builder::daemon).
    pub fn daemon(&self) -> bool {
        self.0.daemon
    }

    /// Whether it still runs.
    pub fn is_alive(&self) -> bool {
        self.0.child.status().is_none()
    }

    /// How it ended; `None` while it runs.
    #[doc(alias("exitcode", "try_wait"))]
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.0.child.status().map(ExitStatus)
    }

    /// Waits for its end. As often as one likes, by as many threads.
    pub fn wait(&self) -> ExitStatus {
        ExitStatus(self.0.child.wait())
    }

    /// Waits for its end, at most this long (monotonic time); `None` if it still runs.
    pub fn wait_timeout(&self, time: Duration) -> Option<ExitStatus> {
        self.0.child.wait_timeout(time).map(ExitStatus)
    }

    /// Asks it to end (`SIGTERM`): it ends at once, if its function has not set a handler. Nothing is done if it has ended.
    ///
    /// # Errors
    /// If the system refuses, as it does where the child has changed its user.
    pub fn terminate(&self) -> Result<()> {
        self.send_signal(libc::SIGTERM)
    }

    /// Ends it at once (`SIGKILL`). What it shares stays whole for the others. Nothing is done if it has ended.
    ///
    /// # Errors
    /// As [`terminate`](Self::terminate).
    pub fn kill(&self) -> Result<()> {
        self.send_signal(libc::SIGKILL)
    }

    /// Asks it to stop what it is doing (`SIGINT`): from then on [`interrupted`](crate::interrupted) is true there, and nothing else
    /// happens, unless its function has set a handler. Nothing is done if it has ended.
    ///
    /// # Errors
    /// As [`terminate`](Self::terminate).
    pub fn interrupt(&self) -> Result<()> {
        self.send_signal(libc::SIGINT)
    }

    /// Sends it this signal. Nothing is done if it has ended.
    ///
    /// # Errors
    /// If there is no such signal, or as [`terminate`](Self::terminate).
    pub fn send_signal(&self, signal: i32) -> Result<()> {
        self.0.child.signal(signal)
    }
}

/// The sentinel: a descriptor that is readable, to `poll` and its like, once the child has ended (`pidfd_open(2)`).
impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.child.pidfd.as_fd()
    }
}

/// Ready when the child has ended.
impl Waitable for Child {
    fn is_ready(&self) -> bool {
        self.0.child.gone.is_ready()
    }

    fn announce(&self) -> (&AtomicU32, u32) {
        self.0.child.gone.announce()
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Child");
        shown.field("name", &self.name()).field("pid", &self.pid());
        match self.exit_status() {
            None => shown.field("alive", &true),
            Some(status) => shown.field("ended", &format_args!("{status}")),
        };
        shown.finish()
    }
}
