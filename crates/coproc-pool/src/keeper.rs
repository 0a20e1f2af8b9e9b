//! The one thread of a process that starts its children and notices their end.
//!
//! It lives as long as the process, because the kernel ends a child that asked to die with its parent when the *thread* that started it
//! ends. It blocks all signals, and does nothing but wait: for requests, and for its children's ends.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use coproc::__private::{Latch, above_standard, spawn_quiet, tell_of_a_death};
use coproc::{Error, Result};
use rustix::event::{EventfdFlags, PollFd, PollFlags};
use rustix::process::Pid;

use crate::launch::Launch;
use crate::sys::{self, Status};

/// A child process that was started.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) pid: u32,
    /// Readable when it has ended.
    pub(crate) pidfd: OwnedFd,
    status: Mutex<Option<Status>>,
    ended: Condvar,
    /// Opened when it has ended, for those who wait for other things too.
    pub(crate) gone: Latch,
}

impl Child {
    /// The child that was started; without a descriptor it is one that has ended, and nobody knows how.
    fn new((pid, pidfd): (Pid, Option<OwnedFd>)) -> Result<Self> {
        let status = if pidfd.is_some() { None } else { Some(Status::Unknown) };
        // In its stead something that is readable for good.
        let pidfd = match pidfd {
            Some(pidfd) => pidfd,
            None => bell(1)?,
        };
        let pid = pid.as_raw_nonzero().get().unsigned_abs();
        let gone = Latch::new(status.is_some());
        Ok(Self { pid, pidfd, status: Mutex::new(status), ended: Condvar::new(), gone })
    }

    /// How it ended, if it has.
    pub(crate) fn status(&self) -> Option<Status> {
        *lock(&self.status)
    }

    /// Waits for its end.
    pub(crate) fn wait(&self) -> Status {
        let mut status = lock(&self.status);
        loop {
            match *status {
                Some(status) => return status,
                None => status = self.ended.wait(status).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Waits for its end, at most this long.
    pub(crate) fn wait_timeout(&self, time: Duration) -> Option<Status> {
        let end = Instant::now() + time;
        let mut status = lock(&self.status);
        while status.is_none() {
            let left = end.checked_duration_since(Instant::now())?;
            status = self.ended.wait_timeout(status, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *status
    }

    /// Sends it a signal; none if it has ended.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) -> Result<()> {
        if self.status().is_some() {
            return Ok(());
        }
        match sys::signal(self.pidfd.as_fd(), signal) {
            Err(error) if error.raw_os_error() != Some(libc::ESRCH) => Err(Error::from_os("sending a signal", error)),
            _ => Ok(()),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Request {
    launch: Launch,
    reply: mpsc::SyncSender<Result<Arc<Child>>>,
}

/// What the keeper and its callers share.
struct Keeper {
    /// The process that it keeps: a forked child finds its parent's here, and needs one of its own.
    pid: u32,
    requests: Mutex<VecDeque<Request>>,
    /// Wakes the keeper.
    bell: OwnedFd,
}

static KEEPER: Mutex<Option<Arc<Keeper>>> = Mutex::new(None);

/// Starts a child.
pub(crate) fn start(launch: Launch) -> Result<Arc<Child>> {
    let keeper = keeper()?;
    let (reply, answer) = mpsc::sync_channel(1);
    lock(&keeper.requests).push_back(Request { launch, reply });
    keeper.ring()?;
    answer.recv().map_err(|_| Error::other("the thread that starts child processes has ended"))?
}

/// A descriptor that is readable while its number is not zero.
fn bell(number: u32) -> Result<OwnedFd> {
    let bell = rustix::event::eventfd(number, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
    bell.map_err(io::Error::from).and_then(above_standard).map_err(|error| Error::from_os("creating an eventfd", error))
}

/// The keeper of this process; starts it at the first call, or the first since a fork.
fn keeper() -> Result<Arc<Keeper>> {
    let mut current = lock(&KEEPER);
    if let Some(keeper) = current.as_ref().filter(|keeper| keeper.pid == std::process::id()) {
        return Ok(Arc::clone(keeper));
    }
    let keeper = Arc::new(Keeper { pid: std::process::id(), requests: Mutex::new(VecDeque::new()), bell: bell(0)? });
    let shared = Arc::clone(&keeper);
    spawn_quiet("coproc-keeper", move || shared.run()).map_err(|error| Error::from_os("starting a thread", error))?;
    *current = Some(Arc::clone(&keeper));
    Ok(keeper)
}

impl Keeper {
    fn ring(&self) -> Result<()> {
        match rustix::io::write(&self.bell, &1_u64.to_ne_bytes()) {
            // It has been rung more often than it can count: it will look.
            Ok(_) | Err(rustix::io::Errno::AGAIN) => Ok(()),
            Err(error) => Err(Error::from_os("waking the keeper thread", error.into())),
        }
    }

    fn run(&self) {
        let mut children: Vec<Arc<Child>> = Vec::new();
        loop {
            let files = children.iter().map(|child| &child.pidfd).chain([&self.bell]);
            let mut polled: Vec<_> = files.map(|file| PollFd::new(file, PollFlags::IN)).collect();
            if rustix::event::poll(&mut polled, None).is_err() {
                continue;
            }
            let ready: Vec<bool> = polled.iter().map(|file| !file.revents().is_empty()).collect();
            drop(polled);
            // The bell's place is past the last child's.
            if ready.last() == Some(&true) {
                let _ = rustix::io::read(&self.bell, &mut [0_u8; 8]);
            }
            let mut ready = ready.into_iter();
            children.retain(|child| !ready.next().unwrap_or(false) || !settle(child));
            while let Some(request) = self.next() {
                let child = request.launch.execute().and_then(Child::new).map(Arc::new);
                children.extend(child.as_ref().ok().filter(|child| child.status().is_none()).map(Arc::clone));
                // Who asked waits for the answer; if it does not any more, the child goes on like one whose handle was dropped.
                let _ = request.reply.send(child);
            }
        }
    }

    fn next(&self) -> Option<Request> {
        lock(&self.requests).pop_front()
    }
}

/// Takes the status of a child that has ended, and tells those who wait; `false` if it has not.
fn settle(child: &Child) -> bool {
    let Some(status) = sys::reap(child.pidfd.as_fd()) else { return false };
    *lock(&child.status) = Some(status);
    child.ended.notify_all();
    child.gone.open();
    tell_of_a_death();
    true
}
