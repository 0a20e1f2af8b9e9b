//! One call with many items: its rounds, its deaths, its results.
//!
//! The items are cut into ranges, which helpers claim with one `fetch_add` each; a helper is a task like any other, one for each worker at
//! most. Of every range it is known how many of its items are done: they are counted, or their results tell. So if a worker dies, the item at which it died is known, and what it
//! has left is laid out anew in the next round, which begins when no helper is at work.

mod batch;
mod block;
mod help;
mod inputs;
mod integer;
mod items;
mod marks;
mod memory;
mod places;
mod tally;
mod wide;
mod work;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coproc::__private::Parcel;
use coproc::Message;

use super::book::{Ending, Errands, Reply};
use super::desk::Desk;
use super::settle::{LOOKS, YIELDS};
use super::task::Cell;
use super::worker::Run as RunTask;
use crate::error::{Cause, PoolError};
use crate::report::Report;
use batch::open_batch;
use block::Block;
use help::{Errand, Supplies};

pub(crate) use block::Scene;
pub(crate) use help::help;
pub(crate) use inputs::{Shape, Taken};
pub(crate) use marks::{Marks, are_told_apart};
pub(crate) use memory::{Memory, Spare};
pub(crate) use work::{Many, One, Work};

/// A call with many items.
pub(crate) struct Job<M> {
    desk: Arc<Desk>,
    spare: Arc<Spare>,
    block: Block,
    function: u64,
    /// What helpers get on demand.
    supplies: Arc<Parcel>,
    retries: u32,
    /// The caller waits for it, so it looks itself, for a moment.
    is_attended: AtomicBool,
    pub(super) cell: Arc<Cell<Vec<M>>>,
    /// Where the helpers' tasks are on the board, plus one; 0 if they are not.
    positions: Box<[AtomicU64]>,
    /// Who may have left an item half done, if anybody has: 0 is nobody.
    torn_by: AtomicU32,
    course: Mutex<Course<M>>,
}

/// How a call with many items is to be made.
pub(super) struct JobOrder {
    /// An instance of [`help`](fn@help).
    pub(super) function: RunTask,
    pub(super) shape: Shape,
    pub(super) retries: u32,
    /// The caller waits for it.
    pub(super) is_attended: bool,
}

/// How far it has come.
struct Course<M> {
    /// Helpers whose tasks have not ended.
    running: usize,
    /// Ranges for which there was no room in this round.
    later: Vec<(usize, usize)>,
    /// Batches of reports.
    batches: Vec<Parcel>,
    /// How often a worker died at an item that was begun anew.
    attempts: HashMap<usize, u32>,
    /// Items at which a worker died for good.
    deaths: HashMap<usize, PoolError>,
    /// Why no more is done.
    error: Option<PoolError>,
    /// Results that were taken while helpers were at work yet, of the first ranges.
    taken: Vec<M>,
    /// How many ranges these are; `None` if the ranges are others by now.
    ranges_taken: Option<usize>,
}

impl<M> Default for Course<M> {
    fn default() -> Self {
        Self {
            running: 0,
            later: Vec::new(),
            batches: Vec::new(),
            attempts: HashMap::new(),
            deaths: HashMap::new(),
            error: None,
            taken: Vec::new(),
            ranges_taken: None,
        }
    }
}

/// Where the end of a helper's task goes.
struct Helper<M> {
    job: Arc<Job<M>>,
    index: usize,
}

impl<M: Message + Send> Job<M> {
    /// Begins a call.
    pub(super) fn begin(
        desk: &Arc<Desk>,
        spare: &Arc<Spare>,
        order: JobOrder,
        taken: Taken,
        cell: Arc<Cell<Vec<M>>>,
    ) -> Result<Arc<Self>, PoolError> {
        let JobOrder { function, shape, retries, is_attended } = order;
        let Taken { block, packed, extra } = taken;
        let supplies = Supplies { words: block.memory.words.clone(), packed };
        let mut supplies = Parcel::of(&supplies);
        supplies.bytes.extend_from_slice(&extra.bytes);
        supplies.handles.extend(extra.handles);
        let (items, chunk) = (block.plan.items, shape.chunk(block.plan.items));
        let helpers = shape.seats.min(items.div_ceil(chunk));
        let job = Arc::new(Self {
            desk: Arc::clone(desk),
            spare: Arc::clone(spare),
            block,
            function: super::submit::offset_of(function)?,
            supplies: Arc::new(supplies),
            retries,
            is_attended: AtomicBool::new(is_attended),
            cell,
            positions: (0..helpers).map(|_| AtomicU64::new(0)).collect(),
            torn_by: AtomicU32::new(0),
            course: Mutex::new(Course { ranges_taken: Some(0), ..Course::default() }),
        });
        if items == 0 {
            job.cell.complete(Ok(Vec::new()));
            return Ok(job);
        }
        let ranges = (0..items).step_by(chunk).map(|first| (first, first.saturating_add(chunk).min(items)));
        job.round(&mut job.course(), ranges, false)?;
        Ok(job)
    }

