//! Where the inputs and the results of items lie, for who reads or fills many.

#![allow(unsafe_code)]

use std::marker::PhantomData;

use coproc::{Message, Reader, Writer};

use super::block::Block;

/// A place for each item, of one size.
///
/// 1. From `first` on there are `items` places of `size` bytes, in memory that is mapped for `'a`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places<'a> {
    pub(super) first: *mut u8,
    pub(super) size: usize,
    pub(super) items: usize,
    pub(super) of: PhantomData<&'a Block>,
}

impl<'a> Places<'a> {
    fn at(self, item: usize) -> Option<*mut u8> {
        // Without overflow: the product is within the memory.
        (item < self.items).then(|| self.first.wrapping_add(item * self.size))
    }

    /// How many there are.
    pub(crate) fn count(self) -> usize {
        self.items
    }

    /// The places of these items, for messages of this type; `None` if they are not of its size, or not all there.
    pub(crate) fn part<M: Message>(self, first: usize, last: usize) -> Option<Room<'a, M>> {
        let fits = M::BOUND == Some(self.size) && first < last && last <= self.items;
        let at = self.at(first).filter(|_| fits)?;
        Some(Room { at, left: last - first, of: PhantomData })
    }

    /// A reader of what is there.
    #[inline]
    pub(crate) fn reader(self, item: usize) -> Option<Reader<'a>> {
        let at = self.at(item)?;
        // SAFETY: `size` bytes from there on are in mapped memory (invariant 1).
        Some(unsafe { Reader::raw(at, self.size, &[]) })
    }
}

/// Places one after the other, to be filled.
///
/// 1. From `at` on there are `left` places of `M::BOUND` bytes, in memory that is mapped for `'a`.
#[derive(Debug)]
pub(crate) struct Room<'a, M> {
    at: *mut u8,
    left: usize,
    of: PhantomData<&'a M>,
}

/// A place to be filled: `M::BOUND` bytes from there on, in memory that is mapped for `'a`.
pub(crate) struct Place<'a, M>(*mut u8, PhantomData<&'a M>);

impl<M: Message> Room<'_, M> {
    pub(crate) fn len(&self) -> usize {
        self.left
    }

    /// The first of these places, without those behind them; the others are left.
    pub(crate) fn split_off_first(&mut self, count: usize) -> Self {
        let first = Self { at: self.at, left: count.min(self.left), of: PhantomData };
        self.at = self.at.wrapping_add(first.left * M::BOUND.unwrap_or(0));
        self.left -= first.left;
        first
    }
}

impl<'a, M: Message> Iterator for Room<'a, M> {
    type Item = Place<'a, M>;

    #[inline]
    fn next(&mut self) -> Option<Place<'a, M>> {
        self.left = self.left.checked_sub(1)?;
        let place = Place(self.at, PhantomData);
        self.at = self.at.wrapping_add(M::BOUND.unwrap_or(0));
        Some(place)
    }
}

impl<M: Message> Place<'_, M> {
    /// Stores a message; a number with one instruction.
    #[inline(always)]
    pub(crate) fn store(self, value: M) {
        if M::PLAIN.is_some() && M::BOUND == Some(size_of::<M>()) {
            // SAFETY: so many bytes from there on are in mapped memory (invariant); they are atomics, so they may be written through a shared
            // reference; the item is this process's to write, so its place too.
            unsafe { self.0.cast::<M>().write_unaligned(value) };
        } else {
            // SAFETY: as above.
            value.write(&mut unsafe { Writer::slot(self.0, M::BOUND.unwrap_or(0)) });
        }
    }
}
