//! Locks: one counter, incremented under each kind of lock.

use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use coproc::{Shareable, SharedValue};
use coproc_pool::Process;

use crate::measure::{Contest, Pinned, Result, Sample, Table, cpus};
use crate::peers::pthread::RobustCounter;

/// An uncontended run is this many pieces of so many operations, of which the fastest counts: about 0.3 ms, which on a machine with
/// other work is often enough not interrupted.
const PIECES: u64 = 16;
const OPERATIONS: u64 = 20_000;
/// How long one contended run lasts.
const SLICE: Duration = Duration::from_millis(30);
/// How long a run waits for those who take part in it.
const PATIENCE: Duration = Duration::from_secs(10);

/// A counter under a lock.
trait Lock {
    /// Locks, adds one, unlocks.
    fn add(&self);
    /// What was added until now.
    fn total(&self) -> u64;
}

/// The same line for each lock whose `lock` gives a `Result` of a guard, and for parking_lot, which gives the guard.
macro_rules! locks {
    ($($lock:ty: |$name:ident| $guard:expr;)*) => {$(
        impl Lock for $lock {
            #[inline(always)]
            fn add(&self) {
                let $name = self;
                *black_box(&mut *$guard) += 1;
            }

            fn total(&self) -> u64 {
                let $name = self;
                *$guard
            }
        }
    )*};
}

locks! {
    coproc::Mutex<u64>: |it| it.lock().unwrap();
    SharedValue<u64>: |it| it.lock().unwrap();
    SharedValue<coproc::Mutex<u64>>: |it| it.lock().unwrap();
    std::sync::Mutex<u64>: |it| it.lock().unwrap();
    parking_lot::Mutex<u64>: |it| it.lock();
}

impl Lock for RobustCounter {
    #[inline(always)]
    fn add(&self) {
        self.with(|count| *black_box(count) += 1);
    }

    fn total(&self) -> u64 {
        self.with(|count| *count)
    }
}

/// What lies on the stack, away from its neighbours' cache lines (which come in pairs).
#[repr(align(128))]
struct Apart<T>(T);

pub(crate) fn run(table: &mut Table) -> Result<()> {
    let cpus = cpus()?;
    uncontended(table, &cpus)?;
    for workers in [2, 4] {
        contended(table, &cpus, workers)?;
    }
    Ok(())
}

/// One thread, one loop for all, made anew by the compiler for each kind of lock.
#[inline(never)]
fn add_many<L: Lock>(lock: &L, times: u64) {
    for _ in 0..times {
        black_box(lock).add();
    }
}

fn alone<L: Lock>(lock: &L) -> Result<Sample> {
    let before = lock.total();
    let mut best = Duration::MAX;
    for _ in 0..PIECES {
        let start = Instant::now();
        add_many(lock, OPERATIONS);
        best = best.min(start.elapsed());
    }
    expect(lock, before, PIECES * OPERATIONS)?;
    Ok(sample(best, &[OPERATIONS]))
}

fn uncontended(table: &mut Table, cpus: &[usize]) -> Result<()> {
    const VALUE: &str = "lock, one thread, SharedValue<u64>";
    const MUTEX: &str = "lock, one thread, SharedValue<Mutex<u64>>";

    let _pinned = Pinned::to(&cpus[..1])?;
    let in_place = Apart(coproc::Mutex::new(0));
    let value = SharedValue::new(0_u64)?;
    let mutex = SharedValue::new(coproc::Mutex::new(0_u64))?;
    let std = Apart(std::sync::Mutex::new(0_u64));
    let parking_lot = Apart(parking_lot::Mutex::new(0_u64));
    let pthread = RobustCounter::new()?;

    let mut contest = Contest::default();
    contest.ours("lock, one thread, Mutex<u64> on the stack", || alone(&in_place.0));
    contest.ours(VALUE, || alone(&value));
    contest.ours(MUTEX, || alone(&mutex));
    contest.peer("std", || alone(&std.0));
    contest.peer("parking_lot", || alone(&parking_lot.0));
    contest.peer("pthread robust pshared", || alone(&pthread));
    for case in [VALUE, MUTEX] {
        contest.goal(case, "parking_lot", 1.0);
    }
    table.hold(contest)
}

fn contended(table: &mut Table, cpus: &[usize], workers: usize) -> Result<()> {
    let in_place = Apart(coproc::Mutex::new(0));
    let mutex = SharedValue::new(coproc::Mutex::new(0_u64))?;
    let std = Apart(std::sync::Mutex::new(0_u64));
    let parking_lot = Apart(parking_lot::Mutex::new(0_u64));
    let pthread = RobustCounter::new()?;

    // The peers run between threads: for two of them there is nothing else.
    let mut contest = Contest::default();
    contest.ours(format!("lock, {workers} processes"), || between_processes(&mutex, cpus, workers));
    contest.ours(format!("lock, {workers} threads"), || between_threads(&in_place.0, cpus, workers));
    contest.peer("std (threads)", || between_threads(&std.0, cpus, workers));
    contest.peer("parking_lot (threads)", || between_threads(&parking_lot.0, cpus, workers));
    contest.peer("pthread robust pshared (threads)", || between_threads(&pthread, cpus, workers));
    table.hold(contest)
}

