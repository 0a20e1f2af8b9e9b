//! Plain data under a robust lock.

#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::time::Duration;

use super::deadline::Deadline;
use super::error::{LockError, Owner, TryLockError};
use super::lock::{Claim, Patience, RawLock};
use crate::layout::{Layout, PROTOCOL};
use crate::plain::Plain;
use crate::shareable::{Direct, LastHandle, Shareable};

/// A mutual exclusion lock over plain data, between threads and processes alike.
///
/// In place, no allocation, ready when its bytes are zero: usable as a field of a `#[derive(Shareable)]` struct in a segment, in a
/// `static`, or on the stack. Uncontended it costs what a `std::sync::Mutex` does.
///
/// **When the owner dies**, by `SIGKILL` at any instruction, who waits gets [`LockError::Poisoned`] with the dead owner's id, at
/// most 8 ms after the kernel has closed its descriptors, or 24 if it has waited for long. The lock is free then, and stays poisoned until it is repaired. A panic of the owner
/// poisons too, as in `std`. A stopped owner is alive, and never robbed. A forked child is another owner than its parent. Outside of a
/// segment the lock serves the threads of one process.
///
/// A guard that is forgotten (`mem::forget`) holds the lock until its process ends or drops its last handle of the segment; then the
/// lock is poisoned.
///
/// ```
/// use coproc::{Mutex, SharedArray};
///
/// let sums = SharedArray::<Mutex<u64>>::zeroed(4)?;
/// *sums[3].lock()? += 7;
/// assert_eq!(*sums[3].lock()?, 7);
/// # Ok::<(), coproc::Error>(())
/// ```
#[derive(Default)]
#[repr(C)]
pub struct Mutex<T> {
    lock: RawLock,
    data: UnsafeCell<T>,
}

// SAFETY: the data is reached through the lock alone, by one thread at a time, which is all that `T: Send` asks for.
unsafe impl<T: Send> Sync for Mutex<T> {}

// SAFETY:
// 1. Zero is a free lock over the zero of `T`. 2. `T` is plain, the lock an integer. 3. By name, nested layout and protocol version.
// 5. Every state of the lock word is handled (`Corrupted` where impossible), and every bit pattern of `T` is a value.
unsafe impl<T: Plain> Shareable for Mutex<T> {
    type Access = Direct;
    const LAYOUT: u64 = Layout::of::<Self>("Mutex").number(PROTOCOL).number(T::LAYOUT).hash();
    const LEAVES: bool = true;

    fn leave(&self, _: &LastHandle) {
        self.lock.leave();
    }
}

impl<T: Plain> Mutex<T> {
    /// A free lock over this value.
    pub const fn new(value: T) -> Self {
        Self { lock: RawLock::new(), data: UnsafeCell::new(value) }
    }

    /// Waits for the lock.
    ///
    /// # Errors
    /// [`LockError::Poisoned`] if the last owner died or panicked, [`LockError::Deadlock`] if this thread has the lock,
    /// [`LockError::Corrupted`] if the lock word is impossible. The lock is not held then.
    #[inline(always)]
    #[doc(alias = "acquire")]
    pub fn lock(&self) -> Result<MutexGuard<'_, T>, LockError> {
        self.parts().lock()
    }

    /// Takes the lock if it is free.
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`] if another has it, else as [`lock`](Self::lock).
    pub fn try_lock(&self) -> Result<MutexGuard<'_, T>, TryLockError> {
        self.parts().try_lock()
    }

    /// Waits for the lock, at most this long (monotonic time).
    ///
    /// # Errors
    /// [`TryLockError::TimedOut`] if another had it for all that time, else as [`lock`](Self::lock).
    pub fn lock_timeout(&self, time: Duration) -> Result<MutexGuard<'_, T>, TryLockError> {
        self.parts().lock_timeout(time)
    }

    /// Waits for the lock and takes it also if it is poisoned: then `repair` mends the data under the lock, given who died, and the
    /// lock is clean again. A repair that panics or dies leaves it poisoned.
    ///
    /// ```
    /// let n = coproc::Mutex::new(0_u32);
    /// *n.lock_or_repair(|n, dead| { eprintln!("{dead} died"); *n = 0; })? += 1;
    /// # Ok::<(), coproc::LockError>(())
    /// ```
    ///
    /// # Errors
    /// As [`lock`](Self::lock), but never `Poisoned`.
    pub fn lock_or_repair(&self, repair: impl FnOnce(&mut T, Owner)) -> Result<MutexGuard<'_, T>, LockError> {
        self.parts().lock_or_repair(repair)
    }

    /// Waits for the lock and takes it also if it is poisoned; it stays so until [`MutexGuard::clear_poison`].
    ///
    /// # Errors
    /// As [`lock`](Self::lock), but never `Poisoned`.
    pub fn lock_poisoned(&self) -> Result<MutexGuard<'_, T>, LockError> {
        self.parts().lock_poisoned()
    }

    /// Whether the lock is poisoned at this moment.
    pub fn is_poisoned(&self) -> bool {
        self.lock.is_poisoned()
    }

    /// The data, without the lock: nobody else can have it. Only for a mutex outside of a segment, since a segment gives no `&mut`.
    pub fn get_mut(&mut self) -> &mut T {
        self.data.get_mut()
    }

    #[inline(always)]
    fn parts(&self) -> Parts<'_, T> {
        // SAFETY: the pointer comes from a reference.
        let data = unsafe { NonNull::new_unchecked(self.data.get()) };
        // SAFETY: `data` lies behind `lock` in this mutex, which is borrowed for as long as the parts.
        unsafe { Parts::new(&self.lock, data) }
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts().fmt_as("Mutex", f)
    }
}

