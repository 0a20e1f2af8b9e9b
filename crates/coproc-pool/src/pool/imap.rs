//! Results as they come: lazily, in order or not.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::iter::Fuse;
use std::sync::mpsc;

use coproc::__private::Parcel;
use coproc::{Message, Outcome};

use super::Pool;
use super::board::Record;
use super::progress::Track;
use super::submit::{captures_nothing, offset_of};
use super::task::Task;
use super::worker::Worker;
use crate::call::function;
use crate::child::guarded;
use crate::error::PoolError;
use crate::report::Report;

/// The results of several tasks, as they come; made by [`as_completed`].
pub struct AsCompleted<R> {
    tasks: HashMap<usize, Task<R>>,
    done: mpsc::Receiver<usize>,
}

/// Gives these tasks back, each when it has ended.
///
/// ```
/// use coproc_pool::{Pool, as_completed};
///
/// let pool = Pool::new(2)?;
/// let tasks: Vec<_> = (0..4).map(|n| pool.apply_async(|n: u32| n * n, (n,))).collect::<Result<_, _>>()?;
/// let mut squares: Vec<u32> = as_completed(tasks).map(|task| task.get()).collect::<Result<_, _>>()?;
/// squares.sort();
/// assert_eq!(squares, [0, 1, 4, 9]);
/// # Ok::<(), coproc::Error>(())
/// ```
pub fn as_completed<R>(tasks: impl IntoIterator<Item = Task<R>>) -> AsCompleted<R> {
    let (sender, done) = mpsc::channel();
    let tasks: HashMap<_, _> = tasks.into_iter().enumerate().collect();
    for (&index, task) in &tasks {
        let sender = sender.clone();
        task.cell.watch(index, sender);
    }
    AsCompleted { tasks, done }
}

impl<R> Iterator for AsCompleted<R> {
    type Item = Task<R>;

    fn next(&mut self) -> Option<Task<R>> {
        if self.tasks.is_empty() {
            return None;
        }
        self.tasks.remove(&self.done.recv().ok()?)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.tasks.len(), Some(self.tasks.len()))
    }
}

impl<R> fmt::Debug for AsCompleted<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted").field("left", &self.tasks.len()).finish_non_exhaustive()
    }
}

/// A chunk of items, as it is submitted.
type Submit<P, M> = fn(&Pool, &[P], u32) -> Result<Task<Vec<Report<M>>>, PoolError>;

/// The results of many calls, as they come; made by [`Pool::imap`] and [`Pool::imap_unordered`].
///
/// Items are taken from their iterator as results are asked for, so many ahead at most. Dropping it takes back what no worker has begun.
#[must_use = "nothing is done until results are asked for"]
pub struct Imap<'a, I: Iterator, M> {
    pool: &'a Pool,
    items: Fuse<I>,
    submit: Submit<I::Item, M>,
    chunk: usize,
    ahead: usize,
    is_ordered: bool,
    /// The pool takes no more.
    is_refused: bool,
    refusal: Option<PoolError>,
    /// How many items were taken.
    taken: usize,
    /// How many chunks were submitted, and the first that was not given back.
    chunks: (usize, usize),
    pending: HashMap<usize, Pending<M>>,
    done: (mpsc::Sender<usize>, mpsc::Receiver<usize>),
    /// Results that are there.
    ready: VecDeque<Result<M, PoolError>>,
    /// For whom its progress is told, if anybody.
    track: Option<Track>,
}

/// A chunk that was submitted: its first item, and how many.
struct Pending<M> {
    first: usize,
    len: usize,
    task: Task<Vec<Report<M>>>,
}

