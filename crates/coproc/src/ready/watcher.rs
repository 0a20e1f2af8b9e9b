//! The thread that waits in the place of descriptors and tasks.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};

use super::{Waitable, announce_all, slice_for};
use crate::error::Result;
use crate::segment;
use crate::sync::{Deadline, nap_any};
use crate::sys::fork::{ForkLock, on_fork};
use crate::sys::{futex, thread};

/// How the one that does not wait itself is told.
pub(super) trait Target: Send + Sync {
    fn tell(&self);
}

/// An object that is waited for, and who is told.
pub(super) struct Entry {
    object: Box<dyn Waitable + Send + Sync>,
    target: Box<dyn Target>,
    /// Whether to wait for it: until it was ready, once.
    armed: AtomicBool,
}

/// What the thread and its users share.
struct Watcher {
    /// The process in which the thread is: a forked child finds its parent's here, and needs one of its own.
    pid: u32,
    entries: Mutex<Vec<Arc<Entry>>>,
    /// Counts the changes of what is to be waited for; the thread sleeps on it too.
    changes: AtomicU32,
}

static WATCHER: ForkLock<Option<Arc<Watcher>>> = ForkLock::new(None);

extern "C" fn before_fork() {
    WATCHER.hold();
}

extern "C" fn after_fork() {
    WATCHER.release(|_| ());
}

/// From now on no forked child finds the table locked by a thread that it does not have.
pub(crate) fn watch_forks() {
    static HANDLERS: Once = Once::new();
    HANDLERS.call_once(|| {
        // Handlers that were registered later run earlier: this lock is taken before that of the segments, as below, where a watcher is dropped.
        segment::watch_forks();
        on_fork(before_fork, after_fork, after_fork);
    });
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The watcher of this process; starts it at the first call, or the first since a fork.
fn watcher() -> Result<Arc<Watcher>> {
    watch_forks();
    let mut current = WATCHER.lock();
    let pid = std::process::id();
    if let Some(watcher) = current.as_ref().filter(|watcher| watcher.pid == pid) {
        return Ok(Arc::clone(watcher));
    }
    let watcher = Arc::new(Watcher { pid, entries: Mutex::new(Vec::new()), changes: AtomicU32::new(0) });
    let shared = Arc::clone(&watcher);
    thread::spawn_quiet("coproc-watcher", move || shared.run())?;
    *current = Some(Arc::clone(&watcher));
    Ok(watcher)
}

/// An entry, waited for when it is armed, until this is dropped.
pub(super) struct Registered {
    entry: Arc<Entry>,
    watcher: Arc<Watcher>,
}

impl Registered {
    pub(super) fn new(object: Box<dyn Waitable + Send + Sync>, target: Box<dyn Target>) -> Result<Self> {
        let watcher = watcher()?;
        let entry = Arc::new(Entry { object, target, armed: AtomicBool::new(false) });
        lock(&watcher.entries).push(Arc::clone(&entry));
        Ok(Self { entry, watcher })
    }

    pub(super) fn object(&self) -> &dyn Waitable {
        &*self.entry.object
    }

    /// Whether the thread that waits for it is in this process: in a forked child it is not.
    pub(super) fn is_here(&self) -> bool {
        self.watcher.pid == std::process::id()
    }

    /// Tells the target once, as soon as the object is ready.
    pub(super) fn arm(&self) {
        // Release: pairs with the Acquire in `Watcher::run`; what the target is to find then.
        self.entry.armed.store(true, Ordering::Release);
        self.watcher.change();
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        // The parent's thread may have had the lock at the time of the fork.
        if !self.is_here() {
            return;
        }
        lock(&self.watcher.entries).retain(|entry| !Arc::ptr_eq(entry, &self.entry));
        // The thread lets go of the object too.
        self.watcher.change();
    }
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registered").field("armed", &self.entry.armed).finish_non_exhaustive()
    }
}

impl Watcher {
    fn change(&self) {
        // Release: pairs with the Acquire in `run`; the change.
        self.changes.fetch_add(1, Ordering::Release);
        futex::wake_all(&self.changes);
    }

    fn run(&self) {
        let mut before: Vec<Arc<Entry>> = Vec::new();
        loop {
            // Acquire: pairs with the Release in `change`. Read before the entries: a change that they do not show ends the sleep.
            let changes = self.changes.load(Ordering::Acquire);
            // Acquire: pairs with the Release in `arm`.
            let armed = |entry: &&Arc<Entry>| entry.armed.load(Ordering::Acquire);
            let entries: Vec<_> = lock(&self.entries).iter().filter(armed).map(Arc::clone).collect();
            // A wake may have come to this thread for what it watches no more.
            let is_left = |old: &&Arc<Entry>| !entries.iter().any(|entry| Arc::ptr_eq(entry, old));
            before.iter().filter(is_left).for_each(|old| old.object.pass_on());
            before.clear();
            if entries.is_empty() {
                futex::wait_forever(&self.changes, changes);
                continue;
            }
            let objects = || entries.iter().map(|entry| -> &dyn Waitable { &*entry.object });
            let mut words = announce_all(objects());
            if tell_ready(&entries) {
                objects().for_each(Waitable::pass_on);
                continue;
            }
            // First, so that it is among those that the kernel takes.
            words.insert(0, (&self.changes, changes));
            if nap_any(&words, Deadline::NEVER, slice_for(words.len())) != Some(true) {
                objects().for_each(Waitable::ask_kernel);
            }
            before = entries;
        }
    }
}

/// Tells the targets of those that are ready; whether there were any.
fn tell_ready(entries: &[Arc<Entry>]) -> bool {
    let mut any = false;
    for entry in entries {
        if entry.object.is_ready() && entry.armed.swap(false, Ordering::Relaxed) {
            entry.target.tell();
            any = true;
        }
    }
    any
}
