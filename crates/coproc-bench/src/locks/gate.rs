//! A run of several at the same time: all begin together, work for one slice, and tell how often they did what they do.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use coproc::{Shareable, SharedValue};
use coproc_pool::Process;

use super::{Apart, PATIENCE};
use crate::measure::{Pinned, Result, Sample};

/// How long one run lasts.
pub(super) const SLICE: Duration = Duration::from_millis(30);
/// How long whoever waits for the others sleeps between two looks. Not `yield_now`: beside other work on its CPU, a process that yielded again
/// and again was seen not to run for seconds (Linux 6.18).
const LOOK: Duration = Duration::from_micros(100);

/// Starts and stops those who take part in a run.
#[derive(Default, Shareable)]
#[repr(C)]
pub(super) struct Gate {
    ready: AtomicU32,
    phase: AtomicU32,
}

const CLOSED: u32 = 0;
const OPEN: u32 = 1;
const OVER: u32 = 2;

/// What a run gave.
pub(super) struct Run {
    time: Duration,
    /// How often each of those who took part did it.
    counts: Vec<u64>,
}

impl Gate {
    /// On this CPU, does it again and again from the opening to the end, and tells how often.
    pub(super) fn work(&self, cpu: usize, mut once: impl FnMut()) -> std::io::Result<u64> {
        let _pinned = Pinned::to(&[cpu])?;
        self.ready.fetch_add(1, Ordering::Relaxed);
        while self.phase.load(Ordering::Relaxed) == CLOSED {
            std::thread::sleep(LOOK);
        }
        let mut times = 0;
        while self.phase.load(Ordering::Relaxed) == OPEN {
            once();
            times += 1;
        }
        Ok(times)
    }

    /// Opens for one slice when all are there, and tells how long that was.
    fn time(&self, workers: usize) -> Result<Duration> {
        let asked = Instant::now();
        while (self.ready.load(Ordering::Relaxed) as usize) < workers {
            if asked.elapsed() > PATIENCE {
                self.phase.store(OVER, Ordering::Relaxed);
                return Err("a worker did not start".into());
            }
            std::thread::sleep(LOOK);
        }
        let start = Instant::now();
        self.phase.store(OPEN, Ordering::Relaxed);
        std::thread::sleep(SLICE);
        self.phase.store(OVER, Ordering::Relaxed);
        Ok(start.elapsed())
    }
}

/// Runs so many threads, each on its CPU.
pub(super) fn threads(cpus: &[usize], workers: usize, once: impl Fn() + Sync) -> Result<Run> {
    let gate = Apart(Gate::default());
    let (gate, once) = (&gate.0, &once);
    std::thread::scope(|scope| {
        let cpus = cpus.iter().cycle().take(workers);
        let threads: Vec<_> = cpus.map(|&cpu| scope.spawn(move || gate.work(cpu, once))).collect();
        let time = gate.time(workers);
        let counts = threads.into_iter().map(|thread| Ok(thread.join().map_err(|_| "a worker panicked")??));
        Ok(Run { counts: counts.collect::<Result<_>>()?, time: time? })
    })
}

/// Runs so many processes, each on its CPU; `spawn` starts one that calls [`Gate::work`] with what it is given.
pub(super) fn processes(
    cpus: &[usize],
    workers: usize,
    spawn: impl Fn(&SharedValue<Gate>, usize) -> coproc::Result<Process<u64>>,
) -> Result<Run> {
    let gate = SharedValue::new(Gate::default())?;
    let cpus = cpus.iter().cycle().take(workers);
    let processes = cpus.map(|&cpu| spawn(&gate, cpu)).collect::<coproc::Result<Vec<_>>>()?;
    let time = gate.time(workers);
    let counts = processes.into_iter().map(|process| Ok(process.join()?));
    Ok(Run { counts: counts.collect::<Result<_>>()?, time: time? })
}

impl Run {
    pub(super) fn new(time: Duration, counts: Vec<u64>) -> Self {
        Self { time, counts }
    }

    /// How often all of them did it.
    pub(super) fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub(super) fn per_second(&self) -> f64 {
        self.total() as f64 / self.time.as_secs_f64()
    }

    pub(super) fn sample(&self) -> Sample {
        let (fewest, most) = (self.counts.iter().min(), self.counts.iter().max());
        let fairness = fewest.zip(most).filter(|_| self.counts.len() > 1).map(|(&fewest, &most)| fewest as f64 / most as f64);
        Sample { ns: self.time.as_nanos() as f64 / self.total() as f64, fairness }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::measure::cpus;

    #[test]
    fn a_sample_is_time_per_operation_of_all() {
        let run = |counts: &[u64]| Run::new(Duration::from_nanos(800), counts.into());
        assert_eq!(run(&[30, 10]).sample(), Sample { ns: 20.0, fairness: Some(1.0 / 3.0) });
        assert_eq!(run(&[40]).sample(), Sample { ns: 20.0, fairness: None });
        assert_eq!(run(&[30, 10]).per_second(), 50e6);
    }

    #[test]
    fn threads_and_processes_tell_what_they_did() {
        fn count(done: &AtomicU64) {
            done.fetch_add(1, Ordering::Relaxed);
        }
        fn worker(gate: SharedValue<Gate>, done: SharedValue<AtomicU64>, cpu: usize) -> std::io::Result<u64> {
            gate.work(cpu, || count(&done))
        }
        let cpus = cpus().unwrap();
        let done = SharedValue::new(AtomicU64::new(0)).unwrap();
        let run = threads(&cpus, 3, || count(&done)).unwrap();
        assert_eq!((run.total(), run.counts.len()), (done.swap(0, Ordering::Relaxed), 3));
        let run = processes(&cpus, 3, |gate, cpu| Process::spawn(worker, (gate, &done, cpu))).unwrap();
        assert_eq!((run.total(), run.counts.len()), (done.load(Ordering::Relaxed), 3));
    }
}
