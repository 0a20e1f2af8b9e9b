//! Counted permits that come back when their holder is killed.

#![allow(unsafe_code)]

use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::deadline::Deadline;
use super::error::{LockError, TryLockError};
use super::lock::Patience;
use super::permits::{HOLDERS, Made, PLACES, Shares, empty, held_by};
use super::wait::WaitWord;
use crate::layout::{Layout, PROTOCOL};
use crate::liveness::{self, Thread};
use crate::shareable::{Direct, LastHandle, Shareable};

/// How often a waiter gives way before it sleeps: who takes turns with another process waits a tenth as long.
const YIELDS: u32 = 8;

/// Permits, counted, between threads and processes alike.
///
/// In place, ready when its bytes are zero (no permits yet: [`release`](Self::release) makes some), usable in a segment, a `static` or on the stack.
/// What was done before a permit is given back, or made, is seen by who takes it then.
///
/// **When a holder dies**, the permits that its [`Permit`]s held come back: at the latest when somebody waits, within one slice (20 ms) of
/// the kernel closing its descriptors. A permit that was made nobody's by [`Permit::forget`] does not. A process killed while it waits costs
/// nothing. A semaphore has 32 permits that anybody can hold; of those beyond, at most 32 processes hold some at the same time, and a further
/// process waits.
///
/// Words that no code of this crate has written count as permits, or as holders that are dead; which of them can be had is then anybody's
/// guess, and nothing worse happens.
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
#[doc(alias = "BoundedSemaphore")]
#[repr(C)]
pub struct Semaphore {
    /// Which permits exist ([`Made`]). Made by anybody, unmade by who holds them.
    made: AtomicU64,
    sleepers: WaitWord,
    /// How far the bound is below `u32::MAX`: zero is no bound.
    tightness: AtomicU32,
    /// Who holds the permit of this place ([`held_by`]), 0 is nobody. A place whose permit does not exist may be held for a moment.
    places: [AtomicU64; PLACES],
    /// Who holds the permits beyond those.
    beyond: Shares,
}

// SAFETY:
// 1. Zero is a semaphore without permits. 2. It holds integers. 3. By name, size and protocol version.
// 5. All access is atomic. No word is an index, but for the bits of `made`, of which there are as many as places; and no arithmetic on
//    words overflows.
unsafe impl Shareable for Semaphore {
    type Access = Direct;
    const LAYOUT: u64 = Layout::of::<Self>("Semaphore").number(PROTOCOL).hash();
    const LEAVES: bool = true;

    fn leave(&self, _: &LastHandle) {
        let mine = liveness::known_identity();
        if mine != 0 {
            self.take_back(|holder| holder == mine);
        }
        self.beyond.leave();
    }
}

impl Semaphore {
    /// A semaphore with this many permits.
    pub const fn new(permits: u32) -> Self {
        Self::with_bound(permits, u32::MAX)
    }

    /// A semaphore with this many permits, and never more: to [`release`](Self::release) one that was not
    /// [forgotten](Permit::forget) before is an error.
    ///
    /// ```
    /// use coproc::Semaphore;
    ///
    /// let slots = Semaphore::bounded(2);
    /// assert!(slots.release(1).is_err());
    /// slots.acquire()?.forget();
    /// slots.release(1)?;
    /// # Ok::<(), coproc::Error>(())
    /// ```
    pub const fn bounded(permits: u32) -> Self {
        Self::with_bound(permits, permits)
    }

    const fn with_bound(permits: u32, bound: u32) -> Self {
        let Some(made) = Made::NONE.with(permits, bound) else { panic!("more permits than the bound") };
        Self {
            made: AtomicU64::new(made.0),
            sleepers: WaitWord::new(),
            tightness: AtomicU32::new(u32::MAX - bound),
            places: [const { AtomicU64::new(0) }; PLACES],
            beyond: Shares::new(),
        }
    }

