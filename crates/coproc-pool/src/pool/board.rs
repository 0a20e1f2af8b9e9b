//! What a pool and its workers share: a table of task records, and where each side sleeps. `README.md` beside this file has the protocol.

#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use coproc::__private::WaitWord;
use coproc::{Message, Reader, Shareable, Writer};

/// How many tasks are on the board at once; what is more waits in the pool's own memory.
pub(super) const RECORDS: u64 = 1024;
/// How many workers a pool can have.
pub(super) const SEATS: usize = 1024;
/// Room in a record for the arguments of a task, and then for its report, in bytes.
pub(super) const ROOM: usize = 224;

/// The board of a pool. Only the pool's process publishes and frees records, under its lock; workers claim them.
#[derive(Debug, Shareable)]
#[repr(C)]
pub(super) struct Board {
    /// Where workers sleep until there is a task.
    pub(super) work: WaitWord,
    /// Not zero: the workers go home.
    pub(super) stop: AtomicU32,
    /// Every task that was ever published has a position below; its record is the position modulo [`RECORDS`].
    pub(super) tail: AtomicU64,
    _apart: [AtomicU64; 6],
    /// No record at a position below is [`READY`](Phase). Only helps to find the first that is.
    pub(super) hint: AtomicU64,
    _from: [AtomicU64; 7],
    /// Where the pool's collector sleeps until a task has ended.
    pub(super) done: WaitWord,
    _each: AtomicU32,
    _other: [AtomicU64; 7],
    pub(super) seats: [Seat; SEATS],
    pub(super) records: [Record; RECORDS as usize],
}

/// What a worker says about itself, for who looks. Nothing depends on it.
#[derive(Debug, Shareable)]
#[repr(C)]
pub(super) struct Seat {
    /// Counts up with all that it does: tasks begun and ended, items of a map.
    pub(super) beat: AtomicU64,
    /// Tasks ended, and items of maps.
    pub(super) done: AtomicU64,
    /// Nanoseconds of waiting for work, up to the last time that it found some.
    pub(super) idle: AtomicU64,
    /// When it began to wait, in monotonic nanoseconds; 0 while it works.
    pub(super) idle_since: AtomicU64,
    /// When it was ready for work, in monotonic nanoseconds; 0 before that.
    pub(super) ready: AtomicU64,
    /// Not zero: it has done as many tasks as it may, and ends by itself.
    pub(super) retired: AtomicU64,
    _apart: [AtomicU64; 2],
}

/// A task. Who may write what follows from [`State`].
#[derive(Debug, Shareable)]
#[repr(C)]
pub(super) struct Record {
    state: AtomicU64,
    /// Offset of a `Run` in the executable.
    pub(super) function: AtomicU64,
    /// Where a thread of the pool's process sleeps that attends to this task alone.
    pub(super) waiter: WaitWord,
    /// How often the task was begun before.
    pub(super) attempt: AtomicU32,
    /// How many bytes there are, or [`ELSEWHERE`].
    size: AtomicU32,
    _pad: AtomicU32,
    bytes: [AtomicU8; ROOM],
}

/// The size of what is not in the record, but comes through the worker's channel.
const ELSEWHERE: u32 = u32::MAX;

/// The phase of a record.
///
/// | phase | next | by whom |
/// |---|---|---|
/// | `FREE` | `READY` | the pool, when it publishes a task |
/// | `READY` | `RUNNING` | the worker that claims it; `FREE`: the pool, when it is cancelled |
/// | `RUNNING` | `DONE` | that worker; `LOST`: the pool, when that worker has died |
/// | `DONE`, `LOST` | `FREE` | the pool, when it has taken what is in it |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Free,
    Ready,
    Running,
    Done,
    Lost,
}

/// The word of a record, which alone says who owns the task.
///
/// | bits | content |
/// |---|---|
/// | 0–2 | the [`Phase`] |
/// | 3 | ATTENDED: a thread of the pool's process looks after this task alone; its end is told to that one, not to the collector |
/// | 8–23 | seat of the worker that claimed it |
/// | 32–63 | lap: the position, divided by the number of records, so that it tells tasks apart that had the same record |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State(u64);

const PHASE: u64 = 7;
const ATTENDED: u64 = 1 << 3;
const SEAT_SHIFT: u32 = 8;
const LAP_SHIFT: u32 = 32;

const fn lap_bits(position: u64) -> u64 {
    (position / RECORDS) << LAP_SHIFT
}

impl State {
    pub(super) const fn new(phase: Phase, position: u64) -> Self {
        Self(phase as u64 | lap_bits(position))
    }

