//! Places of results that tell by themselves whether their result is there.
//!
//! To count items costs more than to do simple ones, and keeps the compiler from doing several of them with one instruction. So where a result is a
//! number of 64 bits, nobody counts. A worker fills the places of a *stretch* of items with a mark, says that it has, and does the items, in order,
//! while it fills those of the next stretch. Should it die, its results are found there, up to the first place that holds the mark yet: at that
//! item it died.
//!
//! - A result that happens to be the mark is taken for one that is not there. The mark is a random number, another one for each call.
//! - A result is one word, stored with one instruction: it is there or not.
//! - The compiler may do items together, or store their results later or in another order, only as far as nobody can tell. So when an item calls what the
//!   compiler does not see through, makes a system call, or releases something by an atomic, the results of those before are stored, and its own and those
//!   behind are not: what is behind the first mark has done nothing that can be seen, and may be done again. That this is so of every effect, a relaxed
//!   atomic's too, no rule says, but no compiler knows enough about the places to do otherwise (`tests/pool_items.rs` looks).
//! - An item that ends its worker by what is no effect, as by an overflow of the stack while the compiler knows that it has none, may be taken for one a few
//!   before it.

#![allow(unsafe_code)]

use std::any::TypeId;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering, compiler_fence};

use coproc::__private::Segment;
use coproc::{Plain, SharedArray};

use super::integer;

/// How many places are filled at once: they are in the processor's nearest cache when the results are stored.
pub(crate) const STRETCH: usize = 256;

/// Whether results of this type can be told from a mark, and `R`, what the function returns, is always one.
pub(crate) fn are_told_apart<T: 'static, R>() -> bool {
    let is_number = integer::is::<T>() || TypeId::of::<T>() == TypeId::of::<f64>();
    size_of::<T>() == 8 && is_number && TypeId::of::<T>() == typeid::of::<R>()
}

/// A mark for a call.
pub(crate) fn new_mark() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// The places of the results of a call, and its mark.
///
/// 1. From `first` on there are `count` words that may be written, in the memory of `_mapped`.
#[derive(Clone, Debug)]
pub(crate) struct Marks {
    first: NonNull<AtomicU64>,
    count: usize,
    mark: u64,
    /// Keeps them mapped.
    _mapped: Segment,
}

/// A place to have the mark put into it.
///
/// 1. It is one of those of [`Marks`], which live as long.
pub(crate) struct Unmarked<'a> {
    place: *mut u64,
    mark: u64,
    of: PhantomData<&'a Marks>,
}

impl Unmarked<'_> {
    #[inline(always)]
    pub(crate) fn set(self) {
        // SAFETY: it is mapped and may be written (invariant 1, and that of `Marks`). It is an atomic, so through a shared reference too; nobody else writes
        // it, and who reads it expects anything.
        unsafe { self.place.write(self.mark) };
    }
}

/// Has `say` tell that a stretch begins: its marks and the results of the last one are stored before, its own results after.
#[inline]
pub(crate) fn begin_stretch(say: impl FnOnce()) {
    // No instruction: this process may die, but who looks then sees what it has stored until then, in the order of the program.
    compiler_fence(Ordering::SeqCst);
    say();
    compiler_fence(Ordering::SeqCst);
}

// SAFETY: they are words that all processes may reach, mapped as long as this lives; who writes them has claimed the items.
unsafe impl Send for Marks {}
// SAFETY: as above.
unsafe impl Sync for Marks {}

impl Marks {
    /// In an array of numbers; `None` if its elements cannot be told from a mark.
    pub(crate) fn of_array<T: Plain>(array: &SharedArray<T>, mark: u64) -> Option<Self> {
        let elements = array.raw_elements();
        are_told_apart::<T, T>().then(|| Self {
            first: elements.cast(),
            count: elements.len(),
            mark,
            _mapped: array.segment().clone(),
        })
    }

    /// In the memory of a call, from this word on; `None` if there are not so many.
    pub(super) fn of_memory(words: &SharedArray<AtomicU64>, first: usize, count: usize, mark: u64) -> Option<Self> {
        let places = words.get(first..)?.get(..count)?;
        Some(Self { first: NonNull::from(places).cast(), count, mark, _mapped: words.segment().clone() })
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// These places, to have the mark put into them. They are this process's to write: it has claimed their items.
    #[inline(always)]
    pub(crate) fn places(&self, first: usize, last: usize) -> impl Iterator<Item = Unmarked<'_>> {
        let (all, mark) = (self.first.as_ptr().cast::<u64>(), self.mark);
        (first..last.min(self.count)).map(move |place| Unmarked { place: all.wrapping_add(place), mark, of: PhantomData })
    }

    /// The first of these places that holds the mark; `last` if none does.
    pub(crate) fn first_without(&self, first: usize, last: usize) -> usize {
        let last = last.min(self.count);
        // SAFETY: all places (invariant 1).
        let places = unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.count) };
        // Relaxed: their writer has died, and then the kernel stands in between; or only the progress of a call is asked for.
        let mut empty = (first..last).filter(|&place| places[place].load(Ordering::Relaxed) == self.mark);
        empty.next().unwrap_or(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_from_a_mark() {
        assert!(are_told_apart::<u64, u64>() && are_told_apart::<f64, f64>() && are_told_apart::<isize, isize>());
        assert!(!are_told_apart::<u32, u32>() && !are_told_apart::<[u32; 2], [u32; 2]>() && !are_told_apart::<char, char>());
        assert!(!are_told_apart::<u64, Result<u64, coproc::Error>>());
    }

    #[test]
    fn the_first_place_without_a_result() {
        let array = SharedArray::<u64>::zeroed(1000).unwrap();
        let marks = Marks::of_array(&array, 7).unwrap();
        marks.places(100, 356).for_each(Unmarked::set);
        assert_eq!([0, 99, 100, 200, 356].map(|first| marks.first_without(first, 1000)), [100, 100, 100, 200, 1000]);
        (100..150).for_each(|n| array.set(n, n as u64).unwrap());
        assert_eq!([marks.first_without(100, 356), marks.first_without(100, 140)], [150, 140]);
        // Bounds that somebody else has written.
        marks.places(990, usize::MAX).for_each(Unmarked::set);
        assert_eq!(marks.places(usize::MAX, 3).count(), 0);
        assert_eq!([marks.first_without(990, usize::MAX), marks.first_without(usize::MAX, 2)], [990, 2]);
        assert_ne!(new_mark(), new_mark());
    }
}
