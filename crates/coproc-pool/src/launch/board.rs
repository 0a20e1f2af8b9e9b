//! A page that a program shares with its zygote, on which the kernel notes the process id of each child before the child runs.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use coproc::__private::above_standard;
use rustix::fs::MemfdFlags;
use rustix::mm::{Advice, MapFlags, ProtFlags};

use crate::keeper::lock;

/// How many children can be on their way at a time.
const NOTES: u16 = 1024;
const SIZE: usize = NOTES as usize * size_of::<AtomicU32>();

/// The page, mapped.
#[derive(Debug)]
pub(crate) struct Board {
    /// `NOTES` atomics in a mapping of our own, which is undone only when this is dropped.
    at: NonNull<AtomicU32>,
    /// In the program: the notes that nobody uses.
    free: Mutex<Vec<u16>>,
}

// SAFETY: the notes are atomics, and the mapping belongs to no thread.
unsafe impl Send for Board {}
// SAFETY: as above.
unsafe impl Sync for Board {}

/// A note that a caller uses. Zero until there is a child.
#[derive(Debug)]
pub(crate) struct Note<'a> {
    board: &'a Board,
    word: &'a AtomicU32,
    pub(crate) number: u16,
}

impl Board {
    /// A new one, with the file to give to the zygote.
    pub(crate) fn new() -> io::Result<(Self, OwnedFd)> {
        let file = above_standard(rustix::fs::memfd_create("coproc-zygote", MemfdFlags::CLOEXEC)?)?;
        rustix::fs::ftruncate(&file, SIZE as u64)?;
        Ok((Self { at: map(&file)?, free: Mutex::new((0..NOTES).collect()) }, file))
    }

    /// In the zygote: the program's. Not there in the children.
    pub(crate) fn attach(file: &OwnedFd) -> io::Result<Self> {
        let at = map(file)?;
        // SAFETY: the range is the mapping that was just made; this process sees no change, and a child does not know of it.
        unsafe { rustix::mm::madvise(at.as_ptr().cast(), SIZE, Advice::LinuxDontFork) }?;
        Ok(Self { at, free: Mutex::new(Vec::new()) })
    }

    /// Takes a note that nobody uses.
    pub(crate) fn take(&self) -> Note<'_> {
        loop {
            let free = lock(&self.free).pop();
            if let Some((number, word)) = free.and_then(|number| Some((number, self.word(number)?))) {
                word.store(0, Ordering::Relaxed);
                return Note { board: self, number, word };
            }
            std::thread::yield_now();
        }
    }

    /// In the zygote: where the kernel shall write; `None` if there is no such note.
    pub(crate) fn word(&self, number: u16) -> Option<&AtomicU32> {
        // SAFETY: within the mapping, since there are `NOTES` notes; it lives as long as `self`, and all accesses are atomic.
        (number < NOTES).then(|| unsafe { self.at.add(number.into()).as_ref() })
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nobody has a reference into it that outlives `self`.
        let _ = unsafe { rustix::mm::munmap(self.at.as_ptr().cast(), SIZE) };
    }
}

fn map(file: &OwnedFd) -> io::Result<NonNull<AtomicU32>> {
    // SAFETY: a new mapping, at an address that the kernel chooses.
    let at = unsafe {
        rustix::mm::mmap(ptr::null_mut(), SIZE, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, file.as_fd(), 0)
    }?;
    NonNull::new(at.cast()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

impl Note<'_> {
    /// The child that was made; 0 if there was none.
    pub(crate) fn pid(&self) -> u32 {
        self.word.load(Ordering::Relaxed)
    }
}

impl Drop for Note<'_> {
    fn drop(&mut self) {
        lock(&self.board.free).push(self.number);
    }
}
