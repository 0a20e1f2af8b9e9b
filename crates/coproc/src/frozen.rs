//! An array that the kernel lets nobody change.

#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use crate::error::{Error, Result};
use crate::handle::handle;
use crate::layout::Layout;
use crate::plain::{Plain, check_plain};
use crate::segment::{BODY, Kind, Plan, Segment};

/// An array in shared memory that nobody can change any more, so everybody reads it in place without a lock.
///
/// The kernel enforces it (`F_SEAL_WRITE`): it holds against every process, hostile ones too, and no death can tear it.
///
/// ```
/// let primes = coproc::FrozenArray::from_slice(&[2, 3, 5, 7])?;
/// assert_eq!(primes[2], 5);
/// # Ok::<(), coproc::Error>(())
/// ```
pub struct FrozenArray<T: Plain> {
    segment: Segment,
    of: PhantomData<T>,
}

handle!(FrozenArray<T: Plain>);

impl<T: Plain> FrozenArray<T> {
    const LAYOUT: u64 = Layout::of::<[T; 0]>("frozen").number(T::LAYOUT).hash();
    /// From the start of the body to the first element, in bytes.
    const FIRST: usize = {
        assert!(align_of::<T>() <= 4096, "a shared type has an alignment of at most 4096");
        BODY.next_multiple_of(align_of::<T>()) - BODY
    };

    /// A frozen copy of these elements.
    ///
    /// # Errors
    /// [`Error::Empty`] for no elements, [`Error::NoSpace`], [`Error::TooManyDescriptors`], or what the system says.
    pub fn from_slice(elements: &[T]) -> Result<Self> {
        if elements.is_empty() {
            return Err(Error::Empty);
        }
        let too_large = Error::TooLarge { len: elements.len(), size: size_of::<T>() };
        let body = Self::FIRST.checked_add(size_of_val(elements)).ok_or(too_large)?;
        let plan = Plan { kind: Kind::Frozen, layout: Self::LAYOUT, len: elements.len(), body };
        const { check_plain::<T>() };
        // SAFETY: plain data has no padding, so all its bytes are initialised; they stay borrowed through `elements`.
        let bytes = unsafe { std::slice::from_raw_parts(elements.as_ptr().cast::<u8>(), size_of_val(elements)) };
        let segment = Segment::create_frozen(plan, Self::FIRST, bytes)?;
        Ok(Self { segment, of: PhantomData })
    }

    fn from_segment(segment: Segment) -> Result<Self> {
        segment.expect(Kind::Frozen, Self::LAYOUT, std::any::type_name::<T>())?;
        let size = segment.len().checked_mul(size_of::<T>()).and_then(|size| size.checked_add(Self::FIRST));
        segment.expect_body(size)?;
        Ok(Self { segment, of: PhantomData })
    }
}

impl<T: Plain> Deref for FrozenArray<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        let first = self.segment.body().as_ptr().wrapping_add(Self::FIRST).cast::<T>();
        // SAFETY: made or attached with room for `len` elements behind `FIRST`, aligned, mapped as long as the handle; plain, so any bytes
        // are values; and the content is sealed (`Kind::Frozen` is checked against the seals), so nobody changes them.
        unsafe { std::slice::from_raw_parts(first, self.segment.len()) }
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for FrozenArray<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FrozenArray").field(&&**self).finish()
    }
}
