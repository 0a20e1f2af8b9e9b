//! The body of a value or an array: one lock, then the elements.

#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::error::{Error, Result};
use crate::segment::{BODY, Kind, Plan, Segment};
use crate::shareable::{Access, LastHandle, Shareable};
use crate::sync::{Parts, RawLock};

/// The cache line of the lock. If all elements fit, they lie on it too, behind the lock; else they begin on the next: nobody who works on them takes the
/// line from those who want the lock, and vectors of them do not lie across lines.
const LOCK_LINE: usize = 64;

/// The parts of a segment that holds one lock and `len` elements of `T`. The lock is used if `T` is plain data.
///
/// 1. `lock` and the elements lie in a segment that is mapped as long as its handle, beside which this is kept.
/// 2. The elements are `len` values of `T`, aligned: zero when made, and any bytes after that.
#[derive(Debug)]
pub(crate) struct Body<T> {
    lock: NonNull<RawLock>,
    first: NonNull<T>,
    len: usize,
    of: PhantomData<T>,
}

impl<T> Clone for Body<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Body<T> {}

// SAFETY: it points to what all threads, and all processes, may reach: the lock is made for that, plain elements are reached under it,
// direct ones are `Sync`.
unsafe impl<T: Shareable> Send for Body<T> {}
// SAFETY: as above.
unsafe impl<T: Shareable> Sync for Body<T> {}

impl<T: Shareable> Body<T> {
    /// From the start of the body to the first of so many elements, in bytes.
    fn first(len: usize) -> usize {
        const { assert!(align_of::<T>() <= 4096, "a shared type has an alignment of at most 4096") };
        let fit = (LOCK_LINE - size_of::<RawLock>()) / size_of::<T>().max(1);
        let shares = !<T::Access as Access>::DIRECT && len <= fit;
        let before = if shares { size_of::<RawLock>() } else { LOCK_LINE };
        (BODY + before).next_multiple_of(align_of::<T>()) - BODY
    }

    fn size(len: usize) -> Option<usize> {
        len.checked_mul(size_of::<T>())?.checked_add(Self::first(len))
    }

    /// A new segment of `len` zeros.
    pub(crate) fn create(kind: Kind, len: usize) -> Result<(Segment, Self)> {
        let too_large = Error::TooLarge { len, size: size_of::<T>() };
        let body = Self::size(len).filter(|&size| size <= isize::MAX as usize).ok_or(too_large)?;
        let segment = Segment::create(Plan { kind, layout: T::LAYOUT, len, body })?;
        // SAFETY: the segment was made for `len` elements of `T`.
        let body = unsafe { Self::of(&segment) };
        Ok((segment, body))
    }

    /// The body of a segment that another process may have made.
    pub(crate) fn attach(kind: Kind, segment: &Segment) -> Result<Self> {
        segment.expect(kind, T::LAYOUT, std::any::type_name::<T>())?;
        segment.expect_body(Self::size(segment.len()))?;
        // SAFETY: kind, layout and size are as `create` makes them, and it can be written (`expect`).
        Ok(unsafe { Self::of(segment) })
    }

    /// # Safety
    /// The segment is writable and its body is at least `size(segment.len())` bytes long.
    unsafe fn of(segment: &Segment) -> Self {
        // SAFETY: the body is one of this type, as the caller says.
        unsafe { segment.on_leave(Self::leave) };
        // SAFETY: as above.
        unsafe { Self::at(segment.body(), segment.len()) }
    }

    /// # Safety
    /// `body` is the start of a body of at least `size(len)` bytes.
    unsafe fn at(body: NonNull<u8>, len: usize) -> Self {
        // SAFETY: the body is long enough for what is before the elements, as the caller says.
        let first = unsafe { body.add(Self::first(len)) };
        Self { lock: body.cast(), first: first.cast(), len, of: PhantomData }
    }

    /// # Safety
    /// What the `Leave` of its segment asks for.
    unsafe fn leave(body: NonNull<u8>, len: usize) {
        // SAFETY: it is a body of `len` elements, as the caller says.
        let body = unsafe { Self::at(body, len) };
        body.lock().leave();
        if T::LEAVES {
            // SAFETY: as the caller says.
            let last = unsafe { LastHandle::dropped() };
            body.elements().iter().for_each(|element| element.leave(&last));
        }
    }

    /// Gives an element its first value, in a body that nobody else has yet.
    pub(crate) fn write(&self, index: usize, value: T) {
        assert!(index < self.len);
        // SAFETY: `index` is below `len` (invariant 2).
        let element = unsafe { self.first.add(index) };
        // SAFETY: as above; the segment was just made, so nobody else reaches it.
        unsafe { element.write(value) };
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline(always)]
    pub(crate) fn lock(&self) -> &RawLock {
        // SAFETY: it lies at the start of a mapped body (invariant 1), aligned to more than it needs; any bytes are a lock.
        unsafe { self.lock.as_ref() }
    }

    /// The elements, if they are concurrent data.
    ///
    /// # Panics
    /// If they are plain data, which is reached under the lock only.
    pub(crate) fn elements(&self) -> &[T] {
        assert!(<T::Access as Access>::DIRECT, "plain data is reached under its lock");
        // SAFETY: they are `len` values (invariant 2), in place usable by all at once because they are `Direct`.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.len) }
    }

    /// The lock and the elements under it.
    #[inline(always)]
    pub(crate) fn locked(&self) -> Parts<'_, [T]> {
        let all = NonNull::slice_from_raw_parts(self.first, self.len);
        // SAFETY: the elements are valid (invariant 2) and, in this crate, reached only here if they are plain.
        unsafe { Parts::new(self.lock(), all) }
    }

    /// Where the elements are.
    pub(crate) fn raw(&self) -> NonNull<[T]> {
        NonNull::slice_from_raw_parts(self.first, self.len)
    }

    /// The lock and the first element under it; the body has one.
    #[inline(always)]
    pub(crate) fn locked_first(&self) -> Parts<'_, T> {
        // SAFETY: as for `locked`; values are made with one element, and attached only so.
        unsafe { Parts::new(self.lock(), self.first) }
    }
}
