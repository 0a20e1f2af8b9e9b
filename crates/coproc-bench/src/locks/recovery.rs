//! A process is killed that has the lock: how soon does who waits for the lock know?

use std::time::{Duration, Instant};

use coproc::{Event, LockError, Mutex, SharedValue};
use coproc_pool::Process;

use super::PATIENCE;
use crate::measure::{Goal, Result, Table, median, quantile};

const KILLS: u32 = 1000;
/// Of a run of one round, which only shows that all works.
const FEW_KILLS: u32 = 20;

/// A waiter sleeps in slices that have grown to their full length by then.
const SETTLED: Duration = Duration::from_millis(16);
/// The kills come at this many moments after that, evenly over a slice or more, so that none is favoured.
const MOMENTS: u32 = 100;
const APART: Duration = Duration::from_micros(200);

/// Who has waited this long is told of the death. A part of the kills comes so late.
const LONG: Duration = Duration::from_millis(400);
const LATE_PART: u32 = 20;

const CASE: &str = "from SIGKILL of the owner to Poisoned";

pub(super) fn run(table: &mut Table) -> Result<()> {
    if !table.wants(CASE) {
        return Ok(());
    }
    let kills = if table.rounds() == 1 { FEW_KILLS } else { KILLS };
    let lock = SharedValue::new(Mutex::new(0_u64))?;
    for (kills, settled, waited) in [(kills, SETTLED, ""), (kills / LATE_PART, LONG, ", after a long wait")] {
        let times = (0..kills).map(|kill| {
            // 37 and 100 have no common divisor, so few kills are spread as well as many.
            let time = kill_owner(&lock, settled + APART * (kill * 37 % MOMENTS))?;
            Ok(time.as_secs_f64() * 1e3)
        });
        let times = times.collect::<Result<Vec<_>>>()?;
        let case = |what| format!("{CASE}, {kills} kills{waited}, {what}");
        table.figure(case("median"), median(times.iter().copied()), "ms", Goal::AtMost(5.0));
        // Of fewer than a hundred kills, the 99th part is the worst one.
        let (which, part) = if times.len() < 100 { ("p90", 0.9) } else { ("p99", 0.99) };
        table.figure(case(which), quantile(times, part), "ms", Goal::AtMost(25.0));
    }
    Ok(())
}

/// Kills a process that has the lock, this long after another began to wait for the lock: the time from the call that kills to the answer.
fn kill_owner(lock: &SharedValue<Mutex<u64>>, after: Duration) -> Result<Duration> {
    let held = SharedValue::new(Event::new())?;
    let owner = Process::spawn(hold_for_ever, (lock, &held))?;
    if !held.wait_timeout(PATIENCE) {
        return Err("the owner did not start".into());
    }
    let (killed, answered, answer) = std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let answer = lock.lock().map(drop);
            (Instant::now(), answer)
        });
        std::thread::sleep(after);
        let killed = Instant::now();
        owner.kill()?;
        let (answered, answer) = waiter.join().map_err(|_| "the waiter panicked")?;
        Ok::<_, Box<dyn std::error::Error>>((killed, answered, answer))
    })?;
    match answer {
        Err(LockError::Poisoned(dead)) if dead.pid == owner.pid() => drop(lock.lock_or_repair(|_, _| ())?),
        answer => return Err(format!("the waiter was told {answer:?}").into()),
    }
    answered.checked_duration_since(killed).ok_or_else(|| "the owner died before it was killed".into())
}

fn hold_for_ever(lock: SharedValue<Mutex<u64>>, held: SharedValue<Event>) -> coproc::Result<()> {
    let _guard = lock.lock()?;
    held.set();
    loop {
        std::thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waiter_is_told_and_the_lock_is_mended() {
        let lock = SharedValue::new(Mutex::new(0_u64)).unwrap();
        for _ in 0..2 {
            assert!(kill_owner(&lock, Duration::from_millis(1)).unwrap() < PATIENCE);
        }
    }
}
