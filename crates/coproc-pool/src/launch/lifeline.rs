//! What ends a child whose parent has ended, where the kernel does not: it forgets that a process asked to die with its parent when that changes
//! its user or group.
//!
//! The program alone holds the writing end of a pipe; each child has opened the reading end anew, as a file of its own, and asked to be killed
//! when something happens to it. When the program ends, in whatever way, the kernel closes the writing end, and so kills them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use coproc::__private::{ForkLock, Unforked};
use coproc::{Error, Result};

use crate::sys;

/// The pipe of this process.
#[derive(Debug)]
pub(crate) struct Lifeline {
    pid: u32,
    read: OwnedFd,
    /// Closed in forked copies of the program. One that was forked without the C library keeps it, and so those alive that have nothing else.
    _write: Unforked,
}

pub(super) static LIFELINE: ForkLock<Option<Arc<Lifeline>>> = ForkLock::new(None);

impl Lifeline {
    /// The one of this process.
    ///
    /// # Errors
    /// If there are no two free descriptors.
    pub(crate) fn get() -> Result<Arc<Self>> {
        let mut lifeline = LIFELINE.lock();
        let pid = std::process::id();
        if let Some(known) = lifeline.as_ref().filter(|known| known.pid == pid) {
            return Ok(Arc::clone(known));
        }
        let (read, write) = sys::life::pipe().map_err(|error| Error::from_os("creating a pipe", error))?;
        let new = Arc::new(Self { pid, read, _write: Unforked::new(Arc::new(write)) });
        *lifeline = Some(Arc::clone(&new));
        Ok(new)
    }

    /// The process whose end it tells.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }
}

impl AsFd for Lifeline {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }
}

/// In a child: dies with the parent, whose process id this is, from now on. `false` if the parent has ended.
///
/// `deadly` is the reading end, opened by [`sys::life::deadly`].
pub(crate) fn hold(parent: u32, deadly: Option<OwnedFd>) -> bool {
    sys::die_with_parent();
    if let Some(deadly) = deadly {
        // Where that is refused, what was asked for above does it.
        let _ = sys::life::own(deadly.as_fd());
        // Open for as long as the process lives.
        std::mem::forget(deadly);
    }
    // Looked at after both. (0: it lives in another pid namespace.)
    let now = std::os::unix::process::parent_id();
    now == parent || now == 0
}
