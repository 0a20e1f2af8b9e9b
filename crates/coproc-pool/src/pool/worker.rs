//! What a worker process does: it claims tasks from the board until it is told to go home.

#![allow(unsafe_code)]

use std::any::Any;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use coproc::__private::{Handle, Lease, Parcel};
use coproc::{Error, Message, Result, SharedValue};

use super::board::{Board, Claim, ROOM, Record, Seat};

use super::job::{Memory, Scene};
use super::line::{self, FOUND};
use super::settle::{YIELDS, look};
use crate::call::{Call, function};
use crate::channel::{Channel, Received};
use crate::child::guarded;
use crate::image;
use crate::report::Report;

/// How a worker does a task of one kind of function: puts its report into the record, or sends it.
pub(super) type Run = fn(&mut Worker<'_>, &Record, u64);

/// How a pool prepares its workers: an instance of [`initialize`].
pub(super) type Initialize = fn(Parcel) -> Report<()>;

/// How long a worker without work sleeps before it looks around: for work of which nobody has told it because who should have was killed, and for
/// a pool that has gone.
const SLICE: Duration = Duration::from_secs(1);

/// What a worker is told at its start; the arguments of its initializer follow.
#[derive(Debug, Message)]
pub(super) struct Contract {
    pub(super) seat: usize,
    pub(super) board: SharedValue<Board>,
    /// How many tasks it does at most; 0 is no limit.
    pub(super) most_tasks: u64,
    /// Offset of an [`Initialize`] in the executable; 0 is none.
    pub(super) initializer: u64,
    /// The pool watches how long each item of a call takes.
    pub(super) is_timed: bool,
}

/// A worker.
#[derive(Debug)]
pub(super) struct Worker<'a> {
    board: SharedValue<Board>,
    index: usize,
    channel: &'a Channel,
    pub(super) lease: Lease,
    /// What the last calls reached beside their items: it stays mapped for a moment.
    kept: Vec<(Scene, Box<dyn Any>)>,
    /// The function of the last task, and where it is.
    last: (u64, Option<Run>),
    /// How many tasks it may do yet.
    pub(super) left: u64,
    /// It says so when it has done an item of a call.
    is_timed: bool,
    /// Memory of calls with many items, which may be used again.
    pub(super) memories: Vec<Memory>,
}

/// The entry of a worker process.
pub(super) fn serve(parcel: Parcel, channel: &Channel) -> Parcel {
    let mut reader = parcel.reader();
    let (Some(contract), Some(lease)) = (Contract::read(&mut reader), Lease::read(&mut reader)) else {
        return Report::unreadable("the pool sent no contract".into());
    };
    if contract.initializer != 0 {
        let Some(initialize) = image::address_of(contract.initializer) else {
            return Report::unreadable("the initializer is not in this executable".into());
        };
        // SAFETY: the pool is a parent of the same build and copy of this crate; it computed the offset from an `Initialize`, and there is
        // code.
        let initialize = unsafe { std::mem::transmute::<usize, Initialize>(initialize) };
        let (bytes, handles) = (reader.remaining(), parcel.handles.len().min(2));
        let rest = Parcel {
            bytes: parcel.bytes[parcel.bytes.len() - bytes..].to_vec(),
            // The first is the board's, the second the lease's.
            handles: parcel.handles[handles..].iter().map(Handle::clone).collect(),
        };
        drop(parcel);
        let report = initialize(rest);
        if !matches!(report, Report::Returned(())) {
            return Parcel::of(&report);
        }
    }
    let left = if contract.most_tasks == 0 { u64::MAX } else { contract.most_tasks };
    let mut worker = Worker {
        board: contract.board,
        index: contract.seat,
        channel,
        lease,
        kept: Vec::new(),
        last: (0, None),
        left,
        is_timed: contract.is_timed,
        memories: Vec::new(),
    };
    match worker.work() {
        Ok(()) => Parcel::of(&Report::Returned(())),
        Err(error) => Report::unreadable(error.to_string()),
    }
}

