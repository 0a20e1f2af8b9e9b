//! A queue, with many at both ends.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use coproc::{Queue, Result, SharedValue};
use coproc_pool::Process;

use crate::items::Items;
use crate::{Overlap, alone, finish, storm};

#[test]
fn queue() -> Result<()> {
    fn send(state: SharedValue<Items>, queue: Queue<(u64, u64)>) -> Result<()> {
        let me = u64::from(std::process::id());
        while state.score.goes_on() {
            let item = state.draw();
            if queue.send((me, item)).is_err() {
                state.score.never(true);
            }
            state.note_sent(item);
        }
        Ok(())
    }
    fn receive(state: SharedValue<Items>, queue: Queue<(u64, u64)>) -> Result<()> {
        let mut last = HashMap::new();
        while let Ok((sender, item)) = queue.recv() {
            state.note_seen(item);
            // What one sender sends comes in its order.
            state.score.never(last.insert(sender, item).is_some_and(|last| last > item));
            state.score.turn();
        }
        Ok(())
    }
    let _alone = alone("Queue");
    let state = SharedValue::<Items>::zeroed()?;
    let queue = Queue::new(16)?;
    let dead_receivers = AtomicU64::new(0);
    let spawn = |n| {
        if n % 2 == 0 { Process::spawn(send, (&state, &queue)) } else { Process::spawn(receive, (&state, &queue)) }
    };
    let note = |n: usize| {
        dead_receivers.fetch_add(n as u64 % 2, SeqCst);
    };
    let (kills, mut left) = storm(&state.score, Overlap::Often, spawn, note, || Ok(()))?;
    state.score.stop.store(1, SeqCst);
    let (mut senders, mut receivers) = (Vec::new(), Vec::new());
    for (n, process) in left.drain(..).enumerate() {
        if n % 2 == 0 { senders.push(process) } else { receivers.push(process) }
    }
    for sender in senders {
        sender.join()?;
    }
    queue.close();
    finish("Queue", &state.score, kills, receivers)?;
    assert!(queue.is_empty());
    state.lost_at_most("Queue", dead_receivers.load(SeqCst));
    Ok(())
}
