//! Plain data that is written once, before it is shared.

#![allow(unsafe_code)]

use std::fmt;
use std::ops::Deref;

use crate::layout::Layout;
use crate::plain::Plain;
use crate::shareable::{Direct, Shareable};

/// Plain data that no one changes once it is in a segment, readable without a lock.
///
/// It is a field of a `#[derive(Shareable)]` struct whose value is given to [`SharedValue::new`](crate::SharedValue::new).
/// A peer that breaks the protocol and writes it nonetheless can give us wrong values, as with every plain value.
///
/// ```
/// use coproc::{ReadOnly, Shareable, SharedValue};
/// use std::sync::atomic::AtomicU64;
///
/// #[derive(Shareable)]
/// #[repr(C)]
/// struct Job { next: AtomicU64, end: ReadOnly<u64> }
///
/// let job = SharedValue::new(Job { next: AtomicU64::new(0), end: ReadOnly::new(100) })?;
/// assert_eq!(*job.end, 100);
/// # Ok::<(), coproc::Error>(())
/// ```
#[derive(Clone, Copy, Default)]
#[repr(transparent)]
pub struct ReadOnly<T>(T);

impl<T: Plain> ReadOnly<T> {
    /// This value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }
}

impl<T: Plain> Deref for ReadOnly<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

// SAFETY:
// 1, 2. As for the plain data inside.
// 3. By name and nested layout.
// 5. It has no operation that writes; every bit pattern of plain data is valid to read.
unsafe impl<T: Plain> Shareable for ReadOnly<T> {
    type Access = Direct;
    const LAYOUT: u64 = Layout::of::<Self>("ReadOnly").number(T::LAYOUT).hash();
}

impl<T: Plain + fmt::Debug> fmt::Debug for ReadOnly<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
