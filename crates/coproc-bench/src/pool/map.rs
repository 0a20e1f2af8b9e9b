//! The squares of many numbers and of fewer, into a vector or a shared array.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use coproc::SharedArray;
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
    const ARRAY: &str = "map_array n*n over 1,000,000 u64, ns per item";

    let array = SharedArray::from_fn(MANY as usize, |n| n as u64)?;
    let output = SharedArray::zeroed(array.len())?;
    let pool = Pool::new(WORKERS)?;
    let right = sum_of_squares(MANY);
    let mut contest = Contest::default();
    contest.ours(ARRAY, || {
        best(MANY, right, || {
            let start = Instant::now();
            let squares = pool.map_array(square, &array)?;
            sum(start.elapsed(), &squares)
        })
    });
    contest.ours("map_array_into, the same", || {
        best(MANY, right, || {
            let start = Instant::now();
            pool.map_array_into(square, &array, &output)?;
            sum(start.elapsed(), &output)
        })
    });
    let names = sides(&mut contest, CASE, MANY, python, threads)?;
    let over_a_slice = over_a_slice(&mut contest, threads)?;
    contest.goal(ARRAY, over_a_slice, 1.5);
    for (case, times) in [(CASE, 3.0), (ARRAY, 1.5)] {
        contest.goal(case, &names.rayon, times);
        contest.goal(case, PROCSPAWN, 1.0 / 30.0);
        contest.goal(case, &names.python, 1.0 / 200.0);
    }
    table.hold(contest)?;

    let mut contest = Contest::default();
    let names = sides(&mut contest, SHORT, FEWER, python, threads)?;
    contest.goal(SHORT, names.rayon, 4.0);
    table.hold(contest)?;
    in_place(table, threads)
}

/// The same numbers again and again, in an array that stays where it is.
fn in_place(table: &mut Table, threads: usize) -> Result<()> {
    const CASE: &str = "for_each_chunk over 10,000 u64 in place, ns per item";

    fn squares(first: usize, chunk: &mut [u64]) {
        (first as u64..).zip(chunk).for_each(|(n, place)| *place = square(n));
    }

    let right = sum_of_squares(FEWER);
    let array = SharedArray::<u64>::zeroed(FEWER as usize)?;
    let pool = Pool::new(WORKERS)?;
    let (rayon_pool, rayon) = rayon_pool(threads)?;
    let mut vector = vec![0_u64; FEWER as usize];
    let size = vector.len().div_ceil(4 * threads);
    let mut contest = Contest::default();
    contest.ours(CASE, || {
        best(FEWER, right, || {
            let start = Instant::now();
            pool.for_each_chunk(&array, squares)?;
            sum(start.elapsed(), &array)
        })
    });
    contest.peer(rayon, || {
        best(FEWER, right, || {
            let start = Instant::now();
            let chunks = || vector.par_chunks_mut(size).enumerate().for_each(|(index, chunk)| squares(index * size, chunk));
            rayon_pool.install(chunks);
            Ok((start.elapsed(), vector.iter().sum()))
        })
    });
    table.hold(contest)
}

/// rayon with numbers that lie in memory, as in an array; its name.
fn over_a_slice(contest: &mut Contest<'_>, threads: usize) -> Result<String> {
    let right = sum_of_squares(MANY);
    let (pool, rayon) = rayon_pool(threads)?;
    let name = format!("{rayon}, over a slice");
    let numbers: Vec<u64> = (0..MANY).collect();
    contest.peer(&name, move || {
        best(MANY, right, || timed(|| Ok(pool.install(|| numbers.par_iter().map(|&n| square(n)).collect()))))
    });
    Ok(name)
}

/// This time, and the sum of an array.
fn sum(time: Duration, array: &SharedArray<u64>) -> Result<(Duration, u64)> {
    Ok((time, array.read()?.iter().fold(0, |sum, &square| sum.wrapping_add(square))))
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
