//! What a queue costs in memory.

use std::fs::File;
use std::os::fd::AsFd;

use coproc::Queue;

use crate::measure::{Contest, Result, Sample, Table};

const CAPACITY: usize = 1024;
/// An item and the sequence of its slot.
const SLOT: usize = 16;
/// What may come on top of the slots.
const REST: usize = 4 << 10;

/// The size of the segment.
fn bytes<T: coproc::Item>(queue: &Queue<T>) -> Result<u64> {
    Ok(File::from(queue.as_fd().try_clone_to_owned()?).metadata()?.len())
}

pub(super) fn contest(table: &mut Table) -> Result<()> {
    const CASE: &str = "segment of a Queue<u64> of 1024: bytes, not ns";
    const MOST: &str = "its slots and 4 KiB";

    let count = |bytes: f64| Ok(Sample { ns: bytes, fairness: None });
    let queue = Queue::<u64>::new(CAPACITY)?;
    let mut contest = Contest::default();
    contest.ours(CASE, || count(bytes(&queue)? as f64));
    contest.peer(MOST, || count((CAPACITY * SLOT + REST) as f64));
    contest.goal(CASE, MOST, 1.0);
    table.hold(contest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_segment_grows_with_the_slots() {
        let small = bytes(&Queue::<u64>::new(1).unwrap()).unwrap();
        let large = bytes(&Queue::<u64>::new(1 + CAPACITY).unwrap()).unwrap();
        assert_eq!(large - small, (CAPACITY * SLOT) as u64);
    }
}