/// Starts and stops those who take part in a run.
#[derive(Default, Shareable)]
#[repr(C)]
struct Gate {
    ready: AtomicU32,
    phase: AtomicU32,
}

const CLOSED: u32 = 0;
const OPEN: u32 = 1;
const OVER: u32 = 2;

impl Gate {
    /// Adds from the opening to the end, and tells how often.
    fn work<L: Lock>(&self, lock: &L) -> u64 {
        self.ready.fetch_add(1, Ordering::Relaxed);
        while self.phase.load(Ordering::Relaxed) == CLOSED {
            std::thread::yield_now();
        }
        let mut times = 0;
        while self.phase.load(Ordering::Relaxed) == OPEN {
            black_box(lock).add();
            times += 1;
        }
        times
    }

    /// Opens for one slice when all are there, and tells how long that was.
    fn time(&self, workers: usize) -> Result<Duration> {
        let asked = Instant::now();
        while (self.ready.load(Ordering::Relaxed) as usize) < workers {
            if asked.elapsed() > PATIENCE {
                self.phase.store(OVER, Ordering::Relaxed);
                return Err("a worker did not start".into());
            }
            std::thread::yield_now();
        }
        let start = Instant::now();
        self.phase.store(OPEN, Ordering::Relaxed);
        std::thread::sleep(SLICE);
        self.phase.store(OVER, Ordering::Relaxed);
        Ok(start.elapsed())
    }
}

fn between_threads<L: Lock + Sync>(lock: &L, cpus: &[usize], workers: usize) -> Result<Sample> {
    let gate = Apart(Gate::default());
    let before = lock.total();
    let work = |cpu: usize| {
        let _pinned = Pinned::to(&[cpu]).map_err(|error| error.to_string())?;
        Ok::<_, String>(gate.0.work(lock))
    };
    let work = &work;
    let (time, counts) = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|worker| scope.spawn(move || work(cpus[worker % cpus.len()]))).collect();
        let time = gate.0.time(workers);
        let counts: Vec<_> = threads.into_iter().map(|thread| thread.join().map_err(|_| "a worker panicked")).collect();
        (time, counts)
    });
    let counts = counts.into_iter().map(|count| Ok(count??)).collect::<Result<Vec<_>>>()?;
    expect(lock, before, counts.iter().sum())?;
    Ok(sample(time?, &counts))
}

fn worker(gate: SharedValue<Gate>, lock: SharedValue<coproc::Mutex<u64>>, cpu: usize) -> std::io::Result<u64> {
    let _pinned = Pinned::to(&[cpu])?;
    Ok(gate.work(&lock))
}

fn between_processes(lock: &SharedValue<coproc::Mutex<u64>>, cpus: &[usize], workers: usize) -> Result<Sample> {
    let gate = SharedValue::new(Gate::default())?;
    let before = Lock::total(lock);
    let processes = (0..workers)
        .map(|number| Process::spawn(worker, (&gate, lock, cpus[number % cpus.len()])))
        .collect::<coproc::Result<Vec<_>>>()?;
    let time = gate.time(workers);
    let counts = processes.into_iter().map(|process| Ok(process.join()?)).collect::<Result<Vec<_>>>()?;
    expect(lock, before, counts.iter().sum())?;
    Ok(sample(time?, &counts))
}

/// The total is what it was before and what was added since.
fn expect<L: Lock>(lock: &L, before: u64, added: u64) -> Result<()> {
    let total = lock.total();
    if total == before + added { Ok(()) } else { Err(format!("{added} were added to {before}, but there are {total}").into()) }
}

/// From the time of a run and how often each of those who took part added.
fn sample(time: Duration, counts: &[u64]) -> Sample {
    let total: u64 = counts.iter().sum();
    let (fewest, most) = (counts.iter().min(), counts.iter().max());
    let fairness = fewest.zip(most).filter(|_| counts.len() > 1).map(|(&fewest, &most)| fewest as f64 / most as f64);
    Sample { ns: time.as_nanos() as f64 / total as f64, fairness }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_time_per_operation_of_all() {
        assert_eq!(sample(Duration::from_nanos(800), &[30, 10]), Sample { ns: 20.0, fairness: Some(1.0 / 3.0) });
        assert_eq!(sample(Duration::from_nanos(800), &[40]), Sample { ns: 20.0, fairness: None });
    }

    #[test]
    fn every_lock_counts_what_was_added() {
        fn check<L: Lock>(lock: &L) {
            add_many(lock, 5);
            expect(lock, 0, 5).unwrap();
            assert!(expect(lock, 0, 4).is_err());
        }
        check(&coproc::Mutex::new(0_u64));
        check(&SharedValue::new(0_u64).unwrap());
        check(&SharedValue::new(coproc::Mutex::new(0_u64)).unwrap());
        check(&std::sync::Mutex::new(0_u64));
        check(&parking_lot::Mutex::new(0_u64));
        check(&RobustCounter::new().unwrap());
    }

    #[test]
    fn workers_count_what_they_added() {
        let cpus = cpus().unwrap();
        assert!(between_threads(&parking_lot::Mutex::new(0), &cpus, 3).unwrap().fairness.is_some());
        let lock = SharedValue::new(coproc::Mutex::new(0)).unwrap();
        assert!(between_processes(&lock, &cpus, 3).unwrap().fairness.is_some());
    }
}
