//! Two small programs, their processes included, beside the same with fork and a pthread mutex: a counter, and a bank.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use coproc::SharedValue;
use coproc_pool::Process;

use super::{checked, fresh, with_by_hand};
use crate::measure::{Contest, Result, Table};
use crate::peers::by_hand::{ByHand, Mutex};

/// What is in the counter when 4 processes have added one 100 times each.
const COUNTED: u64 = 400;
/// A balance, before and after.
const BALANCE: i64 = 100;
const ROUNDS: u64 = 10;

pub(super) fn run(table: &mut Table, by_hand: &RefCell<Option<ByHand>>) -> Result<()> {
    const COUNT: &str = "4 processes take a lock 100 times each";
    const FIRST: &str = "the same, first use in a fresh program";
    const BANK: &str = "10 times, 2 processes change a balance 10,000 times each";

    let name = |mutex: Mutex| format!("by hand, {} pthread mutex", mutex.name());
    let mutexes = [Mutex::Plain, Mutex::Robust];
    let mut contest = Contest::default();
    contest.ours(COUNT, || checked(count()?, COUNTED, 1));
    contest.ours(FIRST, || checked(fresh::start()?.time("count 1")?, COUNTED, 1));
    for mutex in mutexes {
        with_by_hand(&mut contest, by_hand, &name(mutex), move |by_hand| checked(by_hand.count(mutex)?, COUNTED, 1));
    }
    contest.goal(COUNT, name(Mutex::Plain), 2.0);
    contest.goal(FIRST, name(Mutex::Plain), 5.0);
    table.hold(contest)?;

    let left = ROUNDS * BALANCE as u64;
    let mut contest = Contest::default();
    contest.ours(BANK, || checked(bank()?, left, 1));
    for mutex in mutexes {
        with_by_hand(&mut contest, by_hand, &name(mutex), move |by_hand| checked(by_hand.bank(mutex)?, left, 1));
    }
    contest.goal(BANK, name(Mutex::Plain), 1.0);
    table.hold(contest)
}

/// The time, and what is in the counter at the end.
pub(super) fn count() -> Result<(Duration, u64)> {
    let start = Instant::now();
    let counter = together(0, [(1, 100); 4])?;
    Ok((start.elapsed(), counter as u64))
}

/// The time, and the sum of the balances that were left.
fn bank() -> Result<(Duration, u64)> {
    let start = Instant::now();
    let mut left = 0;
    for _ in 0..ROUNDS {
        left += together(BALANCE, [(-1, 10_000), (1, 10_000)])?;
    }
    Ok((start.elapsed(), left as u64))
}

/// The value after each of some processes has added its step so many times.
fn together<const N: usize>(value: i64, steps: [(i64, u32); N]) -> Result<i64> {
    let value = SharedValue::new(value)?;
    let mut processes = Vec::with_capacity(N);
    for (step, times) in steps {
        processes.push(Process::spawn(add, (&value, step, times))?);
    }
    for process in processes {
        process.join()?;
    }
    Ok(value.get()?)
}

fn add(value: SharedValue<i64>, step: i64, times: u32) -> coproc::Result<()> {
    for _ in 0..times {
        *value.lock()? += step;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost() {
        assert_eq!(count().unwrap().1, COUNTED);
        assert_eq!(together(BALANCE, [(-1, 100), (1, 200)]).unwrap(), BALANCE + 100);
    }
}
