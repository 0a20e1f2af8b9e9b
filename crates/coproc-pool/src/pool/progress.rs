//! How far calls with many items have come, told to a hook of the program.
//!
//! The *herald* is a thread of the pool's process, which there is only if there is a hook. It looks at the calls that are open, where their numbers
//! are anyway: in the ranges of a map, in the count of results that an [`Imap`](super::Imap) has given.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use coproc::__private::known_identity;

/// How often the herald looks: seldom enough to cost nothing, often enough for a bar that moves.
const PERIOD: Duration = Duration::from_millis(50);

/// How far a call with many items has come; given to the hook of [`PoolBuilder::progress`](super::PoolBuilder::progress).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Which call of the pool it is: how many were begun before.
    pub call: u64,
    /// What kind of call: the name of the method of [`Pool`](crate::Pool), as `"map"`.
    pub name: &'static str,
    /// How many items are done, well or badly. Of [`for_each_chunk`](crate::Pool::for_each_chunk) these are chunks; of
    /// [`imap`](crate::Pool::imap), items whose results were given. It never falls.
    pub done: u64,
    /// Of how many, if that is known: [`imap`](crate::Pool::imap) learns it at the end, if its iterator cannot say.
    pub total: Option<u64>,
    /// Whether the call is over, and this is the last that is told of it. If nothing has ended it early, all items are done then.
    pub is_over: bool,
}

/// What is called with the progress of calls.
pub(super) struct Hook(Box<dyn Fn(Progress) + Send + Sync>);

impl Hook {
    pub(super) fn new(hook: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self(Box::new(hook))
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}

/// What knows how many items of a call are done.
pub(super) trait Tally: Send + Sync {
    /// How many; `None` if it cannot say at this moment.
    fn done(&self) -> Option<u64>;
}

/// How a call has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// All items are done.
    Full,
    /// Some never will be.
    Early,
}

/// A call that is told of.
struct Call {
    number: u64,
    name: &'static str,
    total: Option<u64>,
    /// Where the number of items that are done is found; if nowhere, it is in `counted`.
    tally: OnceLock<Weak<dyn Tally>>,
    counted: AtomicU64,
    /// What the hook was told last; the herald's alone.
    told: AtomicU64,
    /// Written once, and read, under the herald's lock.
    end: OnceLock<End>,
}

#[derive(Default)]
struct Calls {
    begun: u64,
    /// Those whose end was not told yet.
    open: Vec<Arc<Call>>,
    /// The pool goes.
    is_closed: bool,
    thread: Option<ThreadId>,
}

/// Tells the hook how far calls have come.
pub(super) struct Herald {
    hook: Hook,
    /// The process that has its thread.
    owner: u64,
    is_broken: AtomicBool,
    calls: Mutex<Calls>,
    /// A call was begun, has ended, or was told to have ended; or the pool goes.
    changed: Condvar,
}

