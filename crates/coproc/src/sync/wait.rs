//! The word on which one side sleeps until the other has done something.

use std::sync::atomic::{AtomicU32, Ordering, compiler_fence, fence};
use std::time::Duration;

use super::deadline::Deadline;
use super::nap::nap;
use crate::sys::{self, futex};

/// How long a sleeper sleeps at most before it looks again, in case that who should have woken it, or who was woken in its place, was
/// killed on the way.
pub(crate) const SLICE: Duration = Duration::from_millis(20);

/// WAIT in bit 0, a sequence number in the rest. Zero is ready. There are no counts, so a dead sleeper costs one wake.
///
/// - Sleeper: [`prepare`](Self::prepare) (sets WAIT), look at the condition once more, sleep.
/// - Notifier: make the condition true, then [`notify_one`](Self::notify_one) (if WAIT is set: clears it, counts up, wakes).
///
/// Both sides have a SeqCst fence between their store and their look, so at least one of them sees the other's store. The count makes
/// a sleeper that looked before the notification not go to sleep after it, even if a third has set WAIT again in between.
///
/// One wake clears the mark of all sleepers. So who has slept, and waits no more, calls `pass_on`, which sets it again for the
/// others, and wakes one of them if there is something for it: a wake is passed on along the sleepers.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct WaitWord(AtomicU32);

const WAIT: u32 = 1;
const ONE: u32 = 2;

/// What [`WaitWord::prepare`] saw.
#[derive(Clone, Copy, Debug)]
pub struct Ticket(u32);

impl WaitWord {
    /// A word on which nobody sleeps.
    pub const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Announces a sleeper. The caller looks at its condition after this, and sleeps only if it is still false.
    pub fn prepare(&self) -> Ticket {
        let seen = self.mark();
        // SeqCst: pairs with the fence in `notify`: either the caller's next look sees the condition, or the notifier sees WAIT.
        fence(Ordering::SeqCst);
        Ticket(seen)
    }

    /// As [`prepare`](Self::prepare), for notifiers that call [`notify_one_cheaply`](Self::notify_one_cheaply).
    pub(crate) fn prepare_dearly(&self) -> Ticket {
        let seen = self.mark();
        // Pairs with the fence of the compiler in `notify_one_cheaply`: the kernel has every running thread of every process that uses
        // this crate pass a full barrier now. A notifier that passed it before its look at WAIT sees WAIT; one that passed it after has
        // stored its condition before, so the caller's next look sees that.
        sys::barrier_everywhere();
        Ticket(seen)
    }

    /// As [`prepare_dearly`](Self::prepare_dearly), for who has done so before. While the word is as it was then, its mark has been there all the
    /// time, and every notifier since has passed the barrier of that time.
    pub(crate) fn prepare_again(&self, before: Option<Ticket>) -> Ticket {
        match before {
            // SeqCst: between the look at the mark and the caller's look at its condition.
            Some(ticket) if self.0.load(Ordering::SeqCst) == ticket.0 => {
                fence(Ordering::SeqCst);
                ticket
            }
            _ => self.prepare_dearly(),
        }
    }

    /// The word, for who sleeps on several: [`mark`](Self::mark)s it, and sees to the fences.
    pub(crate) fn word(&self) -> &AtomicU32 {
        &self.0
    }

    /// Says that there may be sleepers yet, for the next notifier.
    pub(crate) fn mark(&self) -> u32 {
        self.0.fetch_or(WAIT, Ordering::Relaxed) | WAIT
    }

    /// Sleeps for a slice at most, or not at all if there was a notification since. `false` if the deadline has passed.
    pub(crate) fn sleep(&self, ticket: Ticket, deadline: Deadline) -> bool {
        self.sleep_for(ticket, deadline, SLICE)
    }

    /// As [`sleep`](Self::sleep), in slices of this length.
    pub(crate) fn sleep_for(&self, ticket: Ticket, deadline: Deadline, slice: Duration) -> bool {
        nap(&self.0, ticket.0, deadline, slice)
    }

    /// Sleeps at most this long, or not at all if there was a notification since. For who sees to it otherwise that deaths are noticed.
    pub fn sleep_at_most(&self, ticket: Ticket, time: Duration) {
        futex::wait(&self.0, ticket.0, time);
    }

    /// Wakes a sleeper, if there is one.
    #[inline]
    pub fn notify_one(&self) {
        self.notify(1);
    }

    /// Wakes a sleeper that has called [`prepare_dearly`](Self::prepare_dearly), if there is one. Costs a load where there is none: the price is
    /// the sleeper's.
    ///
    /// If the kernel knows no such barrier, or a process may not call it, a wake can be missed, and the sleeper finds out at the end of
    /// its slice.
    #[inline]
    pub(crate) fn notify_one_cheaply(&self) {
        self.notify_cheaply(1);
    }

    /// As [`notify_one_cheaply`](Self::notify_one_cheaply), all sleepers.
    #[inline]
    pub(crate) fn notify_all_cheaply(&self) {
        self.notify_cheaply(i32::MAX.unsigned_abs());
    }

    #[inline]
    fn notify_cheaply(&self, count: u32) {
        // The compiler must not move the look before the stores of the condition; `prepare_dearly` sees to the processor.
        compiler_fence(Ordering::SeqCst);
        let seen = self.0.load(Ordering::Relaxed);
        if seen & WAIT != 0 {
            self.wake(seen, count);
        }
    }

    /// Called by who has slept and waits no more, whether it found something or not: others may sleep too. `more` says whether there is
    /// something for them; it is asked after the mark is set, so that a notifier which has not seen the mark is seen by it.
    pub(crate) fn pass_on(&self, more: impl FnOnce() -> bool) {
        self.prepare_dearly();
        if more() {
            self.notify_one_cheaply();
        }
    }

    /// Wakes all sleepers.
    pub fn notify_all(&self) {
        self.notify(i32::MAX.unsigned_abs());
    }

    #[inline]
    fn notify(&self, count: u32) {
        // SeqCst: pairs with the fence in `prepare`.
        fence(Ordering::SeqCst);
        let seen = self.0.load(Ordering::Relaxed);
        if seen & WAIT != 0 {
            self.wake(seen, count);
        }
    }

    #[cold]
    #[inline(never)]
    fn wake(&self, mut seen: u32, count: u32) {
        while seen & WAIT != 0 {
            let next = (seen & !WAIT).wrapping_add(ONE);
            match self.0.compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return futex::wake(&self.0, count),
                Err(now) => seen = now,
            }
        }
    }
}
