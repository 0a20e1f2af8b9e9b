//! What a thread may do: what a child must not have more of than its parent.

#![allow(unsafe_code)]

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use coproc::{Error, Result};
use rustix::fs::{AtFlags, StatxFlags};

use crate::sys::{self, ThreadStatus};

/// The rights of a thread: whoever has equal ones may do the same.
#[derive(Debug, PartialEq)]
pub(crate) struct Rights {
    /// In the kernel's words.
    credentials: Vec<u8>,
    namespaces: Vec<u8>,
    /// Device, inode and mount of the root folder; the mounts of two mount namespaces differ.
    root: (u32, u32, u64, u64),
    /// Whether the thread has a filter for system calls that the program had not when it began. Two such filters cannot be compared.
    filtered: bool,
}

const NAMESPACES: [&str; 8] = ["user", "mnt", "net", "ipc", "uts", "cgroup", "pid_for_children", "time_for_children"];

/// How many filters for system calls the program began with. A thread has these, and those that it, or who started it, has put on.
static FILTERS: AtomicU32 = AtomicU32::new(0);

/// Notes what the program begins with. Called before `main`.
pub(crate) fn note_filters() {
    // SAFETY: takes nothing and cannot fail here: a process that it would kill has not come this far.
    let mode = unsafe { libc::prctl(libc::PR_GET_SECCOMP) };
    if mode > 0 {
        let count = ThreadStatus::now().ok().and_then(|status| status.filters);
        FILTERS.store(count.unwrap_or(0), Ordering::Relaxed);
    }
}

impl Rights {
    /// The rights of the calling thread.
    ///
    /// # Errors
    /// If `/proc` is not mounted, or there is no free descriptor.
    pub(crate) fn now() -> Result<Self> {
        Self::of(&ThreadStatus::now()?)
    }

    /// The rights of the calling thread, of which this is the status.
    ///
    /// # Errors
    /// As [`now`](Self::now).
    pub(crate) fn of(status: &ThreadStatus) -> Result<Self> {
        let os = |error| Error::from_os("looking at the namespaces of this thread", error);
        let folder = sys::folder("/proc/thread-self/ns").map_err(os)?;
        let mut namespaces = Vec::with_capacity(NAMESPACES.len() * 32);
        for name in NAMESPACES {
            let mut text = [0_u8; 64];
            // What this kernel has not got is the same for all. The texts differ from one another in their names, so none runs into the next.
            let len = rustix::fs::readlinkat_raw(&folder, name, &mut text).unwrap_or(0);
            namespaces.extend_from_slice(&text[..len]);
        }
        let root = rustix::fs::statx(rustix::fs::CWD, "/", AtFlags::empty(), StatxFlags::INO | StatxFlags::MNT_ID);
        let root = root.map_err(|error| os(io::Error::from(error)))?;
        Ok(Self {
            credentials: status.credentials.clone(),
            namespaces,
            root: (root.stx_dev_major, root.stx_dev_minor, root.stx_ino, root.stx_mnt_id),
            filtered: status.is_filtered && status.filters != Some(FILTERS.load(Ordering::Relaxed)),
        })
    }

    /// Whether these are the same, as far as that can be told.
    pub(crate) fn are(&self, others: &Self) -> bool {
        !self.filtered && self == others
    }

    /// Whether nobody can tell if another thread has the same.
    pub(crate) fn are_incomparable(&self) -> bool {
        self.filtered
    }
}
