//! A worker is killed by its task: how soon does the caller know, and how soon does another worker answer?

use std::process::id;
use std::time::{Duration, Instant};

use coproc_pool::Pool;
use rustix::process::{Signal, getpid, kill_process};

use crate::measure::{Goal, Result, Table, median, quantile};

const DEATHS: usize = 100;
/// Of a run of one round, which only shows that all works.
const FEW_DEATHS: usize = 20;
/// In milliseconds.
const SOON: f64 = 50.0;

const CASE: &str = "a worker is killed by its task";

pub(super) fn run(table: &mut Table) -> Result<()> {
    if !table.wants(CASE) {
        return Ok(());
    }
    let deaths = if table.rounds() == 1 { FEW_DEATHS } else { DEATHS };
    // Of one worker, so that nobody else can answer in its stead.
    let pool = Pool::new(1)?;
    let times = (0..deaths).map(|_| kill_worker(&pool)).collect::<Result<Vec<_>>>()?;
    let mut figures = |what: &str, of: fn(&(Duration, Duration)) -> Duration| {
        let ms: Vec<_> = times.iter().map(|times| of(times).as_secs_f64() * 1e3).collect();
        let case = |part| format!("{CASE}, from the call to {what}, {deaths} deaths, {part}");
        table.figure(case("median"), median(ms.iter().copied()), "ms", Goal::AtMost(SOON));
        table.figure(case("p99"), quantile(ms, 0.99), "ms", Goal::AtMost(SOON));
    };
    figures("its error", |&(error, _)| error);
    figures("the next worker's answer", |&(_, answer)| answer);
    Ok(())
}

/// Kills the only worker: the times from the call whose task does that to the error, and to the answer of the next worker.
fn kill_worker(pool: &Pool) -> Result<(Duration, Duration)> {
    let before = answer(pool)?;
    let start = Instant::now();
    let killed = pool.map(die, [before]);
    let error = start.elapsed();
    let after = answer(pool)?;
    let answered = start.elapsed();
    match killed {
        Err(error) if error.to_string().contains(&format!("pid {before}) was killed")) => {}
        other => return Err(format!("the caller was told {other:?}").into()),
    }
    if after == before {
        return Err("the dead worker answered".into());
    }
    Ok((error, answered))
}

/// The pid of the worker that answers.
fn answer(pool: &Pool) -> Result<u32> {
    Ok(pool.map(|()| id(), [()])?.into_iter().next().ok_or("no answer")?)
}

fn die(expected: u32) -> std::io::Result<()> {
    if id() == expected {
        kill_process(getpid(), Signal::KILL)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_is_told_and_another_worker_answers() {
        let pool = Pool::new(1).unwrap();
        for _ in 0..2 {
            let (error, answer) = kill_worker(&pool).unwrap();
            assert!(error < answer);
        }
    }
}
