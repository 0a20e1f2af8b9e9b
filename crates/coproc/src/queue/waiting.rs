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

/// What a call waits for.
pub(crate) trait Turn {
    /// Where it sleeps.
    fn word(&self) -> &WaitWord;

    /// Whether an attempt would find nothing: asked before each sleep.
    fn must_wait(&self) -> bool;

    /// Whether an attempt may find something: a look that costs little.
    fn has_some(&self) -> bool {
        !self.must_wait()
    }

    /// Whether it waits in vain.
    fn is_over(&self) -> bool;

    /// Whether nobody is left who could end it: asked after each sleep.
    fn is_alone(&self) -> bool {
        false
    }

    /// Whether the other side has done all it could, so that it waits too, or soon will.
    fn is_standstill(&self) -> bool {
        false
    }
}

/// Tries until it is done, in vain, or too late; sleeps in between.
#[inline]
pub(crate) fn wait_for<R>(
    turn: &impl Turn,
    deadline: Deadline,
    mut attempt: impl FnMut(Patience) -> Result<R, Stop>,
) -> Result<R, Stop> {
    match attempt(Patience::Until(deadline)) {
        Err(Stop::Wait) => wait_again(turn, deadline, attempt),
        result => {
            found_at_once();
            result
        }
    }
}

/// As [`wait_for`], after a first attempt that found nothing.
#[cold]
pub(super) fn wait_again<R>(
    turn: &impl Turn,
    deadline: Deadline,
    mut attempt: impl FnMut(Patience) -> Result<R, Stop>,
) -> Result<R, Stop> {
    let word = turn.word();
    let mut slept = false;
    let mut ticket = None;
    let in_a_row = IN_A_ROW.replace(0);
    let mut moment = 0;
    if in_a_row >= MANY {
        moment = MOMENT;
        pace::note_stream();
    }
    let mut found = match pace::look_first(|| turn.has_some().then_some(())) {
        Some(()) => attempt(Patience::Until(deadline)),
        None => Err(Stop::Wait),
    };
    if matches!(found, Err(Stop::Wait)) {
        let given_way = pace::give_way(YIELDS, || {
            if turn.is_over() {
                return Some(Err(Stop::Closed));
            }
            std::thread::yield_now();
            (0..std::mem::take(&mut moment)).for_each(|_| std::hint::spin_loop());
            pace::look_for(LOOKS, || turn.has_some().then_some(()));
            Some(attempt(Patience::Until(deadline))).filter(|found| !matches!(found, Err(Stop::Wait)))
        });
        found = given_way.unwrap_or(found);
    }
    loop {
        if !matches!(found, Err(Stop::Wait)) {
            if slept {
                word.pass_on(|| !turn.must_wait());
                if turn.is_standstill() {
                    pace::note_standstill();
                }
            }
            return found;
        }
        if turn.is_over() {
            return Err(Stop::Closed);
        }
        let marked = word.prepare_again(ticket);
        ticket = Some(marked);
        if !turn.must_wait() || turn.is_over() {
            found = attempt(Patience::Until(deadline));
            continue;
        }
        let in_time = word.sleep(marked, deadline);
        slept |= in_time;
        // First that nobody is left, then once more what they left. Also by who never sleeps, since its time is over at once.
        if turn.must_wait() && turn.is_alone() && turn.must_wait() && !turn.is_over() {
            return Err(Stop::Disconnected);
        }
        if !in_time {
            return Err(Stop::Wait);
        }
        found = attempt(Patience::Until(deadline));
    }
}

/// The turn of one side of a ring: of who sends when there is room, of who receives when there are items.
pub(crate) struct RingTurn<'a, A> {
    pub(crate) ring: &'a Ring,
    pub(crate) end: End,
    /// Whether nobody is left on the other side.
    pub(crate) is_alone: A,
}

impl<A: Fn() -> bool> Turn for RingTurn<'_, A> {
    fn word(&self) -> &WaitWord {
        self.ring.word(self.end)
    }

    fn must_wait(&self) -> bool {
        self.ring.must_wait(self.end)
    }

    fn is_over(&self) -> bool {
        self.ring.is_over(self.end)
    }

    fn is_alone(&self) -> bool {
        (self.is_alone)()
    }

    fn is_standstill(&self) -> bool {
        let (len, half) = (self.ring.len(), self.ring.shape().capacity / 2);
        half > 0 && if self.end == End::Recv { len >= half } else { len <= half }
    }
}

impl Ring {
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
