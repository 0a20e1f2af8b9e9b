//! The board on which a family's deaths are told, for those who have slept for long.
//!
//! A keeper thread sees the end of each child that its process has started; it counts it here and wakes who sleeps on the count; so does a process that gives up
//! an object of which it matters who has it. Who sleeps so need
//! not look by itself, as long as every member is watched: it is another's child, or the family's founder, whose end is the end of all its children. Who comes in by
//! another way, as a forked process or a stranger does, is watched by nobody. It says so here first, and wakes the sleepers: from then on they look by themselves.
//!
//! The kernel's lock table alone says who is alive. What stands here only says when to ask: a wrong number costs a look, or at most a second.

#![allow(unsafe_code)]

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, Ordering};

use memmap2::{MmapOptions, MmapRaw};

use crate::sys::{self, futex};

/// Size of the board in the registry file.
pub(super) const SIZE: u64 = 4096;

/// Behind the family's number.
const AT: usize = 64;

/// A board, mapped.
#[derive(Debug)]
pub(crate) struct Board(MmapRaw);

#[derive(Debug, Default)]
#[repr(C)]
struct Counts {
    /// How many children have ended, processes have given something up, or strangers have come.
    deaths: AtomicU32,
    /// How many members there have been whom nobody watches.
    strangers: AtomicU32,
}

impl Board {
    /// The board at this offset of a registry file; `None` if there is none, or the file could be cut off below it.
    pub(super) fn map(file: BorrowedFd<'_>, at: u64) -> Option<Self> {
        let (_, len) = sys::file::identity(file).ok()?;
        if len < at + SIZE || !sys::file::seals(file).0 {
            return None;
        }
        let options = MmapOptions::new().offset(at).len(SIZE as usize).to_owned();
        options.map_raw(&file).ok().map(Self)
    }

    fn counts(&self) -> &Counts {
        // SAFETY: the mapping is as large, stays as long as `self`, and its file cannot be cut off (`map`); any bytes are counts, and all
        // access to them is atomic.
        unsafe { &*self.0.as_mut_ptr().wrapping_add(AT).cast::<Counts>() }
    }

    /// Where sleepers sleep.
    pub(crate) fn word(&self) -> &AtomicU32 {
        &self.counts().deaths
    }

    /// How often there was something to tell. Read before the look after which to sleep.
    pub(crate) fn deaths(&self) -> u32 {
        // Acquire: pairs with the Release in `tell`; that there are strangers.
        self.counts().deaths.load(Ordering::Acquire)
    }

    /// Whether the end of every member is told here.
    pub(crate) fn is_complete(&self) -> bool {
        self.counts().strangers.load(Ordering::Relaxed) == 0
    }

    /// A member has come whom nobody watches.
    pub(super) fn admit_stranger(&self) {
        self.counts().strangers.fetch_add(1, Ordering::Relaxed);
        self.tell();
    }

    /// Something has happened after which sleepers are to look.
    pub(super) fn tell(&self) {
        // Release: pairs with the Acquire in `deaths`; that there are strangers. Of a death the kernel tells.
        self.counts().deaths.fetch_add(1, Ordering::Release);
        futex::wake_all(&self.counts().deaths);
    }
}
