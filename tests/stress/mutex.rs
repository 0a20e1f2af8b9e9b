//! A value behind a mutex.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use coproc::{Mutex, Result, Shareable, SharedValue};
use coproc_pool::Process;

use crate::{Overlap, Score, Twins, alone, finish, storm};

#[derive(Shareable)]
#[repr(C)]
struct Locked {
    score: Score,
    twins: Mutex<Twins>,
    /// Who is inside. Not 0 in a lock that one gets without a repair is an owner too many, or a death that nobody was told of.
    inside: AtomicU64,
}

#[test]
fn mutex() -> Result<()> {
    fn work(state: SharedValue<Locked>) -> Result<()> {
        while state.score.goes_on() {
            let mut twins = state.twins.lock_or_repair(|twins, _| {
                twins.right = twins.left;
                state.inside.store(0, SeqCst);
                state.score.repairs.fetch_add(1, SeqCst);
            })?;
            state.score.never(state.inside.swap(1, SeqCst) != 0 || twins.left != twins.right);
            twins.left += 1;
            state.score.turn();
            twins.right += 1;
            state.inside.store(0, SeqCst);
        }
        Ok(())
    }
    let _alone = alone("Mutex");
    let state = SharedValue::<Locked>::zeroed()?;
    let (kills, left) = storm(&state.score, Overlap::Often, |_| Process::spawn(work, (&state,)), |_| (), || Ok(()))?;
    state.score.stop.store(1, SeqCst);
    finish("Mutex", &state.score, kills, left)?;
    drop(state.twins.lock_or_repair(|twins, _| twins.right = twins.left)?);
    assert!(state.twins.try_lock().is_ok());
    Ok(())
}
