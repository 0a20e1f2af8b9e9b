//! Noticing, and bringing about, the end of a process.

#![allow(unsafe_code)]

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::time::Duration;

use coproc::__private::above_standard;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags};

/// A descriptor of a child process (`pidfd_open(2)`), readable when it has ended.
pub(crate) fn pidfd(pid: Pid) -> io::Result<OwnedFd> {
    above_standard(rustix::process::pidfd_open(pid, PidfdFlags::empty())?)
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Exited(i32),
    Killed(i32),
    /// Somebody else has taken it.
    Unknown,
}

/// Takes the exit status of a child; `None` if it still runs.
pub(crate) fn reap(pidfd: BorrowedFd<'_>) -> Option<Status> {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    loop {
        return match waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
            Ok(None) => None,
            Ok(Some(status)) => Some(match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => Status::Exited(code),
                (_, Some(signal)) => Status::Killed(signal),
                _ => Status::Unknown,
            }),
            Err(rustix::io::Errno::INTR) => continue,
            // Somebody else has taken it, or the kernel did because `SIGCHLD` is ignored; or it is no child of this process, but of the one that
            // this one was forked from.
            Err(_) => has_ended(pidfd, Some(Duration::ZERO)).then(|| recorded(pidfd)),
        };
    }
}

/// Waits until a process has ended, at most this long; whether it has.
pub(crate) fn has_ended(pidfd: BorrowedFd<'_>, time: Option<Duration>) -> bool {
    is_readable(pidfd, time)
}

/// Waits until there is something to read, at most this long; whether there is.
pub(crate) fn is_readable(file: BorrowedFd<'_>, time: Option<Duration>) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(file, PollFlags::IN)];
    // A time that is too long to be written down is no limit.
    let time = time.and_then(|time| Timespec::try_from(time).ok());
    rustix::event::poll(&mut polled, time.as_ref()).is_ok_and(|ready| ready > 0)
}

/// What the kernel remembers of a process that was waited for (`PIDFD_GET_INFO`, since Linux 6.15).
fn recorded(pidfd: BorrowedFd<'_>) -> Status {
    /// The first version of `struct pidfd_info`.
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        mask: u64,
        cgroup: u64,
        /// Its ids and its user's.
        ids: [u32; 11],
        /// In the form of `wait(2)`.
        code: c_int,
    }
    const EXIT: u64 = 1 << 3;
    /// `_IOWR(0xff, 11, struct pidfd_info)`.
    const GET_INFO: libc::Ioctl = (3_u32 << 30 | (size_of::<Info>() as u32) << 16 | 0xff << 8 | 11) as libc::Ioctl;
    let mut info = Info { mask: EXIT, ..Info::default() };
    // SAFETY: reads and writes one `Info`, whose size is part of the command; a kernel that does not know the command refuses it.
    let asked = unsafe { libc::ioctl(pidfd.as_raw_fd(), GET_INFO, &raw mut info) };
    if asked != 0 || info.mask & EXIT == 0 {
        Status::Unknown
    } else if libc::WIFEXITED(info.code) {
        Status::Exited(libc::WEXITSTATUS(info.code))
    } else {
        Status::Killed(libc::WTERMSIG(info.code))
    }
}

/// Kills a child and takes its exit status; does nothing if the number is no child's any more.
pub(crate) fn end(pid: Pid) {
    use rustix::process::{Signal, WaitId, WaitIdOptions, kill_process, waitid};
    if waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT).is_ok() {
        let _ = kill_process(pid, Signal::KILL);
        let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
    }
}

/// Waits for the end of a child, of which nobody wants to know anything.
pub(crate) fn wait_for(pid: Pid) {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    while matches!(waitid(WaitId::Pid(pid), WaitIdOptions::EXITED), Err(rustix::io::Errno::INTR)) {}
}

/// Ends this process at once.
pub(crate) fn leave(code: c_int) -> ! {
    // SAFETY: takes no memory, and does not return.
    unsafe { libc::_exit(code) }
}

/// Sends a signal to a child (`pidfd_send_signal(2)`).
pub(crate) fn signal(pidfd: BorrowedFd<'_>, signal: c_int) -> io::Result<()> {
    if signal == 0 {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let info = ptr::null::<libc::siginfo_t>();
    // SAFETY: takes numbers, and a null pointer for what the kernel fills in itself.
    let code = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, info, 0) };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
