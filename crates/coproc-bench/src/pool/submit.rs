//! Calls submitted one after the other, whose answers are waited for at the end only.

use std::time::{Duration, Instant};

use coproc_pool::Pool;

use super::{WORKERS, best, square, sum_of_squares};
use crate::measure::{Goal, Result, Table, median};

/// Calls of a run.
const TIMES: u64 = 10_000;

pub(super) fn run(table: &mut Table) -> Result<()> {
    let pool = Pool::new(WORKERS)?;
    let right = sum_of_squares(TIMES);
    // One round that does not count, as in contests.
    let rounds = (0..=table.rounds()).map(|_| Ok(best(TIMES, right, || submit(&pool))?.ns));
    let ns = rounds.collect::<Result<Vec<_>>>()?;
    table.figure("a call submitted, of 10,000 in a stream", median(ns.into_iter().skip(1)), "ns", Goal::AtMost(300.0));
    Ok(())
}

/// The time until the last is submitted, and the sum of the answers.
fn submit(pool: &Pool) -> Result<(Duration, u64)> {
    let mut tasks = Vec::with_capacity(TIMES as usize);
    let start = Instant::now();
    for n in 0..TIMES {
        tasks.push(pool.apply_async(square, (n,))?);
    }
    let time = start.elapsed();
    let mut sum = 0;
    for task in tasks {
        sum += task.get()?;
    }
    Ok((time, sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_answered() {
        assert_eq!(submit(&Pool::new(2).unwrap()).unwrap().1, sum_of_squares(TIMES));
    }
}
