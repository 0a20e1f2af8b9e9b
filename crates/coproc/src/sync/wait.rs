//! The word on which one side sleeps until the other has done something.

use std::sync::atomic::{AtomicU32, Ordering, compiler_fence, fence};
use std::time::Duration;

use super::deadline::Deadline;
use super::nap::nap;
use crate::sys::{self, futex};

/// How long a sleeper sleeps at most before it looks again, in case that who should have woken it, or who was woken in its place, was
/// killed on the way.
pub(crate) const SLICE: Duration = Duration::from_millis(20);

/// WAIT in bit 0, SURE in bit 1, WAKING in bit 2, a sequence number in the rest. Zero is ready. There are no counts, so a dead sleeper costs one wake.
///
/// - Sleeper: [`prepare`](Self::prepare) (sets WAIT, takes WAKING away), look at the condition once more, sleep.
/// - Notifier: make the condition true, then [`notify_one`](Self::notify_one) (if WAIT is set: counts up and sets WAKING, wakes; if fewer slept than it
///   would have woken, takes all three away).
///
/// Both sides have a SeqCst fence between their store and their look, so at least one of them sees the other's store. The count makes
/// a sleeper that looked before the notification not go to sleep after it.
///
/// WAIT stays as long as anybody sleeps. A notifier that has found nobody more to wake takes it away, but only from the very value that it has made: who has
/// announced itself before that does not go to sleep on an older value, and who has after that has taken WAKING from it. (Sleepers do not count: many who come
/// at once would keep each other from sleeping.)
///
/// Who was woken, and waits no more, may leave something for others: it calls `pass_on`, which wakes one of them if so.
///
/// Words of what one at a time can have (`notify_first`) are another case: there the first wake takes WAIT away, and until somebody has set it again no notifier wakes
/// anybody. So whoever has slept there sets it again in all cases, and asks whether there is something for others: `pass_on_first`, or `mark` by who has what will be
/// given back later.
///
/// SURE says that WAIT has been there without a break since before a barrier of all processors (`prepare_dearly`): that is dear, and who finds
/// SURE can do without.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct WaitWord(AtomicU32);

const WAIT: u32 = 1;
const SURE: u32 = 2;
const WAKING: u32 = 4;
const ONE: u32 = 8;

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
        if seen & SURE != 0 {
            // SeqCst: between the mark and the caller's look. A notifier that looked at the word before the barrier that SURE tells of has stored its
            // condition before that; one that looks after it sees WAIT.
            fence(Ordering::SeqCst);
            return Ticket(seen);
        }
        // Pairs with the fence of the compiler in `notify_one_cheaply`: the kernel has every running thread of every process that uses
        // this crate pass a full barrier now. A notifier that passed it before its look at WAIT sees WAIT; one that passed it after has
        // stored its condition before, so the caller's next look sees that.
        if !sys::barrier_everywhere() {
            // SeqCst: at least for those who notify with a fence of their own.
            fence(Ordering::SeqCst);
            return Ticket(seen);
        }
        // Release: pairs with the Acquire in `mark`; what the barrier has made visible here. From this very value: else the mark may have been away meanwhile, and
        // be another one's.
        match self.0.compare_exchange(seen, seen | SURE, Ordering::Release, Ordering::Relaxed) {
            Err(now) if now != seen | SURE => Ticket(seen),
            _ => Ticket(seen | SURE),
        }
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

    /// Says that there may be sleepers, for the next notifier; the value to sleep on.
    pub(crate) fn mark(&self) -> u32 {
        loop {
            // Acquire, here and below: pairs with the Release that sets SURE, and that of a notifier's exchange.
            let seen = self.0.load(Ordering::Acquire);
            let marked = (seen | WAIT) & !WAKING;
            if marked == seen || self.0.compare_exchange_weak(seen, marked, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                return marked;
            }
        }
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
    /// something for them. Where [`notify_first`](Self::notify_first) wakes it is [`pass_on_first`](Self::pass_on_first).
    pub(crate) fn pass_on(&self, more: impl FnOnce() -> bool) {
        if more() {
            self.notify_one_cheaply();
        }
    }

    /// As [`notify_one`](Self::notify_one), and takes the mark of all sleepers away: further calls cost a fence and a load, until the one that was woken sets it
    /// again, as it has to. For what one at a time can have, and for one who sleeps alone.
    #[inline]
    pub fn notify_first(&self) {
        // SeqCst: pairs with the fence in `prepare`.
        fence(Ordering::SeqCst);
        let seen = self.0.load(Ordering::Relaxed);
        if seen & WAIT != 0 {
            self.wake_first(seen);
        }
    }

    /// As [`notify_first`](Self::notify_first), of who has called [`prepare_dearly`](Self::prepare_dearly).
    #[inline]
    pub(crate) fn notify_first_cheaply(&self) {
        // The compiler must not move the look before the stores of the condition; `prepare_dearly` sees to the processor.
        compiler_fence(Ordering::SeqCst);
        let seen = self.0.load(Ordering::Relaxed);
        if seen & WAIT != 0 {
            self.wake_first(seen);
        }
    }

    /// Called by who has slept and waits no more, or has what it was woken for: the mark of the others is gone. `more` says whether there is something for them; it
    /// is asked after the mark is set, so that a notifier which has not seen the mark is seen by it.
    pub(crate) fn pass_on_first(&self, more: impl FnOnce() -> bool) {
        self.prepare_dearly();
        if more() {
            self.notify_first_cheaply();
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
    fn wake(&self, seen: u32, count: u32) {
        // With WAKING there is nobody with a ticket of this value, so it need not be counted up again; and of several notifiers that make one value, whoever is
        // done first takes the mark away.
        let Some(now) = self.exchange(seen, |seen| if seen & WAKING == 0 { (seen | WAKING).wrapping_add(ONE) } else { seen })
        else {
            return;
        };
        if futex::wake(&self.0, count) < count {
            // Nobody sleeps any more.
            let _ = self.0.compare_exchange(now, now & !(WAIT | SURE | WAKING), Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    #[cold]
    #[inline(never)]
    fn wake_first(&self, seen: u32) {
        if self.exchange(seen, |seen| (seen & !(WAIT | SURE | WAKING)).wrapping_add(ONE)).is_some() {
            futex::wake(&self.0, 1);
        }
    }

    /// Changes the word if WAIT is set; what it is then.
    fn exchange(&self, mut seen: u32, change: impl Fn(u32) -> u32) -> Option<u32> {
        while seen & WAIT != 0 {
            let next = change(seen);
            // Release: pairs with the Acquire in `mark`; the condition, for who announces itself after this and finds SURE.
            match self.0.compare_exchange_weak(seen, next, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return Some(next),
                Err(now) => seen = now,
            }
        }
        None
    }
}
