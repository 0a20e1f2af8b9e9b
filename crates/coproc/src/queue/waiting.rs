//! How a call waits for its turn, and whom it wakes. No types but bytes.

use std::cell::Cell;

use super::ring::Ring;
use crate::ring::{End, Stop};
use crate::sync::{Deadline, Patience, WaitWord, pace};

/// How often a call gives way before it sleeps, and how often it looks after each time. Half as many are too few: one late answer puts one side to sleep, and
/// the other, which then has to wait for a wake, soon after it.
const YIELDS: u32 = 16;
const LOOKS: u32 = 16;

/// After so many calls in a row that found something at once, who finds nothing waits for a moment before it looks: the other side has come close, and
/// both would take the same cache lines from each other at every item. A moment is so many pauses, a microsecond or so.
const MANY: u32 = 4;
const MOMENT: u32 = 128;

thread_local! {
    /// How many calls of this thread in a row have found something at once.
    static IN_A_ROW: Cell<u32> = const { Cell::new(0) };
}

/// Notes that a call of this thread has found something at once.
#[inline]
pub(super) fn found_at_once() {
    IN_A_ROW.set(IN_A_ROW.get().saturating_add(1));
}

/// Tries until it is done, in vain, or too late; sleeps on this word in between. `has_some` is a look that costs little, whether an attempt may find something. `must_wait` says whether
/// it would find nothing: it is asked before each sleep. `is_alone` says whether nobody is left who could end it: it is asked after each.
#[inline]
pub(crate) fn wait_for<R>(
    word: &WaitWord,
    deadline: Deadline,
    has_some: impl Fn() -> bool,
    must_wait: impl Fn() -> bool,
    is_over: impl Fn() -> bool,
    is_alone: impl Fn() -> bool,
    mut attempt: impl FnMut(Patience) -> Result<R, Stop>,
) -> Result<R, Stop> {
    match attempt(Patience::Until(deadline)) {
        Err(Stop::Wait) => wait_again(word, deadline, has_some, must_wait, is_over, is_alone, attempt),
        result => {
            found_at_once();
            result
        }
    }
}

/// As [`wait_for`], after a first attempt that found nothing.
#[cold]
fn wait_again<R>(
    word: &WaitWord,
    deadline: Deadline,
    has_some: impl Fn() -> bool,
    must_wait: impl Fn() -> bool,
    is_over: impl Fn() -> bool,
    is_alone: impl Fn() -> bool,
    mut attempt: impl FnMut(Patience) -> Result<R, Stop>,
) -> Result<R, Stop> {
    let mut yields = 0;
    let mut slept = false;
    let mut ticket = None;
    let in_a_row = IN_A_ROW.replace(0);
    let mut moment = 0;
    if in_a_row >= MANY {
        moment = MOMENT;
        pace::note_stream();
    }
    let mut found = match pace::look_first(|| has_some().then_some(())) {
        Some(()) => attempt(Patience::Until(deadline)),
        None => Err(Stop::Wait),
    };
    loop {
        if !matches!(found, Err(Stop::Wait)) {
            if slept {
                word.pass_on(|| !must_wait());
            }
            return found;
        }
        if is_over() {
            return Err(Stop::Closed);
        }
        if yields < YIELDS {
            yields += 1;
            std::thread::yield_now();
            (0..std::mem::take(&mut moment)).for_each(|_| std::hint::spin_loop());
            pace::look_for(LOOKS, || has_some().then_some(()));
            found = attempt(Patience::Until(deadline));
            continue;
        }
        let marked = word.prepare_again(ticket);
        ticket = Some(marked);
        if !must_wait() || is_over() {
            found = attempt(Patience::Until(deadline));
            continue;
        }
        let in_time = word.sleep(marked, deadline);
        slept |= in_time;
        // First that nobody is left, then once more what they left. Also by who never sleeps, since its time is over at once.
        if must_wait() && is_alone() && must_wait() && !is_over() {
            return Err(Stop::Disconnected);
        }
        if !in_time {
            return Err(Stop::Wait);
        }
        found = attempt(Patience::Until(deadline));
    }
}

impl Ring {
    /// [`wait_for`] the ring to have something for this side: room, or items.
    pub(crate) fn wait_for<R>(
        &self,
        end: End,
        deadline: Deadline,
        is_alone: impl Fn() -> bool,
        attempt: impl FnMut(Patience) -> Result<R, Stop>,
    ) -> Result<R, Stop> {
        wait_for(
            self.word(end),
            deadline,
            || !self.must_wait(end),
            || self.must_wait(end),
            || self.is_over(end),
            is_alone,
            attempt,
        )
    }

    /// As [`wait_for`](Self::wait_for), after a first attempt that found nothing.
    #[cold]
    pub(super) fn wait_again<R>(
        &self,
        end: End,
        deadline: Deadline,
        is_alone: impl Fn() -> bool,
        attempt: impl FnMut(Patience) -> Result<R, Stop>,
    ) -> Result<R, Stop> {
        wait_again(
            self.word(end),
            deadline,
            || !self.must_wait(end),
            || self.must_wait(end),
            || self.is_over(end),
            is_alone,
            attempt,
        )
    }

    /// Where this side sleeps.
    pub(super) fn word(&self, end: End) -> &WaitWord {
        match end {
            End::Send => &self.signals().not_full,
            End::Recv => &self.signals().not_empty,
        }
    }

    /// Whether this side waits in vain.
    pub(super) fn is_over(&self, end: End) -> bool {
        match end {
            End::Send => self.is_closed(),
            End::Recv => self.is_drained(),
        }
    }

    /// [`pass`](Self::pass) for senders, and wakes receivers.
    #[inline]
    pub(crate) fn pass_in(&self, most: usize, patience: Patience, work: impl FnMut(usize, *mut u8)) -> Result<usize, Stop> {
        let sent = self.pass(End::Send, most, patience, work);
        match sent {
            Ok(sent) => wake(&self.signals().not_empty, sent),
            // A receiver may have seen this call at it, and waits to learn what came of it.
            Err(Stop::Closed) => self.signals().not_empty.notify_all(),
            Err(_) => {}
        }
        sent
    }

    /// Closes the ring, and lets all go who wait.
    pub(crate) fn close_for_all(&self) {
        self.close();
        self.signals().not_empty.notify_all();
        self.signals().not_full.notify_all();
    }
}

/// Wakes as many sleepers as there are items, or places, for them.
#[inline]
pub(crate) fn wake(word: &WaitWord, count: usize) {
    match count {
        1 => word.notify_one_cheaply(),
        _ => word.notify_all_cheaply(),
    }
}
