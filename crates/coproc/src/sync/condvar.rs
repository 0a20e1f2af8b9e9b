//! Waiting, without the lock, for somebody to change what the lock guards.

#![allow(unsafe_code)]

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::deadline::Deadline;
use super::error::LockError;
use super::mutex::MutexGuard;
use super::nap::nap;
use super::wait::SLICE;
use crate::layout::{Layout, PROTOCOL};
use crate::shareable::{Direct, Shareable};
use crate::sys::futex;

/// A condition variable, between threads and processes alike, for the guards of [`Mutex`](crate::Mutex), [`SharedValue`](crate::SharedValue) and [`SharedArray`](crate::SharedArray).
///
/// In place, ready when its bytes are zero. Wake-ups may come without reason, so wait in a loop, or with [`wait_while`](Self::wait_while).
///
/// **When a process dies** while it waits, others that wait get the wake that it may have eaten within 20 ms. A process killed before it
/// notified has not: nobody knows who would have, so who must not wait for ever for it waits with a timeout. One killed while it had the lock
/// has poisoned it: the wait ends with [`LockError::Poisoned`] when it comes to take the lock again, also where the guard was one of a poisoned lock.
///
/// ```
/// use coproc::{Condvar, Mutex, Shareable, SharedValue};
///
/// #[derive(Shareable)]
/// #[repr(C)]
/// struct Stock { items: Mutex<u32>, arrived: Condvar }
///
/// let stock = SharedValue::<Stock>::zeroed()?;
/// # let other = stock.clone();
/// # let thread = std::thread::spawn(move || -> coproc::Result<()> {
/// *other.items.lock()? += 1; // in another process or thread
/// other.arrived.notify_one();
/// # Ok(()) });
/// let mut items = stock.arrived.wait_while(stock.items.lock()?, |items| *items == 0)?;
/// *items -= 1;
/// # thread.join().unwrap()?;
/// # Ok::<(), coproc::Error>(())
/// ```
#[derive(Default)]
#[repr(transparent)]
pub struct Condvar {
    /// How often somebody has notified. A waiter reads it while it has the lock, so a notification after that changes it.
    notified: AtomicU32,
}

// SAFETY:
// 1. Zero is a condition variable that nobody has notified. 2. It holds one integer. 3. By name, size and protocol version.
// 5. Every bit pattern is a count, and all access is atomic.
unsafe impl Shareable for Condvar {
    type Access = Direct;
    const LAYOUT: u64 = Layout::of::<Self>("Condvar").number(PROTOCOL).hash();
}

impl Condvar {
    /// A condition variable that nobody waits for.
    pub const fn new() -> Self {
        Self { notified: AtomicU32::new(0) }
    }

    /// Gives the lock back, waits until somebody notifies, and takes the lock again.
    ///
    /// # Errors
    /// As [`Mutex::lock`](crate::Mutex::lock), from taking the lock again. The lock is not held then.
    pub fn wait<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>) -> Result<MutexGuard<'a, T>, LockError> {
        self.wait_until(guard, Deadline::NEVER).map(|(guard, _)| guard)
    }

    /// Waits as long as the condition holds; it is looked at under the lock.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    #[doc(alias = "wait_for")]
    pub fn wait_while<'a, T: ?Sized>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> Result<MutexGuard<'a, T>, LockError> {
        while condition(&mut guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// As [`wait`](Self::wait), at most this long (monotonic time), and then for the lock. `false` if nobody notified in that time.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_timeout<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        time: Duration,
    ) -> Result<(MutexGuard<'a, T>, bool), LockError> {
        self.wait_until(guard, Deadline::after(time))
    }

    /// As [`wait_while`](Self::wait_while), at most this long (monotonic time), and then for the lock. `false` if the condition held all that time.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_timeout_while<'a, T: ?Sized>(
        &self,
        mut guard: MutexGuard<'a, T>,
        time: Duration,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> Result<(MutexGuard<'a, T>, bool), LockError> {
        let deadline = Deadline::after(time);
        while condition(&mut guard) {
            if deadline.slice(SLICE).is_none() {
                return Ok((guard, false));
            }
            guard = self.wait_until(guard, deadline)?.0;
        }
        Ok((guard, true))
    }

    /// Wakes one who waits, if anybody does.
    pub fn notify_one(&self) {
        self.notify(1);
    }

    /// Wakes this many who wait, or as many as there are.
    pub fn notify_n(&self, count: u32) {
        if count > 0 {
            self.notify(count.min(i32::MAX.unsigned_abs()));
        }
    }

    /// Wakes all who wait.
    pub fn notify_all(&self) {
        self.notify(i32::MAX.unsigned_abs());
    }

    fn notify(&self, count: u32) {
        // Relaxed: what the waiter is to see comes to it through the lock.
        self.notified.fetch_add(1, Ordering::Relaxed);
        futex::wake(&self.notified, count);
    }

    fn wait_until<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Deadline,
    ) -> Result<(MutexGuard<'a, T>, bool), LockError> {
        // Read under the lock, so it is older than what anybody notifies of who takes the lock after this.
        let before = self.notified.load(Ordering::Relaxed);
        let parts = guard.unlock();
        let mut notified = false;
        while nap(&self.notified, before, deadline, SLICE) {
            // A change that another one was woken for counts too: that one may have been killed.
            if self.notified.load(Ordering::Relaxed) != before {
                notified = true;
                break;
            }
        }
        match parts.lock() {
            Ok(guard) => Ok((guard, notified)),
            Err(error) => Err(error),
        }
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").finish_non_exhaustive()
    }
}