    /// How many permits are free at this moment.
    #[doc(alias = "get_value")]
    pub fn available(&self) -> u64 {
        let held = self.beyond.held();
        let made = self.made();
        // Acquire: pairs with the Release in `give`; what the last holder did.
        let free = bits(made.placed()).filter(|&index| self.places[index].load(Ordering::Acquire) == 0);
        free.count() as u64 + made.beyond().saturating_sub(held)
    }

    /// Waits for a permit.
    ///
    /// # Errors
    /// [`LockError::Corrupted`] if the word of the lock in it is impossible, [`LockError::Unregistered`] if this process has forked and cannot
    /// register itself.
    #[inline]
    pub fn acquire(&self) -> Result<Permit<'_>, LockError> {
        match self.take_placed() {
            Some(permit) => Ok(permit),
            None => self.acquire_until(Deadline::NEVER).map_err(TryLockError::without_end),
        }
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
        match self.take_placed() {
            Some(permit) => Ok(permit),
            None => self.acquire_until(Deadline::after(time)),
        }
    }

    /// Makes this many more permits, whoever calls it: all, or if that is an error, none; also if the caller is killed meanwhile. Never
    /// waits.
    ///
    /// # Errors
    /// [`ReleaseError`] if there were then more permits, held and free, than the bound that [`bounded`](Self::bounded) gave the semaphore, or
    /// than `u32::MAX`.
    #[doc(alias = "post")]
    pub fn release(&self, permits: u32) -> Result<(), ReleaseError> {
        let bound = u32::MAX - self.tightness.load(Ordering::Relaxed);
        let more = |made| Made(made).with(permits, bound).map(|made| made.0);
        // Release: pairs with the Acquire in `made`; what the caller did before.
        self.made.fetch_update(Ordering::Release, Ordering::Relaxed, more).map_err(|_| ReleaseError)?;
        if permits == 1 {
            self.sleepers.notify_first_cheaply();
        } else {
            self.sleepers.notify_all();
        }
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn acquire_until(&self, deadline: Deadline) -> Result<Permit<'_>, TryLockError> {
        let mut yields = 0;
        let mut slept = false;
        let mut ticket = None;
        loop {
            match self.take(Patience::Until(deadline)) {
                Ok(None) => {}
                result => {
                    if slept {
                        self.sleepers.pass_on_first(|| self.available() > 0);
                    }
                    return result?.ok_or(LockError::Corrupted.into());
                }
            }
            if yields < YIELDS {
                yields += 1;
                std::thread::yield_now();
                continue;
            }
            // Before the first sleep, too: who died before this call is not waited for. And after the last: that was the last look.
            if self.reap() {
                continue;
            }
            let marked = self.sleepers.prepare_again(ticket);
            ticket = Some(marked);
            if self.has_one() {
                continue;
            }
            if !self.sleepers.sleep(marked, deadline) {
                return Err(TryLockError::TimedOut);
            }
            slept = true;
        }
    }

    /// Takes a permit for this process; `None` if there is none, or one that it cannot hold.
    fn take(&self, patience: Patience) -> Result<Option<Permit<'_>>, TryLockError> {
        let holder = Thread::current().map_err(LockError::Unregistered)?.identity();
        if let Some(permit) = self.take_placed() {
            return Ok(Some(permit));
        }
        let beyond = self.made().beyond();
        if beyond == 0 || beyond <= self.beyond.held() {
            return Ok(None);
        }
        let slot = self.beyond.take(holder, patience, || self.made().beyond())?;
        // Not before it is taken: a permit that was made and is not given out would be given back.
        Ok(slot.map(|slot| Permit { of: self, holder, index: PLACES + slot }))
    }

    /// Takes a permit that has a place: the common case, of one exchange. `None` if there is none, or if this process has not registered itself.
    #[inline]
    fn take_placed(&self) -> Option<Permit<'_>> {
        let holder = liveness::known_identity();
        let mut left = self.made().placed();
        if holder == 0 {
            return None;
        }
        // Processes begin at different places, and those that were started one after the other on different cache lines.
        let start = (liveness::seat() as u32).wrapping_mul(9) % 32;
        while left != 0 {
            let index = ((left.rotate_right(start).trailing_zeros() + start) % 32) as usize;
            let place = &self.places[index];
            // Acquire: pairs with the Release in `give`; what the last holder did, and that it forgot the permit if it did.
            if place.load(Ordering::Relaxed) == 0
                && place.compare_exchange(0, held_by(holder), Ordering::Acquire, Ordering::Relaxed).is_ok()
            {
                let permit = Permit { of: self, holder, index };
                // From here on nobody else can unmake it. If somebody did since the first look, dropping the permit gives the place back.
                if self.made().placed() & 1 << index != 0 {
                    return Some(permit);
                }
            }
            left &= !(1 << index);
        }
        None
    }

    /// Gives back a permit that this process holds.
    #[inline]
    fn give(&self, index: usize, holder: u64) {
        match self.places.get(index) {
            Some(place) => {
                // A look, for words that were overwritten.
                if place.load(Ordering::Relaxed) == held_by(holder) {
                    // Nobody else changes it while this process lives. Release: pairs with the Acquire in `take_placed` and `available`; what the
                    // holder did.
                    place.store(0, Ordering::Release);
                }
            }
            None => self.beyond.give(index - PLACES, holder),
        }
        self.sleepers.notify_first_cheaply();
    }

    #[inline]
    fn made(&self) -> Made {
        // Acquire: pairs with the Release in `release`; what the releaser did.
        Made(self.made.load(Ordering::Acquire))
    }

    /// Whether there is a permit for this process.
    fn has_one(&self) -> bool {
        let made = self.made();
        bits(made.placed()).any(|index| self.places[index].load(Ordering::Relaxed) == 0)
            || made.beyond() > self.beyond.held() && self.beyond.has_room(liveness::known_identity())
    }

    /// Takes back what dead processes held. `false` if that is nothing.
    #[cold]
    fn reap(&self) -> bool {
        // Each is asked about once: that is a system call, and one process may hold many.
        let mut alive = [0; PLACES + HOLDERS];
        let mut count = 0;
        self.take_back(|holder| {
            if alive[..count].contains(&holder) {
                return false;
            }
            let lives = liveness::is_alive((&raw const *self).cast(), holder);
            if lives {
                alive[count] = holder;
                count += 1;
            }
            !lives
        })
    }

    /// Takes back what these holders have. `false` if that is nothing.
    fn take_back(&self, of: impl FnMut(u64) -> bool) -> bool {
        let any = empty(self.places.iter().chain(self.beyond.slots()), of);
        if any {
            self.sleepers.notify_all();
        }
        any
    }
}

/// The numbers of the bits that are set.
fn bits(of: u32) -> impl Iterator<Item = usize> {
    (0..PLACES).filter(move |index| of & 1 << index != 0)
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
    /// Its place, or behind those the slot in which it is counted.
    index: usize,
}

impl Permit<'_> {
    /// Makes the permit nobody's: it does not come back by itself, neither now nor when this process dies. Any process can
    /// put it back with [`Semaphore::release`].
    pub fn forget(self) {
        if self.is_mine() {
            let less = |made| Some(Made(made).without(self.index).0);
            // It exists no more before it is held no more. Relaxed: who takes it sees both by the Release in `give`.
            let _ = self.of.made.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
    }

    /// In a forked child that drops its copy of a permit it is not: it is its parent's.
    #[inline]
    fn is_mine(&self) -> bool {
        self.holder == liveness::known_identity()
    }
}

impl Drop for Permit<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.is_mine() {
            self.of.give(self.index, self.holder);
        }
    }
}

/// Why [`Semaphore::release`] made no permits: there would be more than the semaphore's bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReleaseError;

impl fmt::Display for ReleaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there would be more permits, held and free, than the semaphore's bound")
    }
}

impl Error for ReleaseError {}
