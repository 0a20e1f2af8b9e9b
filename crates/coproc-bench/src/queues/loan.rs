//! Buffers handed over: what it costs must not depend on how large they are.

use std::ops::Range;

use coproc::{LoanQueue, Message};

use super::ends::{Plug, Receives, Sends};
use super::stream::between_processes;
use crate::measure::{Contest, Result, Table};

const MESSAGES: u64 = 100_000;
const BUFFERS: usize = 64;

/// A queue of buffers that are written and read at both ends only, so that the hand-over counts and not the copying.
#[derive(Clone, Debug, Message)]
struct Buffers {
    queue: LoanQueue,
}

impl Plug for Buffers {
    type End = Self;

    fn plug(self) -> Result<Self> {
        Ok(self)
    }
}

impl Sends for Buffers {
    fn send_all(&mut self, numbers: Range<u64>) {
        for number in numbers {
            let mut loan = self.queue.loan(self.queue.size()).unwrap();
            let words = loan.as_plain_mut::<u64>().unwrap();
            let last = words.len() - 1;
            (words[0], words[last]) = (number, number);
            self.queue.send(loan).unwrap();
        }
    }
}

impl Receives for Buffers {
    fn recv_all(&mut self, count: u64) -> u64 {
        let mut sum = 0;
        for _ in 0..count {
            let loan = self.queue.recv().unwrap();
            let words = loan.as_plain::<u64>().unwrap();
            assert_eq!(words.first(), words.last(), "the message is torn");
            sum += words[0];
        }
        sum
    }
}

pub(super) fn contest(table: &mut Table, cpus: &[usize]) -> Result<()> {
    const LARGE: &str = "hand-over of a loan of 1 MiB, LoanQueue";
    const SMALL: &str = "a loan of a u64, LoanQueue";

    let of_size = |size| Ok::<_, coproc::Error>(Buffers { queue: LoanQueue::new(BUFFERS, size)? });
    let (large, small) = (of_size(1 << 20)?, of_size(size_of::<u64>())?);
    let mut contest = Contest::default();
    contest.ours(LARGE, || between_processes(cpus, MESSAGES, vec![large.clone()], vec![large.clone()]));
    contest.peer(SMALL, || between_processes(cpus, MESSAGES, vec![small.clone()], vec![small.clone()]));
    contest.goal(LARGE, SMALL, 1.5);
    table.hold(contest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::cpus;

    #[test]
    fn loans_arrive() {
        let buffers = Buffers { queue: LoanQueue::new(3, 100 * size_of::<u64>()).unwrap() };
        assert!(between_processes(&cpus().unwrap(), 100, vec![buffers.clone()], vec![buffers]).unwrap().ns > 0.0);
    }
}