impl<I: Iterator, M: Message + Send> Imap<'_, I, M> {
    /// How many items a worker takes at once: 1 if nothing is said. When a worker dies, the whole chunk at which it was is lost.
    ///
    /// # Panics
    /// If it is 0.
    #[doc(alias = "chunksize")]
    pub fn chunk_size(mut self, items: usize) -> Self {
        assert!(items > 0, "a chunk has at least one item");
        self.chunk = items;
        self
    }

    /// How many chunks are submitted before their results are asked for: 4 for each worker if nothing is said.
    ///
    /// # Panics
    /// If it is 0.
    #[doc(alias = "buffersize")]
    pub fn look_ahead(mut self, chunks: usize) -> Self {
        assert!(chunks > 0, "at least one chunk is ahead");
        self.ahead = chunks;
        self
    }

    /// Submits as much as may be ahead.
    fn fill(&mut self) -> Result<(), PoolError> {
        while self.pending.len() < self.ahead && !self.is_refused {
            let items: Vec<I::Item> = self.items.by_ref().take(self.chunk).collect();
            if items.is_empty() {
                return Ok(());
            }
            let (first, len) = (self.taken, items.len());
            self.taken += len;
            let submitted = (self.submit)(self.pool, &items, self.pool.retries);
            let task = submitted.inspect_err(|_| self.is_refused = true)?;
            let (number, sender) = (self.chunks.0, self.done.0.clone());
            if !self.is_ordered {
                task.cell.watch(number, sender);
            }
            self.pending.insert(number, Pending { first, len, task });
            self.chunks.0 += 1;
        }
        Ok(())
    }

    /// Waits for the next chunk, and unpacks its results.
    fn unpack(&mut self) -> Option<()> {
        let number = if self.pending.is_empty() {
            return None;
        } else if self.is_ordered {
            self.chunks.1
        } else {
            self.done.1.recv().ok()?
        };
        self.chunks.1 += 1;
        let Pending { first, len, task } = self.pending.remove(&number)?;
        match task.get() {
            Ok(reports) => {
                let settle =
                    |(task, report): (usize, Report<M>)| report.settle().map_err(|cause| PoolError::Task { task, cause });
                self.ready.extend((first..).zip(reports).map(settle));
            }
            Err(error) => self.ready.extend((first..first + len).map(|item| Err(of_item(&error, item)))),
        }
        Some(())
    }
}

/// The error of a chunk, said of one of its items.
fn of_item(error: &PoolError, item: usize) -> PoolError {
    let mut error = error.clone();
    if let PoolError::Task { task, .. } | PoolError::WorkerDied { task, .. } = &mut error {
        *task = item;
    }
    error
}

impl<I: Iterator, M: Message + Send> Iterator for Imap<'_, I, M> {
    type Item = Result<M, PoolError>;

    fn next(&mut self) -> Option<Result<M, PoolError>> {
        while self.ready.is_empty() {
            if let Err(error) = self.fill() {
                self.refusal = Some(error);
            }
            if self.unpack().is_none() {
                // After all that was submitted.
                let refusal = self.refusal.take();
                if refusal.is_none() {
                    self.end(!self.is_refused);
                }
                return refusal.map(Err);
            }
        }
        if let Some(track) = &self.track {
            track.count();
        }
        self.ready.pop_front()
    }
}

impl<I: Iterator, M> Imap<'_, I, M> {
    /// Tells that it has ended.
    fn end(&self, is_full: bool) {
        if let Some(track) = &self.track {
            track.end(is_full);
            track.wait();
        }
    }
}

impl<I: Iterator, M> Drop for Imap<'_, I, M> {
    fn drop(&mut self) {
        self.end(false);
        for pending in self.pending.values() {
            pending.task.cancel();
        }
    }
}

impl<I: Iterator, M> fmt::Debug for Imap<'_, I, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Imap").field("taken", &self.taken).field("ahead", &self.pending.len()).finish_non_exhaustive()
    }
}

