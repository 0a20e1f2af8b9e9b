//! One thread that sends to itself: what a queue costs with nobody else there.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coproc::Queue;
use crossbeam_queue::ArrayQueue;

use super::ends::{Receives, Sends};
use crate::measure::{Contest, Pinned, Result, Sample, Table};

/// As for the locks: the fastest of so many pieces counts.
const PIECES: u64 = 16;
const OPERATIONS: u64 = 20_000;
const CAPACITY: usize = 1024;

/// Sends a number and receives it, in the fastest piece.
fn time(mut ends: impl Sends + Receives) -> Result<Sample> {
    let mut best = Duration::MAX;
    for piece in 0..PIECES {
        let first = piece * OPERATIONS;
        let mut sum = 0;
        let start = Instant::now();
        for number in first..first + OPERATIONS {
            let ends = black_box(&mut ends);
            ends.send_all(number..number + 1);
            sum += ends.recv_all(1);
        }
        best = best.min(start.elapsed());
        if sum != (first..first + OPERATIONS).sum() {
            return Err(format!("{sum} is not the sum of what was sent").into());
        }
    }
    Ok(Sample { ns: best.as_nanos() as f64 / OPERATIONS as f64, fairness: None })
}

pub(super) fn contest(table: &mut Table, cpus: &[usize]) -> Result<()> {
    let _pinned = Pinned::to(&cpus[..1])?;
    let queue = Queue::<u64>::new(CAPACITY)?;
    let array = Arc::new(ArrayQueue::<u64>::new(CAPACITY));
    let (to, from) = crossbeam_channel::bounded::<u64>(CAPACITY);
    let mut contest = Contest::default();
    contest.ours("send and recv of a u64, one thread, Queue", || time((queue.clone(), queue.clone())));
    let ring = || Ok::<_, Box<dyn std::error::Error>>(coproc::spsc::<u64>(CAPACITY)?);
    contest.ours("send and recv of a u64, one thread, spsc ring", || time(ring()?));
    contest.peer("crossbeam_queue::ArrayQueue", || time((array.clone(), array.clone())));
    contest.peer("crossbeam-channel", || time((to.clone(), from.clone())));
    contest.peer("rtrb", || time(rtrb::RingBuffer::<u64>::new(CAPACITY)));
    table.hold(contest)
}
