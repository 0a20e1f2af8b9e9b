//! An optional value that any bytes are a value of.

#![allow(unsafe_code)]

use std::fmt;

use crate::layout::Layout;
use crate::plain::{Plain, check_plain, zero};
use crate::shareable::{Locked, Shareable};

/// An `Option<T>` as plain data, twice as large as `T`.
///
/// The mark has the type of the value, because that is the one size that leaves no padding for any `T`: all its bytes zero
/// means none, anything else means some.
///
/// ```
/// let best = coproc::Maybe::some(7_u32);
/// assert_eq!(best.get(), Some(7));
/// ```
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Maybe<T> {
    mark: T,
    value: T,
}

impl<T: Plain> Maybe<T> {
    const SIZED: () = {
        assert!(size_of::<T>() > 0, "`Maybe<T>` needs a `T` that has bytes: use `Flag`");
        check_plain::<T>();
    };

    /// No value.
    pub fn none() -> Self {
        let () = Self::SIZED;
        Self { mark: zero(), value: zero() }
    }

    /// This value.
    pub fn some(value: T) -> Self {
        let mut all = Self::none();
        all.value = value;
        // SAFETY: `mark` is plain data of at least one byte (`SIZED`), so its first byte may be any.
        unsafe { (&raw mut all.mark).cast::<u8>().write(1) };
        all
    }

    /// The value, if there is one.
    pub fn get(&self) -> Option<T> {
        let () = Self::SIZED;
        let mark = (&raw const self.mark).cast::<u8>();
        // SAFETY: plain data has no padding, so all its bytes are initialised; they are borrowed through `self`.
        let bytes = unsafe { std::slice::from_raw_parts(mark, size_of::<T>()) };
        bytes.iter().any(|&byte| byte != 0).then_some(self.value)
    }

    /// Whether there is a value.
    pub fn is_some(&self) -> bool {
        self.get().is_some()
    }

    /// Replaces the value.
    pub fn set(&mut self, value: Option<T>) {
        *self = value.into();
    }
}

// SAFETY: 1, 2, 4: two fields of the same plain type with nothing between them; 3: by name and nested layout.
unsafe impl<T: Plain> Shareable for Maybe<T> {
    type Access = Locked;
    const LAYOUT: u64 = Layout::of::<Self>("Maybe").number(T::LAYOUT).hash();
}
// SAFETY: as above, 4.
unsafe impl<T: Plain> Plain for Maybe<T> {}

impl<T: Plain> From<Option<T>> for Maybe<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or_else(Self::none, Self::some)
    }
}

impl<T: Plain> Default for Maybe<T> {
    fn default() -> Self {
        Self::none()
    }
}

impl<T: Plain + PartialEq> PartialEq for Maybe<T> {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for Maybe<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::Maybe;

    #[test]
    fn zero_is_none_and_zero_can_be_some() {
        assert_eq!(Maybe::<u32>::none().get(), None);
        assert_eq!(Maybe::some(0_u32).get(), Some(0));
        assert_eq!(Maybe::from(Some([0_u8; 3])).get(), Some([0; 3]));
    }
}
