//! Two or four who work with a lock: most of the time without it, and for a while under it.

use std::hint::black_box;
use std::ops::DerefMut;

use coproc::SharedValue;
use coproc_pool::Process;

use super::Apart;
use super::contended::counted;
use super::gate::{self, Gate};
use crate::measure::{Contest, Result, Table};

/// What is done without the lock, a microsecond or less, and under it, a fifth of that.
const WITHOUT: u32 = 1000;
const UNDER: u32 = 200;

pub(super) fn run(table: &mut Table, cpus: &[usize]) -> Result<()> {
    [2, 4].into_iter().try_for_each(|workers| work_with(table, cpus, workers))
}

fn work_with(table: &mut Table, cpus: &[usize], workers: usize) -> Result<()> {
    let mutex = SharedValue::new(coproc::Mutex::new(0_u64))?;
    let std = Apart(std::sync::Mutex::new(0_u64));
    let parking_lot = Apart(parking_lot::Mutex::new(0_u64));
    let mut contest = Contest::default();
    contest.ours(format!("work with a lock, {workers} processes"), || {
        counted(&mutex, || gate::processes(cpus, workers, |gate, cpu| Process::spawn(work, (gate, &mutex, cpu))))
    });
    contest.peer("std (threads)", || {
        counted(&std.0, || gate::threads(cpus, workers, || step(std.0.lock().expect("nobody panics"))))
    });
    contest.peer("parking_lot (threads)", || {
        counted(&parking_lot.0, || gate::threads(cpus, workers, || step(parking_lot.0.lock())))
    });
    table.hold(contest)
}

fn work(gate: SharedValue<Gate>, mutex: SharedValue<coproc::Mutex<u64>>, cpu: usize) -> std::io::Result<u64> {
    gate.work(cpu, || step(mutex.lock().expect("nobody dies")))
}

/// What is done with the lock, of which this is the guard, and then without it.
fn step(mut count: impl DerefMut<Target = u64>) {
    (0..UNDER).for_each(|n| _ = black_box(n));
    *count += 1;
    drop(count);
    (0..WITHOUT).for_each(|n| _ = black_box(n));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::cpus;

    #[test]
    fn each_worker_counts() {
        run(&mut Table::new(1), &cpus().unwrap()).unwrap();
    }
}
