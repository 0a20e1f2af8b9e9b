//! The pool's side of the board: tasks come in, are put on the board, taken back, or lost with a worker.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use coproc::__private::{Parcel, known_identity};
use coproc::{Result, SharedValue};

use super::board::{Board, Phase, RECORDS};
use super::book::{Book, Ending, Errands, Gate, Order, Reply, fits};
use super::line::{Bell, Lines};
use crate::error::{Cause, PoolError};

/// The pool's side of the board.
pub(super) struct Desk {
    pub(super) board: SharedValue<Board>,
    pub(super) lines: Lines,
    book: Mutex<Book>,
    /// Tasks that have not been settled yet.
    pub(super) outstanding: AtomicU64,
    /// For those who wait until there are none.
    pub(super) quiet: (Mutex<()>, Condvar),
    /// The collector ends.
    pub(super) stop: AtomicBool,
    /// Wakes the crew.
    pub(super) bell: Bell,
    /// The crew looks how long tasks take, while there are some.
    is_timed: bool,
    /// The crew has given up starting workers until there is a task again.
    pub(super) is_starved: AtomicBool,
    /// The process that it belongs to.
    owner: u64,
    /// Tasks that have ended well or badly, for the crew to know that workers get something done.
    pub(super) settled: AtomicU64,
}

