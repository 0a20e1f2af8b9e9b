//! Truth values that any byte is a value of.

#![allow(unsafe_code)]

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::layout::Layout;
use crate::plain::Plain;
use crate::shareable::{Direct, Locked, Shareable};

/// A `bool` as plain data: one byte, of which every value but zero means true.
///
/// ```
/// let flag = coproc::Flag::from(true);
/// assert!(flag.get());
/// ```
#[derive(Clone, Copy, Default)]
#[repr(transparent)]
pub struct Flag(u8);

impl Flag {
    /// A flag of this value.
    pub const fn new(value: bool) -> Self {
        Self(value as u8)
    }

    /// The value.
    pub const fn get(self) -> bool {
        self.0 != 0
    }

    /// Changes the value.
    pub const fn set(&mut self, value: bool) {
        self.0 = value as u8;
    }
}

// SAFETY: 1, 2, 4: a single byte, of which every value is valid; 3: by name.
unsafe impl Shareable for Flag {
    type Access = Locked;
    const LAYOUT: u64 = Layout::of::<Self>("Flag").hash();
}
// SAFETY: as above, 4.
unsafe impl Plain for Flag {}

impl From<bool> for Flag {
    fn from(value: bool) -> Self {
        Self::new(value)
    }
}

impl From<Flag> for bool {
    fn from(flag: Flag) -> Self {
        flag.get()
    }
}

impl PartialEq for Flag {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for Flag {}

impl fmt::Debug for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// An `AtomicBool` that any byte is a value of: every value but zero means true.
///
/// ```
/// use coproc::{AtomicFlag, SharedValue};
/// use std::sync::atomic::Ordering::Relaxed;
///
/// let stop = SharedValue::<AtomicFlag>::zeroed()?;
/// stop.store(true, Relaxed);
/// assert!(stop.load(Relaxed));
/// # Ok::<(), coproc::Error>(())
/// ```
#[derive(Default)]
#[repr(transparent)]
pub struct AtomicFlag(AtomicU8);

impl AtomicFlag {
    /// A flag of this value.
    pub const fn new(value: bool) -> Self {
        Self(AtomicU8::new(value as u8))
    }

    /// The value.
    pub fn load(&self, order: Ordering) -> bool {
        self.0.load(order) != 0
    }

    /// Changes the value.
    pub fn store(&self, value: bool, order: Ordering) {
        self.0.store(u8::from(value), order);
    }

    /// Changes the value and returns the one before.
    pub fn swap(&self, value: bool, order: Ordering) -> bool {
        self.0.swap(u8::from(value), order) != 0
    }
}

// SAFETY: 1, 2, 5: a single atomic byte, of which every value is valid; 3: by name.
unsafe impl Shareable for AtomicFlag {
    type Access = Direct;
    const LAYOUT: u64 = Layout::of::<Self>("AtomicFlag").hash();
}

impl fmt::Debug for AtomicFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.load(Ordering::Relaxed).fmt(f)
    }
}
