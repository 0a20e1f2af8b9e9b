//! Which children run, and what happens to them when this process exits.
//!
//! At a clean exit (`main` returned or panicked, or `std::process::exit`) the daemons are asked to end (`SIGTERM`), the other children are waited
//! for, and then the daemons for a second more. Whatever still runs then, the kernel ends, as it does at once when the process is killed or aborts.
//!
//! What this waits for is the end of processes that run at that moment, of which the kernel tells; never for a word of theirs, nor for a lock
//! or a thread of this program, but for the keeper, which runs as long as the process. So it cannot hang where Python's exit does: on a feeder
//! thread that cannot empty its buffer, on a lock that a dead child had, on a daemon that ignores `SIGTERM`, or on a child whose exit status
//! somebody else has taken. What it shares with Python's: a child that never ends is waited for for ever.

#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{MutexGuard, Weak};
use std::time::{Duration, Instant};

use coproc::__private::ForkLock;

use super::Child;
use crate::{keeper, launch};

/// How long daemons may take to end at an exit.
const PATIENCE: Duration = Duration::from_secs(1);

/// The children of this process that may still run.
pub(crate) struct Children {
    /// The process whose they are: a forked copy finds its parent's here.
    parent: u32,
    all: Vec<Entry>,
    /// When there are so many, those that have ended are let go.
    most: usize,
    /// Whether the exit waits for them: a forked copy has that from its parent.
    at_exit: bool,
}

/// A child. As long as it runs, the keeper has it; once it has ended, this keeps none of its descriptors open.
struct Entry {
    name: String,
    daemon: bool,
    child: Weak<keeper::Child>,
}

impl Entry {
    fn running(&self) -> Option<Child> {
        let child = Child::new(self.name.clone(), self.daemon, self.child.upgrade()?);
        child.is_alive().then_some(child)
    }
}

pub(crate) static CHILDREN: ForkLock<Children> = ForkLock::new(Children { parent: 0, all: Vec::new(), most: 0, at_exit: false });

/// The process that `CHILDREN` is of, to be read without the lock.
static PARENT: AtomicU32 = AtomicU32::new(0);

fn children() -> MutexGuard<'static, Children> {
    let mut children = CHILDREN.lock();
    let this = std::process::id();
    if children.parent != this {
        *children = Children { parent: this, all: Vec::new(), most: 16, at_exit: children.at_exit };
        PARENT.store(this, Ordering::Relaxed);
    }
    children
}

/// Notes a child that was started.
pub(crate) fn enter(child: &Child) {
    let mut children = children();
    if !children.at_exit {
        // SAFETY: it is a function of this program, which is not unloaded: a library that can be has no children to start.
        children.at_exit = unsafe { libc::atexit(at_exit) } == 0;
    }
    if children.all.len() >= children.most {
        children.all.retain(|entry| entry.running().is_some());
        children.most = 16.max(2 * children.all.len());
    }
    children.all.push(Entry { name: child.name().to_owned(), daemon: child.daemon(), child: child.weak() });
}

/// The children that run.
pub(super) fn running() -> Vec<Child> {
    if PARENT.load(Ordering::Relaxed) != std::process::id() {
        return Vec::new();
    }
    children().all.iter().filter_map(Entry::running).collect()
}

extern "C" fn at_exit() {
    see_children_off();
}

/// What is done with the children of a process that exits.
pub(crate) fn see_children_off() {
    launch::ask_no_more_ahead();
    let (daemons, others): (Vec<_>, Vec<_>) = running().into_iter().partition(Child::daemon);
    for daemon in &daemons {
        // Whoever cannot be asked is ended by the kernel.
        let _ = daemon.terminate();
    }
    for child in others {
        child.wait();
    }
    let end = Instant::now() + PATIENCE;
    for daemon in daemons {
        daemon.wait_timeout(end.saturating_duration_since(Instant::now()));
    }
}