impl Herald {
    pub(super) fn new(hook: Hook) -> Self {
        Self {
            hook,
            owner: known_identity(),
            is_broken: AtomicBool::new(false),
            calls: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        // Nothing of a user's runs while it is held.
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call that is about to begin. `None` in a process that was forked from the pool's: there is no herald there.
    pub(super) fn call(self: &Arc<Self>, name: &'static str, total: Option<usize>) -> Option<Track> {
        if self.owner != known_identity() {
            return None;
        }
        let mut calls = self.calls();
        let call = Call {
            number: calls.begun,
            name,
            total: total.map(|total| total as u64),
            tally: OnceLock::new(),
            counted: AtomicU64::new(0),
            told: AtomicU64::new(0),
            end: OnceLock::new(),
        };
        calls.begun += 1;
        Some(Track { herald: Arc::clone(self), call: Arc::new(call) })
    }

    /// What the herald's thread does, until it is told to stop.
    pub(super) fn run(&self) {
        let mut calls = self.calls();
        calls.thread = Some(std::thread::current().id());
        let mut next = Instant::now();
        loop {
            let is_due = Instant::now() >= next;
            if is_due {
                next = Instant::now() + PERIOD;
            }
            let is_last = calls.is_closed;
            let end = |call: &Call| call.end.get().copied().or(is_last.then_some(End::Early));
            let reports = calls.open.iter().map(|call| (Arc::clone(call), end(call)));
            let reports: Vec<_> = reports.filter(|(_, end)| is_due || end.is_some()).collect();
            drop(calls);
            reports.iter().for_each(|(call, end)| self.tell(call, *end));
            calls = self.calls();
            let is_told = |call: &Arc<Call>| reports.iter().any(|(told, end)| end.is_some() && Arc::ptr_eq(told, call));
            calls.open.retain(|call| !is_told(call));
            self.changed.notify_all();
            if is_last {
                return;
            }
            while !calls.is_closed && calls.open.iter().all(|call| call.end.get().is_none()) {
                if calls.open.is_empty() {
                    calls = self.changed.wait(calls).unwrap_or_else(PoisonError::into_inner);
                    next = Instant::now() + PERIOD;
                    continue;
                }
                let left = next.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                calls = self.changed.wait_timeout(calls, left).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    fn tell(&self, call: &Call, end: Option<End>) {
        let counted = || Some(call.counted.load(Ordering::Relaxed));
        let tallied = call.tally.get().map(|tally| tally.upgrade().and_then(|tally| tally.done()));
        let (done, total) = match (end, tallied) {
            (Some(End::Full), Some(_)) => (call.total, call.total),
            (Some(End::Full), None) => (counted(), counted()),
            (_, tallied) => (tallied.unwrap_or_else(counted), call.total),
        };
        // Items that a dead worker had done may have to be done once more.
        let told = call.told.load(Ordering::Relaxed);
        let done = done.map_or(told, |done| done.max(told));
        call.told.store(done, Ordering::Relaxed);
        let progress = Progress { call: call.number, name: call.name, done, total, is_over: end.is_some() };
        if self.is_broken.load(Ordering::Relaxed) {
            return;
        }
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| (self.hook.0)(progress))) {
            // The hook of the panic has said what there is to say, and should say it once.
            self.is_broken.store(true, Ordering::Relaxed);
            // Dropping it could panic too.
            std::mem::forget(payload);
        }
    }

    /// The herald's thread tells what there is to tell, and ends.
    pub(super) fn close(&self) {
        self.calls().is_closed = true;
        self.changed.notify_all();
    }
}

/// A call on the way to the herald.
#[derive(Clone)]
pub(super) struct Track {
    herald: Arc<Herald>,
    call: Arc<Call>,
}

impl Track {
    /// The call has begun. If it does not count itself, its items are counted there.
    pub(super) fn begin(&self, tally: Option<Weak<dyn Tally>>) {
        if let Some(tally) = tally {
            let _ = self.call.tally.set(tally);
        }
        let mut calls = self.herald.calls();
        if !calls.is_closed {
            calls.open.push(Arc::clone(&self.call));
            self.herald.changed.notify_all();
        }
    }

    /// One more item is done.
    pub(super) fn count(&self) {
        self.call.counted.fetch_add(1, Ordering::Relaxed);
    }

    /// The call has ended, with all items done or not. What is said first counts; nothing in a process that was forked from the pool's.
    pub(super) fn end(&self, is_full: bool) {
        if self.herald.owner != known_identity() {
            return;
        }
        let _calls = self.herald.calls();
        let _ = self.call.end.set(if is_full { End::Full } else { End::Early });
        self.herald.changed.notify_all();
    }

    /// Waits until the hook knows that the call has ended, so that it says nothing more when the caller goes on.
    pub(super) fn wait(&self) {
        if self.herald.owner != known_identity() {
            return;
        }
        let mut calls = self.herald.calls();
        // The hook may use the pool itself.
        let is_herald = calls.thread == Some(std::thread::current().id());
        while !is_herald && calls.open.iter().any(|call| Arc::ptr_eq(call, &self.call)) {
            calls = self.herald.changed.wait(calls).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
