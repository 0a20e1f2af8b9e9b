//! One value in shared memory.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use crate::body::Body;
use crate::error::{Result, Unfit};
use crate::handle::handle;
use crate::plain::Plain;
use crate::ready::Waitable;
use crate::segment::{Kind, Segment};
use crate::shareable::{Access, Direct, Shareable};
use crate::sync::{LockError, MutexGuard, Owner, TryLockError};

/// A value in shared memory: Python's `Value`, or an `Arc` that reaches into other processes.
///
/// Plain data is reached through its lock ([`lock`](Self::lock), [`get`](Self::get), [`set`](Self::set), [`update`](Self::update)); concurrent data (atomics, locks, structs of
/// these) in place, by `Deref`. Handles are cheap to clone and can be given to any process of the family. The memory is freed when the
/// last handle of the last process is gone, however that ended. There is no `get_mut`: nobody can know of all handles.
///
/// **When a process dies** while it holds the value's lock, the value is poisoned, as with [`Mutex`](crate::Mutex).
///
/// ```
/// use coproc::SharedValue;
/// use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
///
/// let n = SharedValue::new(0_i32)?;
/// *n.lock()? += 1;
/// n.update(|n| n + 1)?;
/// assert_eq!(n.get()?, 2);
///
/// let hits = SharedValue::new(AtomicU64::new(0))?;
/// hits.fetch_add(1, Relaxed);
/// # Ok::<(), coproc::Error>(())
/// ```
#[doc(alias = "Value")]
pub struct SharedValue<T: Shareable> {
    segment: Segment,
    body: Body<T>,
}

handle!(SharedValue<T: Shareable>);

impl<T: Shareable> SharedValue<T> {
    /// A shared value, moved into a segment of its own.
    ///
    /// # Errors
    /// [`Error::NoSpace`](crate::Error::NoSpace) if there is no memory for it, [`Error::TooManyDescriptors`](crate::Error::TooManyDescriptors) if there is no
    /// descriptor, or what the system says.
    pub fn new(value: T) -> Result<Self> {
        let shared = Self::zeroed()?;
        shared.body.write(0, value);
        Ok(shared)
    }

    /// A shared value whose bytes are all zero, which every shareable type is ready with.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn zeroed() -> Result<Self> {
        let (segment, body) = Body::create(Kind::Value, 1)?;
        Ok(Self { segment, body })
    }

    fn from_segment(segment: Segment) -> Result<Self> {
        let body = Body::attach(Kind::Value, &segment)?;
        if body.len() != 1 {
            return Err(Unfit::NotASegment.into());
        }
        Ok(Self { segment, body })
    }
}

impl<T: Plain> SharedValue<T> {
    /// Waits for the lock; the guard gives the value.
    ///
    /// # Errors
    /// As [`Mutex::lock`](crate::Mutex::lock).
    #[inline(always)]
    #[doc(alias = "get_lock")]
    pub fn lock(&self) -> Result<MutexGuard<'_, T>, LockError> {
        self.body.locked_first().lock()
    }

    /// Takes the lock if it is free.
    ///
    /// # Errors
    /// As [`Mutex::try_lock`](crate::Mutex::try_lock).
    pub fn try_lock(&self) -> Result<MutexGuard<'_, T>, TryLockError> {
        self.body.locked_first().try_lock()
    }

    /// Waits for the lock, at most this long.
    ///
    /// # Errors
    /// As [`Mutex::lock_timeout`](crate::Mutex::lock_timeout).
    pub fn lock_timeout(&self, time: Duration) -> Result<MutexGuard<'_, T>, TryLockError> {
        self.body.locked_first().lock_timeout(time)
    }

    /// Takes the lock, and mends the value first if it is poisoned.
    ///
    /// # Errors
    /// As [`Mutex::lock_or_repair`](crate::Mutex::lock_or_repair).
    pub fn lock_or_repair(&self, repair: impl FnOnce(&mut T, Owner)) -> Result<MutexGuard<'_, T>, LockError> {
        self.body.locked_first().lock_or_repair(repair)
    }

    /// Takes the lock also if it is poisoned.
    ///
    /// # Errors
    /// As [`Mutex::lock_poisoned`](crate::Mutex::lock_poisoned).
    pub fn lock_poisoned(&self) -> Result<MutexGuard<'_, T>, LockError> {
        self.body.locked_first().lock_poisoned()
    }

    /// A copy of the value, taken under the lock.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    pub fn get(&self) -> Result<T, LockError> {
        self.lock().map(|value| *value)
    }

    /// Replaces the value, under the lock.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    pub fn set(&self, value: T) -> Result<(), LockError> {
        self.lock().map(|mut old| *old = value)
    }

    /// Replaces the value by what `change` makes of it, under the lock; returns the new one.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    pub fn update(&self, change: impl FnOnce(T) -> T) -> Result<T, LockError> {
        let mut value = self.lock()?;
        *value = change(*value);
        Ok(*value)
    }
}

impl<T: Shareable<Access = Direct>> Deref for SharedValue<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.body.elements()[0]
    }
}

/// Shows the value, and does not wait for its lock.
impl<T: Shareable<Access = Direct> + Waitable> Waitable for SharedValue<T> {
    fn is_ready(&self) -> bool {
        (**self).is_ready()
    }

    fn announce(&self) -> (&AtomicU32, u32) {
        (**self).announce()
    }

    fn pass_on(&self) {
        (**self).pass_on();
    }

    fn ask_kernel(&self) {
        (**self).ask_kernel();
    }
}

impl<T: Shareable + fmt::Debug> fmt::Debug for SharedValue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if <T::Access as Access>::DIRECT {
            f.debug_tuple("SharedValue").field(&self.body.elements()[0]).finish()
        } else {
            self.body.locked_first().fmt_as("SharedValue", f)
        }
    }
}
