//! Calls with many items: `map` and its relatives.

use std::sync::{Arc, Weak};

use coproc::__private::Parcel;
use coproc::{Message, Outcome, Writer};

use super::Pool;
use super::job::{Job, JobOrder, Many, Marks, One, Scene, Shape, Spare, Taken, Work, help};
use super::progress::Track;
use super::submit::captures_nothing;
use super::task::{Callback, Cell, Task};
use crate::call::Call;
use crate::error::PoolError;

/// Takes the items.
type Take<'a> = dyn FnOnce(Shape, &Spare) -> coproc::Result<Taken> + 'a;

/// Many calls that are being put together; made by [`Pool::mapping`].
#[must_use = "nothing is done yet: call `run` or `submit`"]
pub struct Mapping<'a, M> {
    pool: &'a Pool,
    take: Box<Take<'a>>,
    help: super::worker::Run,
    name: &'static str,
    shape: Shape,
    retries: u32,
    callback: Option<Callback<Vec<M>>>,
    error_callback: Option<Callback<PoolError>>,
}

impl<'a, M: Message + Send> Mapping<'a, M> {
    fn new<W: Work<Output = M>>(pool: &'a Pool, take: impl FnOnce(Shape, &Spare) -> coproc::Result<Taken> + 'a) -> Self {
        Self {
            pool,
            take: Box::new(take),
            help: help::<W>,
            name: "map",
            shape: Shape { seats: pool.processes(), chunk: None, output: M::BOUND, has_marks: W::has_marks() },
            retries: pool.retries,
            callback: None,
            error_callback: None,
        }
    }

    /// Calls on numbers from 0 on; helpers get what this writes too. `outputs`: where the results are, if in an array.
    pub(super) fn counted<W: Work<Output = M>>(
        pool: &'a Pool,
        items: usize,
        scene: Scene,
        outputs: impl FnOnce(u64) -> Option<Marks> + 'a,
        write: impl Fn(&mut Writer<'_>),
    ) -> Self {
        let mut extra = Parcel::default();
        write(&mut extra.writer());
        Self::new::<W>(pool, move |shape, spare| shape.count(items, scene, extra, outputs, spare))
    }

    /// What its progress is told by.
    pub(super) fn named(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// How many items a worker takes at once. If nothing is said, a quarter of its share: enough to even out the times of the items. 1 is
    /// right for few items that take long.
    #[doc(alias = "chunksize")]
    pub fn chunk_size(mut self, items: usize) -> Self {
        self.shape.chunk = Some(items);
        self
    }

    /// How often an item is begun anew if a worker dies at it, in place of what the pool was built with.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// Calls this with the results, as [`Submission::callback`](super::Submission::callback).
    pub fn callback(mut self, callback: impl FnOnce(&Vec<M>) + Send + 'static) -> Self {
        self.callback = Some(Box::new(callback));
        self
    }

    /// Calls this with the error, as [`Submission::error_callback`](super::Submission::error_callback).
    pub fn error_callback(mut self, callback: impl FnOnce(&PoolError) + Send + 'static) -> Self {
        self.error_callback = Some(Box::new(callback));
        self
    }

    fn begin(mut self, is_attended: bool) -> Result<(Arc<Job<M>>, Option<Track>), PoolError> {
        if self.shape.chunk == Some(0) {
            return Err(coproc::Error::other("a chunk has at least one item: leave chunk_size out for a good one").into());
        }
        let shared = &self.pool.shared;
        let taken = (self.take)(self.shape, &shared.spare)?;
        let herald = shared.herald.as_ref();
        let track = herald.and_then(|herald| herald.call(self.name, Some(taken.block.plan.items)));
        if let Some(track) = &track {
            (self.callback, self.error_callback) = tracked(track, self.callback, self.error_callback);
        }
        let cell = Arc::new(Cell::new(self.callback, self.error_callback));
        let order = JobOrder { function: self.help, shape: self.shape, retries: self.retries, is_attended };
        let job = Job::begin(&shared.desk, &shared.spare, order, taken, cell)?;
        if let Some(track) = &track {
            let tally: Weak<Job<M>> = Arc::downgrade(&job);
            track.begin(Some(tally));
        }
        Ok((job, track))
    }

    /// Has the calls made, and waits for the results, in the order of the items.
    ///
    /// # Errors
    /// As [`Pool::map`].
    pub fn run(self) -> Result<Vec<M>, PoolError> {
        self.run_and_tell().map_or_else(Err, |(result, _)| result)
    }

    /// As [`run`](Self::run); also says who may have left an item half done. The outer error: the calls were not begun.
    #[expect(clippy::type_complexity, reason = "two results of one call")]
    pub(super) fn run_and_tell(self) -> Result<(Result<Vec<M>, PoolError>, Option<u32>), PoolError> {
        let (job, track) = self.begin(true)?;
        job.wait();
        if let Some(track) = track {
            track.wait();
        }
        Ok((job.cell.take(), job.torn_by()))
    }

    /// Has the calls made, and returns when the items are taken. (The task cannot be cancelled.)
    ///
    /// # Errors
    /// As [`Pool::apply_async`](super::Pool::apply_async).
    pub fn submit(self) -> Result<Task<Vec<M>>, PoolError> {
        let desk = Arc::clone(&self.pool.shared.desk);
        let (job, _) = self.begin(false)?;
        Ok(Task { desk, cell: Arc::clone(&job.cell) })
    }
}

/// Callbacks that say first that the call has ended.
fn tracked<M: 'static>(
    track: &Track,
    callback: Option<Callback<Vec<M>>>,
    error_callback: Option<Callback<PoolError>>,
) -> (Option<Callback<Vec<M>>>, Option<Callback<PoolError>>) {
    let (well, badly) = (track.clone(), track.clone());
    let callback = move |results: &Vec<M>| {
        well.end(true);
        callback.into_iter().for_each(|callback| callback(results));
    };
    let error_callback = move |error: &PoolError| {
        // Of one item: the others are done.
        badly.end(matches!(error, PoolError::Task { .. } | PoolError::WorkerDied { .. }));
        error_callback.into_iter().for_each(|callback| callback(error));
    };
    (Some(Box::new(callback)), Some(Box::new(error_callback)))
}

impl<M> std::fmt::Debug for Mapping<'_, M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mapping").field("shape", &self.shape).field("retries", &self.retries).finish_non_exhaustive()
    }
}

