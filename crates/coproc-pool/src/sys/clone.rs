//! Making a process that is a copy of the calling one, but not its child: its sibling.

#![allow(unsafe_code)]

use std::ffi::c_int;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr;

use rustix::process::Pid;

/// The word in which the C library keeps the id of its only thread, and the list of that thread's robust locks: what the kernel must be told of
/// a copy of the process that the C library does not make itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Thread {
    id: *mut c_int,
    robust_list: *mut libc::c_void,
    robust_size: usize,
}

/// The number of this command of `prctl(2)`.
const PR_GET_TID_ADDRESS: c_int = 40;

impl Thread {
    /// The calling thread; `None` where the kernel does not tell, or the C library does not keep it in that way.
    pub(crate) fn current() -> Option<Self> {
        let mut id: *mut c_int = ptr::null_mut();
        // SAFETY: writes a pointer.
        if unsafe { libc::prctl(PR_GET_TID_ADDRESS, &raw mut id) } != 0 || id.is_null() {
            return None;
        }
        // SAFETY: the word that the C library named to the kernel when it started this thread, which runs: the kernel will write to it when it ends.
        let kept = unsafe { id.read_volatile() };
        // SAFETY: `gettid` takes nothing and cannot fail.
        if kept != unsafe { libc::gettid() } {
            return None;
        }
        let (mut robust_list, mut robust_size) = (ptr::null_mut::<libc::c_void>(), 0_usize);
        // SAFETY: writes a pointer and a size.
        let got = unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut robust_list, &raw mut robust_size) };
        (got == 0).then_some(Self { id, robust_list, robust_size })
    }

    /// Makes a copy of this process, of this thread, whose parent is this process's parent: here, with a descriptor of it; in the copy, `None`. The kernel
    /// writes its id to `note` before it runs.
    ///
    /// The functions that others have registered for `fork(3)` are not called.
    ///
    /// # Errors
    /// What the system says.
    ///
    /// # Safety
    /// This is the only thread of the process, and `note` may be written to.
    pub(crate) unsafe fn copy(self, note: *mut u32) -> io::Result<Option<(Pid, OwnedFd)>> {
        let flags = libc::CLONE_PARENT
            | libc::CLONE_PIDFD
            | libc::CLONE_PARENT_SETTID
            | libc::CLONE_CHILD_SETTID
            | libc::CLONE_CHILD_CLEARTID;
        let mut pidfd: c_int = -1;
        let arguments = Arguments {
            flags: flags.cast_unsigned().into(),
            pidfd: (&raw mut pidfd).expose_provenance() as u64,
            child_tid: self.id.expose_provenance() as u64,
            parent_tid: note.expose_provenance() as u64,
            // It is the one of this process, which cannot be chosen.
            exit_signal: 0,
            ..Arguments::default()
        };
        // SAFETY: without a stack and without CLONE_VM it is a fork: the copy goes on here, with memory of its own. No other thread could hold
        // what the copy needs, as the caller says. The kernel writes the copy's id to `note` here, and to the C library's word there.
        let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<Arguments>()) };
        if pid < 0 {
            return Err(io::Error::last_os_error());
        }
        if pid == 0 {
            // SAFETY: the list is the one of this thread, which the kernel has not taken over into the copy.
            unsafe { libc::syscall(libc::SYS_set_robust_list, self.robust_list, self.robust_size) };
            return Ok(None);
        }
        // SAFETY: the kernel has just opened it, and nobody else owns it.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
        let pid = c_int::try_from(pid).ok().and_then(Pid::from_raw);
        pid.map(|pid| Some((pid, pidfd))).ok_or_else(|| io::ErrorKind::Other.into())
    }
}

/// Whether the system can do that: it may be too old, or a filter for system calls may not know the call.
pub(crate) fn can_copy() -> bool {
    // SAFETY: without arguments it only says that they are wrong.
    let code = unsafe { libc::syscall(libc::SYS_clone3, ptr::null::<Arguments>(), 0_usize) };
    code < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL)
}

/// The first version of `struct clone_args`.
#[repr(C)]
#[derive(Default)]
struct Arguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
}
