//! What one writes with `fork` and a pthread mutex in shared memory: a small C program, so that its forks have little to copy.

use std::time::Duration;

use crate::measure::Result;
use crate::peers::compiled::Compiled;
use crate::peers::station::Station;

/// The program, which runs. Fields in this order: it has ended when its file goes.
#[derive(Debug)]
pub(crate) struct ByHand {
    station: Station,
    _program: Compiled,
}

/// What kind of mutex the forked processes share.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mutex {
    /// One that is held for ever when its holder dies.
    Plain,
    Robust,
}

impl ByHand {
    /// Compiles and starts it; `None` if there is no C compiler on this machine.
    pub(crate) fn start() -> Result<Option<Self>> {
        let Some(program) = Compiled::new("cc", "by_hand.c")? else { return Ok(None) };
        let station = Station::start(&mut program.command())?.ok_or("the compiled program is gone")?;
        Ok(Some(Self { station, _program: program }))
    }

    /// Forks so many children one after the other, and waits for each: the time, and how many these were.
    pub(crate) fn fork(&mut self, times: u64) -> Result<(Duration, u64)> {
        self.station.time(&format!("fork {times}"))
    }

    /// 4 processes take the lock 100 times each to add one: the time, and what is in the counter then.
    pub(crate) fn count(&mut self, mutex: Mutex) -> Result<(Duration, u64)> {
        self.station.time(&format!("count {}", mutex.name()))
    }

    /// 10 times, two processes take the lock 10,000 times each, one to take one from the balance of 100, the other to add one: the time, and
    /// the sum of what was left.
    pub(crate) fn bank(&mut self, mutex: Mutex) -> Result<(Duration, u64)> {
        self.station.time(&format!("bank {}", mutex.name()))
    }
}

impl Mutex {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Robust => "robust",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_forks_and_counts() {
        let Some(mut by_hand) = ByHand::start().unwrap() else { return };
        assert_eq!(by_hand.fork(3).unwrap().1, 3);
        for mutex in [Mutex::Plain, Mutex::Robust] {
            assert_eq!(by_hand.count(mutex).unwrap().1, 400);
            assert_eq!(by_hand.bank(mutex).unwrap().1, 1000);
        }
    }
}
