//! A pool's workers, as the pool sees them: starting them, giving them a job, noticing deaths, replacing the dead.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use coproc::__private::Parcel;
use coproc::Result;
use rustix::event::{PollFd, PollFlags};

use super::job::{BATCHED, DEAD, FINISHED, Job, OPEN, batched_items};
use super::worker;
use crate::channel::{Channel, Received};
use crate::context::Settings;
use crate::error::{Cause, PoolError};
use crate::keeper::Child;
use crate::launch;
use crate::log;
use crate::process::{self, next_name};
use crate::report::Report;

/// How long a worker may take to end that has closed its channel, or whose pool goes, before it is killed.
const PATIENCE: Duration = Duration::from_secs(1);

/// A worker process.
#[derive(Debug)]
struct Worker {
    child: Arc<Child>,
    channel: Channel,
    /// What it said of a panic that is about to abort it.
    last_words: Option<Cause>,
    /// Whether it is at the job.
    busy: bool,
}

/// The workers of a pool, one on each seat.
#[derive(Debug)]
pub(super) struct Crew {
    seats: Vec<Worker>,
    /// Workers that died, one after the other, without a task to blame and without a job done.
    idle_deaths: usize,
}

/// What became of a job, beside the results that are stored in it.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Batches of reports.
    pub(super) batches: Vec<Parcel>,
    /// Items whose worker died while it ran them: the worker's pid, and how.
    pub(super) deaths: Vec<(usize, u32, Cause)>,
}

impl Worker {
    fn start() -> Result<Self> {
        let settings = Settings::new(next_name("PoolWorker"), true);
        let (child, channel) = launch::start(worker::serve, &settings, Parcel::default())?;
        process::enter(&process::Child::new(settings.name, settings.daemon, Arc::clone(&child)));
        Ok(Self { child, channel, last_words: None, busy: false })
    }
}

impl Crew {
    /// Starts as many workers.
    pub(super) fn new(seats: usize) -> Result<Self> {
        let seats = (0..seats).map(|_| Worker::start()).collect::<Result<_>>()?;
        Ok(Self { seats, idle_deaths: 0 })
    }

    /// Has the job done: every item is stored in it, or in the ledger.
    pub(super) fn run(&mut self, job: &Job) -> Result<Ledger, PoolError> {
        let mut ledger = Ledger::default();
        let result = self.rounds(job, &mut ledger);
        if result.is_err() {
            // Those who are still at it must not be when the next job comes.
            for worker in self.seats.iter().filter(|worker| worker.busy) {
                let _ = worker.child.signal(libc::SIGKILL);
                worker.child.wait();
            }
        }
        result.map(|()| ledger)
    }

    /// Gives the job to all, waits until none is at it, and again if a death has left items open.
    fn rounds(&mut self, job: &Job, ledger: &mut Ledger) -> Result<(), PoolError> {
        loop {
            job.rewind();
            let mut lost = false;
            for seat in 0..self.seats.len() {
                if job.has_unclaimed() {
                    lost |= self.give(seat, job)?;
                }
            }
            while self.seats.iter().any(|worker| worker.busy) {
                lost |= self.attend(job, ledger)?;
            }
            if lost {
                reopen(job, ledger);
            }
            if !job.states().iter().any(|state| state.load(Ordering::Relaxed) == OPEN) {
                return Ok(());
            }
        }
    }

    /// Gives the job to the worker on a seat; a new one if that has died. Whether it had.
    fn give(&mut self, seat: usize, job: &Job) -> Result<bool, PoolError> {
        let mut replaced = false;
        loop {
            let worker = &mut self.seats[seat];
            let sent = worker.channel.send(&worker::order(seat, job));
            let status = match sent {
                Ok(()) if worker.child.status().is_none() => {
                    worker.busy = true;
                    return Ok(replaced);
                }
                Ok(()) => worker.child.status(),
                // Its end of the channel is closed, or there is another reason, which is the caller's to know.
                Err(error) => Some(worker.child.wait_timeout(PATIENCE).ok_or(error)?),
            };
            self.replace(seat, status.map_or(Cause::Unknown, Cause::of))?;
            replaced = true;
        }
    }

