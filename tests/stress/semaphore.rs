//! Permits.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use coproc::{Result, Semaphore, Shareable, SharedValue, TryLockError};
use coproc_pool::Process;

use crate::{COUNT, Overlap, SOON, Score, alone, finish, storm};

const PERMITS: usize = 3;

#[derive(Shareable)]
#[repr(C)]
struct Permits {
    score: Score,
    permits: Semaphore,
    /// Odd while the process of that number has a permit.
    holding: [AtomicU64; COUNT],
    /// Not 0 from before a process is killed until another one has its number.
    dying: [AtomicU64; COUNT],
}

impl Permits {
    fn holding(&self) -> [u64; COUNT] {
        std::array::from_fn(|n| self.holding[n].load(SeqCst))
    }

    /// How many certainly had a permit at one moment.
    fn at_once(&self) -> usize {
        let once = self.holding();
        let dying: [u64; COUNT] = std::array::from_fn(|n| self.dying[n].load(SeqCst));
        // Not changed since, so no number has gone to another process: who is not dying now was not at the end of the first look.
        if once != self.holding() {
            return 0;
        }
        once.iter().zip(dying).filter(|(holding, dying)| *holding % 2 == 1 && *dying == 0).count()
    }
}

#[test]
fn semaphore() -> Result<()> {
    storm_of_permits("Semaphore", 0)
}

/// This process keeps those that have a place of their own.
#[test]
fn semaphore_without_places() -> Result<()> {
    storm_of_permits("Semaphore without places", 32)
}

fn storm_of_permits(name: &str, kept: u32) -> Result<()> {
    fn work(state: SharedValue<Permits>, me: u64) -> Result<()> {
        let mine = &state.holding[me as usize];
        while state.score.goes_on() {
            let permit = match state.permits.try_acquire() {
                Ok(permit) => permit,
                Err(TryLockError::WouldBlock) => state.permits.acquire()?,
                Err(error) => return Err(error.into()),
            };
            mine.fetch_add(1, SeqCst);
            state.score.never(state.at_once() > PERMITS);
            state.score.turn();
            mine.fetch_add(1, SeqCst);
            drop(permit);
        }
        Ok(())
    }
    let _alone = alone(name);
    let state = SharedValue::<Permits>::zeroed()?;
    state.permits.release(kept + PERMITS as u32)?;
    let kept = (0..kept).map(|_| state.permits.acquire()).collect::<Result<Vec<_>, _>>()?;
    // A number is given to the next process when the one before is dead, and its permit with it.
    let spawn = |n: usize| {
        // Up, so that it is never again what it was.
        state.holding[n].fetch_add(state.holding[n].load(SeqCst) % 2, SeqCst);
        state.dying[n].store(0, SeqCst);
        Process::spawn(work, (&state, n as u64))
    };
    let dies = |n: usize| state.dying[n].store(1, SeqCst);
    let (kills, left) = storm(&state.score, Overlap::Never, spawn, dies, || Ok(()))?;
    state.score.stop.store(1, SeqCst);
    finish(name, &state.score, kills, left)?;
    let permits = (0..PERMITS).map(|_| state.permits.acquire_timeout(SOON)).collect::<Result<Vec<_>, _>>()?;
    assert_eq!(state.permits.try_acquire().map(drop), Err(TryLockError::WouldBlock));
    drop(permits);
    assert_eq!(state.permits.available(), PERMITS as u64);
    drop(kept);
    Ok(())
}
