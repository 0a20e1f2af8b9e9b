//! Plain data under a lock that many may read or one may write.

#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::deadline::Deadline;
use super::error::{LockError, Owner, TryLockError};
use super::lock::{Claim, Patience, RawLock, State};
use super::readers::Readers;
use super::wait::WaitWord;
use crate::layout::{Layout, PROTOCOL};
use crate::liveness::{self, Thread};
use crate::plain::Plain;
use crate::shareable::{Direct, LastHandle, Shareable};

/// A reader-writer lock over plain data, between threads and processes alike.
///
/// In place, ready when its bytes are zero. Readers of different processes mark themselves on different cache lines, where these suffice, so they do
/// not slow each other down. **Writers come first**: from the moment that a writer waits, no further reader enters. So a thread
/// that reads must not read again meanwhile, nor write: like with `std`, it may wait for itself.
///
/// **When a reader dies**, its mark is wiped by who waits for it, about 10 ms after the kernel has closed its descriptors; nothing is poisoned. **When a
/// writer dies** or panics the lock is poisoned, as with [`Mutex`](crate::Mutex); one that had the lock and still waited for the readers counts as one that wrote. At most 64 processes read at the same time; threads of one process count once.
///
/// ```
/// use coproc::{RwLock, SharedValue};
///
/// let limits = SharedValue::new(RwLock::new([10_u32, 20]))?;
/// limits.write()?[1] = 30;
/// let (a, b) = (limits.read()?, limits.read()?);
/// assert_eq!(a[1] + b[0], 40);
/// # drop((a, b));
/// # Ok::<(), coproc::Error>(())
/// ```
#[repr(C, align(64))]
pub struct RwLock<T> {
    readers: Readers,
    /// Held by the writer, from before it waits for the readers.
    writer: RawLock,
    /// Where readers sleep until the writer is gone.
    gate: WaitWord,
    /// Where the writer sleeps until the readers are gone.
    drain: WaitWord,
    data: UnsafeCell<T>,
}

// SAFETY: the data is written by one thread at a time, while nobody reads it.
unsafe impl<T: Send + Sync> Sync for RwLock<T> {}

// SAFETY:
// 1. Zero is a free lock over the zero of `T`. 2. `T` is plain, the rest integers. 3. By name, nested layout and protocol version.
// 5. Every state of the words is handled, and every bit pattern of `T` is a value.
unsafe impl<T: Plain> Shareable for RwLock<T> {
    type Access = Direct;
    const LAYOUT: u64 = Layout::of::<Self>("RwLock").number(PROTOCOL).number(T::LAYOUT).hash();
    const LEAVES: bool = true;

    fn leave(&self, _: &LastHandle) {
        let mine = liveness::known_identity();
        if mine != 0 {
            self.readers.leave(mine);
        }
        self.writer.leave();
        self.drain.notify_all();
        self.gate.notify_all();
    }
}

impl<T: Plain> RwLock<T> {
    /// A free lock over this value.
    pub const fn new(value: T) -> Self {
        Self {
            readers: Readers::new(),
            writer: RawLock::new(),
            gate: WaitWord::new(),
            drain: WaitWord::new(),
            data: UnsafeCell::new(value),
        }
    }

