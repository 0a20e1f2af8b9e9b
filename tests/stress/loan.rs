//! Buffers on loan.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use coproc::{LoanQueue, Result, SharedValue};
use coproc_pool::Process;

use crate::items::Items;
use crate::{Overlap, SOON, alone, finish, storm};

/// Fewer than there are processes, so that some wait.
const BUFFERS: usize = 4;
/// Size of a buffer, in bytes.
const FRAME: usize = 1024;

#[test]
fn loan_queue() -> Result<()> {
    fn send(state: SharedValue<Items>, frames: LoanQueue) -> Result<()> {
        while state.score.goes_on() {
            let item = state.draw();
            let mut frame = frames.loan(FRAME)?;
            frame.as_plain_mut::<u64>().unwrap().fill(item);
            if frames.send(frame).is_err() {
                state.score.never(true);
            }
            state.note_sent(item);
        }
        Ok(())
    }
    fn receive(state: SharedValue<Items>, frames: LoanQueue) -> Result<()> {
        let me = u64::MAX - u64::from(std::process::id());
        while let Ok(mut frame) = frames.recv() {
            let words = frame.as_plain_mut::<u64>().unwrap();
            let item = words[0];
            state.score.never(words.iter().any(|&word| word != item));
            state.note_seen(item);
            // It is this process's alone, to write too.
            words.fill(me);
            state.score.turn();
            state.score.never(std::hint::black_box(words).iter().any(|&word| word != me));
        }
        Ok(())
    }
    let _alone = alone("LoanQueue");
    let state = SharedValue::<Items>::zeroed()?;
    let frames = LoanQueue::new(BUFFERS, FRAME)?;
    let dead_receivers = AtomicU64::new(0);
    let spawn = |n| {
        if n % 2 == 0 { Process::spawn(send, (&state, &frames)) } else { Process::spawn(receive, (&state, &frames)) }
    };
    let note = |n: usize| {
        dead_receivers.fetch_add(n as u64 % 2, SeqCst);
    };
    let (kills, mut left) = storm(&state.score, Overlap::Often, spawn, note, || Ok(()))?;
    state.score.stop.store(1, SeqCst);
    let mut receivers = Vec::new();
    for (n, process) in left.drain(..).enumerate() {
        if n % 2 == 0 {
            process.join()?;
        } else {
            receivers.push(process);
        }
    }
    // Whoever has died with whatever: all buffers come back.
    let all = (0..BUFFERS).map(|_| frames.loan_timeout(FRAME, SOON)).collect::<Result<Vec<_>, _>>()?;
    assert_eq!((frames.available(), frames.len()), (0, 0));
    drop(all);
    frames.close();
    finish("LoanQueue", &state.score, kills, receivers)?;
    assert_eq!(frames.available(), BUFFERS);
    state.lost_at_most("LoanQueue", dead_receivers.load(SeqCst));
    Ok(())
}
