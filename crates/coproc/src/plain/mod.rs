//! Plain data: any bytes are a value of it, so it may be copied out of memory that others write.

#![allow(unsafe_code)]

mod code;
mod flag;
mod maybe;
mod readonly;
mod text;

pub use code::{Code, CodeEnum};
pub use flag::{AtomicFlag, Flag};
pub use maybe::Maybe;
pub use readonly::ReadOnly;
pub use text::{Text, TextTooLong};

use std::marker::PhantomData;

use crate::layout::Layout;
use crate::shareable::{Locked, Shareable};

/// Plain data: `repr(C)`, no padding, no pointers, and every bit pattern is a valid value.
///
/// Integers (also 128 bits wide, and `usize` on the 64-bit systems that are supported), floats, `()`, arrays of plain data and
/// `#[derive(Plain)]` structs are plain. `bool`, `char`, enums, `NonZero*`, `Duration` and tuples are not, because a killed or
/// hostile process may leave bytes behind that are no value of theirs: use [`Flag`], [`Code`], [`Maybe`], [`Text`].
///
/// ```
/// use coproc::{Flag, Plain, SharedArray};
///
/// #[derive(Clone, Copy, Plain)]
/// #[repr(C)]
/// struct Pixel { r: u8, g: u8, b: u8, set: Flag }
///
/// let picture = SharedArray::<Pixel>::zeroed(640 * 480)?;
/// picture.lock()?[7].set = true.into();
/// # Ok::<(), coproc::Error>(())
/// ```
///
/// # Safety
///
/// The fourth rule of [`Shareable`]: no padding, no interior mutability, every bit pattern valid, no pointers.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not plain data",
    label = "not every bit pattern of this type is a valid value, or it is not `Copy` data of fixed size",
    note = "plain data: integers, floats, `()`, arrays of these, and `#[derive(Clone, Copy, Plain)] #[repr(C)]` structs of these",
    note = "instead of `bool` use `Flag`, of an enum `Code<E>`, of `Option<T>` `Maybe<T>`, of `String` `Text<N>`, of `char` `u32`"
)]
pub unsafe trait Plain: Shareable<Access = Locked> + Copy {}

macro_rules! numbers {
    ($($t:ident)*) => {$(
        // SAFETY:
        // 1. Zero is a value. 2. A number is no pointer. 3. The hash is made from the name and the size.
        // 4. All bit patterns are valid, and a primitive number has no padding.
        unsafe impl Shareable for $t {
            type Access = Locked;
            const LAYOUT: u64 = Layout::of::<Self>(stringify!($t)).hash();
        }
        // SAFETY: as above, 4.
        unsafe impl Plain for $t {}
    )*};
}

numbers!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64);

// SAFETY: 1 to 4: it has no bytes.
unsafe impl Shareable for () {
    type Access = Locked;
    const LAYOUT: u64 = Layout::of::<Self>("unit").hash();
}
// SAFETY: it has no bytes.
unsafe impl Plain for () {}

// SAFETY: elements are plain, and an array has nothing between them.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}

// SAFETY: it has no bytes.
unsafe impl<T: Send + Sync + 'static> Plain for PhantomData<T> {}

/// The assertions of `#[derive(Plain)]` on a generic struct (no padding) fail where its layout is computed: here. To be called wherever
/// plain data is looked at as bytes.
pub(crate) const fn check_plain<T: Plain>() {
    let _ = T::LAYOUT;
}

/// The value whose bytes are all zero.
pub(crate) const fn zero<T: Plain>() -> T {
    // SAFETY: every bit pattern of plain data is a valid value.
    unsafe { std::mem::zeroed() }
}
