//! Python's `multiprocessing`, in an interpreter that lives as long as the contest.

use std::cell::RefCell;
use std::process::Command;
use std::time::Duration;

use crate::measure::{Contest, Result, Sample};
use crate::peers::station::Station;

const SCRIPT: &str = include_str!("python.py");

/// An interpreter; its pool has so many workers.
#[derive(Debug)]
pub(crate) struct Python {
    station: Station,
    version: [u64; 2],
}

impl Python {
    /// Starts the interpreter; `None` if there is no `python3` on this machine.
    pub(crate) fn start(workers: usize) -> Result<Option<Self>> {
        let Some(mut station) = Station::start(Command::new("python3").args(["-c", SCRIPT, &workers.to_string()]))? else {
            return Ok(None);
        };
        let version = station.answer()?;
        Ok(Some(Self { station, version }))
    }

    /// Maps squaring over the numbers below `count` in the pool that is there: the time, and the sum of the squares.
    pub(crate) fn map(&mut self, count: u64) -> Result<(Duration, u64)> {
        self.station.time(&format!("map {count}"))
    }

    /// Makes a pool, and maps as `map` does.
    pub(crate) fn create(&mut self, count: u64) -> Result<(Duration, u64)> {
        self.station.time(&format!("create {count}"))
    }

    /// Squares the numbers below `times`, each by a call of its own: the time, and the sum of the squares.
    pub(crate) fn apply(&mut self, times: u64) -> Result<(Duration, u64)> {
        self.station.time(&format!("apply {times}"))
    }

    /// Starts and joins so many processes, one after the other, by fork: the time, and how many these were.
    pub(crate) fn spawn(&mut self, times: u64) -> Result<(Duration, u64)> {
        self.station.time(&format!("spawn {times}"))
    }
}

/// Adds Python to a contest: `what` of it is measured by `run`. The name that it has there.
pub(crate) fn with_python<'a>(
    contest: &mut Contest<'a>,
    python: &'a RefCell<Option<Python>>,
    what: &str,
    mut run: impl FnMut(&mut Python) -> Result<Sample> + 'a,
) -> String {
    let version = python.borrow().as_ref().map(|python| python.version);
    let Some([major, minor]) = version else {
        let name = format!("Python {what}");
        contest.absent(&name);
        return name;
    };
    let name = format!("Python {major}.{minor} {what}");
    contest.peer(&name, move || run(python.borrow_mut().as_mut().ok_or("no python3")?));
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_answers_with_what_came_of_it() {
        let Some(mut python) = Python::start(2).unwrap() else { return };
        assert_eq!(python.map(10).unwrap().1, 285);
        assert_eq!(python.apply(4).unwrap().1, 14);
        assert_eq!(python.create(2).unwrap().1, 1);
        assert_eq!(python.spawn(2).unwrap().1, 2);
        assert!(python.version[0] >= 3);
    }
}
