//! How a pool is made that is not like others.

use std::time::Duration;

use coproc::__private::Parcel;
use coproc::{Error, Result};

use super::Pool;
use super::board::SEATS;
use super::crew::Settings;
use super::progress::{Hook, Progress};
use super::submit::captures_nothing;
use super::worker::{Initialize, initialize};
use crate::call::Call;
use crate::image;
use crate::process::next_name;

/// What a pool shall be like; made by [`Pool::builder`].
///
/// ```
/// use coproc_pool::Pool;
/// use std::time::Duration;
///
/// let pool = Pool::builder()
///     .processes(2)
///     .name("resizer")
///     .initializer(|quality: u32| println!("quality {quality}"), (90,))
///     .max_tasks_per_worker(1000)
///     .retries(1)
///     .task_timeout(Duration::from_secs(60))
///     .build()?;
/// # drop(pool);
/// # Ok::<(), coproc::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "call `build`"]
pub struct PoolBuilder {
    processes: Option<usize>,
    name: Option<String>,
    initializer: Option<Result<(u64, Parcel)>>,
    most_tasks: Option<u64>,
    retries: u32,
    task_timeout: Option<Duration>,
    drop_timeout: Duration,
    hook: Option<Hook>,
}

impl PoolBuilder {
    pub(super) fn new() -> Self {
        Self {
            processes: None,
            name: None,
            initializer: None,
            most_tasks: None,
            retries: 0,
            task_timeout: None,
            drop_timeout: Duration::from_secs(10),
            hook: None,
        }
    }

    /// How many processes the pool has. If nothing is said, as many as there are processors for this process.
    pub fn processes(mut self, processes: usize) -> Self {
        self.processes = Some(processes);
        self
    }

    /// The workers are called so, with a number.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Every worker calls this before its first task, also one that replaces another. If it fails or panics, the worker ends; when that happens
    /// several times in a row, tasks end with [`PoolError::CrashLoop`](crate::PoolError::CrashLoop), which says why.
    pub fn initializer<F, Args, Sig>(mut self, f: F, args: Args) -> Self
    where
        F: Call<Args, Sig>,
    {
        captures_nothing!(F);
        let _ = f;
        let mut arguments = Parcel::default();
        F::pack(&args, &mut arguments.writer());
        let run: Initialize = initialize::<F, Args, Sig>;
        self.initializer = Some(image::offset_of(run as usize).map(|offset| (offset, arguments)));
        self
    }

    /// A worker that has done so many tasks ends and is replaced. A chunk of a map is a task.
    #[doc(alias = "maxtasksperchild")]
    pub fn max_tasks_per_worker(mut self, tasks: u64) -> Self {
        self.most_tasks = Some(tasks);
        self
    }

    /// How often a task is begun anew if a worker dies at it: a task that is killed half way may so be run, in part, more than once. 0 if nothing is said.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// A worker that is at one task (of a map: at one item) for so long is killed; the task's result says so
    /// ([`Cause::TimedOut`](crate::Cause::TimedOut)). Also one that stands still. It may take a quarter longer.
    pub fn task_timeout(mut self, time: Duration) -> Self {
        self.task_timeout = Some(time);
        self
    }

    /// How long dropping the pool waits for tasks that have not ended, before it ends their workers. 10 seconds if nothing is said.
    pub fn drop_timeout(mut self, time: Duration) -> Self {
        self.drop_timeout = time;
        self
    }

    /// Calls this with the progress of every call with many items: `map`, `starmap`, `map_array`, `for_each_chunk`, `imap` and their relatives.
    ///
    /// It is called on a thread of the pool, some 20 times a second for each call that lasts, and once when the call is over, before that returns (so a
    /// short call waits a moment for it). It should be quick. If it panics, it is not called again, and the pool goes on.
    ///
    /// ```
    /// let pool = coproc_pool::Pool::builder()
    ///     .processes(2)
    ///     .progress(|at| println!("{}: {} of {}", at.name, at.done, at.total.unwrap_or(0)))
    ///     .build()?;
    /// pool.map(|n: u64| n * n, 0..1000)?; // prints "map: 1000 of 1000" in the end
    /// # Ok::<(), coproc::Error>(())
    /// ```
    pub fn progress(mut self, hook: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.hook = Some(Hook::new(hook));
        self
    }

    /// Draws a bar on standard error for every call with many items that lasts, in place of a [`progress`](Self::progress) hook, and takes it away when
    /// the call is over. Nothing is drawn if standard error is no terminal. Needs the feature `progress`.
    ///
    /// ```
    /// let pool = coproc_pool::Pool::builder().processes(2).progress_bar().build()?;
    /// assert_eq!(pool.map(|n: u64| n * n, 0..4)?, [0, 1, 4, 9]);
    /// # Ok::<(), coproc::Error>(())
    /// ```
    #[cfg(feature = "progress")]
    #[doc(alias = "tqdm")]
    pub fn progress_bar(mut self) -> Self {
        self.hook = super::bar::bars();
        self
    }

    /// Starts the pool.
    ///
    /// # Errors
    /// If what was said makes no sense, the initializer lies in a loaded library, or the system refuses to start the processes: then those that
    /// were started are ended.
    pub fn build(self) -> Result<Pool> {
        let processes = match self.processes {
            Some(processes) => processes,
            None => std::thread::available_parallelism().map_or(1, usize::from).min(SEATS),
        };
        let check = |fine: bool, message: &str| if fine { Ok(()) } else { Err(Error::other(message)) };
        check(processes > 0, "a pool has at least one process")?;
        check(processes <= SEATS, "a pool has at most 1024 processes: make several pools")?;
        check(self.most_tasks != Some(0), "a worker does at least one task: leave max_tasks_per_worker out for no limit")?;
        check(self.task_timeout != Some(Duration::ZERO), "a task takes some time: leave task_timeout out for no limit")?;
        let settings = Settings {
            processes,
            name: self.name.unwrap_or_else(|| next_name("PoolWorker")),
            initializer: self.initializer.transpose()?.unwrap_or_default(),
            most_tasks: self.most_tasks.unwrap_or(0),
            task_timeout: self.task_timeout,
        };
        Pool::start(settings, self.retries, self.drop_timeout, self.hook)
    }
}
