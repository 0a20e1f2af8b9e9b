//! Long messages: 1 MiB each, from one process to another, made once and received into memory that is there.

use std::ops::Range;
use std::time::Instant;

use coproc::{Message, PipeReceiver, PipeSender, Queue};

use super::ends::{Plug, Receives, Sends};
use super::stream::between_processes;
use crate::measure::{Contest, Pinned, Result, Sample, Table};
use crate::peers::copy::Through;

/// A message, in words. The first and the last hold its number.
const WORDS: usize = BYTES / size_of::<u64>();
const BYTES: usize = 1 << 20;
const MESSAGES: u64 = 40;
/// How many words fit the queue.
const CAPACITY: usize = 4096;

/// Writes the number into both ends.
fn stamp(message: &mut [u64], number: u64) {
    message[0] = number;
    message[WORDS - 1] = number;
}

/// The number, if it is at both ends.
fn stamped(message: &[u64]) -> u64 {
    assert_eq!(message[0], message[WORDS - 1], "the message is torn");
    message[0]
}

/// A queue of words, through which messages go slice by slice.
#[derive(Clone, Debug, Message)]
struct Words {
    queue: Queue<u64>,
}

/// An end, with the message that it sends or has received.
struct End {
    queue: Queue<u64>,
    message: Vec<u64>,
}

impl Plug for Words {
    type End = End;

    fn plug(self) -> Result<End> {
        Ok(End { queue: self.queue, message: vec![1; WORDS] })
    }
}

impl Sends for End {
    fn send_all(&mut self, numbers: Range<u64>) {
        for number in numbers {
            stamp(&mut self.message, number);
            self.queue.send_slice(&self.message).unwrap();
        }
    }
}

impl Receives for End {
    fn recv_all(&mut self, count: u64) -> u64 {
        let mut sum = 0;
        for _ in 0..count {
            let mut received = 0;
            while received < WORDS {
                received += self.queue.recv_into(&mut self.message[received..]).unwrap();
            }
            sum += stamped(&self.message);
        }
        sum
    }
}

/// The ends of a channel, with the message that is sent or has been received.
#[derive(Message)]
struct To(PipeSender);

#[derive(Message)]
struct From(PipeReceiver);

struct Buffered<E> {
    end: E,
    message: Vec<u8>,
}

impl<E> Buffered<E> {
    fn new(end: E) -> Self {
        Self { end, message: vec![1; BYTES] }
    }
}

impl Plug for To {
    type End = Buffered<PipeSender>;

    fn plug(self) -> Result<Self::End> {
        Ok(Buffered::new(self.0))
    }
}

impl Plug for From {
    type End = Buffered<PipeReceiver>;

    fn plug(self) -> Result<Self::End> {
        Ok(Buffered::new(self.0))
    }
}

impl Sends for Buffered<PipeSender> {
    fn send_all(&mut self, numbers: Range<u64>) {
        for number in numbers {
            self.message[..8].copy_from_slice(&number.to_le_bytes());
            self.message[BYTES - 8..].copy_from_slice(&number.to_le_bytes());
            self.end.send(&self.message).unwrap();
        }
    }
}

impl Receives for Buffered<PipeReceiver> {
    fn recv_all(&mut self, count: u64) -> u64 {
        let mut sum = 0;
        for _ in 0..count {
            assert_eq!(self.end.recv_into(&mut self.message), Ok(BYTES));
            let (first, last) = (&self.message[..8], &self.message[BYTES - 8..]);
            assert_eq!(first, last, "the message is torn");
            sum += first.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte));
        }
        sum
    }
}

/// The two copies of each message and nothing else, in one thread.
fn copies(cpus: &[usize], buffer: usize) -> Result<Sample> {
    let _pinned = Pinned::to(&cpus[..1])?;
    let mut through = Through::new(buffer);
    let (mut from, mut to) = (vec![1; WORDS], vec![0; WORDS]);
    through.pass(&from, &mut to);
    let start = Instant::now();
    for number in 0..MESSAGES {
        stamp(&mut from, number);
        through.pass(&from, &mut to);
        if stamped(&to) != number {
            return Err("the message did not arrive".into());
        }
    }
    Ok(Sample { ns: start.elapsed().as_nanos() as f64 / MESSAGES as f64, fairness: None })
}

pub(super) fn contest(table: &mut Table, cpus: &[usize]) -> Result<()> {
    const CHANNEL: &str = "message of 1 MiB, channel";
    const MEMCPY: &str = "memcpy into as much room as a channel has and out, one thread";

    let room = coproc::channel()?.0.capacity();
    let words = Words { queue: Queue::new(CAPACITY)? };
    let mut contest = Contest::default();
    contest.ours("message of 1 MiB, Queue<u64>, send_slice and recv_into", || {
        between_processes(cpus, MESSAGES, vec![words.clone()], vec![words.clone()])
    });
    contest.ours(CHANNEL, || {
        let (to, from) = coproc::channel()?;
        between_processes(cpus, MESSAGES, vec![To(to)], vec![From(from)])
    });
    contest.peer(MEMCPY, || copies(cpus, room));
    contest.peer("memcpy into 32 KiB and out, one thread", || copies(cpus, 32 << 10));
    contest.peer("memcpy into 1 MiB and out, one thread", || copies(cpus, 1 << 20));
    // At least 0.8 of its rate.
    contest.goal(CHANNEL, MEMCPY, 1.25);
    table.hold(contest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::cpus;

    #[test]
    fn long_messages_arrive() {
        let cpus = cpus().unwrap();
        let words = Words { queue: Queue::new(100).unwrap() };
        assert!(between_processes(&cpus, 10, vec![words.clone()], vec![words]).unwrap().ns > 0.0);
        assert!(copies(&cpus, 32 << 10).unwrap().ns > 0.0);
    }
}
