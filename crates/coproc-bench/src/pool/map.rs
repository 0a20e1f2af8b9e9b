//! The squares of many numbers and of fewer, into a vector.

use std::cell::RefCell;

use coproc_pool::Pool;
use rayon::prelude::*;

use super::{PROCSPAWN, PYTHON, WORKERS, best, rayon_pool, square, sum_of_squares, timed};
use crate::measure::{Contest, Result, Table};
use crate::peers::procspawn;
use crate::peers::python::{Python, with_python};

const MANY: u64 = 1_000_000;
const FEWER: u64 = 10_000;

pub(super) fn run(table: &mut Table, python: &RefCell<Option<Python>>, threads: usize) -> Result<()> {
    const CASE: &str = "map n*n over 1,000,000 u64 into a Vec, ns per item";
    const SHORT: &str = "map n*n over 10,000 u64 into a Vec, ns per item";

    let mut contest = Contest::default();
    let names = sides(&mut contest, CASE, MANY, python, threads)?;
    contest.goal(CASE, names.rayon, 3.0);
    contest.goal(CASE, PROCSPAWN, 1.0 / 30.0);
    contest.goal(CASE, names.python, 1.0 / 200.0);
    table.hold(contest)?;

    let mut contest = Contest::default();
    let names = sides(&mut contest, SHORT, FEWER, python, threads)?;
    contest.goal(SHORT, names.rayon, 4.0);
    table.hold(contest)
}

struct Names {
    rayon: String,
    python: String,
}

/// Ours and all peers, each with a pool that is there already, over the numbers below `count`.
fn sides<'a>(
    contest: &mut Contest<'a>,
    case: &str,
    count: u64,
    python: &'a RefCell<Option<Python>>,
    threads: usize,
) -> Result<Names> {
    let right = sum_of_squares(count);
    let pool = Pool::new(WORKERS)?;
    let (rayon_pool, rayon) = rayon_pool(threads)?;
    let procspawn_pool = ::procspawn::Pool::new(WORKERS)?;
    contest.ours(case, move || best(count, right, || timed(|| Ok(pool.map(square, 0..count)?))));
    contest.peer(&rayon, move || {
        best(count, right, || timed(|| Ok(rayon_pool.install(|| (0..count).into_par_iter().map(square).collect()))))
    });
    contest.peer(PROCSPAWN, move || best(count, right, || timed(|| procspawn::map(&procspawn_pool, count))));
    let python = with_python(contest, python, PYTHON, move |python| best(count, right, || python.map(count)));
    Ok(Names { rayon, python })
}