impl Desk {
    pub(super) fn new(lines: Lines, is_timed: bool) -> Result<Self> {
        let board = SharedValue::zeroed()?;
        Ok(Self {
            board,
            lines,
            book: Mutex::new(Book::new()),
            outstanding: AtomicU64::new(0),
            quiet: (Mutex::new(()), Condvar::new()),
            stop: AtomicBool::new(false),
            bell: Bell::new()?,
            is_timed,
            is_starved: AtomicBool::new(false),
            owner: known_identity(),
            settled: AtomicU64::new(0),
        })
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        // Nothing of a user's runs while it is held, so a panic there is none that leaves it half changed.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this is the process that the pool belongs to.
    pub(super) fn is_home(&self) -> bool {
        self.owner == known_identity()
    }

    /// Submits a task. `parcel` holds the arguments.
    pub(super) fn submit(
        &self,
        function: u64,
        retries: u32,
        parcel: &mut Parcel,
        reply: Arc<dyn Reply>,
    ) -> Result<(), PoolError> {
        self.check_home()?;
        let mut book = self.book();
        book.check()?;
        let mut order = Order {
            function,
            number: book.number,
            attempt: 0,
            retries,
            arguments: None,
            errand: None,
            is_attended: false,
            reply,
        };
        book.number += 1;
        order.reply.accepted(order.number);
        let before = self.outstanding.fetch_add(1, Ordering::Relaxed);
        let fits = fits(parcel);
        if !fits || retries > 0 {
            order.arguments = Some(Arc::new(std::mem::take(parcel)));
        }
        if book.backlog.is_empty() && book.find_free(&self.board) {
            let kept = order.arguments.clone();
            let bytes = kept.as_ref().map_or(&parcel.bytes, |kept| &kept.bytes);
            book.put(&self.board, order, fits.then_some(&bytes[..]));
            self.board.publish(book.tail);
            drop(book);
            self.board.work.notify_one();
        } else {
            order.arguments.get_or_insert_with(|| Arc::new(std::mem::take(parcel)));
            book.backlog.push_back(order);
            drop(book);
        }
        self.wake_the_crew(before);
        Ok(())
    }

    /// Submits several tasks, with one wake.
    pub(super) fn submit_errands(
        &self,
        errands: Errands,
        tasks: impl ExactSizeIterator<Item = (Parcel, Arc<dyn Reply>)>,
    ) -> Result<(), PoolError> {
        self.check_home()?;
        let Errands { function, supplies, is_attended, goes_on } = errands;
        let mut book = self.book();
        match book.check() {
            Err(PoolError::Closed) if goes_on => {}
            checked => checked?,
        }
        let before = self.outstanding.fetch_add(tasks.len() as u64, Ordering::Relaxed);
        for (errand, reply) in tasks {
            let arguments = Some(Arc::clone(&supplies));
            let order = Order {
                function,
                number: book.number,
                attempt: 0,
                retries: 0,
                arguments,
                errand: Some(errand),
                is_attended,
                reply,
            };
            book.backlog.push_back(order);
        }
        self.refill(&mut book);
        // Who attends to them looks at the board only for a moment.
        book.backlog.iter_mut().for_each(|order| order.is_attended = false);
        drop(book);
        self.wake_the_crew(before);
        Ok(())
    }

    /// Wakes the crew if it has given up starting workers, or if there were no tasks before whose time it takes.
    fn wake_the_crew(&self, before: u64) {
        if self.is_starved.load(Ordering::Relaxed) || (self.is_timed && before == 0) {
            self.bell.ring();
        }
    }

    pub(super) fn check_home(&self) -> Result<(), PoolError> {
        if self.is_home() { Ok(()) } else { Err(PoolError::Forked) }
    }

    /// Submits again what a dead worker was at, before all that waits.
    pub(super) fn resubmit(&self, book: &mut Book, order: Order) {
        book.backlog.push_front(order);
        self.refill(book);
    }

    /// Puts on the board what was waiting for a record.
    pub(super) fn refill(&self, book: &mut Book) {
        let before = book.tail;
        while !book.backlog.is_empty() && book.find_free(&self.board) {
            let Some(order) = book.backlog.pop_front() else { break };
            let kept = order.arguments.clone();
            let mut order = order;
            let errand = order.errand.take();
            let bytes = errand.as_ref().or(kept.as_deref()).filter(|parcel| fits(parcel)).map(|parcel| &parcel.bytes[..]);
            book.put(&self.board, order, bytes);
        }
        match book.tail - before {
            0 => {}
            new => {
                self.board.publish(book.tail);
                if new == 1 { self.board.work.notify_one() } else { self.board.work.notify_all() }
            }
        }
    }

    /// How many tasks are not settled yet.
    pub(super) fn outstanding(&self) -> u64 {
        self.outstanding.load(Ordering::Acquire)
    }

    /// How many tasks wait for a worker: on the board, and behind it. Skipped positions count too.
    pub(super) fn waiting(&self) -> u64 {
        let book = self.book();
        let hint = self.board.hint.load(Ordering::Relaxed);
        (book.tail.saturating_sub(hint).min(RECORDS - book.free) + book.backlog.len() as u64).min(self.outstanding())
    }

    /// Takes a task back that no worker has begun.
    pub(super) fn cancel(&self, number: u64, position: Option<u64>) -> bool {
        let mut book = self.book();
        let order = match position {
            Some(position) => {
                if book.entry(position).is_none() || !self.board.record(position).cancel(position) {
                    return false;
                }
                book.remove(position).map(|entry| entry.order)
            }
            None => {
                let found = book.backlog.iter().position(|order| order.number == number);
                found.and_then(|at| book.backlog.remove(at))
            }
        };
        let Some(order) = order else { return false };
        self.refill(&mut book);
        drop(book);
        self.settle((order.reply, Ending::Failed(PoolError::Cancelled), Vec::new()));
        true
    }

    /// A worker has died: what it was at is lost. How many tasks these are.
    pub(super) fn lose(&self, seat: usize, pid: u32, cause: &Cause) -> usize {
        let mut book = self.book();
        let (head, tail) = (book.head, book.tail);
        let (mut lost, mut attended) = (0, Vec::new());
        for position in head..tail {
            let Some(entry) = book.entry(position) else { continue };
            if let Some(is_attended) = self.board.record(position).lose(position, seat) {
                entry.lost = Some((pid, cause.clone()));
                self.board.hint.fetch_max(position + 1, Ordering::Relaxed);
                lost += 1;
                attended.extend(is_attended.then_some(position));
            }
        }
        drop(book);
        // Also for what it had ended, and was killed before it could say so.
        attended.iter().for_each(|&position| self.board.record(position).waiter.notify_all());
        self.board.done.notify_all();
        self.board.work.notify_all();
        lost
    }

    /// Which worker is at which task, by position.
    pub(super) fn running(&self) -> Vec<(usize, u64)> {
        let book = self.book();
        let entries = book.entries.iter().flatten().map(|entry| (entry.position, self.board.record(entry.position).state()));
        entries
            .filter(|(position, state)| state.is(Phase::Running, *position))
            .map(|(position, state)| (state.seat(), position))
            .collect()
    }

    /// All tasks that no worker has begun end like this, and if it is for good, all that come too.
    pub(super) fn fail_waiting(&self, error: &PoolError) {
        let mut book = self.book();
        let mut replies: Vec<_> = book.backlog.drain(..).map(|order| order.reply).collect();
        for position in book.head..book.tail {
            if book.entry(position).is_some() && self.board.record(position).cancel(position) {
                replies.extend(book.remove(position).map(|entry| entry.order.reply));
            }
        }
        drop(book);
        replies.into_iter().for_each(|reply| self.settle((reply, Ending::Failed(error.clone()), Vec::new())));
    }

    /// From now on no task is taken.
    pub(super) fn shut(&self, why: PoolError) {
        let mut book = self.book();
        if !matches!(book.gate, Gate::Shut(PoolError::Terminated)) {
            book.gate = Gate::Shut(why);
        }
    }

    /// Takes what a worker has sent, and answers it.
    pub(super) fn drain(&self, seat: usize) {
        self.lines.drain(
            seat,
            |position| self.book().entry(position).and_then(|entry| entry.order.arguments.clone()),
            |position, parcel| {
                if let Some(entry) = self.book().entry(position) {
                    entry.sent.push(parcel);
                }
            },
        );
    }
}
