//! Processes: started and joined, with little and with much memory; two programs of a few processes, all included; what a thousand leave behind.

mod demos;
pub(crate) mod fresh;
mod large;
mod leaks;
mod spawn;

use std::cell::RefCell;
use std::time::Duration;

use crate::measure::{Contest, Pinned, Result, Sample, Table, cpus};
use crate::peers::by_hand::ByHand;

pub(crate) fn run(table: &mut Table) -> Result<()> {
    // Whatever is started from here on is pinned like this thread.
    let _pinned = Pinned::to(&cpus()?)?;
    let by_hand = RefCell::new(ByHand::start()?);
    spawn::run(table, &by_hand)?;
    large::run(table)?;
    demos::run(table, &by_hand)?;
    leaks::run(table)
}

/// Adds to a contest what is written by hand.
fn with_by_hand<'a>(
    contest: &mut Contest<'a>,
    by_hand: &'a RefCell<Option<ByHand>>,
    name: &str,
    mut run: impl FnMut(&mut ByHand) -> Result<Sample> + 'a,
) {
    if by_hand.borrow().is_none() {
        contest.absent(name);
    } else {
        contest.peer(name, move || run(by_hand.borrow_mut().as_mut().ok_or("no C compiler")?));
    }
}

/// The time per operation of a run that gave what is right.
fn checked((time, result): (Duration, u64), right: u64, operations: u64) -> Result<Sample> {
    if result == right {
        Ok(Sample::of(time, operations))
    } else {
        Err(format!("the result is {result} where {right} is right").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_right_gives_a_time() {
        let run = (Duration::from_nanos(30), 400);
        assert_eq!(checked(run, 400, 10).unwrap(), Sample { ns: 3.0, fairness: None });
        assert!(checked(run, 399, 10).is_err());
    }
}
