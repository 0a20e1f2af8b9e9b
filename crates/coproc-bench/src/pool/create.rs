//! A pool and its first answers: what a program pays that maps once.

use std::cell::RefCell;

use coproc_pool::Pool;
use rayon::prelude::*;

use super::{PROCSPAWN, PYTHON, WORKERS, best, rayon_name, rayon_pool, square, sum_of_squares, timed};
use crate::measure::{Contest, Result, Table};
use crate::peers::procspawn;
use crate::peers::python::{Python, with_python};

const FEW: u64 = WORKERS as u64;

pub(super) fn run(table: &mut Table, python: &RefCell<Option<Python>>, threads: usize) -> Result<()> {
    let right = sum_of_squares(FEW);
    let mut contest = Contest::default();
    contest.ours("make the pool and map 4 numbers, ns in all", || {
        best(1, right, || {
            let mut made = None;
            timed(|| Ok(made.insert(Pool::new(WORKERS)?).map(square, 0..FEW)?))
        })
    });
    contest.peer(rayon_name(threads), || {
        best(1, right, || {
            let mut made = None;
            timed(|| {
                let (pool, _) = made.insert(rayon_pool(threads)?);
                Ok(pool.install(|| (0..FEW).into_par_iter().map(square).collect()))
            })
        })
    });
    contest.peer(PROCSPAWN, || {
        best(1, right, || {
            let mut made = None;
            timed(|| procspawn::map(made.insert(::procspawn::Pool::new(WORKERS)?), FEW))
        })
    });
    with_python(&mut contest, python, PYTHON, |python| best(1, right, || python.create(FEW)));
    table.hold(contest)
}
