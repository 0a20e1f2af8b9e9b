//! A value that is made once, by whichever process comes first.

#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::deadline::Deadline;
use super::error::{LockError, TryLockError};
use super::lock::{Patience, RawLock};
use crate::layout::{Layout, PROTOCOL};
use crate::plain::{Plain, zero};
use crate::shareable::{Direct, LastHandle, Shareable};

/// A value of plain data that is made once and then only read, by any thread or process, without a lock.
///
/// In place, ready when its bytes are zero (not made yet), usable in a segment, a `static` or on the stack.
///
/// **When a process dies** while it makes the value, the next that asks makes it anew: half a value is never seen. A maker that panics or
/// fails leaves it unmade.
///
/// ```
/// use coproc::{OnceLock, SharedValue};
///
/// let seed = SharedValue::<OnceLock<u64>>::zeroed()?;
/// assert_eq!(seed.get(), None);
/// assert_eq!(*seed.get_or_init(|| 7)?, 7);
/// assert_eq!(*seed.get_or_init(|| 8)?, 7);
/// # Ok::<(), coproc::Error>(())
/// ```
#[repr(C)]
pub struct OnceLock<T> {
    lock: RawLock,
    /// 0 until the value is there.
    made: AtomicU64,
    value: UnsafeCell<T>,
}

// SAFETY: the value is written under the lock, before `made` says that it is there, and only read after that.
unsafe impl<T: Send + Sync> Sync for OnceLock<T> {}

// SAFETY:
// 1. Zero is a free lock and no value. 2. `T` is plain, the rest integers. 3. By name, nested layout and protocol version.
// 5. Every state of the words is handled, and every bit pattern of `T` is a value.
unsafe impl<T: Plain> Shareable for OnceLock<T> {
    type Access = Direct;
    const LAYOUT: u64 = Layout::of::<Self>("OnceLock").number(PROTOCOL).number(T::LAYOUT).hash();
    const LEAVES: bool = true;

    fn leave(&self, _: &LastHandle) {
        self.lock.leave();
    }
}

impl<T: Plain> OnceLock<T> {
    /// A value that is not made yet.
    pub const fn new() -> Self {
        Self { lock: RawLock::new(), made: AtomicU64::new(0), value: UnsafeCell::new(zero()) }
    }

    /// The value, if it is made.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        // Acquire: pairs with the Release in `get_or_try_init`; the value.
        if self.made.load(Ordering::Acquire) == 0 {
            return None;
        }
        // SAFETY: the cell is valid as long as `self`, and since the value is made nobody of this crate writes it any more.
        Some(unsafe { &*self.value.get() })
    }

    /// Makes the value of this, if it is not made yet. `Err` with the value if it was.
    ///
    /// # Errors
    /// As [`get_or_init`](Self::get_or_init), or the value.
    pub fn set(&self, value: T) -> Result<Result<(), T>, LockError> {
        let mut value = Some(value);
        self.get_or_init(|| value.take().unwrap_or_else(zero))?;
        Ok(value.map_or(Ok(()), Err))
    }

    /// The value; made by `make` if it is not made yet. Others who ask meanwhile wait.
    ///
    /// # Errors
    /// [`LockError::Deadlock`] if `make` asks for the value itself, [`LockError::Corrupted`] if the lock word is impossible.
    pub fn get_or_init(&self, make: impl FnOnce() -> T) -> Result<&T, LockError> {
        self.get_or_try_init(|| Ok(make()))
    }

    /// The value; made by `make` if it is not made yet and `make` succeeds.
    ///
    /// # Errors
    /// As [`get_or_init`](Self::get_or_init), and what `make` returns.
    pub fn get_or_try_init<E: From<LockError>>(&self, make: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
        if let Some(value) = self.get() {
            return Ok(value);
        }
        // That a former maker died does not matter: it has not said that the value is made.
        let held = self.lock.hold(Patience::Until(Deadline::NEVER)).map_err(TryLockError::without_end)?;
        if self.get().is_none() {
            let value = make()?;
            if !self.lock.is_mine() {
                // `make` has forked, and this is the child: the lock, and the value, are its parent's.
                return Err(LockError::Deadlock.into());
            }
            // SAFETY: this thread has the lock, and `made` is still 0, so nobody reads it and nobody else writes it.
            unsafe { self.value.get().write(value) };
            // Release: pairs with the Acquire in `get`; the value.
            self.made.store(1, Ordering::Release);
        }
        drop(held);
        self.get().ok_or_else(|| LockError::Corrupted.into())
    }
}

impl<T: Plain> Default for OnceLock<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for OnceLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.get() {
            Some(value) => f.debug_tuple("OnceLock").field(value).finish(),
            None => f.write_str("OnceLock(<not made>)"),
        }
    }
}
