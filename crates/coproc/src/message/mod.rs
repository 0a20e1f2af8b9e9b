//! What crosses between processes by value: [`Message`], [`Item`], and what functions take ([`Arg`]) and return ([`Outcome`]).
//!
//! There is no format and no reflection: a value writes its bytes one after the other and its reader takes them in the same
//! order, checking each part. Both ends are the same build of the same type, which the layout hash or the spawn has checked.

#![allow(unsafe_code)]

mod arg;
mod copy;
mod foreign;
mod item;
mod outcome;
pub mod packets;
mod parcel;

pub use arg::Arg;
pub use item::IsPlain;
pub(crate) use item::item_at;
pub use outcome::{Failure, Outcome};
pub use parcel::{Handle, Parcel, Reader, Writer};

use std::mem::MaybeUninit;

use crate::plain::{Plain, check_plain};

/// A value that another process can receive: any [`Item`], `String`, `Vec` of messages, handles of shared objects, and
/// `#[derive(Message)]` structs and enums of these.
///
/// What is read is checked: bytes that are no value of the type are an error of the call that received them.
///
/// ```
/// use coproc::{Message, SharedValue};
///
/// #[derive(Message)]
/// enum Job { Name(String), Add { to: SharedValue<u64>, amounts: Vec<u64> } }
/// ```
#[diagnostic::on_unimplemented(
    message = "a `{Self}` cannot be sent to another process",
    label = "not a message",
    note = "messages are: plain data, `bool`, `char`, `String`, `Duration`, `Option`, `Result`, `Vec` and tuples of messages, handles of shared objects, and `#[derive(Message)]` types; nothing borrowed",
    note = "a function that never returns (`!`) says that it returns `()`"
)]
pub trait Message: Sized + 'static {
    /// The largest number of bytes that [`write`](Self::write) writes, if there is such a number and it writes no handle.
    const BOUND: Option<usize> = None;

    /// Writes the value.
    fn write(&self, to: &mut Writer<'_>);

    /// Reads a value that [`write`](Self::write) wrote; `None` if the bytes are no such value.
    fn read(from: &mut Reader<'_>) -> Option<Self>;

    /// Writes these values one after the other, for `Vec`. Plain data does it in one copy.
    #[doc(hidden)]
    fn write_each(values: &[Self], to: &mut Writer<'_>) {
        values.iter().for_each(|value| value.write(to));
    }

    /// Proof that it is plain data, if it is: then its bytes are its message.
    #[doc(hidden)]
    const PLAIN: Option<IsPlain<Self>> = None;

    /// Reads as many values as there is room for; `None` if one of them is none. Plain data does it in one copy.
    #[doc(hidden)]
    fn read_into(values: &mut [Self], from: &mut Reader<'_>) -> Option<()> {
        values.iter_mut().try_for_each(|value| Self::read(from).map(|read| *value = read))
    }

    /// Reads this many values.
    #[doc(hidden)]
    fn read_each(count: usize, from: &mut Reader<'_>) -> Option<Vec<Self>> {
        // A value has a byte at least, or is one of few; a length from outside must not decide how much is allocated.
        if count > from.remaining().max(1 << 16) {
            return None;
        }
        let mut values = Vec::with_capacity(count.min(1 << 10));
        for _ in 0..count {
            values.push(Self::read(from)?);
        }
        Some(values)
    }
}

/// A message of a bounded number of bytes without handles: what fits a slot of a [`Queue`](crate::Queue).
///
/// All plain data, `bool`, `char`, `NonZero*`, `Duration`, `Option`, `Result` and tuples of items, and `#[derive(Item)]` structs
/// and enums. For plain data it is one copy.
///
/// ```
/// use coproc::{Item, Queue};
///
/// #[derive(Clone, Copy, Debug, PartialEq, Item)]
/// enum Command { Stop, Move { x: i32, y: i32 }, Say(char) }
///
/// let queue = Queue::<Command>::new(4)?;
/// queue.send(Command::Move { x: 1, y: 2 })?;
/// assert_eq!(queue.recv()?, Command::Move { x: 1, y: 2 });
/// # Ok::<(), coproc::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "a `{Self}` is not an item of fixed size",
    label = "not an item",
    note = "items are: plain data, `bool`, `char`, `NonZero*`, `Duration`, `Option`, `Result` and tuples of items, and `#[derive(Item)]` types",
    note = "for text of bounded length use `Text<N>`; for handles and all else that is a message, a `Ticket`"
)]
pub trait Item: Message + Send {
    /// The structural hash: equal for types whose bytes mean the same.
    const LAYOUT: u64;

    /// The room that a value takes in a slot, in bytes.
    const SIZE: usize = match Self::BOUND {
        Some(size) => size,
        None => panic!("an `Item` has a bounded number of bytes and no handles"),
    };
}

/// The bound of parts written one after the other.
#[doc(hidden)]
pub const fn bound_sum(parts: &[Option<usize>]) -> Option<usize> {
    let mut sum = 0;
    let mut i = 0;
    while i < parts.len() {
        match parts[i] {
            Some(part) => sum += part,
            None => return None,
        }
        i += 1;
    }
    Some(sum)
}

/// The bound of a choice between parts.
#[doc(hidden)]
pub const fn bound_max(parts: &[Option<usize>]) -> Option<usize> {
    let mut max = 0;
    let mut i = 0;
    while i < parts.len() {
        match parts[i] {
            Some(part) if part > max => max = part,
            Some(_) => {}
            None => return None,
        }
        i += 1;
    }
    Some(max)
}

impl<T: Plain> Message for T {
    const BOUND: Option<usize> = Some(size_of::<T>());
    const PLAIN: Option<IsPlain<Self>> = Some(IsPlain::proven());

    #[inline]
    fn write(&self, to: &mut Writer<'_>) {
        to.plain(self);
    }

    #[inline]
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        from.plain()
    }

    fn write_each(values: &[Self], to: &mut Writer<'_>) {
        const { check_plain::<T>() };
        // SAFETY: plain data has no padding, so all its bytes are initialised; they stay borrowed through `values`.
        let bytes = unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), size_of_val(values)) };
        to.bytes(bytes);
    }

    fn read_into(values: &mut [Self], from: &mut Reader<'_>) -> Option<()> {
        const { check_plain::<T>() };
        let room = values.as_mut_ptr().cast::<MaybeUninit<u8>>();
        // SAFETY: these are the bytes of `values`, exclusively borrowed; `bytes` writes whole values, of which every bit pattern is one.
        let room = unsafe { std::slice::from_raw_parts_mut(room, size_of_val(values)) };
        from.bytes(room)
    }

    fn read_each(count: usize, from: &mut Reader<'_>) -> Option<Vec<Self>> {
        const { check_plain::<T>() };
        let size = count.checked_mul(size_of::<T>()).filter(|&size| size <= from.remaining())?;
        let mut values: Vec<Self> = Vec::with_capacity(count);
        let room = values.spare_capacity_mut().as_mut_ptr().cast::<MaybeUninit<u8>>();
        // SAFETY: the spare capacity is at least `count` values, that is `size` bytes, exclusively ours.
        let room = unsafe { std::slice::from_raw_parts_mut(room, size) };
        from.bytes(room)?;
        // SAFETY: `count` values are within the capacity; every bit pattern of plain data is a value, and `bytes` wrote them all.
        unsafe { values.set_len(count) };
        Some(values)
    }
}

impl<T: Plain> Item for T {
    const LAYOUT: u64 = <T as crate::Shareable>::LAYOUT;
}
