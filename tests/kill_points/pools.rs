//! Pools of which somebody is killed at a moment: too long to be stepped through.

use std::time::Duration;

use coproc::Result;
use coproc_pool::{Pool, PoolError, Task};
use coproc_tests::rig::{Check, Dead, Operation, adopt_orphans, busy, ensure, has_own_group, is_anyone_left, own_group, sampled};
use coproc_tests::{fork, kill, until, wait_for};

/// Results that lie on the board, and results that are sent.
fn answer(n: usize) -> String {
    "x".repeat(n % 2 * 400 + n % 7)
}

fn submit(pool: &Pool) -> Result<Vec<Task<String>>, PoolError> {
    (0..300).map(|n| pool.apply_async(answer, (n,))).collect()
}

/// A worker is killed while it claims, works, sends and waits: each task ends with its result, but one at most with the death; the next ones all
/// have their results.
fn worker_dies(moment: u64, dead: &Dead<'_>) -> Check {
    let pool = Pool::new(2)?;
    pool.apply(answer, (1,))?;
    let victim = pool.stats().workers[moment as usize % 2].pid;
    let tasks = submit(&pool)?;
    busy(Duration::from_micros(7 * moment));
    if let Some(pid) = victim {
        kill(pid);
    }
    let mut deaths = 0;
    for (n, task) in tasks.into_iter().enumerate() {
        match dead.bounded("get", || task.get()) {
            Ok(text) => ensure(text == answer(n), || format!("task {n} gave {text:?}"))?,
            Err(PoolError::WorkerDied { pid, .. }) => {
                deaths += 1;
                ensure(Some(pid) == victim, || format!("{pid} is not {victim:?}"))?;
            }
            Err(error) => ensure(false, || format!("task {n}: {error}"))?,
        }
    }
    ensure(deaths <= 1, || format!("one death cost {deaths} tasks"))?;
    let after = dead.bounded("map", || pool.map(answer, 0..100))?;
    ensure(after.into_iter().eq((0..100).map(answer)), || "wrong results after a death".into())?;
    dead.bounded("drop", || drop(pool));
    Ok(())
}

/// The pool's process is killed; its workers end too.
fn owner_dies(moment: u64, dead: &Dead<'_>) -> Check {
    adopt_orphans();
    let owner = fork(|| {
        own_group();
        let run = || -> Result<usize, PoolError> {
            let pool = Pool::new(2)?;
            let _tasks = submit(&pool)?;
            (0..).try_fold(0, |count, _| Ok(count + pool.map(answer, 0..100)?.len()))
        };
        i32::from(run().is_ok())
    });
    until("the process has a group of its own", || has_own_group(owner));
    busy(Duration::from_micros(100 * moment));
    kill(owner);
    wait_for(owner);
    dead.bounded("the end of all workers", || until("all workers end", || !is_anyone_left(owner)));
    Ok(())
}

pub(crate) fn lines() -> Vec<Box<dyn Operation>> {
    vec![sampled("Pool, a worker is killed", 60, worker_dies), sampled("Pool, its process is killed", 30, owner_dies)]
}
