//! One number squared, and waited for: what a call costs of which there is one at a time.

use std::cell::RefCell;
use std::hint::black_box;

use coproc_pool::Pool;

use super::{PROCSPAWN, PYTHON, WORKERS, best, rayon_pool, square, sum_of_squares, timed};
use crate::measure::{Contest, Result, Table};
use crate::peers::procspawn;
use crate::peers::python::{Python, with_python};

/// Calls of a run, one after the other.
const TIMES: u64 = 200;

pub(super) fn run(table: &mut Table, python: &RefCell<Option<Python>>, threads: usize) -> Result<()> {
    const CASE: &str = "one call and its answer, ns per call";

    let right = sum_of_squares(TIMES);
    let pool = Pool::new(WORKERS)?;
    let (rayon_pool, rayon) = rayon_pool(threads)?;
    let procspawn_pool = ::procspawn::Pool::new(WORKERS)?;
    let one_by_one = |call: &dyn Fn(u64) -> Result<u64>| best(TIMES, right, || timed(|| (0..TIMES).map(call).collect()));
    let mut contest = Contest::default();
    contest.ours(CASE, || one_by_one(&|n| Ok(pool.apply(square, (n,))?)));
    contest.peer(&rayon, || one_by_one(&|n| Ok(rayon_pool.install(|| black_box(square(n))))));
    contest.peer(PROCSPAWN, || one_by_one(&|n| procspawn::apply(&procspawn_pool, n)));
    with_python(&mut contest, python, PYTHON, |python| best(TIMES, right, || python.apply(TIMES)));
    contest.goal(CASE, rayon, 2.0);
    contest.goal(CASE, PROCSPAWN, 0.4);
    table.hold(contest)
}
