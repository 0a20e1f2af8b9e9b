//! A child process that was started, until its end is known.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use coproc::__private::{Latch, tell_of_a_death};
use coproc::{Error, Result};
use rustix::process::Pid;

use super::{Keeper, bell, lock};
use crate::launch;
use crate::sys::{self, Status, end::has_ended};

/// How long to wait for who holds the exit status of a process back though it has ended: a debugger.
const PAUSE: Duration = Duration::from_millis(5);

/// A child process that was started.
///
/// Its end is noticed by whoever looks first: a thread that waits for it, or the keeper if none does.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) pid: u32,
    /// Readable when it has ended.
    pub(crate) pidfd: OwnedFd,
    state: Mutex<State>,
    /// Opened when it has ended, for those who wait for other things too.
    pub(crate) gone: Latch,
    keeper: Arc<Keeper>,
    /// By which the keeper knows it.
    key: u64,
}

#[derive(Debug)]
struct State {
    status: Option<Status>,
    /// How many threads wait for its end.
    waiting: usize,
    /// Whether the keeper watches it: only while none of them does, because two who are woken take longer than one.
    kept: bool,
}

impl Child {
    /// The child that was started; without a descriptor it is one that has ended, and nobody knows how.
    pub(crate) fn new(pid: Pid, pidfd: Option<OwnedFd>, keeper: &Arc<Keeper>) -> Result<Arc<Self>> {
        let status = if pidfd.is_some() { None } else { Some(Status::Unknown) };
        // In its stead something that is readable for good.
        let pidfd = match pidfd {
            Some(pidfd) => pidfd,
            None => bell(1)?,
        };
        let child = Arc::new(Self {
            pid: pid.as_raw_nonzero().get().unsigned_abs(),
            pidfd,
            gone: Latch::new(status.is_some()),
            state: Mutex::new(State { status, waiting: 0, kept: false }),
            keeper: Arc::clone(keeper),
            key: keeper.next_key(),
        });
        if status.is_none() {
            keeper.list(child.key, &child);
            // The keeper may see its end at once, and waits for this lock.
            lock(&child.state).kept = keeper.watch(child.key, child.pidfd.as_fd());
        }
        Ok(child)
    }

    /// How it ended, if it has.
    pub(crate) fn status(&self) -> Option<Status> {
        self.settle()
    }

    /// Waits for its end.
    pub(crate) fn wait(&self) -> Status {
        loop {
            if let Some(status) = self.wait_until(None) {
                return status;
            }
        }
    }

    /// Waits for its end, at most this long.
    pub(crate) fn wait_timeout(&self, time: Duration) -> Option<Status> {
        self.wait_until(Instant::now().checked_add(time))
    }

    /// Waits for its end. While it waits, and when it need not any more, the next ones are made. (Who only looks does not wait.)
    fn wait_until(&self, end: Option<Instant>) -> Option<Status> {
        if end.is_none_or(|end| end > Instant::now()) {
            launch::ask_ahead();
        }
        let status = self.settled_until(end);
        if status.is_some() {
            launch::ask_ahead();
        }
        status
    }

    fn settled_until(&self, end: Option<Instant>) -> Option<Status> {
        let Some(_waits) = Waits::begin(self) else { return self.status() };
        loop {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            let ended = has_ended(self.pidfd.as_fd(), left);
            if let Some(status) = self.settle() {
                return Some(status);
            }
            if left.is_some_and(|left| left.is_zero()) {
                return None;
            }
            if ended {
                std::thread::sleep(left.unwrap_or(PAUSE).min(PAUSE));
            }
        }
    }

    /// Sends it a signal; none if it has ended.
    pub(crate) fn signal(&self, signal: i32) -> Result<()> {
        if self.status().is_some() {
            return Ok(());
        }
        match sys::signal(self.pidfd.as_fd(), signal) {
            Err(error) if error.raw_os_error() != Some(libc::ESRCH) => Err(Error::from_os("sending a signal", error)),
            _ => Ok(()),
        }
    }

    /// Takes its status if it has ended and nobody has taken it, and tells those who wait.
    pub(super) fn settle(&self) -> Option<Status> {
        let mut state = lock(&self.state);
        if state.status.is_some() {
            return state.status;
        }
        // While the lock is held: who sees that the system has it no more finds it here.
        let status = sys::reap(self.pidfd.as_fd())?;
        state.status = Some(status);
        if std::mem::take(&mut state.kept) {
            self.keeper.unwatch(self.pidfd.as_fd());
        }
        // Who finds the status finds one less that runs.
        self.keeper.unlist(self.key);
        drop(state);
        self.gone.open();
        tell_of_a_death();
        Some(status)
    }
}

/// A thread that waits for the end of a child itself.
struct Waits<'a>(&'a Child);

impl<'a> Waits<'a> {
    /// `None` if its end is known.
    fn begin(child: &'a Child) -> Option<Self> {
        let mut state = lock(&child.state);
        if state.status.is_some() {
            return None;
        }
        state.waiting += 1;
        if std::mem::take(&mut state.kept) {
            child.keeper.unwatch(child.pidfd.as_fd());
        }
        Some(Self(child))
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.waiting -= 1;
        if state.waiting == 0 && state.status.is_none() {
            state.kept = self.0.keeper.watch(self.0.key, self.0.pidfd.as_fd());
        }
    }
}
