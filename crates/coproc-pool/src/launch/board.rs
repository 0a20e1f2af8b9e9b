//! A page that a program shares with its zygote, on which is noted which child is being made: the number of the attempt by the zygote, and its process id
//! by the kernel, before the child runs.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

use coproc::__private::above_standard;
use rustix::fs::MemfdFlags;
use rustix::mm::{Advice, MapFlags, ProtFlags};

/// What is on the page.
#[derive(Debug)]
struct Notes {
    /// How many children the zygote has tried to make.
    attempts: AtomicU32,
    /// The last one that was made; 0 from the begin of an attempt on.
    pid: AtomicU32,
}

/// The page, mapped.
#[derive(Debug)]
pub(super) struct Board {
    /// `Notes` in a mapping of our own, which is undone only when this is dropped.
    at: NonNull<Notes>,
}

// SAFETY: the notes are atomics, and the mapping belongs to no thread.
unsafe impl Send for Board {}
// SAFETY: as above.
unsafe impl Sync for Board {}

impl Board {
    /// A new one, with the file to give to the zygote.
    pub(super) fn new() -> io::Result<(Self, OwnedFd)> {
        let file = above_standard(rustix::fs::memfd_create("coproc-zygote", MemfdFlags::CLOEXEC)?)?;
        rustix::fs::ftruncate(&file, size_of::<Notes>() as u64)?;
        Ok((Self { at: map(&file)? }, file))
    }

    /// In the zygote: the program's. Not there in the children.
    pub(super) fn attach(file: &OwnedFd) -> io::Result<Self> {
        let at = map(file)?;
        // SAFETY: the range is the mapping that was just made; this process sees no change, and a child does not know of it.
        unsafe { rustix::mm::madvise(at.as_ptr().cast(), size_of::<Notes>(), Advice::LinuxDontFork) }?;
        Ok(Self { at })
    }

    fn notes(&self) -> &Notes {
        // SAFETY: the mapping lives as long as `self`, and holds atomics, of which any bytes are values.
        unsafe { self.at.as_ref() }
    }

    /// In the zygote: another attempt begins. Its number, and where the kernel shall write.
    pub(super) fn attempt(&self) -> (u32, *mut u32) {
        let notes = self.notes();
        notes.pid.store(0, Ordering::Relaxed);
        // Release: pairs with the Acquire in `last`; the pid of the attempt before is no more.
        (notes.attempts.fetch_add(1, Ordering::Release) + 1, notes.pid.as_ptr())
    }

    /// In the program: the number of the last attempt, and the child that came of it, if not 0.
    pub(super) fn last(&self) -> (u32, u32) {
        let notes = self.notes();
        // Acquire: pairs with the Release in `attempt`.
        (notes.attempts.load(Ordering::Acquire), notes.pid.load(Ordering::Relaxed))
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nobody has a reference into it that outlives `self`.
        let _ = unsafe { rustix::mm::munmap(self.at.as_ptr().cast(), size_of::<Notes>()) };
    }
}

fn map(file: &OwnedFd) -> io::Result<NonNull<Notes>> {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping, at an address that the kernel chooses.
    let at = unsafe { rustix::mm::mmap(ptr::null_mut(), size_of::<Notes>(), protection, MapFlags::SHARED, file.as_fd(), 0) }?;
    NonNull::new(at.cast()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}
