//! Long messages: 1 MiB each, from one process to another, made once and received into memory that is there.

use std::ops::Range;
use std::time::Instant;

use coproc::{Message, Queue};

use super::ends::{Plug, Receives, Sends};
use super::stream::between_processes;
use crate::measure::{Contest, Pinned, Result, Sample, Table};
use crate::peers::copy::Through;

/// A message, in words. The first and the last hold its number.
const WORDS: usize = (1 << 20) / size_of::<u64>();
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
    let words = Words { queue: Queue::new(CAPACITY)? };
    let mut contest = Contest::default();
    contest.ours("message of 1 MiB, Queue<u64>, send_slice and recv_into", || {
        between_processes(cpus, MESSAGES, vec![words.clone()], vec![words.clone()])
    });
    contest.peer("memcpy into 32 KiB and out, one thread", || copies(cpus, 32 << 10));
    contest.peer("memcpy into 1 MiB and out, one thread", || copies(cpus, 1 << 20));
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
