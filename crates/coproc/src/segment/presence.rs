//! Who has a segment: asked of the kernel, never counted.
//!
//! Each process that has a segment of a kind for which this matters has it by a description of its own, which holds a lock on a byte far behind the end of
//! the file: its place. A handle on its way to another process has a place too. The kernel drops the lock when the last descriptor and the
//! mapping of the description are gone, however that came. So nobody else has the segment when nobody else has a place.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::sys;

/// Where the places lie.
const FIRST: u64 = 1 << 61;
const PLACES: u64 = 1 << 40;

/// Takes a place through this description, which nobody else has.
pub(super) fn take_place(file: BorrowedFd<'_>) -> io::Result<()> {
    // Taken already is one chance in 2^40. More than a few in a row is a hostile peer that has locked them all.
    for _ in 0..8 {
        if sys::ofd::lock(file, FIRST + sys::random()? as u64 % PLACES)? {
            return Ok(());
        }
    }
    Err(io::Error::from_raw_os_error(libc::EADDRINUSE))
}

/// The same file by another description, with a place of its own.
pub(super) fn another(file: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let another = sys::file::reopen(file)?;
    take_place(another.as_fd())?;
    Ok(another)
}

/// Whether no description but this one has a place. If the kernel will not say, there are others.
pub(super) fn is_alone(file: BorrowedFd<'_>) -> bool {
    sys::ofd::is_any_locked(file, FIRST, PLACES).is_ok_and(|others| !others)
}
