//! Ends of tasks: who waits for one, who collects the others, and what is done with them.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use coproc::__private::Parcel;

use super::board::Phase;
use super::book::{Book, Ending, Reply};
use super::desk::Desk;
use crate::error::{Cause, PoolError};

/// How long who waits for a task sleeps before it looks again, in case that the worker was killed before it could wake it.
const SLICE: Duration = Duration::from_millis(10);
/// The same where there is no task: only a worker that stands still makes it last so long.
const LONG_SLICE: Duration = Duration::from_secs(1);
/// How often who waits gives way before it sleeps, and how often it looks after each time.
pub(super) const YIELDS: u32 = 16;
pub(super) const LOOKS: u32 = 64;

/// What [`Desk::attend`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attended {
    /// The task was settled by this call.
    Settled,
    /// Somebody else sees to it, or has.
    ByOthers,
    /// The time is over.
    TimedOut,
}

/// A task that has ended: who wants to know, how, and what its worker has sent.
type Settlement = (Arc<dyn Reply>, Ending, Vec<Parcel>);

impl Desk {
    /// Takes the task at this position off the board, if it has ended. Err: its report is in the channel of this worker yet.
    fn take(&self, book: &mut Book, position: u64, drained: bool) -> Result<Option<Settlement>, usize> {
        let record = self.board.record(position);
        let state = record.state();
        let Some(entry) = book.entry(position) else { return Ok(None) };
        let phase = state.phase().filter(|_| state.is_of(position));
        let ending = match phase {
            Some(Phase::Done) => match record.size() {
                Some(_) => Ending::Report(record.copy()),
                None if drained => Ending::Elsewhere,
                None => return Err(state.seat()),
            },
            Some(Phase::Lost) => {
                let task = entry.order.number as usize;
                let (pid, cause) = entry.lost.take().unwrap_or((0, Cause::Unknown));
                let signal = if let Cause::Killed { signal } = cause { Some(signal) } else { None };
                Ending::Failed(book.ended_by().unwrap_or(PoolError::WorkerDied { task, pid, signal, cause }))
            }
            _ => return Ok(None),
        };
        let Some(entry) = book.remove(position) else { return Ok(None) };
        record.free(position);
        let (mut order, sent) = (entry.order, entry.sent);
        if matches!(ending, Ending::Failed(PoolError::WorkerDied { .. })) && order.attempt < order.retries {
            order.attempt += 1;
            self.resubmit(book, order);
            return Ok(None);
        }
        self.refill(book);
        Ok(Some((order.reply, ending, sent)))
    }

    /// Takes the task at this position off the board and settles it, if it has ended.
    fn settle_one(&self, position: u64) -> bool {
        let taken = self.take(&mut self.book(), position, false);
        let taken = taken.or_else(|seat| {
            self.drain(seat);
            self.take(&mut self.book(), position, true)
        });
        match taken {
            Ok(Some(settlement)) => {
                self.settle(settlement);
                true
            }
            _ => false,
        }
    }

    pub(super) fn settle(&self, (reply, ending, sent): Settlement) {
        if !matches!(ending, Ending::Failed(PoolError::CrashLoop { .. })) {
            self.settled.fetch_add(1, Ordering::Relaxed);
        }
        reply.settle(ending, sent);
        // Release, Acquire: what settling did is seen by who finds that nothing is left.
        if self.outstanding.fetch_sub(1, Ordering::AcqRel) == 1 {
            let _turn = self.quiet.0.lock().unwrap_or_else(PoisonError::into_inner);
            self.quiet.1.notify_all();
        }
    }

