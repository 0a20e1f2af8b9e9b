//! Locks on single bytes of a file that belong to an open file description (`fcntl(2)`, "Open file description locks").

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

fn bytes(at: u64, len: u64) -> io::Result<libc::flock> {
    // SAFETY: `flock` is plain C data, of which zero is a value.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = libc::off_t::try_from(at).map_err(|_| io::ErrorKind::InvalidInput)?;
    lock.l_len = libc::off_t::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
    Ok(lock)
}

/// Locks the byte for this description; `false` if another one has it.
pub(crate) fn lock(file: BorrowedFd<'_>, at: u64) -> io::Result<bool> {
    let lock = bytes(at, 1)?;
    // SAFETY: `fcntl` with this command reads one `flock`, which `lock` is; the descriptor is open while it is borrowed.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) } {
        0 => Ok(true),
        _ => match io::Error::last_os_error() {
            error if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
            error => Err(error),
        },
    }
}

/// Whether another description than this has the byte locked.
pub(crate) fn is_locked(file: BorrowedFd<'_>, at: u64) -> io::Result<bool> {
    is_any_locked(file, at, 1)
}

/// Whether another description than this has any of so many bytes locked.
pub(crate) fn is_any_locked(file: BorrowedFd<'_>, at: u64, len: u64) -> io::Result<bool> {
    let mut lock = bytes(at, len)?;
    // SAFETY: `fcntl` with this command reads and writes one `flock`, which `lock` is; the descriptor is open while it is borrowed.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) } {
        0 => Ok(lock.l_type != libc::F_UNLCK as libc::c_short),
        _ => Err(io::Error::last_os_error()),
    }
}