/// A lock and the data that it guards, wherever they lie: in a [`Mutex`], or a segment's lock and its value or elements.
pub(crate) struct Parts<'a, T: ?Sized> {
    lock: &'a RawLock,
    data: NonNull<T>,
}

impl<T: ?Sized> Clone for Parts<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Copy for Parts<'_, T> {}

impl<'a, T: ?Sized> Parts<'a, T> {
    /// # Safety
    /// For `'a`, `data` points to a valid value of plain data (or a slice of it) that is reached only by who holds `lock`.
    #[inline(always)]
    pub(crate) unsafe fn new(lock: &'a RawLock, data: NonNull<T>) -> Self {
        Self { lock, data }
    }

    #[inline(always)]
    pub(crate) fn lock(self) -> Result<MutexGuard<'a, T>, LockError> {
        let claim = match self.lock.acquire_free() {
            Some(claim) => claim,
            // It is clean already. Said once more for the compiler, which then makes a guard that has no culprit to ask for.
            None => lock_slow(self.lock)?.blaming(None),
        };
        Ok(self.guard(claim))
    }

    pub(crate) fn try_lock(self) -> Result<MutexGuard<'a, T>, TryLockError> {
        Ok(self.guard(clean(self.lock, Patience::Try)?))
    }

    pub(crate) fn lock_timeout(self, time: Duration) -> Result<MutexGuard<'a, T>, TryLockError> {
        // The clock is asked only if the lock is not free.
        let claim = match self.lock.acquire_free() {
            Some(claim) => claim,
            None => clean(self.lock, Patience::Until(Deadline::after(time)))?,
        };
        Ok(self.guard(claim))
    }

    pub(crate) fn lock_poisoned(self) -> Result<MutexGuard<'a, T>, LockError> {
        self.any(Patience::Until(Deadline::NEVER)).map_err(TryLockError::without_end)
    }

    pub(crate) fn lock_or_repair(self, repair: impl FnOnce(&mut T, Owner)) -> Result<MutexGuard<'a, T>, LockError> {
        let mut guard = self.lock_poisoned()?;
        if let Some(owner) = guard.poisoned() {
            repair(&mut guard, owner);
            guard.clear_poison();
        }
        Ok(guard)
    }

    /// The guard, poisoned or not.
    fn any(self, patience: Patience) -> Result<MutexGuard<'a, T>, TryLockError> {
        Ok(self.guard(self.lock.acquire(patience)?))
    }

    /// The guard of the lock, which this thread has just taken.
    #[inline(always)]
    fn guard(self, claim: Claim) -> MutexGuard<'a, T> {
        MutexGuard { parts: self, claim, not_send: PhantomData }
    }

    pub(crate) fn fmt_as(self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result
    where
        T: fmt::Debug,
    {
        let mut out = f.debug_struct(name);
        match self.any(Patience::Try) {
            Ok(guard) => {
                out.field("data", &&*guard);
                if let Some(owner) = guard.poisoned() {
                    out.field("poisoned", &owner);
                }
            }
            Err(TryLockError::Lock(LockError::Deadlock) | TryLockError::WouldBlock) => {
                out.field("data", &format_args!("<locked>"));
            }
            Err(error) => {
                out.field("data", &format_args!("<{error}>"));
            }
        }
        out.finish()
    }
}

#[cold]
#[inline(never)]
fn lock_slow(lock: &RawLock) -> Result<Claim, LockError> {
    clean(lock, Patience::Until(Deadline::NEVER)).map_err(TryLockError::without_end)
}

/// Takes the lock if it is not poisoned.
fn clean(lock: &RawLock, patience: Patience) -> Result<Claim, TryLockError> {
    let claim = lock.acquire(patience)?;
    match claim.culprit() {
        None => Ok(claim),
        Some(culprit) => {
            lock.release(claim);
            Err(LockError::Poisoned(lock.owner(culprit)).into())
        }
    }
}

/// The lock, held; the data is reached through it. Dropping it unlocks.
///
/// It cannot move to another thread, since the lock knows its owner.
#[must_use = "the lock is free again when the guard is dropped"]
pub struct MutexGuard<'a, T: ?Sized> {
    parts: Parts<'a, T>,
    claim: Claim,
    not_send: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives `&T` only, and plain data is `Sync`.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// Who died or panicked while it had the lock, if that is why the data may be torn.
    pub fn poisoned(&self) -> Option<Owner> {
        self.claim.culprit().map(|culprit| self.parts.lock.owner(culprit))
    }

    /// Gives the lock back, and what is needed to take it again.
    pub(super) fn unlock(self) -> Parts<'a, T> {
        self.parts
    }

    /// Says that the data is mended: the lock will be clean when this guard is dropped.
    pub fn clear_poison(&mut self) {
        self.claim = self.claim.blaming(None);
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the data is valid (`Parts::new`), and this thread holds the lock, so nobody changes it meanwhile.
        unsafe { self.parts.data.as_ref() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the data is valid (`Parts::new`), and this thread holds the lock, so nobody else reaches it meanwhile.
        unsafe { self.parts.data.as_mut() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        self.parts.lock.release(self.claim);
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
