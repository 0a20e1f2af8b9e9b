//! Processes that are kept, and calls spread over them. How they and the pool meet in shared memory is in `README.md` beside this file.

mod array;
#[cfg(feature = "progress")]
mod bar;
mod board;
mod book;
mod builder;
mod crew;
mod desk;
mod imap;
mod job;
mod line;
mod map;
mod progress;
mod results;
mod settle;
mod stats;
mod submit;
mod task;
mod worker;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use coproc::__private::{Lease, spawn_quiet_with_stack};
use coproc::Result;

pub use builder::PoolBuilder;
pub use imap::{AsCompleted, Imap, as_completed};
pub use map::Mapping;
pub use progress::Progress;
pub use stats::{PoolStats, WorkerState, WorkerStats};
pub use submit::Submission;
pub use task::Task;

use crate::error::PoolError;
use crew::{Crew, Settings};
use desk::Desk;
use job::Spare;
use line::Lines;
use progress::{Herald, Hook};
use results::Results;

/// A pool of worker processes.
///
/// The workers are copies of this program, started when the pool is made and kept until it is dropped. Inputs and results lie in memory that
/// the pool shares with them. Functions take and return any [`Message`](coproc::Message); they may use every shared object, start processes, and have pools of
/// their own. Threads may share a pool.
///
/// **When a worker dies**, only the task that it was running is lost: that one's result is [`PoolError::WorkerDied`], or it is run again if the pool was
/// built with [`retries`](PoolBuilder::retries). The worker is replaced, and the pool goes on. **When the pool's process dies**, its workers end too.
///
/// Dropping the pool finishes what was submitted, for [`drop_timeout`](PoolBuilder::drop_timeout) at most, and ends the workers.
///
/// ```
/// let pool = coproc_pool::Pool::new(4)?;
/// assert_eq!(pool.apply(|a: u64, b: u64| a + b, (2, 3))?, 5);
/// # Ok::<(), coproc::Error>(())
/// ```
#[doc(alias = "ProcessPoolExecutor")]
pub struct Pool {
    shared: Arc<Shared>,
    threads: Mutex<Option<Threads>>,
    retries: u32,
    drop_timeout: Duration,
}

/// What the threads of the pool's process share.
struct Shared {
    desk: Arc<Desk>,
    spare: Arc<Spare>,
    results: Results,
    /// Whoever holds it may reach the elements of arrays that are lent to it: the pool and its workers.
    lease: Arc<Lease>,
    crew: Crew,
    /// Tells how far calls have come, if somebody wants to know.
    herald: Option<Arc<Herald>>,
}

/// The pool's own threads.
struct Threads {
    collector: JoinHandle<()>,
    crew: JoinHandle<()>,
    herald: Option<JoinHandle<()>>,
}

impl Pool {
    /// Starts a pool of this many processes.
    ///
    /// # Errors
    /// If there are to be none, or the system refuses to start them: then those that were started are ended.
    pub fn new(processes: usize) -> Result<Self> {
        Self::builder().processes(processes).build()
    }

    /// A pool with more to say than how many processes it has.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::new()
    }

    fn start(settings: Settings, retries: u32, drop_timeout: Duration, hook: Option<Hook>) -> Result<Self> {
        let desk = Arc::new(Desk::new(Lines::new(settings.processes), settings.task_timeout.is_some())?);
        let lease = Arc::new(Lease::new()?);
        let crew = Crew::start(Arc::clone(&desk), Arc::clone(&lease), settings)?;
        let herald = hook.map(|hook| Arc::new(Herald::new(hook)));
        let shared = Arc::new(Shared { crew, desk, spare: Arc::default(), results: Results::default(), lease, herald });
        let (one, other) = (Arc::clone(&shared), Arc::clone(&shared));
        let herald =
            shared.herald.clone().map(|herald| spawn_quiet_with_stack("coproc-progress", move || herald.run())).transpose()?;
        let no_herald = || shared.herald.iter().for_each(|herald| herald.close());
        let crew = spawn_quiet_with_stack("coproc-crew", move || one.crew.run()).inspect_err(|_| no_herald())?;
        let collector = spawn_quiet_with_stack("coproc-results", move || other.desk.collect());
        let pool = |collector| Self { threads: Mutex::new(collector), shared: Arc::clone(&shared), retries, drop_timeout };
        match collector {
            Ok(collector) => Ok(pool(Some(Threads { collector, crew, herald }))),
            Err(error) => {
                shared.crew.terminate();
                let _ = crew.join();
                no_herald();
                Err(error)
            }
        }
    }

    /// How many processes the pool has.
    pub fn processes(&self) -> usize {
        self.shared.crew.settings.processes
    }

    /// Refuses to go on in a process that was forked from the pool's.
    fn check_home(&self) -> Result<(), PoolError> {
        self.shared.desk.check_home()
    }

    /// Takes no more tasks; what was submitted is finished.
    pub fn close(&self) {
        self.shared.desk.shut(PoolError::Closed);
    }

    /// Closes the pool, waits until all tasks have ended, and ends the workers.
    ///
    /// Not to be called by a callback, whose own task has not ended.
    pub fn join(&self) {
        self.close();
        if self.shared.desk.is_home() {
            self.shared.desk.wait_quiet(None);
            self.end(false);
        }
    }

    /// Ends the workers at once. Tasks that have not ended never will: their results are [`PoolError::Terminated`].
    pub fn terminate(&self) {
        if self.shared.desk.is_home() {
            self.shared.desk.shut(PoolError::Terminated);
            self.end(true);
        }
    }

    /// Ends workers and threads, and settles what is left.
    fn end(&self, at_once: bool) {
        let Shared { desk, crew, .. } = &*self.shared;
        if at_once {
            crew.terminate()
        } else {
            crew.dismiss()
        }
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(threads) = threads else { return };
        let _ = threads.crew.join();
        desk.shut(PoolError::Terminated);
        desk.fail_waiting(&PoolError::Terminated);
        desk.stop_collecting();
        // A callback may end its pool: it runs on that thread.
        if threads.collector.thread().id() != std::thread::current().id() {
            let _ = threads.collector.join();
        }
        while desk.collect_some() {}
        if let Some(herald) = &self.shared.herald {
            herald.close();
        }
        // The hook may end its pool too.
        let elsewhere = threads.herald.filter(|herald| herald.thread().id() != std::thread::current().id());
        elsewhere.into_iter().for_each(|herald| drop(herald.join()));
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.shared.desk.is_home() {
            self.close();
            let in_time = self.shared.desk.wait_quiet(Instant::now().checked_add(self.drop_timeout));
            if !in_time {
                self.shared.desk.shut(PoolError::Terminated);
            }
            self.end(!in_time);
        } else {
            // The threads, and the children, are those of the process that this one was forked from.
            std::mem::forget(self.threads.lock().unwrap_or_else(PoisonError::into_inner).take());
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("processes", &self.processes())
            .field("outstanding", &self.shared.desk.outstanding())
            .finish()
    }
}
