//! A lock that its owner may take again.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::deadline::Deadline;
use super::error::{LockError, Owner, TryLockError};
use super::lock::{Claim, Culprit, Patience, RawLock};
use crate::layout::{Layout, PROTOCOL};
use crate::plain::Plain;
use crate::shareable::{Direct, LastHandle, Shareable};

/// A mutual exclusion lock that the thread that has it may take again: Python's `RLock`, with data.
///
/// It is free when its owner has dropped as many guards as it took. Because there may be several, a guard gives no `&mut T` but a
/// `&Cell<T>`: [`get`](Cell::get), [`set`](Cell::set), [`update`](Cell::update).
///
/// **When the owner dies** or panics it is poisoned, as with [`Mutex`](crate::Mutex).
///
/// ```
/// use coproc::{RecursiveMutex, SharedValue};
///
/// let n = SharedValue::<RecursiveMutex<u32>>::zeroed()?;
/// let outer = n.lock()?;
/// n.lock()?.set(outer.get() + 1);
/// assert_eq!(outer.get(), 1);
/// # drop(outer);
/// # Ok::<(), coproc::Error>(())
/// ```
#[derive(Default)]
#[doc(alias = "RLock")]
#[doc(alias = "ReentrantMutex")]
#[repr(C)]
pub struct RecursiveMutex<T> {
    lock: RawLock,
    /// How often the owner has it beyond the first time. Only the owner reads and writes it.
    again: AtomicU64,
    /// Who poisoned it, as long as nobody has cleared that; 0 for nobody. Of all guards together, since the last one gives the lock
    /// back. Only the owner reads and writes it.
    culprit: AtomicU64,
    data: Cell<T>,
}

// SAFETY: the data is reached through the lock alone, by one thread at a time, which is all that `T: Send` asks for.
unsafe impl<T: Send> Sync for RecursiveMutex<T> {}

// SAFETY:
// 1. Zero is a free lock over the zero of `T`. 2. `T` is plain, the rest integers. 3. By name, nested layout and protocol version.
// 5. Every state of the words is handled, and every bit pattern of `T` is a value.
unsafe impl<T: Plain> Shareable for RecursiveMutex<T> {
    type Access = Direct;
    const LAYOUT: u64 = Layout::of::<Self>("RecursiveMutex").number(PROTOCOL).number(T::LAYOUT).hash();
    const LEAVES: bool = true;

    fn leave(&self, _: &LastHandle) {
        self.lock.leave();
    }
}

impl<T: Plain> RecursiveMutex<T> {
    /// A free lock over this value.
    pub const fn new(value: T) -> Self {
        Self { lock: RawLock::new(), again: AtomicU64::new(0), culprit: AtomicU64::new(0), data: Cell::new(value) }
    }