/// Prepares a worker with this function.
pub(super) fn initialize<F, Args, Sig>(arguments: Parcel) -> Report<()>
where
    F: Call<Args, Sig>,
{
    match guarded(|| function::<F>().call(arguments)) {
        Report::Returned(_) => Report::Returned(()),
        Report::Failed(failure) => Report::Failed(failure),
        Report::Panicked { message, backtrace } => Report::Panicked { message, backtrace },
        Report::Unreadable(message) => Report::Unreadable(message),
        Report::Overflowed => Report::Overflowed,
    }
}

/// Does a task that is one call of this function.
pub(super) fn run_call<F, Args, Sig>(worker: &mut Worker<'_>, record: &Record, position: u64)
where
    F: Call<Args, Sig>,
{
    let report = match record.size() {
        Some(_) => guarded(|| function::<F>().call_with(record.reader())),
        None => match worker.fetch(position) {
            Ok(arguments) => guarded(|| function::<F>().call(arguments)),
            Err(error) => Report::Unreadable(error.to_string()),
        },
    };
    worker.answer(record, position, &report);
}

impl Worker<'_> {
    fn seat(&self) -> Option<&Seat> {
        self.board.seats.get(self.index)
    }

    /// Works until there is nothing left to do for it.
    fn work(&mut self) -> Result<()> {
        let board = self.board.clone();
        let seat = board.seats.get(self.index).ok_or(Error::Corrupted)?;
        seat.ready.store(now(), Ordering::Relaxed);
        while self.left > 0 {
            let Some(claim) = board.claim(self.index).or_else(|| self.wait(&board, seat)) else { return Ok(()) };
            let record = board.record(claim.position);
            self.beat();
            match self.find(record.function.load(Ordering::Relaxed)) {
                Some(run) => run(self, record, claim.position),
                None => {
                    let report = Report::<()>::Unreadable("the function to call is not in this executable".into());
                    self.answer(record, claim.position, &report);
                }
            }
            self.left -= u64::from(self.left != u64::MAX);
            self.beat();
            self.count(1);
            if self.left == 0 {
                // Before the end of the task is told: who then waits for a worker knows that this one goes.
                seat.retired.store(1, Ordering::Relaxed);
            }
            if record.finish() {
                record.waiter.notify_all();
            } else {
                board.done.notify_first();
            }
        }
        Ok(())
    }

    /// Says that it has done something.
    #[inline]
    pub(super) fn beat(&self) {
        if let Some(seat) = self.seat() {
            seat.beat.store(seat.beat.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }

    /// Whether somebody wants to know of every item that it has done.
    #[inline]
    pub(super) fn is_timed(&self) -> bool {
        self.is_timed
    }

    /// Says that it has done an item of a call, if somebody wants to know.
    #[inline]
    pub(super) fn beat_if_timed(&self) {
        if self.is_timed {
            self.beat();
        }
    }

    /// Counts what it has done.
    #[inline]
    pub(super) fn count(&self, done: u64) {
        if let Some(seat) = self.seat() {
            seat.done.store(seat.done.load(Ordering::Relaxed) + done, Ordering::Relaxed);
        }
    }

    /// Keeps this memory mapped for the next call.
    pub(super) fn remember(&mut self, memory: &Memory) {
        /// So much is kept.
        const MOST: usize = 2;
        self.memories.retain(|known| known.number != memory.number);
        self.memories.push(memory.clone());
        if self.memories.len() > MOST {
            self.memories.remove(0);
        }
    }

    /// Keeps what such a call reaches for the next one.
    pub(super) fn keep(&mut self, scene: Scene, work: Box<dyn Any>) {
        /// So much is kept: the arrays of two steps that take turns, and of something beside.
        const MOST: usize = 4;
        self.kept.push((scene, work));
        if self.kept.len() > MOST {
            self.kept.remove(0);
        }
    }

    /// What was kept of such a call, if it was one of this kind.
    pub(super) fn take_kept<W: 'static>(&mut self, scene: Scene) -> Option<Box<W>> {
        let index = self.kept.iter().position(|(kept, work)| *kept == scene && work.is::<W>())?;
        self.kept.remove(index).1.downcast().ok()
    }

    /// Sends a packet to the pool.
    pub(super) fn send(&self, parcel: &Parcel) -> Result<()> {
        self.channel.send(parcel)
    }

    fn find(&mut self, function: u64) -> Option<Run> {
        if self.last.0 != function || self.last.1.is_none() {
            // SAFETY: the pool is a parent of the same build and copy of this crate; it computed the offset from a `Run`, and there is code.
            let run = image::address_of(function).map(|address| unsafe { std::mem::transmute::<usize, Run>(address) });
            self.last = (function, run);
        }
        self.last.1
    }

    /// Waits for a task, and claims it; `None` if there will be none.
    #[cold]
    fn wait(&mut self, board: &Board, seat: &Seat) -> Option<Claim> {
        let since = now();
        seat.idle_since.store(since, Ordering::Relaxed);
        let claim = self.wait_for_work(board);
        seat.idle.store(seat.idle.load(Ordering::Relaxed) + now().saturating_sub(since), Ordering::Relaxed);
        seat.idle_since.store(0, Ordering::Relaxed);
        claim
    }

    fn wait_for_work(&mut self, board: &Board) -> Option<Claim> {
        for _ in 0..YIELDS {
            std::thread::yield_now();
            look(|| board.has_work());
            if let Some(claim) = board.claim(self.index) {
                return Some(claim);
            }
        }
        loop {
            let ticket = board.work.prepare();
            if let Some(claim) = board.claim(self.index) {
                return self.pass_on(board, claim);
            }
            if board.stop.load(Ordering::Relaxed) != 0 || self.is_orphan() {
                return None;
            }
            let since = Instant::now();
            board.work.sleep_at_most(ticket, SLICE);
            if since.elapsed() >= SLICE {
                // Who gave it up shall not have to wait for its memory.
                self.kept.clear();
                self.memories.clear();
            }
            if let Some(claim) = board.claim(self.index) {
                return self.pass_on(board, claim);
            }
        }
    }

    /// Wakes another worker that sleeps if there is more to do: several tasks come with one wake.
    fn pass_on(&self, board: &Board, claim: Claim) -> Option<Claim> {
        if board.has_work() {
            board.work.notify_one();
        }
        Some(claim)
    }

    /// Whether the pool has gone. (It sends nothing that was not asked for.)
    fn is_orphan(&self) -> bool {
        matches!(self.channel.recv(false), Ok(Received::End) | Err(_))
    }

    /// Asks for the arguments of a task that did not fit the board.
    pub(super) fn fetch(&self, position: u64) -> Result<Parcel> {
        self.channel.send(&line::want(position))?;
        let gone = || Error::other("the pool has gone");
        let answer = match self.channel.recv(true)? {
            Received::Parcel(answer) => answer,
            Received::Nothing | Received::End => return Err(gone()),
        };
        if answer.bytes != [FOUND] {
            return Err(Error::other("the pool could not send the arguments"));
        }
        match self.channel.recv(true)? {
            Received::Parcel(arguments) => Ok(arguments),
            Received::Nothing | Received::End => Err(gone()),
        }
    }

    /// Puts a report where the pool will find it.
    pub(super) fn answer<M: Message>(&self, record: &Record, position: u64, report: &Report<M>) {
        if let (Report::Returned(_), Some(bound)) = (report, M::BOUND)
            && bound < ROOM
        {
            return record.store_message(report, bound + 1);
        }
        let parcel = line::sent(report, position);
        // As it will be read from the record: without what a packet has before and behind it.
        let bytes = &parcel.bytes[1..parcel.bytes.len() - size_of::<u64>()];
        if parcel.handles.is_empty() && bytes.len() <= ROOM {
            return record.store(bytes);
        }
        match self.channel.send(&parcel) {
            Ok(()) => record.store_elsewhere(),
            Err(error) => {
                let mut message = format!("the result could not be sent: {error}");
                message.truncate((0..=ROOM - 32).rev().find(|&at| message.is_char_boundary(at)).unwrap_or(0));
                record.store(&Parcel::of(&Report::<()>::Unreadable(message)).bytes);
            }
        }
    }
}

/// Monotonic time, in nanoseconds; never 0.
pub(super) fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    (time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64).max(1)
}