    /// Waits until no writer has, or wants, the lock; then reads.
    ///
    /// # Errors
    /// [`LockError::Poisoned`] if a writer died or panicked, [`LockError::Deadlock`] if this thread writes, [`LockError::Corrupted`] if a word is impossible.
    #[inline]
    pub fn read(&self) -> Result<RwLockReadGuard<'_, T>, LockError> {
        match self.enter() {
            Some(guard) => Ok(guard),
            None => self.read_slow(Patience::Until(Deadline::NEVER)).map_err(TryLockError::without_end),
        }
    }

    /// Reads if no writer has, or wants, the lock.
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`] if one does, else as [`read`](Self::read).
    pub fn try_read(&self) -> Result<RwLockReadGuard<'_, T>, TryLockError> {
        self.enter().map_or_else(|| self.read_slow(Patience::Try), Ok)
    }

    /// Waits, at most this long (monotonic time), until no writer has, or wants, the lock; then reads.
    ///
    /// # Errors
    /// [`TryLockError::TimedOut`] if one did for all that time, else as [`read`](Self::read).
    pub fn read_timeout(&self, time: Duration) -> Result<RwLockReadGuard<'_, T>, TryLockError> {
        self.enter().map_or_else(|| self.read_slow(Patience::Until(Deadline::after(time))), Ok)
    }

    /// Waits until nobody has the lock; then writes.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn write(&self) -> Result<RwLockWriteGuard<'_, T>, LockError> {
        self.clean(Patience::Until(Deadline::NEVER)).map_err(TryLockError::without_end)
    }

    /// Writes if nobody has the lock.
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`] if somebody has it, else as [`read`](Self::read).
    pub fn try_write(&self) -> Result<RwLockWriteGuard<'_, T>, TryLockError> {
        self.clean(Patience::Try)
    }

    /// Waits, at most this long (monotonic time), until nobody has the lock; then writes.
    ///
    /// # Errors
    /// [`TryLockError::TimedOut`] if somebody had it for all that time, else as [`read`](Self::read).
    pub fn write_timeout(&self, time: Duration) -> Result<RwLockWriteGuard<'_, T>, TryLockError> {
        self.clean(Patience::Until(Deadline::after(time)))
    }

    /// Waits for writing, also if the lock is poisoned: then `repair` mends the data, and the lock is clean again.
    ///
    /// # Errors
    /// As [`read`](Self::read), but never `Poisoned`.
    pub fn write_or_repair(&self, repair: impl FnOnce(&mut T, Owner)) -> Result<RwLockWriteGuard<'_, T>, LockError> {
        let mut guard = self.write_poisoned()?;
        if let Some(owner) = guard.poisoned() {
            repair(&mut guard, owner);
            guard.clear_poison();
        }
        Ok(guard)
    }

    /// Waits for writing, also if the lock is poisoned; it stays so until [`RwLockWriteGuard::clear_poison`].
    ///
    /// # Errors
    /// As [`read`](Self::read), but never `Poisoned`.
    pub fn write_poisoned(&self) -> Result<RwLockWriteGuard<'_, T>, LockError> {
        self.any(Patience::Until(Deadline::NEVER)).map_err(TryLockError::without_end)
    }

    /// Whether the lock is poisoned at this moment.
    pub fn is_poisoned(&self) -> bool {
        self.writer.is_poisoned()
    }

    /// A guard, if this process has a slot where it looks first, and nobody writes: the common case, and nothing else.
    #[inline]
    fn enter(&self) -> Option<RwLockReadGuard<'_, T>> {
        let holder = Thread::known()?.identity();
        let slot = self.readers.mark_again(holder)?;
        let guard = RwLockReadGuard { of: self, slot, holder, not_send: PhantomData };
        // If not free, dropping the guard takes the mark away again.
        (self.writer.state() == State::Clean).then_some(guard)
    }

    #[cold]
    #[inline(never)]
    fn read_slow(&self, patience: Patience) -> Result<RwLockReadGuard<'_, T>, TryLockError> {
        let holder = Thread::current().map_err(LockError::Unregistered)?.identity();
        loop {
            let ticket = self.gate.prepare();
            if self.writer.is_mine() {
                return Err(LockError::Deadlock.into());
            }
            let slot = self.readers.mark(holder);
            let had_slot = slot.is_some();
            if let Some(slot) = slot {
                let guard = RwLockReadGuard { of: self, slot, holder, not_send: PhantomData };
                match self.writer.state() {
                    State::Taken => drop(guard),
                    State::Clean => return Ok(guard),
                    State::Poisoned(culprit) => return Err(LockError::Poisoned(self.writer.owner(culprit)).into()),
                }
            }
            if let Some(culprit) = self.writer.bury()? {
                self.gate.notify_all();
                return Err(LockError::Poisoned(self.writer.owner(culprit)).into());
            }
            if had_slot && self.writer.state() != State::Taken {
                continue;
            }
            let deadline = match patience {
                Patience::Until(deadline) => deadline,
                Patience::Try | Patience::Yield => return Err(TryLockError::WouldBlock),
            };
            if !self.gate.sleep(ticket, deadline) {
                return Err(TryLockError::TimedOut);
            }
        }
    }

    fn clean(&self, patience: Patience) -> Result<RwLockWriteGuard<'_, T>, TryLockError> {
        let guard = self.any(patience)?;
        match guard.claim.culprit() {
            None => Ok(guard),
            Some(culprit) => Err(LockError::Poisoned(self.writer.owner(culprit)).into()),
        }
    }

    fn any(&self, patience: Patience) -> Result<RwLockWriteGuard<'_, T>, TryLockError> {
        let claim = self.writer.acquire(patience)?;
        // From here on no reader enters. If this does not wait for those inside, dropping the guard opens the gate again.
        let guard = RwLockWriteGuard { of: self, claim, not_send: PhantomData };
        self.readers.wait_for_all(&self.drain, patience)?;
        Ok(guard)
    }
}

