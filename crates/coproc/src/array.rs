//! An array of fixed length in shared memory.

use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;
use std::time::Duration;

use crate::body::Body;
use crate::error::{Error, Result, Unfit};
use crate::frozen::FrozenArray;
use crate::handle::handle;
use crate::liveness::Lease;
use crate::plain::Plain;
use crate::segment::{Kind, Segment};
use crate::shareable::{Access, Direct, Shareable};
use crate::sync::{LockError, MutexGuard, Owner, TryLockError};

/// An array of fixed length in shared memory: Python's `Array`.
///
/// Elements of plain data are reached through the array's lock; elements of concurrent data in place, by `Deref` to a slice. Handles are
/// cheap to clone and can be given to any process of the family.
///
/// **When a process dies** while it holds the array's lock, the array is poisoned, as with [`Mutex`](crate::Mutex).
///
/// ```
/// use coproc::SharedArray;
/// use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
///
/// let a = SharedArray::from_slice(&[0, 1, 2, 3, 4])?;
/// a.lock()?[2] += 10;
/// a.set(0, 7)?;
/// assert_eq!(a.to_vec()?, [7, 1, 12, 3, 4]);
///
/// let hits = SharedArray::<AtomicU64>::zeroed(256)?;
/// hits[3].fetch_add(1, Relaxed);
/// # Ok::<(), coproc::Error>(())
/// ```
#[doc(alias = "Array")]
pub struct SharedArray<T: Shareable> {
    segment: Segment,
    body: Body<T>,
}

handle!(SharedArray<T: Shareable>);

impl<T: Shareable> SharedArray<T> {
    /// An array of `len` elements whose bytes are all zero.
    ///
    /// # Errors
    /// [`Error::Empty`] for no elements, [`Error::TooLarge`] if their bytes cannot be counted, [`Error::NoSpace`] if there is no memory for them,
    /// [`Error::TooManyDescriptors`] if there is no descriptor, or what the system says.
    pub fn zeroed(len: usize) -> Result<Self> {
        if len == 0 {
            return Err(Error::Empty);
        }
        let (segment, body) = Body::create(Kind::Array, len)?;
        Ok(Self { segment, body })
    }

    /// An array of `len` elements, each made from its index.
    ///
    /// # Errors
    /// As [`zeroed`](Self::zeroed).
    pub fn from_fn(len: usize, mut element: impl FnMut(usize) -> T) -> Result<Self> {
        let array = Self::zeroed(len)?;
        (0..len).for_each(|index| array.body.write(index, element(index)));
        Ok(array)
    }

    /// The number of elements.
    #[allow(clippy::len_without_is_empty, reason = "there is no empty shared array")]
    pub fn len(&self) -> usize {
        self.body.len()
    }

    #[doc(hidden)]
    pub fn segment(&self) -> &Segment {
        &self.segment
    }

    fn from_segment(segment: Segment) -> Result<Self> {
        let body = Body::attach(Kind::Array, &segment)?;
        Ok(Self { segment, body })
    }
}

impl<T: Plain> SharedArray<T> {
    /// An array with a copy of these elements.
    ///
    /// # Errors
    /// As [`zeroed`](Self::zeroed).
    pub fn from_slice(elements: &[T]) -> Result<Self> {
        let array = Self::zeroed(elements.len())?;
        array.lock()?.copy_from_slice(elements);
        Ok(array)
    }

