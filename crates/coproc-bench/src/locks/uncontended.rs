//! One thread, nobody in its way: locks, reading under a reader-writer lock, permits, events.

use std::hint::black_box;
use std::time::{Duration, Instant};

use coproc::{Event, RwLock, Semaphore, SharedValue};

use super::Apart;
use super::counter::{Counter, expect};
use crate::measure::{Contest, Pinned, Result, Sample, Table};
use crate::peers::posix;
use crate::peers::pthread::RobustCounter;

/// A run is this many pieces of so many operations, of which the fastest counts: about 0.3 ms, which on a machine with other work is
/// often enough not interrupted.
const PIECES: u32 = 16;
const OPERATIONS: u32 = 20_000;

pub(super) fn run(table: &mut Table, cpus: &[usize]) -> Result<()> {
    let _pinned = Pinned::to(&cpus[..1])?;
    locking(table)?;
    reading(table)?;
    permits(table)?;
    events(table)
}

/// The time of one call, in the fastest piece.
fn time(once: impl Fn() + Copy) -> Sample {
    let mut best = Duration::MAX;
    for _ in 0..PIECES {
        let start = Instant::now();
        many(once);
        best = best.min(start.elapsed());
    }
    Sample { ns: best.as_nanos() as f64 / f64::from(OPERATIONS), fairness: None }
}

/// One loop for all, made anew by the compiler for each of them.
#[inline(never)]
fn many(once: impl Fn()) {
    for _ in 0..OPERATIONS {
        once();
    }
}

fn count<C: Counter>(counter: &C) -> Result<Sample> {
    let before = counter.total();
    let sample = time(move || black_box(counter).add());
    expect(counter, before, u64::from(PIECES * OPERATIONS))?;
    Ok(sample)
}

fn locking(table: &mut Table) -> Result<()> {
    const VALUE: &str = "lock, one thread, SharedValue<u64>";
    const MUTEX: &str = "lock, one thread, SharedValue<Mutex<u64>>";

    let in_place = Apart(coproc::Mutex::new(0));
    let value = SharedValue::new(0_u64)?;
    let mutex = SharedValue::new(coproc::Mutex::new(0_u64))?;
    let std = Apart(std::sync::Mutex::new(0_u64));
    let parking_lot = Apart(parking_lot::Mutex::new(0_u64));
    let pthread = RobustCounter::new()?;

    let mut contest = Contest::default();
    contest.ours("lock, one thread, Mutex<u64> on the stack", || count(&in_place.0));
    contest.ours(VALUE, || count(&value));
    contest.ours(MUTEX, || count(&mutex));
    contest.peer("std", || count(&std.0));
    contest.peer("parking_lot", || count(&parking_lot.0));
    contest.peer("pthread robust pshared", || count(&pthread));
    for case in [VALUE, MUTEX] {
        contest.goal(case, "std", 0.9);
        contest.goal(case, "parking_lot", 1.0);
        contest.goal(case, "pthread robust pshared", 0.7);
    }
    table.hold(contest)
}

fn reading(table: &mut Table) -> Result<()> {
    const READ: &str = "read, one thread, SharedValue<RwLock<u64>>";

    let ours = SharedValue::new(RwLock::new(7_u64))?;
    let std = Apart(std::sync::RwLock::new(7_u64));
    let parking_lot = Apart(parking_lot::RwLock::new(7_u64));
    let (ours, std, parking_lot) = (&ours, &std.0, &parking_lot.0);
    let mut contest = Contest::default();
    contest.ours(READ, || Ok(time(move || assert_eq!(*black_box(ours).read().expect("nobody has poisoned it"), 7))));
    contest.peer("std", || Ok(time(move || assert_eq!(*black_box(std).read().expect("nobody has poisoned it"), 7))));
    contest.peer("parking_lot", || Ok(time(move || assert_eq!(*black_box(parking_lot).read(), 7))));
    contest.goal(READ, "parking_lot", 1.0);
    table.hold(contest)
}

fn permits(table: &mut Table) -> Result<()> {
    const PERMIT: &str = "permit taken and given back, one thread, SharedValue<Semaphore>";

    let ours = SharedValue::new(Semaphore::new(1))?;
    let posix = posix::Semaphore::new(1)?;
    let (semaphore, sem_t) = (&ours, &posix);
    let mut contest = Contest::default();
    contest.ours(PERMIT, || Ok(time(move || drop(black_box(semaphore).acquire().expect("the words are ours")))));
    contest.peer("sem_t", || Ok(time(move || black_box(sem_t).pass())));
    contest.goal(PERMIT, "sem_t", 1.0);
    table.hold(contest)?;
    if ours.available() == 1 { Ok(()) } else { Err("the permit did not come back".into()) }
}

fn events(table: &mut Table) -> Result<()> {
    const EVENT: &str = "event set, waited for and cleared, one thread, SharedValue<Event>";

    let ours = SharedValue::new(Event::new())?;
    let posix = posix::Semaphore::new(1)?;
    let (event, sem_t): (&Event, _) = (&ours, &posix);
    let mut contest = Contest::default();
    contest.ours(EVENT, || {
        Ok(time(move || {
            let event = black_box(event);
            event.set();
            event.wait();
            event.clear();
        }))
    });
    contest.peer("sem_t, wait and post", || Ok(time(move || black_box(sem_t).pass())));
    contest.goal(EVENT, "sem_t, wait and post", 1.0);
    table.hold(contest)
}
