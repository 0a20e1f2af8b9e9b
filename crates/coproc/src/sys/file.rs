//! Memory files, their seals, and descriptors.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{FallocateFlags, MemfdFlags, Mode, OFlags, SealFlags};
use rustix::path::DecInt;

/// An empty memory file that can be sealed (`memfd_create(2)`), closed on exec.
pub(crate) fn memory(name: &str) -> io::Result<OwnedFd> {
    above_standard(rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?)
}

/// Moves a descriptor from the numbers of standard input, output and error, which are free where a program has closed these: what it prints
/// must not go into shared memory.
///
/// # Errors
/// If there is no free descriptor.
pub fn above_standard(file: OwnedFd) -> io::Result<OwnedFd> {
    if file.as_raw_fd() > 2 { Ok(file) } else { Ok(rustix::io::fcntl_dupfd_cloexec(&file, 3)?) }
}

/// Sets the length of a file; what is new is a hole that reads as zeros.
pub(crate) fn set_len(file: BorrowedFd<'_>, len: u64) -> io::Result<()> {
    Ok(rustix::fs::ftruncate(file, len)?)
}

/// Gives a part of a file its memory (`fallocate(2)`), and the file the length to hold it.
pub(crate) fn allocate(file: BorrowedFd<'_>, at: u64, len: u64) -> io::Result<()> {
    loop {
        match rustix::fs::fallocate(file, FallocateFlags::empty(), at, len) {
            Err(rustix::io::Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

/// Nobody can change the length any more, nor add seals.
pub(crate) fn seal_length(file: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::fs::fcntl_add_seals(file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?)
}

/// Nobody can change anything any more. Refused (`EBUSY`) while anybody has the file mapped for writing.
pub(crate) fn seal_all(file: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::fs::fcntl_add_seals(file, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?)
}

/// What is sealed: (the length, the content). A file that cannot be sealed has neither.
pub(crate) fn seals(file: BorrowedFd<'_>) -> (bool, bool) {
    let seals = rustix::fs::fcntl_get_seals(file).unwrap_or(SealFlags::empty());
    (seals.contains(SealFlags::SHRINK | SealFlags::GROW), seals.contains(SealFlags::WRITE))
}

/// What identifies a file while it is open: device and inode; and its length.
pub(crate) fn identity(file: BorrowedFd<'_>) -> io::Result<((u64, u64), u64)> {
    let stat = rustix::fs::fstat(file)?;
    Ok(((stat.st_dev, stat.st_ino), u64::try_from(stat.st_size).unwrap_or(0)))
}

/// Reads at this offset until the buffer is full or the file ends; returns how many bytes were read.
pub(crate) fn read_at(file: BorrowedFd<'_>, mut buffer: &mut [u8], mut at: u64) -> io::Result<usize> {
    let whole = buffer.len();
    while !buffer.is_empty() {
        match rustix::io::pread(file, &mut *buffer, at) {
            Ok(0) => break,
            Ok(count) => {
                buffer = &mut buffer[count..];
                at += count as u64;
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(whole - buffer.len())
}

/// Writes all of it at this offset.
pub(crate) fn write_at(file: BorrowedFd<'_>, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(file, bytes, at) {
            Ok(count) => {
                bytes = &bytes[count..];
                at += count as u64;
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Opens the same file once more: a description of our own, with locks of its own.
pub(crate) fn reopen(file: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    reopen_by(None, file, OFlags::RDWR)
}

/// Opens the same file once more, with these flags; by the folder of the descriptors of another process that has this one under the same number, if that still
/// runs. That folder the kernel knows already; one of this process it has to make, and to forget at its end.
///
/// # Errors
/// What the system says.
pub fn reopen_by(files: Option<BorrowedFd<'_>>, file: BorrowedFd<'_>, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC;
    let open = |files: BorrowedFd<'_>| rustix::fs::openat(files, DecInt::from_fd(file), flags, Mode::empty()).ok();
    if let Some(again) = files.and_then(open) {
        return above_standard(again);
    }
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let again = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| match error {
        rustix::io::Errno::NOENT => io::Error::new(io::ErrorKind::NotFound, "/proc is not mounted, and coproc needs it"),
        _ => error.into(),
    })?;
    above_standard(again)
}

/// Another descriptor of the same description.
pub(crate) fn duplicate(file: &impl AsFd) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(file, 3)?)
}