/// Does a task that is a chunk of calls of this function.
fn run_chunk<F, P, R>(worker: &mut Worker<'_>, record: &Record, position: u64)
where
    F: Fn(P) -> R + Copy + Send + 'static,
    P: Message,
    R: Outcome,
{
    let kept;
    let mut reader = match record.size() {
        Some(_) => record.reader(),
        None => match worker.fetch(position) {
            Ok(parcel) => {
                kept = parcel;
                kept.reader()
            }
            Err(error) => return worker.answer(record, position, &Report::<()>::Unreadable(error.to_string())),
        },
    };
    let count = usize::read(&mut reader).unwrap_or(0);
    let reports: Vec<Report<R::Output>> = (0..count)
        .map(|_| {
            worker.beat();
            guarded(|| Some(function::<F>()(P::read(&mut reader)?).settle()))
        })
        .collect();
    worker.answer(record, position, &Report::Returned(reports));
}

fn submit_chunk<F, P, R>(pool: &Pool, items: &[P], retries: u32) -> Result<Task<Vec<Report<R::Output>>>, PoolError>
where
    F: Fn(P) -> R + Copy + Send + 'static,
    P: Message,
    R: Outcome<Output: Send>,
{
    let mut parcel = Parcel::default();
    items.len().write(&mut parcel.writer());
    items.iter().for_each(|item| item.write(&mut parcel.writer()));
    pool.submit_packed(offset_of(run_chunk::<F, P, R>)?, retries, &mut parcel, super::task::Cell::new(None, None))
}

impl Pool {
    /// Calls `f` on every item; the results come in the order of the items, each as soon as it can.
    ///
    /// Unlike [`map`](Self::map) it takes items as their results are asked for, a few ahead, so there may be endlessly many. After an error the
    /// other results still come.
    ///
    /// ```
    /// # let pool = coproc_pool::Pool::new(2)?;
    /// let squares = pool.imap(|n: u64| n * n, 0..).take(4).collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(squares, [0, 1, 4, 9]);
    /// # Ok::<(), coproc::Error>(())
    /// ```
    pub fn imap<F, I, R>(&self, f: F, items: I) -> Imap<'_, I::IntoIter, R::Output>
    where
        F: Fn(I::Item) -> R + Copy + Send + 'static,
        I: IntoIterator<Item: Message>,
        R: Outcome<Output: Send>,
    {
        captures_nothing!(F);
        self.imap_as("imap", f, items)
    }

    fn imap_as<F, I, R>(&self, name: &'static str, _: F, items: I) -> Imap<'_, I::IntoIter, R::Output>
    where
        F: Fn(I::Item) -> R + Copy + Send + 'static,
        I: IntoIterator<Item: Message>,
        R: Outcome<Output: Send>,
    {
        let items = items.into_iter();
        let total = match items.size_hint() {
            (least, Some(most)) if least == most => Some(most),
            _ => None,
        };
        let track = self.shared.herald.as_ref().and_then(|herald| herald.call(name, total));
        if let Some(track) = &track {
            track.begin(None);
        }
        Imap {
            pool: self,
            items: items.fuse(),
            submit: submit_chunk::<F, I::Item, R>,
            chunk: 1,
            ahead: 4 * self.processes(),
            is_ordered: true,
            is_refused: false,
            refusal: None,
            taken: 0,
            chunks: (0, 0),
            pending: HashMap::new(),
            done: mpsc::channel(),
            ready: VecDeque::new(),
            track,
        }
    }

    /// As [`imap`](Self::imap), with the results in the order in which they come.
    ///
    /// ```
    /// # let pool = coproc_pool::Pool::new(2)?;
    /// let sum: u64 = pool.imap_unordered(|n: u64| n * n, 0..4).sum::<Result<u64, _>>()?;
    /// assert_eq!(sum, 14);
    /// # Ok::<(), coproc::Error>(())
    /// ```
    pub fn imap_unordered<F, I, R>(&self, f: F, items: I) -> Imap<'_, I::IntoIter, R::Output>
    where
        F: Fn(I::Item) -> R + Copy + Send + 'static,
        I: IntoIterator<Item: Message>,
        R: Outcome<Output: Send>,
    {
        captures_nothing!(F);
        let mut imap = self.imap_as("imap_unordered", f, items);
        imap.is_ordered = false;
        imap
    }
}
