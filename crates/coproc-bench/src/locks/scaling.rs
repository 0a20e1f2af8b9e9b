//! Readers of two processes, beside those of one.

use std::hint::black_box;

use coproc::{RwLock, SharedValue};
use coproc_pool::Process;

use super::gate::{self, Gate};
use crate::measure::{Goal, Result, Table, median};

const CASE: &str = "reads of 2 processes on 2 CPUs, RwLock<u64>";

pub(super) fn run(table: &mut Table, cpus: &[usize]) -> Result<()> {
    if !table.wants(CASE) {
        return Ok(());
    }
    let lock = SharedValue::new(RwLock::new(7_u64))?;
    let reads = |readers| {
        let run = gate::processes(cpus, readers, |gate, cpu| Process::spawn(read, (gate, &lock, cpu)))?;
        Ok::<_, Box<dyn std::error::Error>>(run.per_second())
    };
    // As in a contest: in turns, and the first round does not count.
    reads(1)?;
    reads(2)?;
    let gains = (0..table.rounds()).map(|_| {
        let one = reads(1)?;
        Ok(reads(2)? / one)
    });
    let gain = median(gains.collect::<Result<Vec<_>>>()?);
    table.figure(CASE, gain, "of those of 1", Goal::AtLeast(1.8));
    Ok(())
}

fn read(gate: SharedValue<Gate>, lock: SharedValue<RwLock<u64>>, cpu: usize) -> std::io::Result<u64> {
    gate.work(cpu, || assert_eq!(*black_box(&lock).read().expect("nobody writes"), 7))
}