impl<T: Plain + Default> Default for RwLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("RwLock");
        match self.try_read() {
            Ok(guard) => out.field("data", &*guard).finish(),
            Err(TryLockError::WouldBlock | TryLockError::Lock(LockError::Deadlock)) => {
                out.field("data", &format_args!("<locked>")).finish()
            }
            Err(error) => out.field("data", &format_args!("<{error}>")).finish(),
        }
    }
}

/// An [`RwLock`], held for reading.
#[must_use = "the lock is given back when the guard is dropped"]
pub struct RwLockReadGuard<'a, T: Plain> {
    of: &'a RwLock<T>,
    slot: &'a AtomicU64,
    /// Identity of the process that took it.
    holder: u64,
    not_send: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives `&T` only, and plain data is `Sync`.
unsafe impl<T: Plain> Sync for RwLockReadGuard<'_, T> {}

impl<T: Plain> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the cell is valid as long as the lock, and nobody writes while this process is marked as a reader.
        unsafe { &*self.of.data.get() }
    }
}

impl<T: Plain> Drop for RwLockReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // In a forked child that drops its copy of a guard: it is its parent's.
        if self.holder != liveness::known_identity() {
            return;
        }
        // Release: pairs with the SeqCst loads in `Readers::wait_for_all`; this reader is done. SeqCst: with the look after it, so that a
        // writer that is not seen here sees that.
        self.slot.fetch_sub(1, Ordering::SeqCst);
        if self.of.writer.state() == State::Taken {
            self.of.drain.notify_all();
        }
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// An [`RwLock`], held for writing.
#[must_use = "the lock is given back when the guard is dropped"]
pub struct RwLockWriteGuard<'a, T: Plain> {
    of: &'a RwLock<T>,
    claim: Claim,
    not_send: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives `&T` only, and plain data is `Sync`.
unsafe impl<T: Plain> Sync for RwLockWriteGuard<'_, T> {}

impl<T: Plain> RwLockWriteGuard<'_, T> {
    /// Who died or panicked while it wrote, if that is why the data may be torn.
    pub fn poisoned(&self) -> Option<Owner> {
        self.claim.culprit().map(|culprit| self.of.writer.owner(culprit))
    }

    /// Says that the data is mended: the lock will be clean when this guard is dropped.
    pub fn clear_poison(&mut self) {
        self.claim = self.claim.blaming(None);
    }
}

impl<T: Plain> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the cell is valid as long as the lock, and this thread has it alone.
        unsafe { &*self.of.data.get() }
    }
}

impl<T: Plain> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the cell is valid as long as the lock, and this thread has it alone.
        unsafe { &mut *self.of.data.get() }
    }
}

impl<T: Plain> Drop for RwLockWriteGuard<'_, T> {
    fn drop(&mut self) {
        self.of.writer.release(self.claim);
        self.of.gate.notify_all();
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
