//! What a pool is doing at this moment.

use std::sync::atomic::Ordering;

use super::worker::now;
use super::{Pool, Shared};

/// What a pool is doing; made by [`Pool::stats`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PoolStats {
    /// Its workers.
    pub workers: Vec<WorkerStats>,
    /// Tasks that were submitted and have not ended. A map is as many tasks as workers help with it.
    pub outstanding: u64,
    /// Of these, tasks that no worker has begun, or few more.
    pub queued: u64,
}

/// What a worker is doing.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct WorkerStats {
    /// Its process id; `None` if there is none at this moment.
    pub pid: Option<u32>,
    /// What it does.
    pub state: WorkerState,
    /// Tasks that were done on this seat, by this worker and those before; of a map, items.
    pub tasks: u64,
    /// How often a worker was replaced on this seat.
    pub restarts: u64,
    /// Which share of its time since it was ready it was at tasks, from 0 to 1.
    pub busy: f64,
}

/// What a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerState {
    /// It starts, or runs the initializer.
    Starting,
    /// It waits for a task.
    Idle,
    /// It is at a task.
    Busy,
    /// It has ended, and another one will come.
    Gone,
}

impl Pool {
    /// What the pool is doing at this moment: a look at a few words, cheap enough to be taken often.
    pub fn stats(&self) -> PoolStats {
        let desk = &self.shared.desk;
        let workers = (0..self.processes()).map(|seat| self.worker_stats(seat)).collect();
        PoolStats { workers, outstanding: desk.outstanding(), queued: desk.waiting() }
    }

    fn worker_stats(&self, seat: usize) -> WorkerStats {
        let Shared { desk, crew, .. } = &*self.shared;
        let words = &desk.board.seats[seat];
        let [ready, idle, since, done] =
            [&words.ready, &words.idle, &words.idle_since, &words.done].map(|word| word.load(Ordering::Relaxed));
        let pid = desk.lines.child(seat).map(|child| child.pid);
        let state = match (pid, ready, since) {
            (None, ..) => WorkerState::Gone,
            (_, 0, _) => WorkerState::Starting,
            (.., 0) => WorkerState::Busy,
            _ => WorkerState::Idle,
        };
        let now = now();
        let idle = idle.saturating_add(if since == 0 { 0 } else { now.saturating_sub(since) });
        let alive = if ready == 0 { 0 } else { now.saturating_sub(ready) };
        let busy = if alive == 0 { 0.0 } else { (1.0 - idle as f64 / alive as f64).clamp(0.0, 1.0) };
        WorkerStats { pid, state, tasks: done, restarts: crew.starts(seat).saturating_sub(1), busy }
    }
}
