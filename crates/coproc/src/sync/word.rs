//! The 64 bits of a lock, packed.

use crate::liveness::Thread;

/// The state of a lock.
///
/// | bits | content |
/// |---|---|
/// | 0–21 | thread id of the owner, 0 = free |
/// | 22 | WAIT: somebody sleeps, or is about to; who unlocks wakes one |
/// | 23 | POISON: an owner died or panicked, and nobody has repaired the data since |
/// | 24–63 | identity of the owner's process; in a free and poisoned word, of the process that poisoned it |
///
/// The low half is the futex word. That it holds thread id *and* WAIT is what makes sleeping safe: a sleeper whose low half still
/// matches knows that the lock is held and that whoever unlocks it will wake, whichever owner that is by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(pub(super) u64);

const THREAD: u64 = (1 << 22) - 1;
const WAIT: u64 = 1 << 22;
const POISON: u64 = 1 << 23;
const IDENTITY_SHIFT: u32 = 24;

impl Word {
    pub(super) const FREE: Self = Self(0);

    /// Free, and poisoned by a thread of the process of this identity.
    pub(super) fn poisoned_by(identity: u64) -> Self {
        Self(POISON | identity << IDENTITY_SHIFT)
    }

    /// Held by this thread, as nobody waits and nothing is poisoned.
    pub(super) fn held_by(thread: Thread) -> Self {
        Self(thread.bits())
    }

    pub(super) fn is_free(self) -> bool {
        self.0 & THREAD == 0
    }

    pub(super) fn is_poisoned(self) -> bool {
        self.0 & POISON != 0
    }

    pub(super) fn has_sleepers(self) -> bool {
        self.0 & WAIT != 0
    }

    pub(super) fn is_owned_by(self, thread: Thread) -> bool {
        self.0 & !(WAIT | POISON) == thread.bits()
    }

    /// Whether this code could have written it.
    pub(super) fn is_possible(self) -> bool {
        if self.is_free() { !self.has_sleepers() && self.is_poisoned() == (self.identity() != 0) } else { self.identity() != 0 }
    }

    pub(super) fn identity(self) -> u64 {
        self.0 >> IDENTITY_SHIFT
    }

    pub(super) fn thread_id(self) -> u32 {
        (self.0 & THREAD) as u32
    }

    /// This word with the thread as its owner: poison stays.
    pub(super) fn taken_by(self, thread: Thread) -> Self {
        Self(thread.bits() | self.0 & POISON)
    }

    /// This word with the mark that somebody sleeps.
    pub(super) fn with_sleepers(self) -> Self {
        Self(self.0 | WAIT)
    }

    /// This word with the mark that the data may be torn.
    pub(super) fn with_poison(self) -> Self {
        Self(self.0 | POISON)
    }

    /// What the futex compares.
    pub(super) fn low_half(self) -> u32 {
        self.0 as u32
    }
}
