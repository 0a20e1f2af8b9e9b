//! A task that was submitted, for who wants its result.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use coproc::__private::Parcel;
use coproc::Message;

use super::book::{Ending, Reply};
use super::desk::Desk;
use super::line::SENT;
use super::settle::Attended;
use crate::error::{Cause, PoolError};
use crate::report::Report;

/// What is called with the result, or the error.
pub(super) type Callback<T> = Box<dyn FnOnce(&T) + Send>;

/// A task of a [`Pool`](crate::Pool): its result, when it is there.
///
/// Dropping it lets the task run; its result is thrown away.
///
/// ```
/// use coproc_pool::Pool;
///
/// let pool = Pool::new(2)?;
/// let task = pool.apply_async(|a: u64, b: u64| a * b, (6, 7))?;
/// assert_eq!(task.get()?, 42);
/// # Ok::<(), coproc::Error>(())
/// ```
#[doc(alias("AsyncResult", "Future"))]
pub struct Task<R> {
    pub(super) desk: Arc<Desk>,
    pub(super) cell: Arc<Cell<R>>,
}

/// Where a result arrives.
pub(super) struct Cell<R> {
    state: Mutex<State<R>>,
    ready: Condvar,
    /// How many tasks were submitted before; set by who submits it.
    pub(super) number: AtomicU64,
    /// Its position on the board, plus one; 0 while it has none.
    position: AtomicU64,
    /// Only the collector may settle it: there is somebody to call, or to tell.
    collected: AtomicBool,
}

struct State<R> {
    result: Slot<R>,
    callback: Option<Callback<R>>,
    error_callback: Option<Callback<PoolError>>,
    /// Who is told that it is ready.
    watchers: Vec<(usize, mpsc::Sender<usize>)>,
}

enum Slot<R> {
    Pending,
    /// It is there, and its callbacks run.
    Arrived,
    Ready(Result<R, PoolError>),
    Taken(bool),
}

impl<R> Cell<R> {
    pub(super) fn new(callback: Option<Callback<R>>, error_callback: Option<Callback<PoolError>>) -> Self {
        let collected = AtomicBool::new(callback.is_some() || error_callback.is_some());
        let state = State { result: Slot::Pending, callback, error_callback, watchers: Vec::new() };
        Self {
            state: Mutex::new(state),
            ready: Condvar::new(),
            number: AtomicU64::new(u64::MAX),
            position: AtomicU64::new(0),
            collected,
        }
    }

