//! This process, its parent and its children.

use std::io;
use std::time::{Duration, Instant};

use coproc::{Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::Pid;

use super::{Child, exit};
use crate::me::me;
use crate::sys;

/// The name of this process: what its parent calls it, or `MainProcess` if it was not started by [`Process`](crate::Process) or a pool.
///
/// ```
/// use coproc_pool::{Process, current_name};
///
/// assert_eq!(current_name(), "MainProcess");
/// let process = Process::builder().name("worker").spawn(|| current_name().to_owned(), ())?;
/// assert_eq!(process.join()?, "worker");
/// # Ok::<(), coproc::Error>(())
/// ```
#[doc(alias = "current_process")]
pub fn current_name() -> &'static str {
    me().map_or("MainProcess", |me| &me.name)
}

/// The children of this process that run now, workers of its pools included. Nothing is reaped by this that is not reaped anyway.
///
/// ```
/// use coproc_pool::{Process, active_children};
///
/// let process = Process::spawn(|| -> () { loop { std::thread::park() } }, ())?;
/// assert!(active_children().iter().any(|child| child.pid() == process.pid()));
/// for child in active_children() {
///     child.kill()?;
///     child.wait();
/// }
/// assert!(active_children().is_empty());
/// # Ok::<(), coproc::Error>(())
/// ```
pub fn active_children() -> Vec<Child> {
    exit::running()
}

/// The process that started this one; `None` if that was not [`Process`](crate::Process) or a pool.
///
/// ```
/// use coproc_pool::{Process, parent};
///
/// assert!(parent().is_none());
/// let process = Process::spawn(|| parent().map(|parent| parent.pid()), ())?;
/// assert_eq!(process.join()?, Some(std::process::id()));
/// # Ok::<(), coproc::Error>(())
/// ```
#[doc(alias = "parent_process")]
pub fn parent() -> Option<Parent> {
    me().map(|me| Parent { pid: me.parent.pid, name: &me.parent.name })
}

/// The process that started this one: see [`parent`].
///
/// **When it dies**, the kernel ends this process too, so its death is seldom seen: by a process that has changed its user, or asked the
/// kernel otherwise (`PR_SET_PDEATHSIG`).
#[derive(Clone, Debug)]
pub struct Parent {
    pid: u32,
    name: &'static str,
}

impl Parent {
    /// Its process id, as it sees it itself.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Its name, as [`current_name`] gives it there.
    pub fn name(&self) -> &str {
        self.name
    }

    /// Whether it lives.
    pub fn is_alive(&self) -> bool {
        // The kernel gives a process whose parent has died another one. 0: it is in another pid namespace, where nothing can be seen.
        matches!(std::os::unix::process::parent_id(), 0) || std::os::unix::process::parent_id() == self.pid
    }

    /// Waits for its end, at most this long (monotonic time); whether it has ended.
    ///
    /// # Errors
    /// If there is no free descriptor, or it is in another pid namespace, where it cannot be watched.
    pub fn wait_timeout(&self, time: Duration) -> Result<bool> {
        // A time that cannot be written down is no limit.
        let end = Instant::now().checked_add(time);
        let watching = |error: io::Error| Error::from_os("watching the parent process", error);
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw).ok_or(Error::Corrupted)?;
        let pidfd = match sys::pidfd(pid) {
            Ok(pidfd) => pidfd,
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) && !self.is_alive() => return Ok(true),
            Err(error) => return Err(watching(error)),
        };
        // Looked at after the descriptor was opened: it is the parent's, if that lives now.
        while self.is_alive() {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            let mut files = [PollFd::new(&pidfd, PollFlags::IN)];
            match rustix::event::poll(&mut files, left.as_ref()) {
                Ok(0) => return Ok(false),
                // Dead, and in a moment somebody else's child is what this process will be.
                Ok(_) => return Ok(true),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(watching(error.into())),
            }
        }
        Ok(true)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// As [`wait_timeout`](Self::wait_timeout).
    pub fn wait(&self) -> Result<()> {
        self.wait_timeout(Duration::MAX).map(drop)
    }
}

/// Whether somebody has asked this child process to stop what it is doing ([`Child::interrupt`], or `kill -INT`). Always false in a process that is no
/// child of this crate's making.
///
/// Ctrl-C at the terminal does not count: it reaches all processes of the program, and it is for the parent to decide what becomes of
/// its children. A child whose function sets a handler for `SIGINT` has that called instead.
///
/// ```
/// use coproc_pool::{Process, interrupted};
///
/// fn count() -> u64 {
///     (0..).find(|_| interrupted()).unwrap_or_default()
/// }
/// let process = Process::spawn(count, ())?;
/// while process.is_alive() {
///     process.interrupt()?; // again, since it may not have begun yet
/// }
/// process.join()?;
/// # Ok::<(), coproc::Error>(())
/// ```
pub fn interrupted() -> bool {
    sys::interrupted()
}
