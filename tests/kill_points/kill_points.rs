//! Every operation, killed after every instruction: what the survivors are promised then.
//!
//! A line of the table says how to set an operation up, what the victim does, and what has to hold when it has been killed.
//! See the module `rig` of the test kit for how, and for `COPROC_KILL_STRIDE`; `COPROC_KILL_ONLY=RwLock` does the lines with that in
//! their name. `cargo test --release --test kill_points -- --nocapture` shows the table.

mod disconnected;
mod events;
mod joinable;
mod loans;
mod locks;
mod meetings;
mod memory;
mod pipes;
mod pools;
mod processes;
mod queues;
mod readers;
mod ready;
mod rings;
mod semaphores;
mod tickets;

use std::fmt;
use std::io;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use coproc::{LockError, Result, SharedArray, SharedValue};
use coproc_pool::Process;
use coproc_tests::leftovers;
use coproc_tests::rig::{Check, Dead, Fault, Operation, Report, drive, ensure, shared_memory, survive};

/// Longer than any promise, shorter than what the rig calls a hang.
const LONG: Duration = Duration::from_millis(1500);
/// How long a victim waits for what does not come: long enough to fall asleep while it is stepped.
const SHORT: Duration = Duration::from_millis(8);

type Block = [u64; 8];
const OLD: Block = [1; 8];
const NEW: Block = [2; 8];
const LAST: Block = [3; 8];

/// How a value was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Clean(Block),
    Poisoned,
}

/// The lock is given in time, the data is whole or somebody of these (or the victim) is named, it is mended, and works.
fn sound(n: &SharedValue<Block>, dead: &Dead<'_>, others: &[u32]) -> Result<Found, Fault> {
    let first = dead.bounded("lock", || n.lock().map(|data| *data));
    let found = match first {
        Ok(data) => {
            ensure(data == OLD || data == NEW, || format!("torn and not poisoned: {data:?}"))?;
            Found::Clean(data)
        }
        Err(LockError::Poisoned(owner)) => {
            let known = owner.pid == dead.pid || others.contains(&owner.pid);
            ensure(known && [0, owner.pid].contains(&owner.tid), || format!("not {}, but {owner:?}", dead.pid))?;
            let torn = *dead.bounded("lock_poisoned", || n.lock_poisoned())?;
            ensure(torn.iter().all(|word| [1, 2].contains(word)), || format!("from nowhere: {torn:?}"))?;
            let second = n.get();
            let still = matches!(second, Err(LockError::Poisoned(again)) if again.pid == owner.pid);
            ensure(still, || format!("not poisoned any more: {second:?}"))?;
            *dead.bounded("lock_or_repair", || n.lock_or_repair(|data, _| *data = OLD))? = OLD;
            Found::Poisoned
        }
        Err(error) => return Err(error.into()),
    };
    dead.bounded("set", || n.set(LAST))?;
    let last = dead.bounded("get", || n.get())?;
    ensure(last == LAST, || format!("set, but {last:?}"))?;
    Ok(found)
}

/// What was `sent` was `received`, in order, then a prefix of what the victim sent; less so many of the first at most, which the victim has taken.
/// Nothing else is gone, or there twice. All of both, if it had returned.
fn in_order<T>(dead: &Dead<'_>, sent: &[T], received: &[T], most_taken: usize, from_victim: &[T]) -> Check
where
    T: Clone + PartialEq + fmt::Debug,
{
    let fits = |taken: usize, of_victim: usize| {
        let rest = sent.get(taken..).unwrap_or_default();
        received == [rest, &from_victim[..of_victim]].concat()
    };
    let good = if dead.finished {
        fits(most_taken, from_victim.len())
    } else {
        (0..=most_taken).any(|taken| (0..=from_victim.len()).any(|of_victim| fits(taken, of_victim)))
    };
    ensure(good, || {
        let returned = if dead.finished { "returned" } else { "killed" };
        format!("{sent:?} sent, then {from_victim:?} by the victim, which was {returned}; received {received:?}")
    })
}

/// As [`sound`]; and if the victim had returned from the operation, this was found.
fn sound_and(n: &SharedValue<Block>, dead: &Dead<'_>, others: &[u32], finished: Found) -> Check {
    let found = sound(n, dead, others)?;
    ensure(!dead.finished || found == finished, || format!("returned, but found {found:?}"))
}

/// Exit codes of processes that wait for a lock.
const CLEAN: i32 = 0;
const POISONED: i32 = 1;

/// Exit codes of processes that wait for a queue; below, it is the item that they received.
const SENT: i32 = 100;
const CLOSED: i32 = 101;
const CORRUPTED: i32 = 102;

fn table() -> Vec<Box<dyn Operation>> {
    [
        locks::lines(),
        readers::lines(),
        meetings::lines(),
        events::lines(),
        ready::lines(),
        semaphores::lines(),
        queues::lines(),
        disconnected::lines(),
        joinable::lines(),
        loans::lines(),
        rings::lines(),
        pipes::lines(),
        tickets::lines(),
        memory::lines(),
        processes::lines(),
        pools::lines(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn survivor(index: u64, processor: u64, progress: SharedArray<AtomicU64>) -> Report {
    survive(&table(), index, processor, progress)
}

#[test]
fn killed_after_any_instruction_it_leaves_the_others_whole() {
    let before = leftovers();
    let (memory, begin) = (shared_memory(), Instant::now());
    let reports = drive(&table(), |index, processor, progress| Process::spawn(survivor, (index, processor, progress)));
    if reports.iter().any(|(_, report)| report.not_permitted) {
        let why = io::Error::from_raw_os_error(libc::EPERM);
        println!("skipped all that is stepped through: this process may not trace its children (ptrace: {why})");
    }
    let total = |count: fn(&Report) -> u64| reports.iter().map(|(_, report)| count(report)).sum::<u64>();
    let points = total(|report| report.points);
    println!(
        "{} operations, {points} processes killed ({} asleep), {} hangs, {} losses, {} of {points} slower than promised for 99 in 100; {:.0} s",
        reports.len(),
        total(|report| report.asleep),
        total(|report| report.hangs),
        total(|report| report.losses),
        total(|report| report.late),
        begin.elapsed().as_secs_f64(),
    );
    let faults: String = reports.iter().filter(|(_, report)| !report.is_good()).map(|(name, report)| report.told(name)).collect();
    assert!(faults.is_empty(), "\n{faults}");
    let new: Vec<_> = leftovers().into_iter().filter(|path| path.starts_with("/dev/shm") && !before.contains(path)).collect();
    assert!(!new.iter().any(|path| path.to_string_lossy().contains("coproc")), "left behind: {new:?}");
    // Thousands of victims died with segments of a quarter MiB in hand; others on this machine may use some memory meanwhile.
    let grown = shared_memory().saturating_sub(memory);
    assert!(grown < 96 << 20, "{grown} bytes of shared memory more than before");
}
