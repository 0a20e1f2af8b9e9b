//! A value that many read.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use coproc::{LockError, Result, RwLock, Shareable, SharedValue};
use coproc_pool::Process;

use crate::{Overlap, Score, Twins, alone, finish, storm};

/// Where a writer's pid is noted.
const WRITERS: usize = 1 << 16;

#[derive(Shareable)]
#[repr(C)]
struct Read {
    score: Score,
    twins: RwLock<Twins>,
    writing: AtomicU64,
    writers: [AtomicU64; WRITERS],
}

#[test]
fn rwlock() -> Result<()> {
    fn write(state: SharedValue<Read>) -> Result<()> {
        let pid = u64::from(std::process::id());
        state.writers[pid as usize % WRITERS].store(pid, SeqCst);
        while state.score.goes_on() {
            let mut twins = state.twins.write_or_repair(|twins, dead| {
                // Only a writer poisons.
                let noted = state.writers[dead.pid as usize % WRITERS].load(SeqCst);
                state.score.never(dead.pid != 0 && noted != u64::from(dead.pid));
                twins.right = twins.left;
                state.writing.store(0, SeqCst);
                state.score.repairs.fetch_add(1, SeqCst);
            })?;
            state.score.never(state.writing.swap(1, SeqCst) != 0 || twins.left != twins.right);
            twins.left += 1;
            state.score.turn();
            twins.right += 1;
            state.writing.store(0, SeqCst);
        }
        Ok(())
    }
    fn read(state: SharedValue<Read>) -> Result<()> {
        while state.score.goes_on() {
            match state.twins.read() {
                Ok(twins) => {
                    let before = *twins;
                    state.score.never(state.writing.load(SeqCst) != 0 || before.left != before.right);
                    state.score.turn();
                    state.score.never(state.writing.load(SeqCst) != 0 || std::hint::black_box(*twins) != before);
                }
                // A writer is to repair it.
                Err(LockError::Poisoned(_)) => std::thread::yield_now(),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
    let _alone = alone("RwLock");
    let state = SharedValue::<Read>::zeroed()?;
    let spawn = |n| if n < 2 { Process::spawn(write, (&state,)) } else { Process::spawn(read, (&state,)) };
    let (kills, left) = storm(&state.score, Overlap::Often, spawn, |_| (), || Ok(()))?;
    state.score.stop.store(1, SeqCst);
    finish("RwLock", &state.score, kills, left)?;
    drop(state.twins.write_or_repair(|twins, _| twins.right = twins.left)?);
    assert!(state.twins.try_read().is_ok());
    assert!(state.twins.try_write().is_ok());
    Ok(())
}
