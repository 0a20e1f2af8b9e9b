//! Counted permits that come back when their holder is killed.

#![allow(unsafe_code)]

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::deadline::Deadline;
use super::error::{LockError, TryLockError};
use super::lock::{Patience, RawLock};
use super::wait::WaitWord;
use crate::layout::{Layout, PROTOCOL};
use crate::liveness::{self, Thread};
use crate::shareable::{Direct, Shareable};

/// How many processes can hold permits at the same time; a further one waits.
const HOLDERS: usize = 32;

/// Permits, counted, between threads and processes alike.
///
/// In place, ready when its bytes are zero (no permits yet: [`release`](Self::release) makes some), usable in a segment, a `static` or on the stack.
///
/// **When a holder dies**, the permits that its [`Permit`]s held come back: at the latest when somebody waits, within one slice (20 ms) of
/// the kernel closing its descriptors. A permit that was made nobody's by [`Permit::forget`] does not. At most 32 processes hold permits
/// at the same time; the 33rd waits. A process killed while it waits costs nothing.
///
/// ```
/// use coproc::{Semaphore, SharedValue};
///
/// let slots = SharedValue::new(Semaphore::new(2))?;
/// let one = slots.acquire()?;
/// let two = slots.acquire()?;
/// assert!(slots.try_acquire().is_err());
/// drop(one);
/// assert_eq!(slots.available(), 1);
/// # drop(two);
/// # Ok::<(), coproc::Error>(())
/// ```
#[repr(C)]
pub struct Semaphore {
    /// Guards the counters and slots below.
    lock: RawLock,
    /// Permits that exist: free ones and those in slots. The truth, with the slots.
    total: AtomicU64,
    /// Permits that are free: a cache of `total` less the counts in the slots. Stored last, so who takes the lock over from a dead
    /// process computes it anew.
    free: AtomicU64,
    sleepers: WaitWord,
    _pad: u32,
    /// Who holds how many: identity in the upper 40 bits, count in the lower 24; 0 is an empty slot.
    slots: [AtomicU64; HOLDERS],
}

const COUNT: u64 = (1 << 24) - 1;
const IDENTITY_SHIFT: u32 = 24;

// SAFETY:
// 1. Zero is a semaphore without permits. 2. It holds integers. 3. By name, size and protocol version.
// 5. All access is atomic; no count is an index, and arithmetic on counts saturates.
unsafe impl Shareable for Semaphore {
    type Access = Direct;
    const LAYOUT: u64 = Layout::of::<Self>("Semaphore").number(PROTOCOL).hash();
    const LEAVES: bool = true;

    fn leave(&self) {
        let mine = liveness::known_identity();
        if mine != 0 && self.slots.iter().any(|slot| slot.load(Ordering::Relaxed) >> IDENTITY_SHIFT == mine) {
            // Nobody of this process can hold the lock any more but through a killed thread, and there are none of these.
            let _ = self.locked(Patience::Yield, |it| it.recount(|identity| identity != mine));
            self.sleepers.notify_all();
        }
    }
}

impl Semaphore {
    /// A semaphore with this many permits.
    pub const fn new(permits: u32) -> Self {
        Self {
            lock: RawLock::new(),
            total: AtomicU64::new(permits as u64),
            free: AtomicU64::new(permits as u64),
            sleepers: WaitWord::new(),
            _pad: 0,
            slots: [const { AtomicU64::new(0) }; HOLDERS],
        }
    }

    /// How many permits are free at this moment.
    #[doc(alias = "get_value")]
    pub fn available(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }

    /// Waits for a permit.
    ///
    /// # Errors
    /// [`LockError::Corrupted`] if the words are impossible, [`LockError::Unregistered`] if this process has forked and cannot register itself.
    pub fn acquire(&self) -> Result<Permit<'_>, LockError> {
        self.acquire_until(Deadline::NEVER).map_err(TryLockError::without_end)
    }

    /// Takes a permit if one is free.
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`] if none is, else as [`acquire`](Self::acquire).
    pub fn try_acquire(&self) -> Result<Permit<'_>, TryLockError> {
        if !self.take(Patience::Yield)? {
            self.reap(Patience::Yield)?;
            if !self.take(Patience::Yield)? {
                return Err(TryLockError::WouldBlock);
            }
        }
        Ok(Permit { of: self })
    }

    /// Waits for a permit, at most this long (monotonic time).
    ///
    /// # Errors
    /// [`TryLockError::TimedOut`] if none came free in that time, else as [`acquire`](Self::acquire).
    pub fn acquire_timeout(&self, time: Duration) -> Result<Permit<'_>, TryLockError> {
        self.acquire_until(Deadline::after(time))
    }

    /// Makes this many more permits, whoever calls it.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub fn release(&self, permits: u32) -> Result<(), LockError> {
        self.locked(Patience::Until(Deadline::NEVER), |it| {
            it.total.store(it.total.load(Ordering::Relaxed).saturating_add(permits.into()), Ordering::Relaxed);
            it.free.store(it.free.load(Ordering::Relaxed).saturating_add(permits.into()), Ordering::Relaxed);
        })
        .map_err(TryLockError::without_end)?;
        self.sleepers.notify_one();
        Ok(())
    }

    fn acquire_until(&self, deadline: Deadline) -> Result<Permit<'_>, TryLockError> {
        let mut slept = false;
        loop {
            let patience = Patience::Until(deadline);
            if self.take(patience)? {
                if slept && self.available() > 0 {
                    // The wake that let this one go cleared the mark of the others.
                    self.sleepers.notify_one();
                }
                return Ok(Permit { of: self });
            }
            let ticket = self.sleepers.prepare();
            if self.available() == 0 || slept {
                if !self.sleepers.sleep(ticket, deadline) {
                    return Err(TryLockError::TimedOut);
                }
                self.reap(patience)?;
            }
            slept = true;
        }
    }

    /// Takes a permit for this process; `false` if there is none, or no slot.
    fn take(&self, patience: Patience) -> Result<bool, TryLockError> {
        if self.available() == 0 {
            return Ok(false);
        }
        let mine = Thread::current().map_err(LockError::Unregistered)?.bits() >> IDENTITY_SHIFT;
        self.locked(patience, |it| {
            let free = it.available();
            let Some(slot) = it.slot(mine).or_else(|| it.slot(0)) else { return false };
            let count = slot.load(Ordering::Relaxed) & COUNT;
            if free == 0 || count == COUNT {
                return false;
            }
            slot.store(mine << IDENTITY_SHIFT | (count + 1), Ordering::Relaxed);
            it.free.store(free - 1, Ordering::Relaxed);
            true
        })
    }

    /// Gives back a permit of this process: to all, or to nobody.
    fn give(&self, to_all: bool) {
        let mine = liveness::known_identity();
        let given = self.locked(Patience::Until(Deadline::NEVER), |it| {
            // A forked child that drops its copy of a permit has no slot: the permit is its parent's.
            let Some(slot) = it.slot(mine).filter(|_| mine != 0) else { return };
            let held = slot.load(Ordering::Relaxed);
            slot.store(if held & COUNT <= 1 { 0 } else { held - 1 }, Ordering::Relaxed);
            if to_all {
                it.free.store(it.available().saturating_add(1), Ordering::Relaxed);
            } else {
                it.total.store(it.total.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
            }
        });
        if given.is_ok() {
            self.sleepers.notify_one();
        }
    }

    fn slot(&self, identity: u64) -> Option<&AtomicU64> {
        self.slots.iter().find(|slot| slot.load(Ordering::Relaxed) >> IDENTITY_SHIFT == identity)
    }

    /// Takes back what dead processes held.
    fn reap(&self, patience: Patience) -> Result<(), TryLockError> {
        let alive = |identity| liveness::is_alive((&raw const *self).cast(), identity);
        let identities = self.slots.iter().map(|slot| slot.load(Ordering::Relaxed) >> IDENTITY_SHIFT);
        if identities.filter(|&identity| identity != 0).all(alive) {
            return Ok(());
        }
        self.locked(patience, |it| it.recount(alive))?;
        self.sleepers.notify_one();
        Ok(())
    }

    /// Empties the slots of processes that do not live, and computes what is free. Under the lock.
    fn recount(&self, alive: impl Fn(u64) -> bool) {
        let mut held = 0_u64;
        for slot in &self.slots {
            let word = slot.load(Ordering::Relaxed);
            if word != 0 && !alive(word >> IDENTITY_SHIFT) {
                slot.store(0, Ordering::Relaxed);
            } else {
                held += word & COUNT;
            }
        }
        self.free.store(self.total.load(Ordering::Relaxed).saturating_sub(held), Ordering::Relaxed);
    }

    /// Runs this under the lock, with the counters repaired if the last owner of the lock died. What it stores is seen by the next
    /// owner through the lock.
    fn locked<R>(&self, patience: Patience, work: impl FnOnce(&Self) -> R) -> Result<R, TryLockError> {
        if self.lock.acquire(patience)?.is_some() {
            self.recount(|identity| liveness::is_alive((&raw const *self).cast(), identity));
        }
        let result = work(self);
        self.lock.release(None);
        Ok(result)
    }
}

impl Default for Semaphore {
    fn default() -> Self {
        Self::new(0)
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore").field("available", &self.available()).finish()
    }
}

/// A permit of a [`Semaphore`], held by this process. It comes back when it is dropped, or when the process dies.
#[derive(Debug)]
#[must_use = "the permit comes back when this is dropped"]
pub struct Permit<'a> {
    of: &'a Semaphore,
}

impl Permit<'_> {
    /// Makes the permit nobody's: it does not come back by itself, neither now nor when this process dies. Any process can
    /// put it back with [`Semaphore::release`].
    pub fn forget(self) {
        self.of.give(false);
        std::mem::forget(self);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.of.give(true);
    }
}
