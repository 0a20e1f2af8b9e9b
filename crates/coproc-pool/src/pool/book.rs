//! The desk's book: which task is in which record, and what waits behind them.

use std::collections::VecDeque;
use std::sync::Arc;

use coproc::__private::Parcel;

use super::board::{Board, Phase, RECORDS, ROOM, Small};
use crate::error::{Cause, PoolError};

/// What happens to a task's end.
pub(super) trait Reply: Send + Sync {
    /// The task was accepted, after so many others. (Under the desk's lock, as the next.)
    fn accepted(&self, _number: u64) {}

    /// The task is on the board now, at this position.
    fn published(&self, _position: u64) {}

    /// The task has ended. Called once. With it comes what its worker has sent.
    fn settle(self: Arc<Self>, ending: Ending, sent: Vec<Parcel>);
}

/// How a task ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// Its report was in the record.
    Report(Small),
    /// Its report came through the worker's channel.
    Elsewhere,
    /// There is none.
    Failed(PoolError),
}

/// What a task consists of, wherever it is run: the door for engines other than the board.
pub(super) struct Order {
    /// Offset of a `Run` in the executable.
    pub(super) function: u64,
    /// How many tasks were submitted before it.
    pub(super) number: u64,
    /// How often it was begun before.
    pub(super) attempt: u32,
    /// How often it may be begun anew when a worker has died at it.
    pub(super) retries: u32,
    /// What the worker gets on demand: the arguments, if they do not lie in the record alone.
    pub(super) arguments: Option<Arc<Parcel>>,
    /// What lies in the record, if that is something else.
    pub(super) errand: Option<Parcel>,
    /// Somebody attends to it from the start.
    pub(super) is_attended: bool,
    pub(super) reply: Arc<dyn Reply>,
}

/// Whether this may lie in a record.
pub(super) fn fits(parcel: &Parcel) -> bool {
    parcel.handles.is_empty() && parcel.bytes.len() <= ROOM
}

/// Several tasks of one function that share what they may want to get.
pub(super) struct Errands {
    pub(super) function: u64,
    pub(super) supplies: Arc<Parcel>,
    pub(super) is_attended: bool,
    /// They belong to what was submitted before, so they are accepted when the pool is closed.
    pub(super) goes_on: bool,
}

/// A task that is on the board.
pub(super) struct Entry {
    pub(super) position: u64,
    pub(super) order: Order,
    /// What has come from its worker through the channel.
    pub(super) sent: Vec<Parcel>,
    /// Who died at it.
    pub(super) lost: Option<(u32, Cause)>,
}

/// Whether a pool takes tasks.
#[derive(Clone, Debug)]
pub(super) enum Gate {
    Open,
    Shut(PoolError),
}

/// What the desk's lock guards.
pub(super) struct Book {
    /// The tasks on the board, by record.
    pub(super) entries: Box<[Option<Entry>]>,
    /// How many entries are `None`.
    pub(super) free: u64,
    /// The next position.
    pub(super) tail: u64,
    /// No task at a position below can still be claimed.
    pub(super) floor: u64,
    /// No task at a position below is on the board.
    pub(super) head: u64,
    /// Tasks for which there was no record.
    pub(super) backlog: VecDeque<Order>,
    pub(super) gate: Gate,
    pub(super) number: u64,
}

impl Book {
    pub(super) fn new() -> Self {
        Self {
            entries: (0..RECORDS).map(|_| None).collect(),
            free: RECORDS,
            tail: 0,
            floor: 0,
            head: 0,
            backlog: VecDeque::new(),
            gate: Gate::Open,
            number: 0,
        }
    }

    /// Why workers are being killed, if that is so.
    pub(super) fn ended_by(&self) -> Option<PoolError> {
        matches!(self.gate, Gate::Shut(PoolError::Terminated)).then_some(PoolError::Terminated)
    }

    pub(super) fn check(&self) -> Result<(), PoolError> {
        match &self.gate {
            Gate::Open => Ok(()),
            Gate::Shut(why) => Err(why.clone()),
        }
    }

    /// The task at this position, if it is on the board.
    pub(super) fn entry(&mut self, position: u64) -> Option<&mut Entry> {
        self.entries[(position % RECORDS) as usize].as_mut().filter(|entry| entry.position == position)
    }

    pub(super) fn remove(&mut self, position: u64) -> Option<Entry> {
        let entry = self.entries[(position % RECORDS) as usize].take_if(|entry| entry.position == position)?;
        self.free += 1;
        while self.head < self.tail && self.entry(self.head).is_none() {
            self.head += 1;
        }
        Some(entry)
    }

    /// Moves the tail to a position whose record is free. `false` if there is none that a worker would find.
    pub(super) fn find_free(&mut self, board: &Board) -> bool {
        if self.free == 0 {
            return false;
        }
        loop {
            if self.tail - self.floor >= RECORDS {
                while self.floor < self.tail && !board.record(self.floor).state().is(Phase::Ready, self.floor) {
                    self.floor += 1;
                }
                if self.tail - self.floor >= RECORDS {
                    return false;
                }
            }
            if self.entries[(self.tail % RECORDS) as usize].is_none() {
                return true;
            }
            self.tail += 1;
        }
    }

    /// Puts the task on the board, at the tail, whose record is free.
    pub(super) fn put(&mut self, board: &Board, order: Order, bytes: Option<&[u8]>) {
        let position = self.tail;
        board.record(position).put(position, order.function, order.attempt, order.is_attended, bytes);
        order.reply.published(position);
        self.entries[(position % RECORDS) as usize] = Some(Entry { position, order, sent: Vec::new(), lost: None });
        self.free -= 1;
        self.tail += 1;
    }
}
