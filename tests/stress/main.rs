//! Many processes at one object, killed at random moments: for 2 seconds with each type, or for `COPROC_STRESS_SECONDS`.
//!
//! Each test counts what must never be (`violations`), and at the end all who are left must come to theirs. `--nocapture` shows
//! the counts. That it passes proves little about windows of a few instructions: random kills seldom meet one.

mod barrier;
mod condvar;
mod items;
mod joinable;
mod loan;
mod mutex;
mod pipe;
mod pool;
mod queue;
mod ring;
mod rwlock;
mod semaphore;

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex as Turn, MutexGuard as TurnGuard, PoisonError};
use std::time::{Duration, Instant};

use coproc::{Plain, Result, Shareable};
use coproc_pool::{Cause, Process};
use coproc_tests::{Random, Watchdog, resume, signal, until, watchdog};

/// How many processes there are at a time.
const COUNT: usize = 6;
const SOON: Duration = Duration::from_secs(20);

/// What the processes of a test say about themselves.
#[derive(Shareable)]
#[repr(C)]
struct Score {
    turns: AtomicU64,
    repairs: AtomicU64,
    violations: AtomicU64,
    stop: AtomicU64,
}

impl Score {
    fn goes_on(&self) -> bool {
        self.stop.load(SeqCst) == 0
    }

    fn turn(&self) {
        self.turns.fetch_add(1, SeqCst);
    }

    fn never(&self, broken: bool) {
        if broken {
            self.violations.fetch_add(1, SeqCst);
        }
    }
}

/// Equal whenever nobody is at work on them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Plain)]
#[repr(C)]
struct Twins {
    left: u64,
    right: u64,
}

fn duration() -> Duration {
    let seconds = std::env::var("COPROC_STRESS_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(2))
}

/// One storm at a time, so each has the processors; and a watch over it.
fn alone(what: &str) -> (TurnGuard<'static, ()>, Watchdog) {
    static TURN: Turn<()> = Turn::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    (turn, watchdog(duration().as_secs() + 90, what))
}

/// A process that was killed while it did its work, and had found no fault.
fn bury(process: Process<()>) {
    match process.join() {
        Err(error) if error.cause == (Cause::Killed { signal: 9 }) => {}
        other => panic!("{other:?}"),
    }
}

/// Whether a new process comes in the place of a dead one before that one is known to be dead, now and then.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Overlap {
    Never,
    Often,
}

/// Keeps so many processes at work, kills one after the other at random moments, and stops some of them for a while. Gives the
/// number of kills, and those who are left.
fn storm(
    score: &Score,
    overlap: Overlap,
    spawn: impl Fn(usize) -> Result<Process<()>>,
    before_kill: impl Fn(usize),
    after_kill: impl Fn() -> Result<()>,
) -> Result<(u64, Vec<Process<()>>)> {
    let mut random = Random(std::process::id().into());
    let mut all = (0..COUNT).map(&spawn).collect::<Result<Vec<_>>>()?;
    let (end, mut kills) = (Instant::now() + duration(), 0);
    while Instant::now() < end {
        let seen = score.turns.load(SeqCst);
        let steps = random.below(40);
        until("those who are left go on", || score.turns.load(SeqCst) > seen + steps);
        for _ in 0..random.below(2000) {
            std::hint::spin_loop();
        }
        let victim = random.below(COUNT as u64) as usize;
        let stopped = (victim + 1 + random.below(COUNT as u64 - 1) as usize) % COUNT;
        let stopped = (random.below(8) == 0).then(|| all[stopped].pid());
        if let Some(pid) = stopped {
            signal(pid, libc::SIGSTOP);
        }
        before_kill(victim);
        all[victim].kill()?;
        if let Some(pid) = stopped {
            resume(pid);
        }
        if overlap == Overlap::Often && random.below(2) == 0 {
            bury(std::mem::replace(&mut all[victim], spawn(victim)?));
        } else {
            bury(all.remove(victim));
            all.insert(victim, spawn(victim)?);
        }
        after_kill()?;
        kills += 1;
    }
    Ok((kills, all))
}

fn finish(what: &str, score: &Score, kills: u64, left: Vec<Process<()>>) -> Result<()> {
    for process in left {
        process.join()?;
    }
    let [turns, repairs, violations] = [&score.turns, &score.repairs, &score.violations].map(|count| count.load(SeqCst));
    println!("{what}: {kills} kills, {turns} turns, {repairs} repairs, {violations} violations");
    assert_eq!(violations, 0);
    assert!(kills > 0);
    Ok(())
}
