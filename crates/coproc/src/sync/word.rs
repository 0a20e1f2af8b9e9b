//! The 64 bits of a lock, packed.

use crate::liveness::Thread;

/// Who has a lock.
///
/// | bits | content |
/// |---|---|
/// | 0–21 | thread id of the owner, 0 = free |
/// | 22 | always 0 |
/// | 23 | POISON: an owner died or panicked, and nobody has repaired the data since |
/// | 24–63 | identity of the owner's process; in a free and poisoned word, of the process that poisoned it |
///
/// While the owner lives nobody else writes the word, so the owner may give the lock back by a plain store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(pub(super) u64);

const THREAD: u64 = (1 << 22) - 1;
pub(super) const UNUSED: u64 = 1 << 22;
pub(super) const POISON: u64 = 1 << 23;
const IDENTITY_SHIFT: u32 = 24;

impl Word {
    pub(super) const FREE: Self = Self(0);

    /// Free, and poisoned by a thread of the process of this identity.
    #[inline]
    pub(super) fn poisoned_by(identity: u64) -> Self {
        Self(POISON | identity << IDENTITY_SHIFT)
    }

    /// Held by this thread, and not poisoned.
    #[inline]
    pub(super) fn held_by(thread: Thread) -> Self {
        Self(thread.bits())
    }

    pub(super) fn is_free(self) -> bool {
        self.0 & THREAD == 0
    }

    pub(super) fn is_poisoned(self) -> bool {
        self.0 & POISON != 0
    }

    /// Identity and thread id alone.
    #[inline]
    pub(super) fn owner_bits(self) -> u64 {
        self.0 & !POISON
    }

    pub(super) fn is_owned_by(self, thread: Thread) -> bool {
        self.owner_bits() == thread.bits()
    }

    /// Whether this code could have written it.
    pub(super) fn is_possible(self) -> bool {
        self.0 & UNUSED == 0 && if self.is_free() { self.is_poisoned() == (self.identity() != 0) } else { self.identity() != 0 }
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

    /// This word with the processes of a lease as its owner.
    pub(super) fn lent_to(self, lease: u64) -> Self {
        Self(self.0 & (THREAD | POISON) | lease << IDENTITY_SHIFT)
    }

    /// This word with the mark that the data may be torn.
    pub(super) fn with_poison(self) -> Self {
        Self(self.0 | POISON)
    }
}
