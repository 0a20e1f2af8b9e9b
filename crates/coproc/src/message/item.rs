//! How an item is read.

#![allow(unsafe_code)]

use std::marker::PhantomData;

use super::copy::read_out;
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

/// The item at this place, or else this error: made where the result lies, in one copy if it is plain data.
///
/// # Safety
/// There are `T::SIZE` bytes to read, which no code of this crate writes meanwhile. Whoever does so all the same can make it another item, but nothing
/// that is not one.
#[inline(always)]
pub(crate) unsafe fn item_at<T: Item, E>(bytes: *const u8, bad: E) -> Result<T, E> {
    match T::PLAIN {
        Some(IsPlain(_)) => {
            const { assert!(T::PLAIN.is_none() || T::SIZE == size_of::<T>()) };
            // SAFETY: as the caller says; every bit pattern is a value of plain data, whose bytes these are (`IsPlain` proves it).
            Ok(unsafe { read_out(bytes) })
        }
        // SAFETY: as the caller says.
        None => T::read(&mut unsafe { Reader::raw(bytes, T::SIZE, &[]) }).ok_or(bad),
    }
}
