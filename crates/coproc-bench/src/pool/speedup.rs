//! Tasks that need a CPU for a millisecond each: the pool does as many at the same time as there are CPUs.

use std::hint::black_box;
use std::time::{Duration, Instant};

use coproc_pool::Pool;
use rayon::prelude::*;

use super::{WORKERS, best, rayon_pool, timed};
use crate::measure::{Contest, Result, Table};

/// How long a task takes.
const LENGTH: Duration = Duration::from_millis(1);
const TASKS: usize = 64;
/// What one CPU after the other must be slower by at least.
const SPEEDUP: f64 = 1.9;

pub(super) fn run(table: &mut Table, threads: usize) -> Result<()> {
    const CASE: &str = "map over 64 tasks of 1 ms CPU time, ns per task";
    const SERIAL: &str = "one after the other";

    let steps = steps_in(LENGTH);
    let right = work(steps).wrapping_mul(TASKS as u64);
    let pool = Pool::new(WORKERS)?;
    let (rayon_pool, rayon) = rayon_pool(threads)?;
    let tasks = || std::iter::repeat_n(steps, TASKS);
    let mut contest = Contest::default();
    contest.ours(CASE, || best(TASKS as u64, right, || timed(|| Ok(pool.map(work, tasks())?))));
    contest.peer(SERIAL, || best(TASKS as u64, right, || timed(|| Ok(tasks().map(work).collect()))));
    contest.peer(rayon, || {
        let map = || rayon_pool.install(|| rayon::iter::repeat_n(steps, TASKS).map(work).collect());
        best(TASKS as u64, right, || timed(|| Ok(map())))
    });
    contest.goal(CASE, SERIAL, 1.0 / SPEEDUP);
    table.hold(contest)
}

/// So many steps, each of which needs the one before it.
fn work(steps: u64) -> u64 {
    (0..steps).fold(1, |state, step| black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(step)))
}

/// About how many steps this time is enough for.
fn steps_in(time: Duration) -> u64 {
    const TRIED: u64 = 1 << 20;
    let start = Instant::now();
    black_box(work(TRIED));
    let steps = TRIED as f64 * (time.as_secs_f64() / start.elapsed().as_secs_f64());
    steps as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_steps_are_other_work() {
        assert_ne!(work(3), work(4));
        assert!(steps_in(Duration::from_millis(1)) > 0);
    }
}
