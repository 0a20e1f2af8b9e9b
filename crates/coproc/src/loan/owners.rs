//! Who has which buffer: one word each.

#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::liveness;

/// The words of all buffers, in a segment.
///
/// | bits | content |
/// |---|---|
/// | 0–23 | 0 = free, 1 = HELD: a process has it on loan, 2 = SENT: it was sent, or is about to be |
/// | 24–63 | identity of the process that has it, or sent it; 0 if it is free |
///
/// 1. `first` is the start of `count` words, mapped as long as the segment, beside which this is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owners {
    first: NonNull<AtomicU64>,
    count: usize,
}

const FREE: u64 = 0;
const HELD: u64 = 1;
const SENT: u64 = 2;
const IDENTITY_SHIFT: u32 = 24;
const KIND: u64 = (1 << IDENTITY_SHIFT) - 1;

fn held_by(identity: u64) -> u64 {
    identity << IDENTITY_SHIFT | HELD
}

// SAFETY: it points to atomics that all threads and processes may reach.
unsafe impl Send for Owners {}
// SAFETY: as above.
unsafe impl Sync for Owners {}

impl Owners {
    /// # Safety
    /// From `first` on there are `count` words, aligned to 8 and writable, as long as this and its copies are used.
    pub(super) unsafe fn new(first: NonNull<u8>, count: usize) -> Self {
        Self { first: first.cast(), count }
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: invariant 1; any bytes are atomics.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.count) }
    }

    /// How many buffers are free at this moment.
    pub(super) fn available(&self) -> usize {
        self.words().iter().filter(|word| word.load(Ordering::Relaxed) == FREE).count()
    }

    pub(super) fn is_any_free(&self) -> bool {
        self.words().iter().any(|word| word.load(Ordering::Relaxed) == FREE)
    }

    /// Makes the first free buffer this process's; its number.
    pub(super) fn take(&self, me: u64) -> Option<usize> {
        self.words().iter().position(|word| {
            word.load(Ordering::Relaxed) == FREE
                // Acquire: pairs with the Release in `give_back` and `free`; what its last holder did with the bytes.
                && word.compare_exchange(FREE, held_by(me), Ordering::Acquire, Ordering::Relaxed).is_ok()
        })
    }

    /// Frees a buffer that this process has; `false` if it has not.
    pub(super) fn give_back(&self, index: usize, me: u64) -> bool {
        self.free(index, held_by(me))
    }

    /// Frees a buffer whose word is exactly this.
    pub(super) fn free(&self, index: usize, word: u64) -> bool {
        // Release: pairs with the Acquire in `take`; what was done with the bytes.
        self.words()[index].compare_exchange(word, FREE, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// Says of a buffer that this process has that it is sent. Before it is: who dies in between leaves a buffer that is not
    /// inside.
    pub(super) fn mark_sent(&self, index: usize, me: u64) {
        // Relaxed: whoever receives it sees this by the slot's sequence.
        self.words()[index].store(me << IDENTITY_SHIFT | SENT, Ordering::Relaxed);
    }

    /// Makes a buffer that is inside this process's. `false` if it cannot be inside: then somebody has it, and it stays as it is.
    ///
    /// Under the receivers' lock, so that nobody else does.
    pub(super) fn receive(&self, index: usize, me: u64) -> bool {
        let word = &self.words()[index];
        let next = |seen: u64| {
            let sender = seen >> IDENTITY_SHIFT;
            let is_inside = match seen & KIND {
                SENT => true,
                // Left by a receiver that was killed before it took the item out.
                HELD => sender != me && !is_alive(word, sender),
                _ => false,
            };
            is_inside.then_some(held_by(me))
        };
        // Relaxed: the bytes, and the sender's word, come by the slot's sequence.
        word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }

    /// The words that name dead processes, by the number of the buffer; 0 for the others.
    pub(super) fn of_the_dead(&self) -> Vec<u64> {
        // Neighbours are often the same process's, and the kernel need not be asked twice.
        let mut last = (0, true);
        let of_the_dead = |word: &AtomicU64| {
            let seen = word.load(Ordering::Relaxed);
            let owner = seen >> IDENTITY_SHIFT;
            if seen != FREE && last.0 != owner {
                last = (owner, is_alive(word, owner));
            }
            if seen == FREE || last.1 { 0 } else { seen }
        };
        self.words().iter().map(of_the_dead).collect()
    }
}

fn is_alive(word: &AtomicU64, identity: u64) -> bool {
    liveness::is_alive((&raw const *word).cast(), identity)
}
