//! Tasks in batches, each waited for, and workers that die.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;

use coproc::{JoinableQueue, Result, Shareable, SharedValue, TasksLost};
use coproc_pool::Process;

use crate::{Overlap, Score, alone, finish, storm};

/// How many tasks a batch has.
const BATCH: usize = 50;

#[derive(Shareable)]
#[repr(C)]
struct Tasks {
    score: Score,
    /// How often each was done.
    done: [AtomicU64; BATCH],
    batches: AtomicU64,
    lost: AtomicU64,
}

#[test]
fn joinable_queue() -> Result<()> {
    fn work(state: SharedValue<Tasks>, tasks: JoinableQueue<u64>) -> Result<()> {
        while let Ok(task) = tasks.recv() {
            state.score.never(state.done[task as usize].fetch_add(1, SeqCst) != 0);
            state.score.turn();
            state.score.never(tasks.task_done().is_err());
        }
        Ok(())
    }
    /// Batch after batch. What is not done when `join` returns is among what it says is lost.
    fn give_out(state: &Tasks, tasks: &JoinableQueue<u64>) -> Result<()> {
        while state.score.goes_on() {
            for task in 0..BATCH as u64 {
                tasks.send(task)?;
            }
            let lost = tasks.join().err().map_or(0, |TasksLost(lost)| lost);
            let undone = state.done.iter().filter(|done| done.swap(0, SeqCst) == 0).count() as u64;
            state.score.never(undone > lost);
            state.batches.fetch_add(1, SeqCst);
            state.lost.fetch_add(lost, SeqCst);
        }
        Ok(())
    }
    let _alone = alone("JoinableQueue");
    let state = SharedValue::<Tasks>::zeroed()?;
    let tasks = JoinableQueue::new(8)?;
    let (kills, left) = thread::scope(|scope| -> Result<_> {
        let giver = scope.spawn(|| give_out(&state, &tasks));
        let stormed = storm(&state.score, Overlap::Often, |_| Process::spawn(work, (&state, &tasks)), |_| (), || Ok(()));
        state.score.stop.store(1, SeqCst);
        giver.join().expect("the giver panicked")?;
        stormed
    })?;
    tasks.close();
    finish("JoinableQueue", &state.score, kills, left)?;
    let lost = state.lost.load(SeqCst);
    println!("JoinableQueue: {} batches, {lost} tasks lost with {kills} dead workers", state.batches.load(SeqCst));
    // A worker has one at a time.
    assert!(lost <= kills);
    assert!(tasks.join().is_ok());
    Ok(())
}