    pub(super) fn phase(self) -> Option<Phase> {
        Some(match self.0 & PHASE {
            0 => Phase::Free,
            1 => Phase::Ready,
            2 => Phase::Running,
            3 => Phase::Done,
            4 => Phase::Lost,
            _ => return None,
        })
    }

    pub(super) fn is(self, phase: Phase, position: u64) -> bool {
        self.phase() == Some(phase) && self.is_of(position)
    }

    /// Whether it is of the task at this position, and not of one that had the record before or has it now.
    pub(super) fn is_of(self, position: u64) -> bool {
        self.0 & (u64::MAX << LAP_SHIFT) == lap_bits(position)
    }

    pub(super) fn is_attended(self) -> bool {
        self.0 & ATTENDED != 0
    }

    pub(super) fn seat(self) -> usize {
        (self.0 >> SEAT_SHIFT) as usize & 0xffff
    }

    const fn with(self, phase: Phase) -> Self {
        Self(self.0 & !PHASE | phase as u64)
    }

    const fn at(self, seat: usize) -> Self {
        Self(self.0 & !(0xffff << SEAT_SHIFT) | (seat as u64 & 0xffff) << SEAT_SHIFT)
    }
}

/// A task that this worker has claimed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) position: u64,
}

impl Board {
    pub(super) fn record(&self, position: u64) -> &Record {
        &self.records[(position % RECORDS) as usize]
    }

    /// For a worker: the first task that nobody has claimed becomes its own.
    pub(super) fn claim(&self, seat: usize) -> Option<Claim> {
        // Acquire: pairs with the Release in `publish`; every task at a position below is in its record.
        let tail = self.tail.load(Ordering::Acquire);
        let hint = self.hint.load(Ordering::Relaxed);
        // No published task is further back (the pool sees to it), whatever a hint from a hostile peer says.
        let first = hint.min(tail).max(tail.saturating_sub(RECORDS));
        for position in first..tail {
            if let Some(claim) = self.record(position).claim(position, seat) {
                self.hint.fetch_max(position + 1, Ordering::Relaxed);
                return Some(claim);
            }
        }
        if first < tail {
            self.hint.fetch_max(tail, Ordering::Relaxed);
        }
        None
    }

    /// Whether there may be a task to claim.
    pub(super) fn has_work(&self) -> bool {
        self.hint.load(Ordering::Relaxed) < self.tail.load(Ordering::Relaxed)
    }

    /// For the pool: the task that was put into the record of this position can be claimed, and so can all that were put before.
    pub(super) fn publish(&self, tail: u64) {
        // Release: pairs with the Acquire in `claim`.
        self.tail.store(tail, Ordering::Release);
    }
}

impl Record {
    pub(super) fn state(&self) -> State {
        // Acquire: pairs with the Release in `finish`; the report in the record.
        State(self.state.load(Ordering::Acquire))
    }

