//! Processes that are killed while one starts the other: too long to be stepped through.

use std::time::Duration;

use coproc::{Result, SharedValue};
use coproc_pool::{Cause, Process};
use coproc_tests::rig::{Check, Dead, Operation, adopt_orphans, busy, ensure, has_own_group, is_anyone_left, own_group, sampled};
use coproc_tests::{fork, kill, until, wait_for};

fn count(n: SharedValue<u64>) -> Result<()> {
    loop {
        n.lock_or_repair(|_, _| ()).map(|mut n| *n += 1)?;
    }
}

/// A process is killed while its child starts; the child ends too, and what they shared can be used.
fn parent_dies(moment: u64, dead: &Dead<'_>) -> Check {
    let n = SharedValue::new(0_u64)?;
    adopt_orphans();
    let parent = fork(|| {
        own_group();
        match Process::spawn(count, (&n,)) {
            Ok(child) => i32::from(child.join().is_ok()),
            Err(_) => 2,
        }
    });
    until("the process has a group of its own", || has_own_group(parent));
    busy(Duration::from_micros(60 * moment));
    kill(parent);
    wait_for(parent);
    dead.bounded("the end of all children", || until("all children end", || !is_anyone_left(parent)));
    dead.bounded("lock_or_repair", || n.lock_or_repair(|_, _| ()).map(|mut n| *n += 1))?;
    Ok(dead.bounded("lock", || n.lock().map(drop))?)
}

/// A child is killed while it starts or runs; `join` says so, and what it shared can be used.
fn child_dies(moment: u64, dead: &Dead<'_>) -> Check {
    let n = SharedValue::new(0_u64)?;
    let child = Process::spawn(count, (&n,))?;
    busy(Duration::from_micros(60 * moment));
    child.kill()?;
    let result = dead.bounded("join", || child.join());
    let killed = matches!(&result, Err(error) if matches!(error.cause, Cause::Killed { signal: 9 }));
    ensure(killed, || format!("{result:?}"))?;
    dead.bounded("lock_or_repair", || n.lock_or_repair(|_, _| ()).map(|mut n| *n += 1))?;
    Ok(dead.bounded("lock", || n.lock().map(drop))?)
}

pub(crate) fn lines() -> Vec<Box<dyn Operation>> {
    vec![
        sampled("Process::spawn, the parent is killed", 30, parent_dies),
        sampled("Process::spawn, the child is killed", 30, child_dies),
    ]
}
