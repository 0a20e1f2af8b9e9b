//! Where an item is read to.

#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::{Item, Reader};
use crate::plain::Plain;

/// Proof that a type is plain data, where that cannot be asked for. Only the impl for plain data can make one.
#[derive(Debug)]
#[doc(hidden)]
pub struct IsPlain<T>(PhantomData<T>);

impl<T: Plain> IsPlain<T> {
    pub(super) const fn proven() -> Self {
        Self(PhantomData)
    }
}

/// Room for an item that is read where it will stay: in one copy, if it is plain data.
#[derive(Debug)]
pub(crate) struct Landing<T> {
    room: MaybeUninit<T>,
    /// Whether `room` holds an item.
    is_full: bool,
}

impl<T: Item> Landing<T> {
    #[inline]
    pub(crate) fn new() -> Self {
        Self { room: MaybeUninit::uninit(), is_full: false }
    }

    /// Reads an item, if these bytes are one.
    #[inline]
    pub(crate) fn read(&mut self, from: &mut Reader<'_>) {
        self.is_full = match T::PLAIN {
            Some(IsPlain(_)) => {
                let bytes = self.room.as_mut_ptr().cast::<MaybeUninit<u8>>();
                // SAFETY: these are the bytes of `room`, exclusively borrowed.
                from.bytes(unsafe { std::slice::from_raw_parts_mut(bytes, size_of::<T>()) }).is_some()
            }
            None => T::read(from).map(|item| self.room.write(item)).is_some(),
        };
    }

    /// The item, if one was read.
    #[inline]
    pub(crate) fn into_item(self) -> Option<T> {
        // SAFETY: `read` has written it: as a value, or all bytes of plain data, of which every bit pattern is one (`IsPlain` proves it).
        self.is_full.then(|| unsafe { self.room.assume_init() })
    }
}