    fn course(&self) -> MutexGuard<'_, Course<M>> {
        // Nothing of a user's runs while it is held.
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lays these ranges out, and sends helpers to them.
    fn round(
        self: &Arc<Self>,
        course: &mut Course<M>,
        ranges: impl Iterator<Item = (usize, usize)>,
        goes_on: bool,
    ) -> Result<(), PoolError> {
        self.block.lay_out(ranges);
        let helpers = self.positions.len().min(self.block.count());
        course.running = helpers;
        self.send(0..helpers, goes_on).inspect_err(|_| course.running = 0)
    }

    /// Sends helpers. `goes_on`: the call was begun before, so it is finished though the pool may be closed by now.
    fn send(self: &Arc<Self>, helpers: std::ops::Range<usize>, goes_on: bool) -> Result<(), PoolError> {
        let errands = helpers.map(|index| {
            let errand = Parcel::of(&Errand { plan: self.block.plan, helper: index });
            let reply: Arc<dyn Reply> = Arc::new(Helper { job: Arc::clone(self), index });
            (errand, reply)
        });
        let supplies = Arc::clone(&self.supplies);
        self.desk.submit_errands(
            Errands { function: self.function, supplies, is_attended: self.is_attended.load(Ordering::Relaxed), goes_on },
            errands,
        )
    }

    /// A helper's task has ended.
    fn ended(self: &Arc<Self>, index: usize, ending: Ending, sent: Vec<Parcel>) {
        self.positions[index].store(0, Ordering::Relaxed);
        let mut course = self.course();
        course.batches.extend(sent);
        let mut was_cancelled = false;
        match ending {
            Ending::Report(small) => {
                if let Some(Report::Unreadable(message)) = Report::<()>::read(&mut small.reader()) {
                    course.fail(coproc::Error::other(message).into());
                }
            }
            Ending::Elsewhere => {}
            Ending::Failed(PoolError::WorkerDied { pid, signal, cause, .. }) => {
                self.blame(&mut course, index, &|task| PoolError::WorkerDied { task, pid, signal, cause: cause.clone() });
            }
            // By another helper, because there is nothing to do for this one.
            Ending::Failed(PoolError::Cancelled) => was_cancelled = true,
            Ending::Failed(error) => course.fail(error),
        }
        course.running -= 1;
        let has_more = self.block.has_unclaimed();
        if has_more && course.error.is_none() {
            match self.send(index..index + 1, true) {
                Ok(()) => course.running += 1,
                Err(error) => course.fail(error),
            }
        }
        if course.running == 0 {
            self.end_round(course);
        } else if !was_cancelled && (!has_more || course.error.is_some()) {
            drop(course);
            let positions = self.positions.iter().filter_map(|position| position.load(Ordering::Relaxed).checked_sub(1));
            positions.for_each(|position| {
                self.desk.cancel(0, Some(position));
            });
        }
    }

    /// A helper has died: says which item it was at.
    fn blame(&self, course: &mut Course<M>, helper: usize, error: &dyn Fn(usize) -> PoolError) {
        let current = self.block.current(helper).map_or(0, |current| current.swap(0, Ordering::Relaxed));
        let Some(range) = (current as usize).checked_sub(1).and_then(|range| self.block.range(range)) else { return };
        let item = range.first + range.done;
        if item == range.last {
            return;
        }
        let attempts = course.attempts.entry(item).or_default();
        *attempts += 1;
        if *attempts > self.retries {
            course.deaths.insert(item, error(item));
        }
    }

