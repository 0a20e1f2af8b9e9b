//! How fast a lock goes round, for who waits for it.

use std::sync::atomic::{AtomicU32, Ordering};

use super::deadline::Deadline;

/// So many turns in a moment, and the owners do little else than take the lock.
const MANY: u32 = 8;
/// How often who waits gives way then. With half as many two processes take a tenth longer, and four with a few less; with twice as many the shares become unequal.
const STAY_AWAY: u32 = 16;

/// How often a lock was given back. Its owner counts, in the cache line that it has anyway. Nothing is decided on it but how long to stay away, so any number will do.
#[derive(Debug, Default)]
#[repr(transparent)]
pub(super) struct Turns(AtomicU32);

impl Turns {
    pub(super) const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// The owner gives the lock back.
    #[inline]
    pub(super) fn count(&self) {
        // Relaxed, and no exchange: one writes at a time, and a lost turn does no harm.
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// Lets this moment pass. If the lock goes round all the time meanwhile, some more, but not past the end: its owner has the cache line to itself, and
    /// whoever looks takes it away for as long as a dozen turns.
    pub(super) fn let_pass(&self, end: Deadline, moment: impl FnOnce()) {
        let before = self.0.load(Ordering::Relaxed);
        moment();
        if self.0.load(Ordering::Relaxed).wrapping_sub(before) >= MANY {
            for _ in 0..STAY_AWAY {
                if end.has_passed() {
                    break;
                }
                std::thread::yield_now();
            }
        }
    }
}
