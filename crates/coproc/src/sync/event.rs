//! An event: somebody sets it, everybody waits for it.

#![allow(unsafe_code)]

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::deadline::Deadline;
use super::nap::nap;
use super::wait::SLICE;
use crate::layout::{Layout, PROTOCOL};
use crate::ready::Waitable;
use crate::shareable::{Direct, Shareable};
use crate::sys::futex;

/// A flag to wait for, between threads and processes alike. It stays set until it is cleared.
///
/// In place, ready when its bytes are zero (not set), usable in a segment, a `static` or on the stack. What was written before
/// [`set`](Self::set) is seen after the [`wait`](Self::wait) that it ends.
///
/// Nobody owns an event, so nobody's death changes it: a process killed while it waits costs nothing, and one killed before it
/// called `set` has not set it. Who must not wait for ever for a process that may die waits with a timeout or joins the process.
///
/// ```
/// use coproc::{Event, SharedValue};
/// use std::time::Duration;
///
/// let ready = SharedValue::<Event>::zeroed()?;
/// assert!(!ready.wait_timeout(Duration::ZERO));
/// ready.set();
/// ready.wait();
/// # Ok::<(), coproc::Error>(())
/// ```
#[derive(Default)]
#[repr(transparent)]
pub struct Event {
    /// SET in bit 0, WAIT in bit 1, and in the rest how often it was set, so that who waits notices a `set` that was cleared at once.
    word: AtomicU32,
}

const SET: u32 = 1;
const WAIT: u32 = 2;
const ONE: u32 = 4;

// SAFETY:
// 1. Zero is an event that is not set. 2. It holds one integer. 3. By name, size and protocol version.
// 5. Every bit pattern of the word is a state, and all access is atomic.
unsafe impl Shareable for Event {
    type Access = Direct;
    const LAYOUT: u64 = Layout::of::<Self>("Event").number(PROTOCOL).hash();
}

impl Event {
    /// An event that is not set.
    pub const fn new() -> Self {
        Self { word: AtomicU32::new(0) }
    }

    /// Sets the event and wakes all who wait.
    #[inline]
    pub fn set(&self) {
        let word = self.word.load(Ordering::Relaxed);
        if word & WAIT != 0 || !self.set_from(word) {
            self.set_slow();
        }
    }

    /// Sets the event if its word is this; nobody is waiting then who is not woken after it.
    #[inline]
    fn set_from(&self, word: u32) -> bool {
        let next = (word & !(SET | WAIT)).wrapping_add(ONE) | SET;
        // Release: pairs with the Acquire in `is_set` and `wait`; what the setter wrote before.
        self.word.compare_exchange(word, next, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    #[cold]
    fn set_slow(&self) {
        loop {
            let word = self.word.load(Ordering::Relaxed);
            if self.set_from(word) {
                if word & WAIT != 0 {
                    futex::wake_all(&self.word);
                }
                return;
            }
        }
    }

    /// Clears the event. Who waited when it was set has been let go.
    #[inline]
    pub fn clear(&self) {
        // Acquire: pairs with the Release in `set`; who clears first and then looks for work sees the work of the set that it cleared.
        self.word.fetch_and(!SET, Ordering::Acquire);
    }

    /// Whether the event is set.
    #[inline]
    pub fn is_set(&self) -> bool {
        // Acquire: pairs with the Release in `set`; what the setter wrote before.
        self.word.load(Ordering::Acquire) & SET != 0
    }

    /// Waits until the event is set: now, or once after the call began, even if it is cleared at once.
    #[inline]
    pub fn wait(&self) {
        if !self.is_set() {
            self.wait_until(Deadline::NEVER);
        }
    }

    /// Waits until the event is set, at most this long. `false` if it was not set in that time.
    #[inline]
    pub fn wait_timeout(&self, time: Duration) -> bool {
        self.is_set() || self.wait_until(Deadline::after(time))
    }

    fn wait_until(&self, deadline: Deadline) -> bool {
        let before = self.word.load(Ordering::Relaxed) & !(SET | WAIT);
        loop {
            // Acquire: pairs with the Release in `set`; what the setter wrote before.
            let word = self.word.load(Ordering::Acquire);
            if word & SET != 0 || word & !(SET | WAIT) != before {
                return true;
            }
            if deadline.has_passed() {
                return false;
            }
            self.sleep_on(word, deadline);
        }
    }

    /// For who has something else to look at too: sleeps until the event is set, for a slice at most. `false` if the deadline has passed.
    pub(crate) fn wait_a_slice(&self, deadline: Deadline) -> bool {
        let word = self.word.load(Ordering::Relaxed);
        word & SET != 0 || self.sleep_on(word, deadline)
    }

    /// Sleeps for a slice, if the word, which says "not set", has not changed. `false` if the deadline has passed.
    fn sleep_on(&self, word: u32, deadline: Deadline) -> bool {
        let marked = word | WAIT;
        if word != marked && self.word.compare_exchange(word, marked, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return true;
        }
        nap(&self.word, marked, deadline, SLICE)
    }
}

impl Waitable for Event {
    fn is_ready(&self) -> bool {
        self.is_set()
    }

    fn announce(&self) -> (&AtomicU32, u32) {
        // Not on an event that is set: nobody needs to wake who waits for that.
        let mark = |word: u32| (word & SET == 0).then_some(word | WAIT);
        match self.word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, mark) {
            Ok(word) => (&self.word, word | WAIT),
            Err(word) => (&self.word, word),
        }
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("set", &self.is_set()).finish()
    }
}