    /// Waits until no task is left; `false` if it is too late.
    pub(super) fn wait_quiet(&self, deadline: Option<Instant>) -> bool {
        let mut turn = self.quiet.0.lock().unwrap_or_else(PoisonError::into_inner);
        while self.outstanding() > 0 {
            turn = match deadline.map(|end| end.saturating_duration_since(Instant::now())) {
                None => self.quiet.1.wait(turn).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return false,
                Some(left) => self.quiet.1.wait_timeout(turn, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        true
    }

    /// Settles the task at this position here, if it has ended.
    pub(super) fn settle_if_ended(&self, position: u64) -> bool {
        let state = self.board.record(position).state();
        let has_ended = matches!(state.phase(), Some(Phase::Done | Phase::Lost)) && state.is_of(position);
        has_ended && self.settle_one(position)
    }

    /// This thread attends to the task no more.
    pub(super) fn leave(&self, position: u64) {
        if !self.board.record(position).leave(position) {
            self.settle_one(position);
        }
    }

    /// Waits for one task, and settles it here: no other thread need be woken for it.
    pub(super) fn attend(&self, position: u64, deadline: Option<Instant>) -> Attended {
        let record = self.board.record(position);
        let mut turns = 0;
        let mut attending = false;
        loop {
            let state = record.state();
            match state.phase().filter(|_| state.is_of(position)) {
                Some(Phase::Done | Phase::Lost) if attending || !state.is_attended() => {
                    return if self.settle_one(position) { Attended::Settled } else { Attended::ByOthers };
                }
                Some(Phase::Ready | Phase::Running) => {}
                _ => return Attended::ByOthers,
            }
            if !attending {
                attending = record.attend(position);
                if !attending && record.state().is_attended() {
                    return Attended::ByOthers;
                }
                continue;
            }
            if turns < YIELDS {
                turns += 1;
                std::thread::yield_now();
                look(|| record.state() != state);
                continue;
            }
            let ticket = record.waiter.prepare();
            if record.state() != state {
                continue;
            }
            let left = deadline.map_or(SLICE, |end| end.saturating_duration_since(Instant::now()).min(SLICE));
            if left.is_zero() {
                if record.leave(position) {
                    return Attended::TimedOut;
                }
                continue;
            }
            record.waiter.sleep_at_most(ticket, left);
            self.wake_for_waiting();
        }
    }

    /// Tasks that can be claimed, and nobody claims: the worker that was woken for them has died or stands still. Wakes the others.
    fn wake_for_waiting(&self) {
        if self.board.has_work() {
            self.board.work.notify_all();
        }
    }

    /// What the collector thread does: settles what has ended and nobody attends to, until it is told to stop.
    pub(super) fn collect(&self) {
        let mut turns = 0;
        // Acquire: pairs with the Release in `stop_collecting`.
        while !self.stop.load(Ordering::Acquire) {
            if self.collect_some() {
                turns = 0;
                continue;
            }
            if turns < YIELDS {
                turns += 1;
                std::thread::yield_now();
                continue;
            }
            turns = 0;
            let ticket = self.board.done.prepare();
            if self.collect_some() || self.stop.load(Ordering::Acquire) {
                continue;
            }
            // A worker that dies before it can wake this thread is found by the crew, which wakes it.
            let busy = self.outstanding() > 0;
            self.board.done.sleep_at_most(ticket, if busy { SLICE } else { LONG_SLICE });
            if busy {
                self.wake_for_waiting();
            }
        }
    }

    pub(super) fn collect_some(&self) -> bool {
        /// So many at a time, then others get the lock: so soon that who submits meanwhile need not sleep for it.
        const MOST: usize = 8;
        let mut some = Vec::new();
        let mut book = self.book();
        let hint = self.board.hint.load(Ordering::Relaxed).min(book.tail);
        for position in book.head..hint {
            if some.len() == MOST {
                break;
            }
            if book.entry(position).is_none() || self.board.record(position).state().is_attended() {
                continue;
            }
            match self.take(&mut book, position, false) {
                Ok(taken) => some.extend(taken),
                Err(seat) => {
                    drop(book);
                    self.drain(seat);
                    book = self.book();
                    some.extend(self.take(&mut book, position, true).ok().flatten());
                }
            }
        }
        drop(book);
        let found = !some.is_empty();
        some.into_iter().for_each(|settlement| self.settle(settlement));
        found
    }

    /// Ends the collector.
    pub(super) fn stop_collecting(&self) {
        // Release: pairs with the Acquire in `collect`.
        self.stop.store(true, Ordering::Release);
        self.board.done.notify_all();
    }
}

/// Looks for a moment whether this is so.
pub(super) fn look(done: impl Fn() -> bool) {
    for _ in 0..LOOKS {
        if done() {
            break;
        }
        std::hint::spin_loop();
    }
}