impl Pool {
    /// Calls `f` on every item, spread over the processes, and returns the results in the order of the items.
    ///
    /// `f` is a function or a closure that captures nothing, as for [`Process::spawn`](crate::Process::spawn). It takes any message, and returns any message or a
    /// `Result` of one with a usual error type. The items are taken from the iterator first.
    ///
    /// ```
    /// # let pool = coproc_pool::Pool::new(2)?;
    /// let lengths = pool.map(|word: String| word.len(), ["to", "be", "or"].map(String::from))?;
    /// assert_eq!(lengths, [2, 2, 2]);
    /// # Ok::<(), coproc::Error>(())
    /// ```
    ///
    /// ```compile_fail,E0080
    /// # let pool = coproc_pool::Pool::new(2).unwrap();
    /// let by = 3;
    /// pool.map(move |n: u64| n * by, 0..10); // put it into the items: `(0..10).map(|n| (n, by))`
    /// ```
    ///
    /// # Errors
    /// The first failure by index, after all other items were done: [`PoolError::Task`] if the function failed or panicked,
    /// [`PoolError::WorkerDied`] if the worker died at it; `task` is the index. [`PoolError::CrashLoop`]
    /// if workers die before they run anything. [`PoolError::Call`] if the call could not be made, as for want of memory.
    pub fn map<F, P, R>(&self, f: F, items: impl IntoIterator<Item = P>) -> Result<Vec<R::Output>, PoolError>
    where
        F: Fn(P) -> R + Copy + Send + 'static,
        P: Message,
        R: Outcome<Output: Send>,
    {
        captures_nothing!(F);
        self.mapping(f, items).run()
    }

    /// As [`map`](Self::map), and returns when the items are taken.
    ///
    /// ```
    /// # let pool = coproc_pool::Pool::new(2)?;
    /// let squares = pool.map_async(|n: u64| n * n, 0..4)?;
    /// assert_eq!(squares.get()?, [0, 1, 4, 9]);
    /// # Ok::<(), coproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`apply_async`](Self::apply_async); the task's result is as that of [`map`](Self::map).
    pub fn map_async<F, P, R>(&self, f: F, items: impl IntoIterator<Item = P>) -> Result<Task<Vec<R::Output>>, PoolError>
    where
        F: Fn(P) -> R + Copy + Send + 'static,
        P: Message,
        R: Outcome<Output: Send>,
    {
        captures_nothing!(F);
        self.mapping(f, items).submit()
    }

    /// A [`map`](Self::map) to be run with more than items.
    ///
    /// ```
    /// # let pool = coproc_pool::Pool::new(2)?;
    /// let squares = pool.mapping(|n: u64| n * n, 0..4).chunk_size(1).retries(2).run()?;
    /// assert_eq!(squares, [0, 1, 4, 9]);
    /// # Ok::<(), coproc::Error>(())
    /// ```
    pub fn mapping<'a, F, P, R>(&'a self, f: F, items: impl IntoIterator<Item = P> + 'a) -> Mapping<'a, R::Output>
    where
        F: Fn(P) -> R + Copy + Send + 'static,
        P: Message,
        R: Outcome<Output: Send>,
    {
        captures_nothing!(F);
        let _ = f;
        Mapping::new::<One<F, P, R>>(self, move |shape, spare| shape.take(items.into_iter(), spare))
    }

    /// As [`map`](Self::map), for functions of several parameters: an item is a tuple of arguments, as for [`apply`](Self::apply).
    ///
    /// ```
    /// # let pool = coproc_pool::Pool::new(2)?;
    /// let powers = pool.starmap(u64::pow, [(2, 5), (3, 2), (10, 3)])?;
    /// assert_eq!(powers, [32, 9, 1000]);
    /// # Ok::<(), coproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`map`](Self::map).
    pub fn starmap<F, Args, Sig>(&self, f: F, items: impl IntoIterator<Item = Args>) -> Result<Vec<F::Output>, PoolError>
    where
        F: Call<Args, Sig, Output: Send>,
        Args: 'static,
        Sig: 'static,
    {
        captures_nothing!(F);
        self.starmapping(f, items).run()
    }

    /// A [`starmap`](Self::starmap) to be run with more than items.
    pub fn starmapping<'a, F, Args, Sig>(&'a self, f: F, items: impl IntoIterator<Item = Args> + 'a) -> Mapping<'a, F::Output>
    where
        F: Call<Args, Sig, Output: Send>,
        Args: 'static,
        Sig: 'static,
    {
        captures_nothing!(F);
        let _ = f;
        let write = |args: &Args, to: &mut Writer<'_>| F::pack(args, to);
        Mapping::new::<Many<F, Args, Sig>>(self, move |shape, spare| shape.pack(items.into_iter(), write, spare)).named("starmap")
    }
}
