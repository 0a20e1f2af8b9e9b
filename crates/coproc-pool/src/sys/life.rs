//! A pipe whose end of file kills.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use coproc::__private::{above_standard, reopen_by};
use rustix::fs::{Mode, OFlags};
use rustix::pipe::PipeFlags;

/// A pipe, reading end first, that can be opened anew whoever one is by then.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let (read, write) = (above_standard(read)?, above_standard(write)?);
    // Nobody has a path to it but who has it open.
    rustix::fs::fchmod(&read, Mode::from_raw_mode(0o666))?;
    Ok((read, write))
}

/// Opens the reading end of a pipe anew, so that its owner gets `SIGKILL` when the last writing end is closed, or something is written. `files`: see
/// [`reopen_by`].
pub(crate) fn deadly(files: Option<BorrowedFd<'_>>, read: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let file = reopen_by(files, read, OFlags::RDONLY | OFlags::NONBLOCK)?;
    // The number of the command is the same on all architectures that this crate runs on.
    const F_SETSIG: libc::c_int = 10;
    // SAFETY: this command takes a number.
    check(unsafe { libc::fcntl(file.as_raw_fd(), F_SETSIG, libc::SIGKILL) })?;
    // SAFETY: as above.
    check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK | libc::O_ASYNC) })?;
    Ok(file)
}

/// Makes this process the owner of what [`deadly`] opened. An end that came before is not noticed.
pub(crate) fn own(file: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: `getpid` takes nothing and cannot fail.
    let me = unsafe { libc::getpid() };
    // SAFETY: this command takes a number.
    check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETOWN, me) })
}

fn check(code: libc::c_int) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
