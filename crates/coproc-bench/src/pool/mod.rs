//! Pools of 4 workers, on 2 CPUs as all contests: maps and single calls, a worker's death, its memory.

mod create;
mod death;
mod map;
mod memory;
mod single;
mod speedup;
mod submit;

use std::cell::RefCell;
use std::time::{Duration, Instant};

use crate::measure::{Pinned, Result, Sample, Table, cpus};
use crate::peers::python::Python;

const WORKERS: usize = 4;
/// Of so many runs in a row, on every side, a round takes the best: one that was not interrupted. And of as many as fit into so much time: after the other sides' turns,
/// caches, and processors that were asleep, take some milliseconds to warm up.
const BEST_OF: usize = 3;
const WARM: Duration = Duration::from_millis(20);
const PYTHON: &str = "multiprocessing.Pool(4)";
const PROCSPAWN: &str = "procspawn Pool(4)";

pub(crate) fn run(table: &mut Table) -> Result<()> {
    // Whatever is started from here on is pinned like this thread.
    let cpus = cpus()?;
    let _pinned = Pinned::to(&cpus)?;
    let python = RefCell::new(Python::start(WORKERS)?);
    // Before there are other copies of this program, with which workers would share its pages.
    memory::run(table)?;
    map::run(table, &python, cpus.len())?;
    create::run(table, &python, cpus.len())?;
    single::run(table, &python, cpus.len())?;
    submit::run(table)?;
    speedup::run(table, cpus.len())?;
    death::run(table)
}

fn square(n: u64) -> u64 {
    n * n
}

fn sum_of_squares(count: u64) -> u64 {
    (0..count).map(square).sum()
}

/// rayon with so many threads, and its name.
fn rayon_pool(threads: usize) -> Result<(rayon::ThreadPool, String)> {
    Ok((rayon::ThreadPoolBuilder::new().num_threads(threads).build()?, rayon_name(threads)))
}

fn rayon_name(threads: usize) -> String {
    format!("rayon, {threads} threads")
}

/// The time that this takes, and the sum of what it gives, which is made after that.
fn timed(run: impl FnOnce() -> Result<Vec<u64>>) -> Result<(Duration, u64)> {
    let start = Instant::now();
    let results = run()?;
    let time = start.elapsed();
    Ok((time, results.iter().fold(0, |sum, &result| sum.wrapping_add(result))))
}

/// The best time, per operation, of a few runs that all give the right sum.
fn best(operations: u64, right: u64, mut run: impl FnMut() -> Result<(Duration, u64)>) -> Result<Sample> {
    let mut best = Duration::MAX;
    let began = Instant::now();
    let mut runs = 0;
    while runs < BEST_OF || began.elapsed() < WARM {
        let (time, sum) = run()?;
        if sum != right {
            return Err(format!("the sum is {sum} where {right} is right").into());
        }
        best = best.min(time);
        runs += 1;
    }
    Ok(Sample::of(best, operations))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_of_runs_counts_per_operation() {
        let mut times = [30, 10, 20].into_iter();
        let sample = best(5, 5, || Ok((Duration::from_nanos(times.next().unwrap()), 5))).unwrap();
        assert_eq!(sample, Sample { ns: 2.0, fairness: None });
    }

    #[test]
    fn a_wrong_sum_is_an_error() {
        assert!(best(1, 5, || Ok((Duration::ZERO, 6))).is_err());
    }

    #[test]
    fn the_right_sum_is_that_of_what_is_mapped() {
        let mapped = timed(|| Ok((0..10).map(square).collect())).unwrap().1;
        assert_eq!((mapped, sum_of_squares(10)), (285, 285));
    }
}
