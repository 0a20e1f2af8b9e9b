//! A field-less enum whose bytes are checked when they are read.

#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;

use crate::layout::Layout;
use crate::plain::Plain;
use crate::shareable::{Locked, Shareable};

/// A field-less `#[repr(u8)]` enum that [`Code`] can hold. Derive it: `#[derive(Clone, Copy, Code)] #[repr(u8)] enum ..`.
pub trait CodeEnum: Copy + Send + Sync + 'static {
    /// The layout hash: variant names and numbers.
    const LAYOUT: u64;

    /// The number of this variant.
    fn to_code(self) -> u8;

    /// The variant of this number, if there is one.
    fn from_code(code: u8) -> Option<Self>;
}

/// An enum as plain data: one byte, checked when it is read.
///
/// ```
/// use coproc::{Code, SharedValue};
///
/// #[derive(Clone, Copy, Debug, PartialEq, Code)]
/// #[repr(u8)]
/// enum Mode { Idle, Busy = 7 }
///
/// let mode = SharedValue::new(Code::new(Mode::Busy))?;
/// assert_eq!(mode.get()?.get(), Some(Mode::Busy));
/// # Ok::<(), coproc::Error>(())
/// ```
#[repr(transparent)]
pub struct Code<E> {
    code: u8,
    of: PhantomData<E>,
}

impl<E: CodeEnum> Code<E> {
    /// The code of this variant.
    pub fn new(variant: E) -> Self {
        Self { code: variant.to_code(), of: PhantomData }
    }

    /// The variant, or `None` if the byte is the number of none: bytes of a killed or hostile process, or the zero of fresh
    /// memory where no variant is 0.
    pub fn get(self) -> Option<E> {
        E::from_code(self.code)
    }

    /// Changes the variant.
    pub fn set(&mut self, variant: E) {
        *self = Self::new(variant);
    }
}

impl<E> Clone for Code<E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Code<E> {}

// SAFETY: 1, 2, 4: a single byte, of which every value is valid; 3: by name and the enum's layout.
unsafe impl<E: CodeEnum> Shareable for Code<E> {
    type Access = Locked;
    const LAYOUT: u64 = Layout::of::<Self>("Code").number(E::LAYOUT).hash();
}
// SAFETY: as above, 4.
unsafe impl<E: CodeEnum> Plain for Code<E> {}

impl<E: CodeEnum> From<E> for Code<E> {
    fn from(variant: E) -> Self {
        Self::new(variant)
    }
}

impl<E> PartialEq for Code<E> {
    fn eq(&self, other: &Self) -> bool {
        self.code == other.code
    }
}

impl<E> Eq for Code<E> {}

impl<E: CodeEnum + fmt::Debug> fmt::Debug for Code<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.get() {
            Some(variant) => variant.fmt(f),
            None => write!(f, "<no variant: {}>", self.code),
        }
    }
}