    fn state(&self) -> MutexGuard<'_, State<R>> {
        // Nothing of a user's runs while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_ready(&self) -> bool {
        matches!(self.state().result, Slot::Ready(_) | Slot::Taken(_))
    }

    fn position(&self) -> Option<u64> {
        self.position.load(Ordering::Relaxed).checked_sub(1)
    }

    /// The result is there: callbacks first, then whoever waits.
    pub(super) fn complete(&self, result: Result<R, PoolError>) {
        let (callback, error_callback) = {
            let mut state = self.state();
            state.result = Slot::Arrived;
            (state.callback.take(), state.error_callback.take())
        };
        // The hook of the panic has said what there is to say.
        let _ = match &result {
            Ok(value) => callback.map(|callback| catch_unwind(AssertUnwindSafe(|| callback(value)))),
            Err(error) => error_callback.map(|callback| catch_unwind(AssertUnwindSafe(|| callback(error)))),
        };
        let watchers = {
            let mut state = self.state();
            state.result = Slot::Ready(result);
            std::mem::take(&mut state.watchers)
        };
        self.ready.notify_all();
        for (number, to) in watchers {
            // Nobody may want to know any more.
            let _ = to.send(number);
        }
    }

    /// Sends this number when the result is there: now, if it is.
    pub(super) fn watch(&self, number: usize, to: mpsc::Sender<usize>) {
        self.collected.store(true, Ordering::Relaxed);
        let mut state = self.state();
        if matches!(state.result, Slot::Pending | Slot::Arrived) {
            state.watchers.push((number, to));
        } else {
            let _ = to.send(number);
        }
    }

    /// Waits for the result here. `false` if it is too late.
    pub(super) fn wait_until(&self, deadline: Option<Instant>) -> bool {
        let mut state = self.state();
        while matches!(state.result, Slot::Pending | Slot::Arrived) {
            state = match deadline.map(|end| end.saturating_duration_since(Instant::now())) {
                None => self.ready.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return false,
                Some(left) => self.ready.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        true
    }

    pub(super) fn take(&self) -> Result<R, PoolError> {
        let mut state = self.state();
        let was_ok = matches!(state.result, Slot::Ready(Ok(_)) | Slot::Taken(true));
        match std::mem::replace(&mut state.result, Slot::Taken(was_ok)) {
            Slot::Ready(result) => result,
            Slot::Taken(_) => Err(PoolError::Taken),
            pending => {
                state.result = pending;
                Err(PoolError::TimedOut)
            }
        }
    }

    /// Waits for the result, settling the task in this thread if it can.
    pub(super) fn wait_at(&self, desk: &Desk, deadline: Option<Instant>) -> bool {
        if !self.collected.load(Ordering::Relaxed)
            && !self.is_ready()
            && let Some(position) = self.position()
            && desk.attend(position, deadline) == Attended::TimedOut
        {
            return self.is_ready();
        }
        self.wait_until(deadline)
    }
}

impl<R: Message + Send> Reply for Cell<R> {
    fn accepted(&self, number: u64) {
        self.number.store(number, Ordering::Relaxed);
    }

    fn published(&self, position: u64) {
        self.position.store(position + 1, Ordering::Relaxed);
    }

    fn settle(self: Arc<Self>, ending: Ending, sent: Vec<Parcel>) {
        // What comes from outside may be anything, and reading it may be a user's code.
        let read = || match ending {
            Ending::Report(small) => Ok(Report::<R>::read(&mut small.reader())),
            Ending::Elsewhere => Ok(sent.last().and_then(|parcel| {
                let mut reader = parcel.reader();
                let tag = u8::read(&mut reader)?;
                Report::<R>::read(&mut reader).filter(|_| tag == SENT)
            })),
            Ending::Failed(error) => Err(error),
        };
        let result =
            match catch_unwind(AssertUnwindSafe(read)) {
                Ok(Ok(Some(report))) => report.settle().map_err(|cause| self.failed(cause)),
                Ok(Ok(None)) | Err(_) => Err(self
                    .failed(Cause::Unreadable { message: "its result is no value of the function's type, or was lost".into() })),
                Ok(Err(error)) => Err(error),
            };
        self.complete(result);
    }
}

impl<R> Cell<R> {
    fn failed(&self, cause: Cause) -> PoolError {
        PoolError::Task { task: self.number.load(Ordering::Relaxed) as usize, cause }
    }
}

impl<R> Task<R> {
    /// Waits until the task has ended, well or badly.
    pub fn wait(&self) {
        self.cell.wait_at(&self.desk, None);
    }

    /// As [`wait`](Self::wait), at most this long. Returns whether it has ended.
    pub fn wait_timeout(&self, time: Duration) -> bool {
        self.cell.wait_at(&self.desk, Instant::now().checked_add(time))
    }

    /// Waits for the result.
    ///
    /// # Errors
    /// [`PoolError::Task`] if the function failed or panicked, [`PoolError::WorkerDied`] if its worker died at it, [`PoolError::Cancelled`],
    /// [`PoolError::Terminated`], [`PoolError::CrashLoop`]; [`PoolError::Taken`] if [`get_timeout`](Self::get_timeout) has given it.
    #[doc(alias = "result")]
    pub fn get(self) -> Result<R, PoolError> {
        self.wait();
        self.cell.take()
    }

    /// Waits for the result, at most this long (monotonic time).
    ///
    /// # Errors
    /// [`PoolError::TimedOut`] if it has not ended by then; the task goes on, and may be asked again. Else as [`get`](Self::get).
    pub fn get_timeout(&self, time: Duration) -> Result<R, PoolError> {
        if self.wait_timeout(time) { self.cell.take() } else { Err(PoolError::TimedOut) }
    }

    /// Whether the task has ended, and its callback too.
    #[doc(alias("ready", "done"))]
    pub fn is_ready(&self) -> bool {
        self.cell.is_ready()
    }

    /// Whether the task has ended well; `None` if it has not ended.
    #[doc(alias = "successful")]
    pub fn is_successful(&self) -> Option<bool> {
        match &self.cell.state().result {
            Slot::Pending | Slot::Arrived => None,
            Slot::Ready(result) => Some(result.is_ok()),
            Slot::Taken(was_ok) => Some(*was_ok),
        }
    }

    /// Takes the task back, if no worker has begun it: its result is [`PoolError::Cancelled`] then. Returns whether that is so.
    pub fn cancel(&self) -> bool {
        self.desk.cancel(self.cell.number.load(Ordering::Relaxed), self.cell.position())
    }
}

impl<R> fmt::Debug for Task<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.cell.number.load(Ordering::Relaxed);
        f.debug_struct("Task").field("number", &number).field("successful", &self.is_successful()).finish()
    }
}
