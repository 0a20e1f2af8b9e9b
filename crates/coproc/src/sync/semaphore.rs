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
    /// Held while a permit is taken, so that no two take the last one. Nothing is ever half done under it: every change is one exchange.
    lock: RawLock,
    /// Permits that exist: those in slots, and free ones.
    total: AtomicU64,
    sleepers: WaitWord,
    _pad: u32,
    /// Who holds how many: identity in the upper 40 bits, count in the lower 24; 0 is an empty slot. What is free is `total` less these.
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
        if mine != 0 {
            self.empty_slots(|holder| holder == mine);
        }
        self.lock.leave();
    }
}

impl Semaphore {
    /// A semaphore with this many permits.
    pub const fn new(permits: u32) -> Self {
        Self {
            lock: RawLock::new(),
            total: AtomicU64::new(permits as u64),
            sleepers: WaitWord::new(),
            _pad: 0,
            slots: [const { AtomicU64::new(0) }; HOLDERS],
        }
    }

    /// How many permits are free at this moment.
    #[doc(alias = "get_value")]
    pub fn available(&self) -> u64 {
        // The slots first: a permit that is forgotten meanwhile leaves `total` first, so what is seen is never too much.
        // Acquire: pairs with the Release in `give`; what its last holder did.
        let held: u64 = self.slots.iter().map(|slot| slot.load(Ordering::Acquire) & COUNT).sum();
        // Acquire: pairs with the Release in `release`; what the releaser did.
        self.total.load(Ordering::Acquire).saturating_sub(held)
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
        if let Some(permit) = self.take(Patience::Yield)? {
            return Ok(permit);
        }
        self.reap();
        self.take(Patience::Yield)?.ok_or(TryLockError::WouldBlock)
    }

    /// Waits for a permit, at most this long (monotonic time).
    ///
    /// # Errors
    /// [`TryLockError::TimedOut`] if none came free in that time, else as [`acquire`](Self::acquire).
    pub fn acquire_timeout(&self, time: Duration) -> Result<Permit<'_>, TryLockError> {
        self.acquire_until(Deadline::after(time))
    }

    /// Makes this many more permits, whoever calls it. Never waits.
    ///
    /// # Errors
    /// None today; [`LockError::Corrupted`] is kept for a bound on the permits.
    pub fn release(&self, permits: u32) -> Result<(), LockError> {
        let more = |total: u64| Some(total.saturating_add(permits.into()));
        // Release: pairs with the Acquire in `available`; what the caller did before.
        let _ = self.total.fetch_update(Ordering::Release, Ordering::Relaxed, more);
        if permits == 1 {
            self.sleepers.notify_one();
        } else {
            self.sleepers.notify_all();
        }
        Ok(())
    }

    fn acquire_until(&self, deadline: Deadline) -> Result<Permit<'_>, TryLockError> {
        let mut slept = false;
        loop {
            match self.take(Patience::Until(deadline)) {
                Ok(None) => {}
                result => {
                    if slept {
                        self.sleepers.pass_on(|| self.available() > 0);
                    }
                    return Ok(result?.ok_or(LockError::Corrupted)?);
                }
            }
            let ticket = self.sleepers.prepare();
            if self.available() > 0 && self.has_slot() {
                continue;
            }
            if !self.sleepers.sleep(ticket, deadline) {
                // The last look: what there is may be a dead process's.
                self.reap();
                return match self.take(Patience::Yield) {
                    Ok(permit) => permit.ok_or(TryLockError::TimedOut),
                    Err(TryLockError::WouldBlock) => Err(TryLockError::TimedOut),
                    Err(error) => Err(error),
                };
            }
            slept = true;
            self.reap();
        }
    }

    /// Takes a permit for this process; `None` if there is none, or no slot.
    fn take(&self, patience: Patience) -> Result<Option<Permit<'_>>, TryLockError> {
        if self.available() == 0 {
            return Ok(None);
        }
        let holder = Thread::current().map_err(LockError::Unregistered)?.identity();
        // That a former owner of the lock died does not matter: it left nothing half done.
        let held = self.lock.hold(patience)?;
        let taken = self.available() > 0 && self.slot(holder).is_some_and(|slot| add_one(slot, holder));
        drop(held);
        // Not `then_some`: a permit that was made and is not given out would be given back.
        Ok(taken.then(|| Permit { of: self, holder }))
    }

    /// Gives back a permit that `holder` has: to all, or to nobody.
    fn give(&self, holder: u64, to_all: bool) {
        // In a forked child that drops its copy of a permit: it is its parent's.
        if holder != liveness::known_identity() {
            return;
        }
        if !to_all {
            let _ = self.total.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |total| Some(total.saturating_sub(1)));
        }
        for slot in &self.slots {
            let less = |word: u64| {
                let count = (word >> IDENTITY_SHIFT == holder).then_some(word & COUNT)?;
                Some(if count <= 1 { 0 } else { word - 1 })
            };
            // Release: pairs with the Acquire in `available`; what the holder did.
            if slot.fetch_update(Ordering::Release, Ordering::Relaxed, less).is_ok() {
                break;
            }
        }
        self.sleepers.notify_one();
    }

    /// The slot of this process, or an empty one. Under the lock.
    fn slot(&self, holder: u64) -> Option<&AtomicU64> {
        let of = |identity| self.slots.iter().find(|slot| slot.load(Ordering::Relaxed) >> IDENTITY_SHIFT == identity);
        of(holder).or_else(|| of(0))
    }

    /// Whether there is a slot for this process, and it can count one more.
    fn has_slot(&self) -> bool {
        let holder = liveness::known_identity();
        let has_room = |slot: &AtomicU64| {
            let word = slot.load(Ordering::Relaxed);
            word >> IDENTITY_SHIFT != holder || word & COUNT < COUNT
        };
        self.slot(holder).is_some_and(has_room)
    }

    /// Takes back what dead processes held.
    fn reap(&self) {
        self.empty_slots(|holder| !liveness::is_alive((&raw const *self).cast(), holder));
    }

    /// Empties the slots of these holders.
    fn empty_slots(&self, of: impl Fn(u64) -> bool) {
        let mut any = false;
        for slot in &self.slots {
            let word = slot.load(Ordering::Relaxed);
            // Exactly the word that was looked at: the slot may have got another holder meanwhile.
            any |= word != 0
                && of(word >> IDENTITY_SHIFT)
                && slot.compare_exchange(word, 0, Ordering::Release, Ordering::Relaxed).is_ok();
        }
        if any {
            self.sleepers.notify_all();
        }
    }
}

/// Counts one more permit of this holder in its slot, or an empty one; `false` if it cannot be counted. Under the lock.
fn add_one(slot: &AtomicU64, holder: u64) -> bool {
    let more = |word: u64| {
        let count = if word >> IDENTITY_SHIFT == holder { word & COUNT } else { 0 };
        (count < COUNT).then_some(holder << IDENTITY_SHIFT | (count + 1))
    };
    slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
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
    /// Identity of the process that took it.
    holder: u64,
}

impl Permit<'_> {
    /// Makes the permit nobody's: it does not come back by itself, neither now nor when this process dies. Any process can
    /// put it back with [`Semaphore::release`].
    pub fn forget(self) {
        self.of.give(self.holder, false);
        std::mem::forget(self);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.of.give(self.holder, true);
    }
}
