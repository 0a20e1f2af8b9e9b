//! Pools: the squares of a million numbers, into a vector.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use coproc_pool::Pool;
use rayon::prelude::*;

use crate::measure::{Contest, Pinned, Result, Sample, Table, cpus};
use crate::peers::python::Python;

const COUNT: u64 = 1_000_000;
const PROCESSES: usize = 4;
/// Of this many runs in a row, on every side, a round takes the best: one that was not interrupted.
const BEST_OF: usize = 3;
const PYTHON: &str = "Python multiprocessing.Pool(4)";

fn square(n: u64) -> u64 {
    n * n
}

fn rayon_pool(threads: usize) -> Result<rayon::ThreadPool> {
    Ok(rayon::ThreadPoolBuilder::new().num_threads(threads).build()?)
}

pub(crate) fn run(table: &mut Table) -> Result<()> {
    // Whatever is started from here on is pinned like this thread.
    let cpus = cpus()?;
    let _pinned = Pinned::to(&cpus)?;
    let python = RefCell::new(Python::start(PROCESSES, COUNT)?);
    map(table, &python, cpus.len())?;
    create(table, &python, cpus.len())
}

fn map(table: &mut Table, python: &RefCell<Option<Python>>, threads: usize) -> Result<()> {
    const CASE: &str = "map n*n over 1,000,000 u64, Pool::new(4), ns per item";

    let pool = Pool::new(PROCESSES)?;
    let rayon = rayon_pool(threads)?;
    let mut contest = Contest::default();
    contest.ours(CASE, || best(COUNT, COUNT, || timed(|| Ok(pool.map(square, 0..COUNT)?))));
    contest.peer(format!("rayon, {threads} threads"), || {
        best(COUNT, COUNT, || timed(|| Ok(rayon.install(|| (0..COUNT).into_par_iter().map(square).collect()))))
    });
    with_python(&mut contest, python, COUNT, COUNT, Python::map);
    contest.goal(CASE, PYTHON, 0.10);
    table.hold(contest)
}

/// A pool and its first answers: what a program pays that maps once.
fn create(table: &mut Table, python: &RefCell<Option<Python>>, threads: usize) -> Result<()> {
    let few = PROCESSES as u64;
    let mut contest = Contest::default();
    contest.ours("make the pool and map 4 numbers, ns in all", || {
        best(1, few, || {
            let mut made = None;
            timed(|| Ok(made.insert(Pool::new(PROCESSES)?).map(square, 0..few)?))
        })
    });
    contest.peer(format!("rayon, {threads} threads"), || {
        best(1, few, || {
            let mut made = None;
            timed(|| {
                let pool = made.insert(rayon_pool(threads)?);
                Ok(pool.install(|| (0..few).into_par_iter().map(square).collect()))
            })
        })
    });
    with_python(&mut contest, python, 1, few, Python::create);
    table.hold(contest)
}

fn with_python<'a>(
    contest: &mut Contest<'a>,
    python: &'a RefCell<Option<Python>>,
    operations: u64,
    count: u64,
    mut run: impl FnMut(&mut Python) -> Result<(f64, u64)> + 'a,
) {
    if python.borrow().is_none() {
        contest.absent(PYTHON);
        return;
    }
    contest.peer(PYTHON, move || {
        best(operations, count, || {
            let (seconds, sum) = run(python.borrow_mut().as_mut().ok_or("no python3")?)?;
            Ok((Duration::from_secs_f64(seconds), sum))
        })
    });
}

/// The time that this takes, and the sum of what it gives, which is made after that.
fn timed(run: impl FnOnce() -> Result<Vec<u64>>) -> Result<(Duration, u64)> {
    let start = Instant::now();
    let squares = run()?;
    let time = start.elapsed();
    Ok((time, squares.iter().sum()))
}

/// The best time, per operation, of a few runs that all give the right sum: that of the squares of the numbers below `count`.
fn best(operations: u64, count: u64, mut run: impl FnMut() -> Result<(Duration, u64)>) -> Result<Sample> {
    let right = (0..count).map(square).sum::<u64>();
    let mut best = Duration::MAX;
    for _ in 0..BEST_OF {
        let (time, sum) = run()?;
        if sum != right {
            return Err(format!("the sum is {sum} where {right} is right").into());
        }
        best = best.min(time);
    }
    Ok(Sample { ns: best.as_nanos() as f64 / operations as f64, fairness: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_of_runs_counts_per_operation() {
        let mut times = [30, 10, 20].into_iter();
        let sample = best(5, 3, || Ok((Duration::from_nanos(times.next().unwrap()), 5))).unwrap();
        assert_eq!(sample, Sample { ns: 2.0, fairness: None });
    }

    #[test]
    fn a_wrong_sum_is_an_error() {
        assert!(best(1, 3, || Ok((Duration::ZERO, 6))).is_err());
    }

    #[test]
    fn python_answers_with_the_sum() {
        let Some(mut python) = Python::start(2, 10).unwrap() else { return };
        assert_eq!(python.map().unwrap().1, 285);
        assert_eq!(python.create().unwrap().1, 1);
    }
}
