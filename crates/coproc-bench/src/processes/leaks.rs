//! What stays of a thousand processes that were started and joined: nothing.

use std::time::Duration;

use coproc_pool::Process;

use super::fresh;
use crate::measure::{Goal, Result, Table};
use crate::procfs;

const PROCESSES: u64 = 1000;
/// So many run at the same time.
const AT_A_TIME: u64 = 10;
/// Started and joined before the first look: what is needed for good is there then.
const WARM: u64 = 20;

const SOON: Duration = Duration::from_millis(300);

const MIB: f64 = (1 << 20) as f64;

/// What a program has: bytes, bytes, descriptors, descriptors, children, threads.
type Holdings = [u64; 6];

pub(super) fn run(table: &mut Table) -> Result<()> {
    if !table.wants("processes started and joined") {
        return Ok(());
    }
    let numbers: [u64; 12] = fresh::start()?.ask(&format!("many {PROCESSES}"))?;
    let (before, after) = numbers.split_at(6);
    let whats = [
        "memory of the program",
        "memory of its helpers",
        "descriptors of the program",
        "descriptors of its helpers",
        "children",
        "threads",
    ];
    for ((what, &before), &after) in whats.into_iter().zip(before).zip(after) {
        let is_memory = what.starts_with("memory");
        let (of, unit, most, digits) = if is_memory { (MIB, "MiB", 1.0, 2) } else { (1.0, "more", 0.0, 0) };
        let (before, after) = (before as f64 / of, after as f64 / of);
        let had = format!("{before:.digits$}, then {after:.digits$}");
        let case = format!("{PROCESSES} processes started and joined: more {what} than before ({had})");
        table.figure(case, after - before, unit, Goal::AtMost(most));
    }
    Ok(())
}

/// What this program has before and after so many processes.
pub(super) fn holdings_around(processes: u64) -> Result<[Holdings; 2]> {
    start_and_join(WARM)?;
    let before = holdings()?;
    start_and_join(processes)?;
    Ok([before, holdings()?])
}

fn start_and_join(processes: u64) -> Result<()> {
    for _ in 0..processes.div_ceil(AT_A_TIME) {
        let started = (0..AT_A_TIME).map(|n| Process::spawn(double, (n,))).collect::<coproc::Result<Vec<_>>>()?;
        for (n, process) in started.into_iter().enumerate() {
            assert_eq!(process.join()?, 2 * n as u64);
        }
    }
    Ok(())
}

fn double(n: u64) -> u64 {
    2 * n
}

/// What this program has when all is done that is done soon after a join, such as to close a descriptor.
fn holdings() -> Result<Holdings> {
    std::thread::sleep(SOON);
    let pid = std::process::id();
    let children = procfs::children()?;
    let of_children = |count: &dyn Fn(u32) -> u64| children.iter().map(|&child| count(child)).sum();
    Ok([
        procfs::memory(pid, "Rss"),
        of_children(&|child| procfs::memory(child, "Rss")),
        procfs::entries(pid, "fd") as u64,
        of_children(&|child| procfs::entries(child, "fd") as u64),
        children.len() as u64,
        procfs::entries(pid, "task") as u64,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_has_memory_descriptors_and_a_thread() {
        start_and_join(1).unwrap();
        let [memory, _, files, _, _, threads] = holdings().unwrap();
        assert!(memory > 0 && files > 2 && threads > 0);
    }
}
