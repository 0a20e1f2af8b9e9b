//! A count and whose it is, in one word, so that both change at once.

/// How many, and whose: a process's by its identity, or a round's by its number.
///
/// | bits | content |
/// |---|---|
/// | 0–23 | how many |
/// | 24–63 | whose; 0 is nobody's |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tally(pub(crate) u64);

const OWNER_SHIFT: u32 = 24;

impl Tally {
    /// The largest count.
    pub(crate) const MOST: u64 = (1 << OWNER_SHIFT) - 1;

    /// So many, at most [`MOST`](Self::MOST), of this owner; of a larger number than fits, the lower bits.
    #[inline]
    pub(crate) const fn of(owner: u64, count: u64) -> Self {
        Self(owner << OWNER_SHIFT | count)
    }

    #[inline]
    pub(crate) const fn owner(self) -> u64 {
        self.0 >> OWNER_SHIFT
    }

    #[inline]
    pub(crate) const fn count(self) -> u64 {
        self.0 & Self::MOST
    }

    /// How many of these are this owner's.
    #[inline]
    pub(crate) const fn count_of(self, owner: u64) -> u64 {
        if self.owner() == owner { self.count() } else { 0 }
    }

    /// One more, all of this owner: another's count no longer. `None` if it cannot count as many.
    #[inline]
    pub(crate) fn one_more_of(self, owner: u64) -> Option<Self> {
        let count = self.count_of(owner);
        (count < Self::MOST).then_some(Self::of(owner, count + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        for (owner, count) in [(0, 0), (1, 0), (1, Tally::MOST), ((1 << 40) - 1, 7)] {
            let tally = Tally::of(owner, count);
            assert_eq!((tally.owner(), tally.count(), tally.count_of(owner)), (owner, count, count));
            assert_eq!(tally.count_of(owner + 1), 0);
        }
    }

    #[test]
    fn one_more_is_of_one_owner_and_never_too_many() {
        assert_eq!(Tally(0).one_more_of(5), Some(Tally::of(5, 1)));
        assert_eq!(Tally::of(5, 3).one_more_of(5), Some(Tally::of(5, 4)));
        assert_eq!(Tally::of(5, 3).one_more_of(6), Some(Tally::of(6, 1)));
        assert_eq!(Tally::of(5, Tally::MOST).one_more_of(5), None);
        assert_eq!(Tally::of(5, Tally::MOST).one_more_of(6), Some(Tally::of(6, 1)));
    }
}
