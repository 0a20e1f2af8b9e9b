//! Round trips: one side asks, the other answers with the next number.

use std::time::{Duration, Instant};

use coproc::{Message, Queue, SharedValue};
use coproc_pool::Process;

use super::crew::Start;
use super::ends::{Plug, Receives, Sends};
use crate::measure::{Pinned, Result, Sample};

/// What both sides do.
#[derive(Clone, Copy, Debug, Message)]
pub(super) struct Plan {
    /// How many round trips count. A tenth more come before.
    pub(super) trips: u64,
    /// For how long each side is busy before it asks, or answers. This is taken off the time.
    pub(super) busy: Duration,
}

impl Plan {
    /// Trips after one another.
    pub(super) fn of(trips: u64) -> Self {
        Self { trips, busy: Duration::ZERO }
    }

    fn warm(self) -> u64 {
        self.trips / 10
    }

    #[inline]
    fn be_busy(self) {
        if !self.busy.is_zero() {
            let since = Instant::now();
            while since.elapsed() < self.busy {
                std::hint::spin_loop();
            }
        }
    }
}

fn ask(start: &Start, mut ends: impl Sends + Receives, plan: Plan) -> Result<Sample> {
    start.meet(2)?;
    let mut began = Instant::now();
    for number in 0..plan.warm() + plan.trips {
        if number == plan.warm() {
            began = Instant::now();
        }
        plan.be_busy();
        ends.send_all(number..number + 1);
        let answer = ends.recv_all(1);
        if answer != number + 1 {
            return Err(format!("{answer} is no answer to {number}").into());
        }
    }
    let ns = began.elapsed().as_nanos() as f64 / plan.trips as f64;
    Ok(Sample { ns: ns - 2.0 * plan.busy.as_nanos() as f64, fairness: None })
}

fn answer(start: &Start, mut ends: impl Sends + Receives, plan: Plan) -> Result<()> {
    start.meet(2)?;
    for _ in 0..plan.warm() + plan.trips {
        let number = ends.recv_all(1);
        plan.be_busy();
        ends.send_all(number + 1..number + 2);
    }
    Ok(())
}

/// Asks from this thread, which is pinned to the first CPU, and answers from one on the last.
pub(super) fn between_threads(
    cpus: &[usize],
    plan: Plan,
    here: impl Sends + Receives,
    there: impl Sends + Receives + Send,
) -> Result<Sample> {
    let start = Start::default();
    std::thread::scope(|scope| {
        let answers = scope.spawn(|| {
            let _pinned = Pinned::to(&cpus[cpus.len() - 1..]).map_err(|error| error.to_string())?;
            answer(&start, there, plan).map_err(|error| error.to_string())
        });
        let _pinned = Pinned::to(&cpus[..1])?;
        let sample = ask(&start, here, plan)?;
        answers.join().map_err(|_| "the one who answers panicked")??;
        Ok(sample)
    })
}

fn answerer<P: Plug<End: Sends + Receives>>(start: SharedValue<Start>, there: P, cpu: usize, plan: Plan) -> Result<()> {
    let _pinned = Pinned::to(&[cpu])?;
    answer(&start, there.plug()?, plan)
}

/// As [`between_threads`], but another process answers. `here` is called when that one is on its way.
pub(super) fn between_processes<P: Plug<End: Sends + Receives>, E: Sends + Receives>(
    cpus: &[usize],
    plan: Plan,
    here: impl FnOnce() -> Result<E>,
    there: P,
) -> Result<Sample> {
    let start = SharedValue::new(Start::default())?;
    let process = Process::spawn(answerer::<P>, (&start, there, cpus[cpus.len() - 1], plan))?;
    let _pinned = Pinned::to(&cpus[..1])?;
    let sample = ask(&start, here()?, plan)?;
    process.join()?;
    Ok(sample)
}

/// Through two queues, one each way.
pub(super) fn of_queues(cpus: &[usize], plan: Plan, ways: &[Queue<u64>; 2]) -> Result<Sample> {
    let [there, back] = ways.clone();
    between_processes(cpus, plan, || Ok((there.clone(), back.clone())), (back.clone(), there.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::cpus;
    use crate::peers::pipe;

    #[test]
    fn a_trip_is_timed_between_processes_and_threads() {
        let cpus = cpus().unwrap();
        let plan = Plan::of(100);
        assert!(of_queues(&cpus, plan, &[Queue::new(1).unwrap(), Queue::new(1).unwrap()]).unwrap().ns > 0.0);
        let pipes = pipe::Pipes::new().unwrap();
        assert!(between_processes(&cpus, plan, || Ok(pipes.ends()?), pipes.address()).unwrap().ns > 0.0);
        let (there, back) = (crossbeam_channel::bounded::<u64>(1), crossbeam_channel::bounded::<u64>(1));
        assert!(between_threads(&cpus, plan, (there.0, back.1), (back.0, there.1)).unwrap().ns > 0.0);
    }

    #[test]
    fn a_wrong_answer_is_an_error() {
        struct Echo(u64);
        impl Sends for Echo {
            fn send_all(&mut self, numbers: std::ops::Range<u64>) {
                self.0 = numbers.start;
            }
        }
        impl Receives for Echo {
            fn recv_all(&mut self, _: u64) -> u64 {
                self.0
            }
        }
        let start = Start::default();
        start.meet(1).unwrap();
        assert!(ask(&start, Echo(0), Plan::of(1)).is_err());
    }
}
