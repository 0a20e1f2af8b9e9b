//! The models, by the file whose protocol they model.

mod barrier;
mod condvar;
mod event;
mod loan;
mod lock;
mod once;
mod queue;
mod rwlock;
mod semaphore;
mod spsc;
mod wait;

use std::sync::Arc;

use crate::world::{Running, Start};

/// Runs this in a thread for each of these, with its number, and then in this one, as number 0. `false` for who was killed.
fn together<T: Send + Sync + 'static, const N: usize>(
    shared: &Arc<T>,
    starts: [Start; N],
    work: impl Fn(&T, usize) + Clone + Send + 'static,
) -> [bool; N] {
    let threads = beside(shared, starts, work.clone());
    work(shared, 0);
    threads.map(Running::join)
}

/// Runs this in a thread for each of these, with its number, from 1 on.
fn beside<T: Send + Sync + 'static, const N: usize>(
    shared: &Arc<T>,
    starts: [Start; N],
    work: impl Fn(&T, usize) + Clone + Send + 'static,
) -> [Running; N] {
    let mut number = 0;
    starts.map(|start| {
        number += 1;
        let (shared, work) = (Arc::clone(shared), work.clone());
        start.run(move || work(&shared, number))
    })
}
