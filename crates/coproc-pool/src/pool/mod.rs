//! Processes that are kept, and calls spread over them.

mod crew;
mod job;
mod worker;

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use coproc::{Error, Message, Outcome, Result};

use crate::error::{Cause, PoolError};
use crew::{Crew, Ledger};
use job::{Job, Spare};

/// A pool of worker processes.
///
/// The workers are copies of this program, started when the pool is made and kept until it is dropped. Inputs and results lie in memory that
/// the pool shares with them.
///
/// **When a worker dies**, only the task that it was running is lost: the call ends with [`PoolError::Task`], which says how it died, after
/// all other tasks were done. The worker is replaced, and the pool goes on. **When the pool's process dies**, its workers end too. Dropping the
/// pool takes a second at most.
///
/// ```
/// let pool = coproc_pool::Pool::new(4)?;
/// let squares = pool.map(|n: u64| n * n, 0..10)?;
/// assert_eq!(squares, [0, 1, 4, 9, 16, 25, 36, 49, 64, 81]);
/// # Ok::<(), coproc::Error>(())
/// ```
pub struct Pool {
    shared: Mutex<Shared>,
    processes: usize,
}

/// What the threads of the pool's process share.
struct Shared {
    crew: Crew,
    spare: Spare,
}

impl Pool {
    /// Starts a pool of this many processes.
    ///
    /// # Errors
    /// If there are to be none, or the system refuses to start them: then those that were started are ended.
    pub fn new(processes: usize) -> Result<Self> {
        if processes == 0 {
            return Err(Error::other("a pool has at least one process"));
        }
        let shared = Shared { crew: Crew::new(processes)?, spare: Spare::default() };
        Ok(Self { shared: Mutex::new(shared), processes })
    }

    /// How many processes the pool has.
    pub fn processes(&self) -> usize {
        self.processes
    }

    /// Calls `f` on every item, spread over the processes, and returns the results in the order of the items.
    ///
    /// `f` is a function or a closure that captures nothing, as for [`Process::spawn`](crate::Process::spawn). It takes any message, and returns any message or a
    /// `Result` of one with a usual error type. The items are taken from the iterator first. Calls from several threads go one after the
    /// other.
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
    /// [`PoolError::Task`] for the first item, by index, whose call failed, panicked, or whose worker died; all other items were done. [`PoolError::CrashLoop`]
    /// if workers die before they run anything. [`PoolError::Call`] if the call could not be made, as for want of memory.
    pub fn map<F, P, R>(&self, f: F, items: impl IntoIterator<Item = P>) -> Result<Vec<R::Output>, PoolError>
    where
        F: Fn(P) -> R + Copy + Send + 'static,
        P: Message,
        R: Outcome,
    {
        const {
            assert!(
                size_of::<F>() == 0,
                "this closure captures variables (or is a fn pointer); another process cannot see them: put them into the items"
            );
        }
        // Not held while the items are taken: their iterator may call this pool too.
        let mut spare = std::mem::take(&mut self.lock().spare);
        let job = Job::new(f, items.into_iter(), self.processes, &mut spare)?;
        if job.items() == 0 {
            return Ok(Vec::new());
        }
        let ledger = self.lock().crew.run(&job)?;
        let results = collect(&job, ledger);
        self.lock().spare.keep(job);
        results
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // Nothing of a user's runs while it is held, so a panic there is none that leaves it half changed.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The results in order, or the first failure.
fn collect<M: Message>(job: &Job, ledger: Ledger) -> Result<Vec<M>, PoolError> {
    let unreadable = || Cause::Unreadable { message: "a worker stored what is no value of the function's type".into() };
    if ledger.batches.is_empty() && ledger.deaths.is_empty() {
        let read = |task| job.stored(task).ok_or_else(|| PoolError::Task { task, pid: None, cause: unreadable() });
        return (0..job.items()).map(read).collect();
    }
    /// What is known of a task beside what is stored: its result, or who failed it, and why.
    type Known<M> = Option<Result<M, (Option<u32>, Cause)>>;
    let mut results: Vec<Known<M>> = (0..job.items()).map(|_| None).collect();
    for (task, pid, cause) in ledger.deaths {
        results[task] = Some(Err((Some(pid), cause)));
    }
    for batch in &ledger.batches {
        let opened = job::open_batch(batch, |task, report| {
            if let Some(result) = results.get_mut(task) {
                *result = Some(report.settle().map_err(|cause| (None, cause)));
            }
        });
        opened.ok_or(PoolError::Call(Error::Corrupted))?;
    }
    let settle = |(task, result): (usize, Known<M>)| {
        let result = result.unwrap_or_else(|| job.stored(task).ok_or((None, unreadable())));
        result.map_err(|(pid, cause)| PoolError::Task { task, pid, cause })
    };
    results.into_iter().enumerate().map(settle).collect()
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.lock().crew.dismiss();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("processes", &self.processes).finish()
    }
}
