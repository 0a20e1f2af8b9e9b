//! How a pool is made that is not like others.

use std::time::Duration;

use coproc::__private::Parcel;
use coproc::{Error, Result};

use super::Pool;
use super::board::SEATS;
use super::crew::Settings;
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
        Pool::start(settings, self.retries, self.drop_timeout)
    }
}