    /// Waits for the lock; the guard gives the elements.
    ///
    /// # Errors
    /// As [`Mutex::lock`](crate::Mutex::lock).
    #[inline(always)]
    #[doc(alias = "get_lock")]
    pub fn lock(&self) -> Result<MutexGuard<'_, [T]>, LockError> {
        self.body.locked().lock()
    }

    /// Waits for the elements, to read only.
    ///
    /// Today it keeps others from reading meanwhile, as [`lock`](Self::lock) does; do not rely on that.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    pub fn read(&self) -> Result<ReadGuard<'_, T>, LockError> {
        self.lock().map(ReadGuard)
    }

    /// Takes the lock if it is free.
    ///
    /// # Errors
    /// As [`Mutex::try_lock`](crate::Mutex::try_lock).
    pub fn try_lock(&self) -> Result<MutexGuard<'_, [T]>, TryLockError> {
        self.body.locked().try_lock()
    }

    /// Waits for the lock, at most this long.
    ///
    /// # Errors
    /// As [`Mutex::lock_timeout`](crate::Mutex::lock_timeout).
    pub fn lock_timeout(&self, time: Duration) -> Result<MutexGuard<'_, [T]>, TryLockError> {
        self.body.locked().lock_timeout(time)
    }

    /// Takes the lock, and mends the elements first if they are poisoned.
    ///
    /// # Errors
    /// As [`Mutex::lock_or_repair`](crate::Mutex::lock_or_repair).
    pub fn lock_or_repair(&self, repair: impl FnOnce(&mut [T], Owner)) -> Result<MutexGuard<'_, [T]>, LockError> {
        self.body.locked().lock_or_repair(repair)
    }

    /// Takes the lock also if it is poisoned.
    ///
    /// # Errors
    /// As [`Mutex::lock_poisoned`](crate::Mutex::lock_poisoned).
    pub fn lock_poisoned(&self) -> Result<MutexGuard<'_, [T]>, LockError> {
        self.body.locked().lock_poisoned()
    }

    /// A copy of one element, taken under the lock.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`], or as [`lock`](Self::lock).
    pub fn get(&self, index: usize) -> Result<T> {
        self.lock()?.get(index).copied().ok_or(Error::OutOfBounds { index, len: self.len() })
    }

    /// Replaces one element, under the lock.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`], or as [`lock`](Self::lock).
    pub fn set(&self, index: usize, value: T) -> Result<()> {
        *self.lock()?.get_mut(index).ok_or(Error::OutOfBounds { index, len: self.len() })? = value;
        Ok(())
    }

    /// A copy of all elements, taken under the lock.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    pub fn to_vec(&self) -> Result<Vec<T>, LockError> {
        self.lock().map(|elements| elements.to_vec())
    }

    /// A copy that nobody can change any more, and everybody reads without a lock. This array goes on as it is.
    ///
    /// # Errors
    /// As [`lock`](Self::lock) and [`zeroed`](Self::zeroed).
    pub fn freeze(&self) -> Result<FrozenArray<T>> {
        FrozenArray::from_slice(&self.read()?)
    }
}

/// For coproc-pool.
impl<T: Plain> SharedArray<T> {
    /// The array in a segment that holds one.
    #[doc(hidden)]
    pub fn of_segment(segment: Segment) -> Result<Self> {
        Self::from_segment(segment)
    }

    /// Where the elements are. Who has the lock, or holds the lease that has it, may reach them.
    #[doc(hidden)]
    pub fn raw_elements(&self) -> NonNull<[T]> {
        self.body.raw()
    }

    /// Whether the processes of this lease have the lock.
    #[doc(hidden)]
    pub fn is_lent_to(&self, lease: &Lease) -> bool {
        self.body.lock().is_lent_to(lease.identity())
    }

    /// Waits for the lock, and gives it to all processes that hold the lease, until [`end_lease`](Self::end_lease) or the death of them all.
    #[doc(hidden)]
    pub fn lend(&self, lease: &Lease) -> Result<()> {
        if !lease.is_known_in(self.segment.header().family) {
            return Err(Unfit::Stranger.into());
        }
        let guard = self.lock()?;
        self.body.lock().lend(lease.identity());
        std::mem::forget(guard);
        Ok(())
    }

    /// Takes the lock back and frees it, when no other process reaches the elements any more. It is poisoned if this process has died, or may have
    /// left them torn.
    #[doc(hidden)]
    pub fn end_lease(&self, lease: &Lease, torn_by: Option<u32>) {
        if let Some(pid) = torn_by {
            lease.blame(pid);
        }
        self.body.lock().end_lease(lease.identity(), torn_by.is_some());
    }
}

impl<T: Shareable<Access = Direct>> Deref for SharedArray<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        self.body.elements()
    }
}

/// Shows the elements, and does not wait for their lock.
impl<T: Shareable + fmt::Debug> fmt::Debug for SharedArray<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if <T::Access as Access>::DIRECT {
            f.debug_tuple("SharedArray").field(&self.body.elements()).finish()
        } else {
            self.body.locked().fmt_as("SharedArray", f)
        }
    }
}

/// The elements of a [`SharedArray`], held for reading.
#[derive(Debug)]
#[must_use = "the elements are let go when this is dropped"]
pub struct ReadGuard<'a, T>(MutexGuard<'a, [T]>);

impl<T> Deref for ReadGuard<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}
