//! How many slots a ring has, of which size, and how positions walk them.

use super::ring::{SEQUENCE, SLOTS};

/// Capacity and slot size: checked once, kept in private memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) capacity: usize,
    /// Size of an item's bytes.
    item: usize,
    /// How many bits of a position are its index; the rest is its lap.
    index_bits: u32,
}

impl Shape {
    pub(crate) fn new(capacity: usize, item: usize) -> Self {
        Self { capacity, item, index_bits: usize::BITS - (capacity - 1).leading_zeros() }
    }

    #[inline]
    pub(super) fn stride(self) -> usize {
        (SEQUENCE + self.item).next_multiple_of(SEQUENCE)
    }

    /// Size of the body, in bytes, if it can be counted.
    pub(crate) fn body(self) -> Option<usize> {
        let slot = self.item.checked_add(2 * SEQUENCE).filter(|&slot| slot < isize::MAX as usize).map(|_| self.stride())?;
        slot.checked_mul(self.capacity)?.checked_add(SLOTS)
    }

    /// Index of the position's slot; `None` if it is past the end.
    #[inline]
    pub(super) fn index(self, position: u64) -> Option<usize> {
        let index = (position & !(u64::MAX << self.index_bits)) as usize;
        (index < self.capacity).then_some(index)
    }

    #[inline]
    pub(super) fn lap(self, position: u64) -> u64 {
        position >> self.index_bits
    }

    #[inline]
    pub(super) fn next(self, position: u64) -> u64 {
        let mask = !(u64::MAX << self.index_bits);
        if (position & mask) as usize + 1 >= self.capacity {
            (position >> self.index_bits).wrapping_add(1) << self.index_bits
        } else {
            position + 1
        }
    }

    /// How far `to` is past `from`, in slots.
    pub(super) fn distance(self, from: u64, to: u64) -> i128 {
        let count = |position| i128::from(self.lap(position)) * self.capacity as i128 + self.index(position).unwrap_or(0) as i128;
        count(to) - count(from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_is_pinned() {
        assert_eq!(Shape::new(10, 8).body(), Some(384 + 160));
        assert_eq!(Shape::new(3, 9).stride(), 24);
        assert_eq!(Shape::new(usize::MAX, 8).body(), None);
    }

    #[test]
    fn positions_walk_every_slot_of_every_lap() {
        for capacity in [1, 2, 3, 5, 8, 100] {
            let shape = Shape::new(capacity, 0);
            let mut position = 0;
            for step in 0..3 * capacity {
                assert_eq!(shape.index(position), Some(step % capacity));
                assert_eq!(shape.lap(position), (step / capacity) as u64);
                assert_eq!(shape.distance(0, position), step as i128);
                position = shape.next(position);
            }
        }
    }
}
