//! A barrier, reset after each death.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use coproc::{Barrier, BarrierError, Result, Shareable, SharedValue};
use coproc_pool::Process;
use coproc_tests::until;

use crate::{COUNT, Overlap, SOON, Score, alone, finish, storm};

#[derive(Shareable)]
#[repr(C)]
struct Meeting {
    score: Score,
    barrier: Barrier,
    /// How often each index was given, and how often a leader was named.
    indices: [AtomicU64; COUNT],
    leaders: AtomicU64,
    breaks: AtomicU64,
}

#[test]
fn barrier() -> Result<()> {
    fn work(state: SharedValue<Meeting>, announced: bool) -> Result<()> {
        let _party = if announced { Some(state.barrier.party()?) } else { None };
        while state.score.goes_on() {
            match state.barrier.wait_timeout(SOON) {
                Ok(place) => {
                    state.indices[place.index() as usize].fetch_add(1, SeqCst);
                    state.leaders.fetch_add(u64::from(place.is_leader()), SeqCst);
                    state.score.never(place.is_leader() != (place.index() as usize == COUNT - 1));
                    state.score.turn();
                }
                Err(BarrierError::Broken) => {
                    state.breaks.fetch_add(1, SeqCst);
                    until("the barrier is mended", || !state.barrier.is_broken() || !state.score.goes_on());
                }
                Err(error) => {
                    // Nobody waits for the dead.
                    state.score.never(true);
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }
    let _alone = alone("Barrier");
    let state = SharedValue::new(Meeting {
        score: Score { turns: 0.into(), repairs: 0.into(), violations: 0.into(), stop: 0.into() },
        barrier: Barrier::new(COUNT as u32),
        indices: [const { AtomicU64::new(0) }; COUNT],
        leaders: 0.into(),
        breaks: 0.into(),
    })?;
    let mend = || {
        state.score.repairs.fetch_add(1, SeqCst);
        Ok(state.barrier.reset()?)
    };
    // Nobody has died since the last reset.
    let whole = |_| state.score.never(state.barrier.is_broken());
    let (kills, left) = storm(&state.score, Overlap::Often, |n| Process::spawn(work, (&state, n % 2 == 0)), whole, mend)?;
    state.score.stop.store(1, SeqCst);
    // Who is through its last round leaves the others waiting.
    state.barrier.abort()?;
    finish("Barrier", &state.score, kills, left)?;
    let indices = state.indices.each_ref().map(|count| count.load(SeqCst));
    let (most, least) = (indices.iter().max().copied().unwrap_or(0), indices.iter().min().copied().unwrap_or(0));
    let leaders = state.leaders.load(SeqCst);
    println!("Barrier: indices {indices:?}, {leaders} leaders, {} broken waits", state.breaks.load(SeqCst));
    // In each round each index is given once; a killed process may not have noted its own.
    assert!(most - least <= kills, "{indices:?}");
    assert!(leaders.abs_diff(indices[COUNT - 1]) <= kills, "{leaders} {indices:?}");
    Ok(())
}