    /// Waits until something happens, and sees to it. Whether a worker has died.
    fn attend(&mut self, job: &Job, ledger: &mut Ledger) -> Result<bool, PoolError> {
        let busy: Vec<usize> = (0..self.seats.len()).filter(|&seat| self.seats[seat].busy).collect();
        let mut files = Vec::with_capacity(2 * busy.len());
        for &seat in &busy {
            files.push(PollFd::new(&self.seats[seat].channel, PollFlags::IN));
            files.push(PollFd::from_borrowed_fd(self.seats[seat].child.pidfd.as_fd(), PollFlags::IN));
        }
        match rustix::event::poll(&mut files, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(coproc::Error::from_os("waiting for workers", error.into()).into()),
        }
        let ready: Vec<_> = files.chunks(2).map(|pair| (!pair[0].revents().is_empty(), !pair[1].revents().is_empty())).collect();
        drop(files);
        let mut died = false;
        for (seat, (said, ended)) in busy.into_iter().zip(ready) {
            if said || ended {
                self.listen(seat, ledger)?;
            }
            if ended && self.seats[seat].busy {
                self.bury(seat, job, ledger)?;
                died = true;
            }
        }
        Ok(died)
    }

    /// Takes what a worker has sent.
    fn listen(&mut self, seat: usize, ledger: &mut Ledger) -> Result<(), PoolError> {
        let worker = &mut self.seats[seat];
        loop {
            match worker.channel.recv(false) {
                Ok(Received::Parcel(parcel)) if parcel.bytes == [FINISHED] => {
                    worker.busy = false;
                    self.idle_deaths = 0;
                    return Ok(());
                }
                Ok(Received::Parcel(parcel)) => match parcel.open::<Report<()>>() {
                    Some(report) => worker.last_words = report.settle().err(),
                    None => ledger.batches.push(parcel),
                },
                Ok(Received::Nothing) => return Ok(()),
                // It is about to end, or has closed what it does not know and is of no use any more. Its pidfd will say when it is gone.
                Ok(Received::End) => {
                    if worker.child.wait_timeout(PATIENCE).is_none() {
                        worker.child.signal(libc::SIGKILL)?;
                        worker.child.wait();
                    }
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A worker has died at the job: blames the item that it was at, and puts a new worker on its seat.
    fn bury(&mut self, seat: usize, job: &Job, ledger: &mut Ledger) -> Result<(), PoolError> {
        let worker = &mut self.seats[seat];
        let cause = worker.last_words.take().unwrap_or(Cause::of(worker.child.wait()));
        match job.take_current(seat) {
            Some(item) => {
                job.states()[item].store(DEAD, Ordering::Relaxed);
                ledger.deaths.push((item, worker.child.pid, cause.clone()));
                self.refill(seat)?;
                self.idle_deaths = 0;
            }
            None => self.replace(seat, cause)?,
        }
        if job.has_unclaimed() {
            self.give(seat, job)?;
        }
        Ok(())
    }

    /// Puts a new worker on the seat of one that died without a task to blame.
    fn replace(&mut self, seat: usize, cause: Cause) -> Result<(), PoolError> {
        self.idle_deaths += 1;
        if self.idle_deaths > 3 * self.seats.len() {
            let deaths = std::mem::take(&mut self.idle_deaths);
            self.seats[seat].busy = false;
            return Err(PoolError::CrashLoop { deaths, cause });
        }
        self.refill(seat)
    }

    fn refill(&mut self, seat: usize) -> Result<(), PoolError> {
        let worker = Worker::start()?;
        log::replaced(self.seats[seat].child.pid, worker.child.pid);
        self.seats[seat] = worker;
        Ok(())
    }

    /// Lets all workers go, and ends those that do not go by themselves.
    pub(super) fn dismiss(&mut self) {
        let end = Instant::now() + PATIENCE;
        let children: Vec<_> = self.seats.drain(..).map(|worker| worker.child).collect();
        for child in children {
            if child.wait_timeout(end.saturating_duration_since(Instant::now())).is_none() {
                let _ = child.signal(libc::SIGKILL);
            }
        }
    }
}

/// Opens the items anew whose reports died with the worker that had them in hand.
fn reopen(job: &Job, ledger: &Ledger) {
    let mut received = vec![false; job.items()];
    for item in ledger.batches.iter().filter_map(batched_items).flatten() {
        if let Some(received) = received.get_mut(item) {
            *received = true;
        }
    }
    for (state, received) in job.states().iter().zip(received) {
        if !received && state.load(Ordering::Relaxed) == BATCHED {
            state.store(OPEN, Ordering::Relaxed);
        }
    }
}
