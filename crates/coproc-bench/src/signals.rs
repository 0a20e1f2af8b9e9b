//! What is beside the mutex: reading under a reader-writer lock, permits, events; one thread.

use std::hint::black_box;
use std::time::{Duration, Instant};

use coproc::{Event, RwLock, Semaphore, SharedValue};

use crate::measure::{Contest, Pinned, Result, Sample, Table, cpus};
use crate::peers::posix;

/// As for the locks: the fastest of so many pieces counts.
const PIECES: u32 = 16;
const OPERATIONS: u32 = 20_000;

/// The time of one call, in the fastest piece.
fn time(mut call: impl FnMut()) -> Result<Sample> {
    let mut best = Duration::MAX;
    for _ in 0..PIECES {
        let start = Instant::now();
        for _ in 0..OPERATIONS {
            call();
        }
        best = best.min(start.elapsed());
    }
    Ok(Sample { ns: best.as_nanos() as f64 / f64::from(OPERATIONS), fairness: None })
}

pub(crate) fn run(table: &mut Table) -> Result<()> {
    let _pinned = Pinned::to(&cpus()?[..1])?;
    reading(table)?;
    permits(table)?;
    events(table)
}

fn reading(table: &mut Table) -> Result<()> {
    let ours = SharedValue::new(RwLock::new(7_u64))?;
    let std = std::sync::RwLock::new(7_u64);
    let parking_lot = parking_lot::RwLock::new(7_u64);
    let mut contest = Contest::default();
    contest.ours("read, one thread, SharedValue<RwLock<u64>>", || {
        time(|| assert_eq!(*black_box(&ours).read().expect("nobody has poisoned it"), 7))
    });
    contest.peer("std", || time(|| assert_eq!(*black_box(&std).read().expect("nobody has poisoned it"), 7)));
    contest.peer("parking_lot", || time(|| assert_eq!(*black_box(&parking_lot).read(), 7)));
    table.hold(contest)
}

fn permits(table: &mut Table) -> Result<()> {
    let ours = SharedValue::new(Semaphore::new(1))?;
    let posix = posix::Semaphore::new(1)?;
    let mut contest = Contest::default();
    contest.ours("permit taken and given back, one thread, SharedValue<Semaphore>", || {
        time(|| drop(black_box(&ours).acquire().expect("the words are ours")))
    });
    contest.peer("sem_t", || time(|| black_box(&posix).pass()));
    table.hold(contest)?;
    if ours.available() == 1 { Ok(()) } else { Err("the permit did not come back".into()) }
}

fn events(table: &mut Table) -> Result<()> {
    let ours = SharedValue::new(Event::new())?;
    let posix = posix::Semaphore::new(1)?;
    let mut contest = Contest::default();
    contest.ours("event set and cleared, one thread, SharedValue<Event>", || {
        time(|| {
            black_box(&ours).set();
            black_box(&ours).clear();
        })
    });
    contest.peer("sem_t, wait and post", || time(|| black_box(&posix).pass()));
    table.hold(contest)
}
