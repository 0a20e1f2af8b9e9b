//! What a worker costs in memory that has nothing to do.

use std::collections::BTreeSet;
use std::process::id;
use std::time::{Duration, Instant};

use coproc_pool::Pool;

use super::WORKERS;
use crate::measure::{Goal, Result, Table};
use crate::procfs;

/// How long the workers may take until each has done a task.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn run(table: &mut Table) -> Result<()> {
    let pool = Pool::new(WORKERS)?;
    let most = workers(&pool)?.into_iter().map(|worker| procfs::memory(worker, "Pss")).max().ok_or("no worker")?;
    table.figure("memory of an idle worker, PSS", most as f64 / f64::from(1 << 20), "MiB", Goal::AtMost(1.0));
    Ok(())
}

/// The pids of all workers.
fn workers(pool: &Pool) -> Result<BTreeSet<u32>> {
    let asked = Instant::now();
    let mut workers = BTreeSet::new();
    while workers.len() < pool.processes() {
        if asked.elapsed() > PATIENCE {
            return Err("a worker has nothing to do".into());
        }
        workers.extend(pool.map(nap, [(); 4 * WORKERS])?);
    }
    Ok(workers)
}

/// Takes long enough for others to take a task too.
fn nap(_: ()) -> u32 {
    std::thread::sleep(Duration::from_millis(1));
    id()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_is_found_and_has_memory() {
        let pool = Pool::new(3).unwrap();
        let workers = workers(&pool).unwrap();
        assert_eq!(workers.len(), 3);
        assert!(workers.iter().all(|&worker| procfs::memory(worker, "Pss") > 0));
    }
}
