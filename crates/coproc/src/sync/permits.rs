//! The words of a semaphore: which permits exist, and who holds those that have no place of their own.

use std::sync::atomic::{AtomicU64, Ordering};

use super::error::TryLockError;
use super::lock::{Patience, RawLock};
use super::tally::Tally;

/// So many permits have a place of their own. As many as there are bits in half of [`Made`].
pub(super) const PLACES: usize = 32;
/// How many processes can hold permits beyond those at the same time; a further one waits.
pub(super) const HOLDERS: usize = 32;

const ALL: u32 = u32::MAX >> (32 - PLACES);

/// The word of a place whose permit this process holds.
#[inline]
pub(super) fn held_by(holder: u64) -> u64 {
    Tally::of(holder, 1).0
}

/// Which permits exist, whoever holds them. One word, so each change of it is whole or has not happened.
///
/// | bits | content |
/// |---|---|
/// | 0–31 | a bit for each permit that has a place |
/// | 32–63 | how many there are beyond those |
#[derive(Clone, Copy, Debug)]
pub(super) struct Made(pub(super) u64);

impl Made {
    pub(super) const NONE: Self = Self(0);

    /// The permits with a place, a bit each. No bit is the number of a place that there is not, whatever the word is.
    #[inline]
    pub(super) const fn placed(self) -> u32 {
        self.0 as u32 & ALL
    }

    #[inline]
    pub(super) const fn beyond(self) -> u64 {
        self.0 >> 32
    }

    /// With so many more; `None` if that is more than the bound. Places come first.
    pub(super) const fn with(self, more: u32, bound: u32) -> Option<Self> {
        let mut placed = self.placed();
        if placed.count_ones() as u64 + self.beyond() + more as u64 > bound as u64 {
            return None;
        }
        let mut left = more;
        while left > 0 && placed != ALL {
            // The lowest bit that is not set.
            placed |= placed + 1;
            left -= 1;
        }
        // Fits: all together are not more than the bound.
        Some(Self((self.beyond() + left as u64) << 32 | placed as u64))
    }

    /// Without the permit of this place, or if that is none, without one beyond.
    pub(super) const fn without(self, index: usize) -> Self {
        if index < PLACES { Self(self.0 & !(1 << index)) } else { Self(self.0 - (((self.beyond() > 0) as u64) << 32)) }
    }
}

/// Who holds how many of the permits that have no place. They are taken under the lock, so that no two take the last one. Nothing is ever
/// half done under it: every change is one exchange.
#[repr(C)]
pub(super) struct Shares {
    lock: RawLock,
    /// A [`Tally`] each.
    slots: [AtomicU64; HOLDERS],
}

impl Shares {
    pub(super) const fn new() -> Self {
        Self { lock: RawLock::new(), slots: [const { AtomicU64::new(0) }; HOLDERS] }
    }

    pub(super) fn slots(&self) -> &[AtomicU64] {
        &self.slots
    }

    /// How many are held.
    pub(super) fn held(&self) -> u64 {
        // Acquire: pairs with the Release in `give`; what the last holder did, and that it forgot the permit if it did.
        self.slots.iter().map(|slot| Tally(slot.load(Ordering::Acquire)).count()).sum()
    }

    /// Takes one of those that exist (`made`), and tells the slot; `None` if none is free, or no slot.
    pub(super) fn take(
        &self,
        holder: u64,
        patience: Patience,
        made: impl FnOnce() -> u64,
    ) -> Result<Option<usize>, TryLockError> {
        // That a former owner of the lock died does not matter: it left nothing half done.
        let _lock = self.lock.hold(patience)?;
        // Those held first: a permit that is forgotten meanwhile exists no more before it is held no more, so what is seen is never too much.
        let held = self.held();
        if held >= made() {
            return Ok(None);
        }
        let more = |word| Tally(word).one_more_of(holder).map(|more| more.0);
        let taken = |index: &usize| self.slots[*index].fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        Ok(self.slot(holder).filter(taken))
    }

    /// Gives one back that this process holds in this slot.
    pub(super) fn give(&self, index: usize, holder: u64) {
        let less = |word: u64| {
            let tally = Tally(word);
            (tally.owner() == holder).then_some(if tally.count() <= 1 { 0 } else { word - 1 })
        };
        if let Some(slot) = self.slots.get(index) {
            // Release: pairs with the Acquire in `held`; what the holder did.
            let _ = slot.fetch_update(Ordering::Release, Ordering::Relaxed, less);
        }
    }

    /// Whether this process has a slot, or finds one, that can count one more.
    pub(super) fn has_room(&self, holder: u64) -> bool {
        let has_room = |index: usize| Tally(self.slots[index].load(Ordering::Relaxed)).one_more_of(holder).is_some();
        self.slot(holder).is_some_and(has_room)
    }

    /// The slot of this process, or else an empty one.
    fn slot(&self, holder: u64) -> Option<usize> {
        let of = |holder| self.slots.iter().position(|slot| Tally(slot.load(Ordering::Relaxed)).owner() == holder);
        of(holder).or_else(|| of(0))
    }

    pub(super) fn leave(&self) {
        self.lock.leave();
    }
}

/// Makes these words nobody's where they are such a process's. `false` if none is.
pub(super) fn empty<'a>(words: impl Iterator<Item = &'a AtomicU64>, mut of: impl FnMut(u64) -> bool) -> bool {
    let mut any = false;
    for at in words {
        let word = at.load(Ordering::Relaxed);
        // Exactly the word that was looked at: it may have got another holder meanwhile.
        // Release: pairs with the Acquire of who holds next; what is known here of the last holder.
        any |= word != 0 && of(Tally(word).owner()) && at.compare_exchange(word, 0, Ordering::Release, Ordering::Relaxed).is_ok();
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_first() {
        let made = Made::NONE.with(3, u32::MAX).unwrap();
        assert_eq!((made.placed(), made.beyond()), (0b111, 0));
        let made = made.without(1).with(32, u32::MAX).unwrap();
        assert_eq!((made.placed(), made.beyond()), (u32::MAX, 2));
        let made = made.without(PLACES).without(31);
        assert_eq!((made.placed(), made.beyond()), (u32::MAX >> 1, 1));
    }

    #[test]
    fn never_more_than_the_bound() {
        assert!(Made::NONE.with(4, 3).is_none());
        let three = Made::NONE.with(3, 3).unwrap();
        assert!(three.with(1, 3).is_none());
        assert_eq!(three.with(0, 3).unwrap().0, three.0);
        assert!(three.without(0).with(1, 3).is_some());
        let most = Made::NONE.with(u32::MAX, u32::MAX).unwrap();
        assert_eq!(most.beyond(), u64::from(u32::MAX) - 32);
        assert!(most.with(1, u32::MAX).is_none());
    }

    #[test]
    fn any_word_is_counted_without_a_panic() {
        for word in [0, 1, u64::MAX, 1 << 63, 0xffff_ffff, 0xffff_ffff << 32] {
            for more in [0, 1, 33, u32::MAX] {
                let _ = Made(word).with(more, u32::MAX);
            }
            for index in [0, 31, 32, usize::MAX] {
                let _ = Made(word).without(index);
            }
        }
        assert_eq!(Made::NONE.without(PLACES).0, 0);
    }
}