    /// Waits for the lock, or takes it once more.
    ///
    /// # Errors
    /// [`LockError::Poisoned`] if the last owner died or panicked, [`LockError::Corrupted`] if the lock word is impossible.
    pub fn lock(&self) -> Result<RecursiveGuard<'_, T>, LockError> {
        self.clean(Patience::Until(Deadline::NEVER)).map_err(TryLockError::without_end)
    }

    /// Takes the lock if it is free, or this thread's.
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`] if another has it, else as [`lock`](Self::lock).
    pub fn try_lock(&self) -> Result<RecursiveGuard<'_, T>, TryLockError> {
        self.clean(Patience::Try)
    }

    /// Waits for the lock, at most this long (monotonic time), or takes it once more.
    ///
    /// # Errors
    /// [`TryLockError::TimedOut`] if another had it for all that time, else as [`lock`](Self::lock).
    pub fn lock_timeout(&self, time: Duration) -> Result<RecursiveGuard<'_, T>, TryLockError> {
        self.clean(Patience::Until(Deadline::after(time)))
    }

    /// Waits for the lock and takes it also if it is poisoned: then `repair` mends the data, and the lock is clean again.
    ///
    /// # Errors
    /// As [`lock`](Self::lock), but never `Poisoned`.
    pub fn lock_or_repair(&self, repair: impl FnOnce(&Cell<T>, Owner)) -> Result<RecursiveGuard<'_, T>, LockError> {
        let guard = self.lock_poisoned()?;
        if let Some(owner) = guard.poisoned() {
            repair(&guard, owner);
            guard.clear_poison();
        }
        Ok(guard)
    }

    /// Waits for the lock and takes it also if it is poisoned; it stays so.
    ///
    /// # Errors
    /// As [`lock`](Self::lock), but never `Poisoned`.
    pub fn lock_poisoned(&self) -> Result<RecursiveGuard<'_, T>, LockError> {
        self.any(Patience::Until(Deadline::NEVER)).map_err(TryLockError::without_end)
    }

    fn clean(&self, patience: Patience) -> Result<RecursiveGuard<'_, T>, TryLockError> {
        let guard = self.any(patience)?;
        match guard.poisoned() {
            None => Ok(guard),
            Some(owner) => Err(LockError::Poisoned(owner).into()),
        }
    }

    fn any(&self, patience: Patience) -> Result<RecursiveGuard<'_, T>, TryLockError> {
        let claim = match self.lock.acquire(patience) {
            Ok(claim) => {
                // A dead owner may have left its own.
                self.again.store(0, Ordering::Relaxed);
                self.culprit.store(Culprit::to_bits(claim.culprit()), Ordering::Relaxed);
                claim
            }
            // It is this thread's already.
            Err(TryLockError::Lock(LockError::Deadlock)) => {
                let again = self.again.load(Ordering::Relaxed).checked_add(1).ok_or(LockError::Corrupted)?;
                self.again.store(again, Ordering::Relaxed);
                Claim::of_caller()?
            }
            Err(error) => return Err(error),
        };
        Ok(RecursiveGuard { of: self, claim, not_send: PhantomData })
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for RecursiveMutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("RecursiveMutex");
        match self.any(Patience::Try) {
            Ok(guard) => out.field("data", &guard.get()).finish(),
            Err(TryLockError::WouldBlock) => out.field("data", &format_args!("<locked>")).finish(),
            Err(error) => out.field("data", &format_args!("<{error}>")).finish(),
        }
    }
}

/// A [`RecursiveMutex`], held once. Dropping it gives that one time back.
#[must_use = "the lock is given back when the guard is dropped"]
pub struct RecursiveGuard<'a, T: Plain> {
    of: &'a RecursiveMutex<T>,
    /// Who left the lock poisoned is kept beside it, for all guards; not here.
    claim: Claim,
    not_send: PhantomData<*const ()>,
}

impl<T: Plain> RecursiveGuard<'_, T> {
    /// Who died or panicked while it had the lock, if that is why the data may be torn.
    pub fn poisoned(&self) -> Option<Owner> {
        let culprit = Culprit::from_bits(self.of.culprit.load(Ordering::Relaxed));
        culprit.map(|culprit| self.of.lock.owner(culprit))
    }

    /// Says that the data is mended: the lock will be clean when its last guard is dropped.
    pub fn clear_poison(&self) {
        self.of.culprit.store(0, Ordering::Relaxed);
    }
}

impl<T: Plain> Deref for RecursiveGuard<'_, T> {
    type Target = Cell<T>;

    fn deref(&self) -> &Cell<T> {
        &self.of.data
    }
}

impl<T: Plain> Drop for RecursiveGuard<'_, T> {
    fn drop(&mut self) {
        // The word is asked here, since others are written before the lock is given back.
        if !self.claim.is_callers() || !self.of.lock.is_mine() {
            return;
        }
        let again = self.of.again.load(Ordering::Relaxed);
        if again == 0 {
            let culprit = Culprit::from_bits(self.of.culprit.load(Ordering::Relaxed));
            return self.of.lock.release(self.claim.blaming(culprit));
        }
        if self.claim.is_torn() {
            self.of.culprit.store(Culprit::to_bits(Culprit::caller()), Ordering::Relaxed);
        }
        self.of.again.store(again - 1, Ordering::Relaxed);
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for RecursiveGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}
