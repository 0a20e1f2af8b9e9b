//! Who takes part beside the survivor: the victim, on its way and after its death, and others that live.

use std::cell::Cell;
use std::time::{Duration, Instant};

use coproc::Result;

use super::report::Progress;
use super::system::die_with_parent;
use super::{Fault, HANG, Hang};
use crate::{End, fork, kill, until_asleep, wait_for};

/// The marks between which a victim is stepped.
#[derive(Debug)]
pub struct Step(pub(super) libc::pid_t);

impl Step {
    fn mark(&self) {
        // SAFETY: stops this process, which is traced; touches no memory.
        unsafe { libc::kill(self.0, libc::SIGSTOP) };
    }

    /// Runs what is to be stepped through.
    #[inline(always)]
    pub fn through<R>(&self, operation: impl FnOnce() -> R) -> R {
        self.mark();
        let result = operation();
        self.mark();
        result
    }
}

/// A victim, after its death.
#[derive(Debug)]
pub struct Dead<'a> {
    /// Its process id.
    pub pid: u32,
    /// Whether it was killed behind the operation, which had thus returned.
    pub finished: bool,
    pub(super) slowest: Cell<Duration>,
    progress: &'a Progress,
}

impl<'a> Dead<'a> {
    /// A process that has died.
    pub fn new(pid: u32, finished: bool, progress: &'a Progress) -> Self {
        Self { pid, finished, slowest: Cell::new(Duration::ZERO), progress }
    }

    /// Runs a call that has to come back in time.
    pub fn bounded<R>(&self, what: &str, call: impl FnOnce() -> R) -> R {
        self.progress.label(what);
        let begin = Instant::now();
        let result = call();
        self.slowest.set(self.slowest.get().max(begin.elapsed()));
        self.progress.label("between calls");
        result
    }
}

/// A further process, that lives. Killed if it is dropped before its end.
#[derive(Debug)]
pub struct Other {
    /// Its process id.
    pub pid: u32,
    ended: Cell<Option<i32>>,
}

impl Other {
    /// Forks, and runs this in the child, which exits with the code that it returns.
    pub fn start(run: impl FnOnce() -> i32) -> Self {
        let pid = fork(|| {
            die_with_parent();
            run()
        });
        Self { pid, ended: Cell::new(None) }
    }

    /// As [`start`](Self::start), and returns when it sleeps for a futex.
    pub fn asleep(run: impl FnOnce() -> i32) -> Self {
        let other = Self::start(run);
        until_asleep(other.pid);
        other
    }

    /// Waits for its end, which has to come in time; gives its exit code.
    ///
    /// # Errors
    /// If it does not end.
    pub fn ends(&self, dead: &Dead<'_>, what: &str) -> Result<i32, Fault> {
        if let Some(code) = self.ended.get() {
            return Ok(code);
        }
        if !dead.bounded(what, || End::of(self.pid).comes_within(HANG)) {
            return Err(Hang(format!("{what} in another process")).into());
        }
        let code = wait_for(self.pid);
        self.ended.set(Some(code));
        Ok(code)
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        if self.ended.get().is_none() {
            kill(self.pid);
            wait_for(self.pid);
        }
    }
}