    /// No helper is at work: another round, if something is left.
    fn end_round(self: &Arc<Self>, mut course: MutexGuard<'_, Course<M>>) {
        if course.error.is_none() {
            match self.left_over(&mut course) {
                Ok(left) if left.is_empty() => {}
                Ok(mut left) => {
                    let room = self.block.plan.ranges_at_most().min(left.len());
                    course.later = left.split_off(room);
                    course.ranges_taken = None;
                    match self.round(&mut course, left.into_iter(), true) {
                        Ok(()) => return,
                        Err(error) => course.fail(error),
                    }
                }
                Err(error) => course.fail(error),
            }
        }
        let course = std::mem::take(&mut *course);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.collect(course)));
        self.spare.keep(self.block.memory.clone());
        self.cell.complete(result.unwrap_or_else(|_| Err(self.unreadable(0))));
    }

    /// What helpers have left, without the items at which they died.
    fn left_over(&self, course: &mut Course<M>) -> Result<Vec<(usize, usize)>, PoolError> {
        let mut left = std::mem::take(&mut course.later);
        let mut deaths: Vec<usize> = course.deaths.keys().copied().collect();
        deaths.sort_unstable();
        for index in 0..self.block.count() {
            let range = self.block.range(index).ok_or(PoolError::from(coproc::Error::Corrupted))?;
            let mut first = range.first + range.safe;
            let from = deaths.partition_point(|&death| death < first);
            for &death in deaths[from..].iter().take_while(|&&death| death < range.last) {
                left.push((first, death));
                first = death + 1;
            }
            left.push((first, range.last));
        }
        left.retain(|(first, last)| first < last);
        Ok(left)
    }

    /// The results in order, or the first failure.
    fn collect(&self, course: Course<M>) -> Result<Vec<M>, PoolError> {
        if let Some(error) = course.error {
            return Err(error);
        }
        if course.batches.is_empty() && course.deaths.is_empty() {
            return self.block.outputs(course.taken).map_err(|item| self.unreadable(item));
        }
        let mut results: Vec<Option<Result<M, PoolError>>> = (0..self.block.plan.items).map(|_| None).collect();
        for (item, error) in course.deaths {
            if let PoolError::WorkerDied { pid, .. } = error {
                self.torn_by.store(pid, Ordering::Relaxed);
            }
            results[item] = Some(Err(error));
        }
        for batch in &course.batches {
            let opened = open_batch(batch, |task, report| {
                if matches!(report, Report::Panicked { .. }) {
                    // The dead rather than this process, which stands for all that live.
                    let _ = self.torn_by.compare_exchange(0, std::process::id(), Ordering::Relaxed, Ordering::Relaxed);
                }
                if let Some(result) = results.get_mut(task) {
                    *result = Some(report.settle().map_err(|cause| PoolError::Task { task, cause }));
                }
            });
            opened.ok_or(PoolError::from(coproc::Error::Corrupted))?;
        }
        let settle = |(item, result): (usize, Option<Result<M, PoolError>>)| {
            result.unwrap_or_else(|| self.block.output(item).ok_or_else(|| self.unreadable(item)))
        };
        results.into_iter().enumerate().map(settle).collect()
    }

    fn unreadable(&self, task: usize) -> PoolError {
        PoolError::Task { task, cause: Cause::Unreadable { message: "its result is no value of the function's type".into() } }
    }

    /// Takes results of ranges that are done, while helpers are at others. Whether there were any.
    fn take_some(&self) -> bool {
        let Ok(mut course) = self.course.try_lock() else { return false };
        let Course { taken, ranges_taken: Some(range), .. } = &mut *course else { return false };
        let before = *range;
        while *range < self.block.count() && self.block.take_next(*range, taken) {
            *range += 1;
        }
        *range > before
    }

    /// Who may have left an item half done: a worker that died at it, or this process for one that panicked. Known when the call is over.
    pub(super) fn torn_by(&self) -> Option<u32> {
        Some(self.torn_by.load(Ordering::Relaxed)).filter(|&pid| pid != 0)
    }

    /// Waits for the results in this thread, and settles helpers here while that is quick.
    pub(super) fn wait(&self) {
        let mut turns = 0;
        while turns < YIELDS {
            turns += 1;
            for _ in 0..LOOKS {
                if self.cell.is_ready() {
                    return;
                }
                let mut none = true;
                for position in &*self.positions {
                    if let Some(position) = position.load(Ordering::Relaxed).checked_sub(1) {
                        none &= !self.desk.settle_if_ended(position);
                    }
                }
                if none {
                    std::hint::spin_loop();
                }
            }
            if self.take_some() {
                turns = 0;
            } else {
                std::thread::yield_now();
            }
        }
        // As long as all helpers are attended to, this thread alone sends more.
        self.is_attended.store(false, Ordering::Relaxed);
        for position in &*self.positions {
            if let Some(position) = position.load(Ordering::Relaxed).checked_sub(1) {
                self.desk.leave(position);
            }
        }
        self.cell.wait_until(None);
    }
}

impl<M> Course<M> {
    fn fail(&mut self, error: PoolError) {
        self.error.get_or_insert(error);
    }
}

impl<M: Message + Send> Reply for Helper<M> {
    fn published(&self, position: u64) {
        self.job.positions[self.index].store(position + 1, Ordering::Relaxed);
    }

    fn settle(self: Arc<Self>, ending: Ending, sent: Vec<Parcel>) {
        self.job.ended(self.index, ending, sent);
    }
}
