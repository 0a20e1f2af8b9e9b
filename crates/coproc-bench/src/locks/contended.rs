//! Two or four at one lock, on two CPUs, with a short critical section.

use std::hint::black_box;
use std::sync::atomic::AtomicU64;

use coproc::{SharedArray, SharedValue};
use coproc_pool::Process;

use super::Apart;
use super::counter::{Counter, expect};
use super::gate::{self, Gate, Run, SLICE};
use crate::measure::{Contest, Result, Sample, Table};
use crate::peers::boost::Boost;
use crate::peers::pthread::RobustCounter;
use crate::peers::raw_sync::RawCounter;

const PARKING_LOT: &str = "parking_lot (threads)";
const PTHREAD: &str = "pthread robust pshared (processes)";
const RAW_SYNC: &str = "raw_sync (processes)";
const BOOST: &str = "boost.interprocess (processes)";

pub(super) fn run(table: &mut Table, cpus: &[usize]) -> Result<()> {
    let boost = Boost::compile()?;
    [2, 4].into_iter().try_for_each(|workers| contended(table, cpus, workers, boost.as_ref()))
}

fn contended(table: &mut Table, cpus: &[usize], workers: usize, boost: Option<&Boost>) -> Result<()> {
    let processes = format!("lock, {workers} processes");
    let in_place = Apart(coproc::Mutex::new(0));
    let mutex = SharedValue::new(coproc::Mutex::new(0_u64))?;
    let std = Apart(std::sync::Mutex::new(0_u64));
    let parking_lot = Apart(parking_lot::Mutex::new(0_u64));
    let pthread = RobustCounter::new()?;
    let raw_sync = RawCounter::new()?;

    let mut contest = Contest::default();
    contest.ours(&processes, || {
        counted(&mutex, || gate::processes(cpus, workers, |gate, cpu| Process::spawn(add_to_mutex, (gate, &mutex, cpu))))
    });
    contest.ours(format!("lock, {workers} threads"), || between_threads(&in_place.0, cpus, workers));
    // For these two there is nothing but threads.
    contest.peer("std (threads)", || between_threads(&std.0, cpus, workers));
    contest.peer(PARKING_LOT, || between_threads(&parking_lot.0, cpus, workers));
    contest.peer(PTHREAD, || {
        counted(&pthread, || {
            gate::processes(cpus, workers, |gate, cpu| Process::spawn(add_to_pthread, (gate, pthread.memory(), cpu)))
        })
    });
    contest.peer(RAW_SYNC, || {
        counted(&raw_sync, || {
            gate::processes(cpus, workers, |gate, cpu| Process::spawn(add_to_raw_sync, (gate, raw_sync.name(), cpu)))
        })
    });
    match boost {
        Some(boost) => contest.peer(BOOST, move || {
            let (time, counts) = boost.contend(cpus, workers, SLICE)?;
            Ok(Run::new(time, counts).sample())
        }),
        None => contest.absent(BOOST),
    }
    contest.goal(&processes, PARKING_LOT, 0.8);
    for peer in [PTHREAD, RAW_SYNC, BOOST] {
        contest.goal(&processes, peer, 0.6);
    }
    contest.fair(&processes, 0.5);
    table.hold(contest)
}

fn between_threads<C: Counter + Sync>(counter: &C, cpus: &[usize], workers: usize) -> Result<Sample> {
    counted(counter, || gate::threads(cpus, workers, || black_box(counter).add()))
}

/// What the run says that it added is there.
pub(super) fn counted<C: Counter>(counter: &C, run: impl FnOnce() -> Result<Run>) -> Result<Sample> {
    let before = counter.total();
    let run = run()?;
    expect(counter, before, run.total())?;
    Ok(run.sample())
}

fn add_to_mutex(gate: SharedValue<Gate>, mutex: SharedValue<coproc::Mutex<u64>>, cpu: usize) -> std::io::Result<u64> {
    gate.work(cpu, || black_box(&mutex).add())
}

fn add_to_pthread(gate: SharedValue<Gate>, memory: SharedArray<AtomicU64>, cpu: usize) -> std::io::Result<u64> {
    let counter = RobustCounter::at(memory)?;
    gate.work(cpu, || black_box(&counter).add())
}

fn add_to_raw_sync(gate: SharedValue<Gate>, name: String, cpu: usize) -> coproc::Result<u64> {
    let counter = RawCounter::open(&name).map_err(|error| coproc::Error::other(error.to_string()))?;
    Ok(gate.work(cpu, || black_box(&counter).add())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::cpus;

    #[test]
    fn each_contender_counts() {
        let mut table = Table::new(1);
        run(&mut table, &cpus().unwrap()).unwrap();
    }
}
