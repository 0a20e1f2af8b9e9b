//! Round trips in which who waits gives way: to the other on the same CPU, or asleep until it is woken.

use std::time::Duration;

use coproc::Queue;

use super::trips::{Plan, between_processes, of_queues};
use crate::measure::{Contest, Result, Sample, Table};
use crate::peers::{futex, pipe};

const TRIPS: u64 = 10_000;
const SLOW_TRIPS: u64 = 500;
/// Long enough that who waits for the other has gone to sleep before.
const BUSY: Duration = Duration::from_micros(30);
const ATTEMPTS: usize = 5;
const CAPACITY: usize = 64;

pub(super) fn contests(table: &mut Table, cpus: &[usize]) -> Result<()> {
    contest(table, &cpus[..1], "round trip of a u64, two Queues, both on one CPU", Plan::of(TRIPS), |run| run())?;
    let slow = Plan { trips: SLOW_TRIPS, busy: BUSY };
    contest(table, cpus, "round trip of a u64, two Queues, both had gone to sleep", slow, |run| asleep(SLOW_TRIPS, run))
}

/// `watched` runs what it is given, and has the last word on it.
fn contest(
    table: &mut Table,
    cpus: &[usize],
    case: &str,
    plan: Plan,
    watched: fn(&dyn Fn() -> Result<Sample>) -> Result<Sample>,
) -> Result<()> {
    const FUTEX: &str = "bare futex (processes)";
    const PIPE: &str = "pipes (processes)";

    let queues = [Queue::new(CAPACITY)?, Queue::new(CAPACITY)?];
    let mut contest = Contest::default();
    contest.ours(case, || watched(&|| of_queues(cpus, plan, &queues)));
    contest.peer(FUTEX, || {
        watched(&|| {
            let (there, back) = (futex::Way::new()?, futex::Way::new()?);
            between_processes(cpus, plan, || Ok((there.clone(), back.clone())), (back.clone(), there.clone()))
        })
    });
    contest.peer(PIPE, || {
        watched(&|| {
            let pipes = pipe::Pipes::new()?;
            between_processes(cpus, plan, || Ok(pipes.ends()?), pipes.address())
        })
    });
    contest.goal(case, FUTEX, 1.1);
    // Below 1.
    contest.goal(case, PIPE, 0.99);
    table.hold(contest)
}

/// Runs it until this thread has gone to sleep in most of so many round trips. On a CPU that others use too, giving way may be enough.
fn asleep(trips: u64, run: &dyn Fn() -> Result<Sample>) -> Result<Sample> {
    let mut slept = 0;
    for _ in 0..ATTEMPTS {
        let before = sleeps()?;
        let sample = run()?;
        slept = sleeps()? - before;
        if slept > trips / 2 {
            return Ok(sample);
        }
    }
    Err(format!("slept {slept} times only, in {trips} round trips").into())
}

/// How often this thread has left its CPU to sleep. Giving way does not count.
fn sleeps() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/thread-self/status")?;
    let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    Ok(count.ok_or("the kernel does not count switches")?.trim().parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::cpus;

    #[test]
    fn sleeps_are_counted_and_giving_way_is_not() {
        let sample = || Ok(Sample { ns: 1.0, fairness: None });
        let sleep = || {
            (0..10).for_each(|_| std::thread::sleep(Duration::from_micros(1)));
            sample()
        };
        let give_way = || {
            (0..10).for_each(|_| std::thread::yield_now());
            sample()
        };
        assert!(asleep(10, &sleep).is_ok());
        assert!(asleep(10, &give_way).is_err());
    }

    #[test]
    fn a_bare_futex_carries_numbers() {
        let cpus = cpus().unwrap();
        let (there, back) = (futex::Way::new().unwrap(), futex::Way::new().unwrap());
        let here = || Ok((there.clone(), back.clone()));
        assert!(between_processes(&cpus, Plan::of(100), here, (back.clone(), there.clone())).unwrap().ns > 0.0);
    }
}