    fn change(&self, from: State, to: State) -> bool {
        // Acquire: pairs with the Release of who stored `from`. Release: what this side has done in the record is seen by who acts on `to`.
        self.state.compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    fn claim(&self, position: u64, seat: usize) -> Option<Claim> {
        loop {
            let seen = State(self.state.load(Ordering::Relaxed));
            if !seen.is(Phase::Ready, position) {
                return None;
            }
            // It fails if another was quicker, or if the pool has begun to attend to it: look again.
            if self.change(seen, seen.with(Phase::Running).at(seat)) {
                return Some(Claim { position });
            }
        }
    }

    /// For the worker that claimed it: it has ended, and its report is in the record or was sent. Returns whether somebody attends to it.
    pub(super) fn finish(&self) -> bool {
        const { assert!(Phase::Done as u64 == Phase::Running as u64 + 1) };
        // Added, because who attends may come or go meanwhile. AcqRel: pairs with the Acquire in `state`; the report in the record.
        State(self.state.fetch_add(1, Ordering::AcqRel)).is_attended()
    }

    /// For the pool: puts a task into this record, which is free.
    pub(super) fn put(&self, position: u64, function: u64, attempt: u32, is_attended: bool, bytes: Option<&[u8]>) {
        self.function.store(function, Ordering::Relaxed);
        self.attempt.store(attempt, Ordering::Relaxed);
        match bytes {
            Some(bytes) => self.store(bytes),
            None => self.set_size(None),
        }
        let state = State::new(Phase::Ready, position).0 | if is_attended { ATTENDED } else { 0 };
        // Release: pairs with the Acquire in `claim`.
        self.state.store(state, Ordering::Release);
    }

    /// For the pool: nobody has the record.
    pub(super) fn free(&self, position: u64) {
        self.state.store(State::new(Phase::Free, position).0, Ordering::Relaxed);
    }

    /// For the pool: takes a task back that nobody has claimed.
    pub(super) fn cancel(&self, position: u64) -> bool {
        loop {
            let seen = self.state();
            if !seen.is(Phase::Ready, position) {
                return false;
            }
            if self.change(seen, State::new(Phase::Free, position)) {
                return true;
            }
        }
    }

    /// For the pool: if the worker on this seat, which has died, was at the task, it is lost. Whether somebody attends to it.
    pub(super) fn lose(&self, position: u64, seat: usize) -> Option<bool> {
        let seen = self.state();
        // Nobody but the dead worker and this thread changes the phase; the mark of who attends may come or go.
        if !seen.is(Phase::Running, position) || seen.seat() != seat {
            return None;
        }
        if self.change(seen, seen.with(Phase::Lost)) { Some(seen.is_attended()) } else { self.lose(position, seat) }
    }

    /// For a thread of the pool's process: from now on it alone looks after the task. `false` if another does, or it has ended.
    pub(super) fn attend(&self, position: u64) -> bool {
        loop {
            let seen = self.state();
            let runs = seen.is(Phase::Ready, position) || seen.is(Phase::Running, position);
            if !runs || seen.is_attended() {
                return false;
            }
            if self.change(seen, State(seen.0 | ATTENDED)) {
                return true;
            }
        }
    }

    /// For the thread that attends: leaves it to the collector. `false` if it has ended by now.
    pub(super) fn leave(&self, position: u64) -> bool {
        loop {
            let seen = self.state();
            if !(seen.is(Phase::Ready, position) || seen.is(Phase::Running, position)) {
                return false;
            }
            if self.change(seen, State(seen.0 & !ATTENDED)) {
                return true;
            }
        }
    }

    fn set_size(&self, size: Option<usize>) {
        let size = size.and_then(|size| u32::try_from(size).ok()).unwrap_or(ELSEWHERE);
        self.size.store(size, Ordering::Relaxed);
    }

    /// How many bytes are in the record; `None` if they are elsewhere.
    pub(super) fn size(&self) -> Option<usize> {
        match self.size.load(Ordering::Relaxed) {
            ELSEWHERE => None,
            size => Some((size as usize).min(ROOM)),
        }
    }

    /// Says that what belongs here was sent.
    pub(super) fn store_elsewhere(&self) {
        self.set_size(None);
    }

    /// For its owner: stores bytes, [`ROOM`] at most.
    pub(super) fn store(&self, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(ROOM)];
        let at = self.bytes.as_ptr().cast::<u8>().cast_mut();
        // SAFETY: there is room for so many bytes (above); they are atomics, so they may be written through a shared reference, and the
        // record is this process's to write; `bytes` is not part of it, since nobody makes a slice of it.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len()) };
        self.set_size(Some(bytes.len()));
    }

    /// For its owner: stores a message of at most this many bytes.
    pub(super) fn store_message<M: Message>(&self, message: &M, bound: usize) {
        let bound = bound.min(ROOM);
        let at = self.bytes.as_ptr().cast::<u8>().cast_mut();
        // SAFETY: as in `store`; the writer stays within `bound`.
        message.write(&mut unsafe { Writer::slot(at, bound) });
        self.set_size(Some(bound));
    }

    /// Reads what is in the record, while it is this process's.
    pub(super) fn reader(&self) -> Reader<'_> {
        // SAFETY: so many bytes are in the record (`size` is cut to them), which is mapped as long as this reference.
        unsafe { Reader::raw(self.bytes.as_ptr().cast::<u8>(), self.size().unwrap_or(0), &[]) }
    }

    /// A copy of what is in the record.
    pub(super) fn copy(&self) -> Small {
        let mut small = Small { size: self.size().unwrap_or(0), bytes: [0; ROOM] };
        // SAFETY: `size` is at most the length of both, which do not overlap: one is new.
        unsafe { std::ptr::copy_nonoverlapping(self.bytes.as_ptr().cast::<u8>(), small.bytes.as_mut_ptr(), small.size) };
        small
    }
}

/// Bytes that fit a record.
#[derive(Clone, Copy)]
pub(super) struct Small {
    size: usize,
    bytes: [u8; ROOM],
}

impl Small {
    pub(super) fn reader(&self) -> Reader<'_> {
        Reader::new(&self.bytes[..self.size], &[])
    }
}

impl std::fmt::Debug for Small {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Small({} bytes)", self.size)
    }
}
