//! Which types may lie in a segment, and how they are reached there.

#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::sync::atomic::{
    AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicIsize, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize,
};

use crate::layout::{Layout, PROTOCOL};
use crate::sync::WaitWord;

mod sealed {
    pub trait Sealed {}
}

/// How a shared value is reached: through a lock ([`Locked`]) or in place ([`Direct`]). Sealed.
pub trait Access: sealed::Sealed + 'static {
    #[doc(hidden)]
    const DIRECT: bool;
}

/// The access of plain data: a copy of it, or a `&mut` to it, is had only under a lock.
#[derive(Debug)]
pub enum Locked {}

/// The access of concurrent data (atomics, locks, structs of these): used in place through `&self`, by all processes at once.
#[derive(Debug)]
pub enum Direct {}

impl sealed::Sealed for Locked {}
impl sealed::Sealed for Direct {}
impl Access for Locked {
    const DIRECT: bool = false;
}
impl Access for Direct {
    const DIRECT: bool = true;
}

/// A type that may lie in memory shared between processes.
///
/// Do not implement it by hand: `#[derive(Plain)]` makes a struct of plain data, `#[derive(Shareable)]` a struct of concurrent data.
///
/// ```
/// use coproc::{Mutex, Plain, ReadOnly, Shareable, SharedValue};
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// #[derive(Clone, Copy, Plain)]
/// #[repr(C)]
/// struct Point { x: f64, y: f64 }
///
/// #[derive(Shareable)]
/// #[repr(C)]
/// struct State { seen: AtomicU64, last: Mutex<Point>, limit: ReadOnly<u64> }
///
/// let state = SharedValue::<State>::zeroed()?;
/// state.seen.fetch_add(1, Ordering::Relaxed);
/// state.last.lock()?.x = 1.5;
/// # Ok::<(), coproc::Error>(())
/// ```
///
/// # Safety
///
/// 1. The all-zero bytes are a valid value.
/// 2. The type holds no pointer, reference, descriptor or anything else that means something in one process only.
/// 3. `LAYOUT` differs between types whose bytes mean different things.
/// 4. If `Access = Locked`, every bit pattern is a valid value, there are no padding bytes and no interior mutability, and
///    dropping the value does nothing: a killed writer leaves torn data behind.
/// 5. If `Access = Direct`, every operation through `&self` is sound whatever bytes another process stored before, including
///    all those that no code of this type writes; and dropping the value does nothing.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot lie in shared memory",
    label = "not shareable between processes",
    note = "plain data may: integers, floats, arrays of these, `#[derive(Plain)]` structs; concurrent data may: atomics, `Mutex<T>`, `Event`, `Semaphore`, `ReadOnly<T>`, `#[derive(Shareable)]` structs",
    note = "instead of `bool` use `Flag` (or `AtomicFlag`), of an enum `Code<E>`, of `Option<T>` `Maybe<T>`, of `String` `Text<N>`, of `char` `u32`"
)]
pub unsafe trait Shareable: Sized + Send + Sync + 'static {
    /// [`Locked`] for plain data, [`Direct`] for concurrent data.
    type Access: Access;

    /// The structural hash of the type: equal for equal bytes.
    const LAYOUT: u64;

    /// Whether [`leave`](Self::leave) has anything to do; saves a walk over arrays of atomics.
    #[doc(hidden)]
    const LEAVES: bool = false;

    /// This process drops its last handle: gives up locks that it still holds through forgotten guards.
    #[doc(hidden)]
    fn leave(&self, _: &LastHandle) {}
}

/// Proof that this process drops its last handle of a segment, so that no guard of a lock there is left that could be used. Only the segment can make one.
#[derive(Debug)]
#[doc(hidden)]
pub struct LastHandle(());

impl LastHandle {
    /// # Safety
    /// As said.
    pub(crate) unsafe fn dropped() -> Self {
        Self(())
    }
}

macro_rules! atomics {
    ($($t:ident)*) => {$(
        // SAFETY:
        // 1. Zero is a valid value of every integer atomic.
        // 2. An integer holds no pointer.
        // 3. The hash is made from the name and the size.
        // 5. Every bit pattern is valid, and all access is atomic.
        unsafe impl Shareable for $t {
            type Access = Direct;
            const LAYOUT: u64 = Layout::of::<Self>(stringify!($t)).hash();
        }
    )*};
}

atomics!(AtomicI8 AtomicI16 AtomicI32 AtomicI64 AtomicIsize AtomicU8 AtomicU16 AtomicU32 AtomicU64 AtomicUsize);

// SAFETY: 1, 2, 4: each element keeps the promise for the access of `T`, an array adds nothing between them; 3: the
// hash is made from the element's and the length; 5: as 4.
unsafe impl<T: Shareable, const N: usize> Shareable for [T; N] {
    type Access = T::Access;
    const LAYOUT: u64 = Layout::of::<Self>("array").number(N as u64).number(T::LAYOUT).hash();
    const LEAVES: bool = T::LEAVES;

    fn leave(&self, last: &LastHandle) {
        if Self::LEAVES {
            self.iter().for_each(|element| element.leave(last));
        }
    }
}

// SAFETY:
// 1. Zero is a word on which nobody sleeps. 2. It holds one integer. 3. By name, size and protocol version.
// 5. Every bit pattern is valid, and all access is atomic.
unsafe impl Shareable for WaitWord {
    type Access = Direct;
    const LAYOUT: u64 = Layout::of::<Self>("WaitWord").number(PROTOCOL).hash();
}

// SAFETY: 1 to 5: it has no bytes.
unsafe impl<T: Send + Sync + 'static> Shareable for PhantomData<T> {
    type Access = Locked;
    const LAYOUT: u64 = Layout::of::<Self>("PhantomData").hash();
}

/// The layout of a field of plain data. The derives call it, once for each field.
#[doc(hidden)]
pub const fn plain_layout<T: crate::Plain>() -> u64 {
    T::LAYOUT
}

/// The layout of a field of concurrent data. The derives call it, once for each field.
#[doc(hidden)]
pub const fn direct_layout<T: DirectField>() -> u64 {
    T::LAYOUT
}

/// What a field of a `#[derive(Shareable)]` struct must be. Implemented for all concurrent types.
#[doc(hidden)]
pub trait DirectField: Shareable {}
impl<T: Shareable<Access: InPlace<T>>> DirectField for T {}

/// The access of a type that may be a field of a `#[derive(Shareable)]` struct: [`Direct`]. A trait of its own, because a mismatch of
/// `Access = Direct` would be reported without advice.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{T}` cannot be a field of a `#[derive(Shareable)]` struct",
    label = "plain data, which all processes would change at once",
    note = "put it under a lock, `Mutex<{T}>`, or, if it never changes, in `ReadOnly<{T}>`"
)]
pub trait InPlace<T>: Access {}
impl<T> InPlace<T> for Direct {}
