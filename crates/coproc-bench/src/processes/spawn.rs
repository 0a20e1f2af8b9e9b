//! An empty function in a process: started and joined.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use coproc_pool::Process;

use super::{checked, fresh, with_by_hand};
use crate::measure::{Contest, Result, Table};
use crate::peers::by_hand::ByHand;
use crate::peers::procspawn;
use crate::peers::python::{Python, with_python};

/// Processes of a run, one after the other.
pub(super) const TIMES: u64 = 20;

const FORK: &str = "fork, _exit, waitpid in a small program";
const PROCSPAWN: &str = "procspawn";

pub(super) fn run(table: &mut Table, by_hand: &RefCell<Option<ByHand>>) -> Result<()> {
    const CASE: &str = "start and join an empty process";

    let python = RefCell::new(Python::start(1)?);
    let mut contest = Contest::default();
    contest.ours(CASE, || checked(spawn_and_join(TIMES)?, TIMES, TIMES));
    with_by_hand(&mut contest, by_hand, FORK, |by_hand| checked(by_hand.fork(TIMES)?, TIMES, TIMES));
    contest.peer(PROCSPAWN, || checked(repeat(TIMES, procspawn::spawn_and_join)?, TIMES, TIMES));
    let python_process =
        with_python(&mut contest, &python, "Process, fork", |python| checked(python.spawn(TIMES)?, TIMES, TIMES));
    contest.peer("std::thread", || checked(repeat(TIMES, thread)?, TIMES, TIMES));
    contest.goal(CASE, FORK, 1.6);
    contest.goal(CASE, PROCSPAWN, 0.25);
    contest.goal(CASE, python_process, 0.1);
    table.hold(contest)?;

    let mut later = fresh::start()?;
    let mut contest = Contest::default();
    contest.ours("the first process of a program", || checked(fresh::start()?.time("spawn 1")?, 1, 1));
    contest.peer("a later one", || checked(later.time(&format!("spawn {TIMES}"))?, TIMES, TIMES));
    with_by_hand(&mut contest, by_hand, FORK, |by_hand| checked(by_hand.fork(TIMES)?, TIMES, TIMES));
    contest.peer(PROCSPAWN, || checked(repeat(TIMES, procspawn::spawn_and_join)?, TIMES, TIMES));
    table.hold(contest)
}

/// Starts and joins so many processes: the time, and how many these were.
pub(super) fn spawn_and_join(times: u64) -> Result<(Duration, u64)> {
    repeat(times, || Ok(Process::spawn(nothing, ())?.join()?))
}

fn nothing() {}

fn thread() -> Result<()> {
    std::thread::spawn(nothing).join().map_err(|_| "the thread panicked".into())
}

/// Does this so many times: the time, and how many these were.
fn repeat(times: u64, mut once: impl FnMut() -> Result<()>) -> Result<(Duration, u64)> {
    let start = Instant::now();
    for _ in 0..times {
        once()?;
    }
    Ok((start.elapsed(), times))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_process_is_counted_and_failures_are_told() {
        assert_eq!(spawn_and_join(2).unwrap().1, 2);
        assert!(repeat(2, || Err("refused".into())).is_err());
        thread().unwrap();
    }
}
