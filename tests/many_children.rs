//! A thousand children: what they leave with their parent, joined or not. Nothing.
//!
//! Each test counts in a process of its own, where nobody else opens, maps or allocates anything.

#![allow(unsafe_code)]

use std::fmt;
use std::fs;

use coproc::{Result, SharedValue};
use coproc_pool::Process;
use coproc_tests::{children, descriptors, most_descriptors, until, watchdog};

const CHILDREN: u64 = 1000;

/// Children that are started before the first count: some things are made once.
const BEFORE: u64 = 50;

/// What the heap may grow by, in bytes: less than a child would take if each left anything. A table that grew stays so.
const HEAP_SLACK: usize = 32 << 10;

/// What this process has.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Count {
    /// Children, ended ones included.
    children: usize,
    descriptors: usize,
    mappings: usize,
    threads: usize,
    /// Bytes that are allocated.
    heap: usize,
}

impl Count {
    fn now() -> Self {
        // SAFETY: only reads what the allocator counts.
        let heap = unsafe { libc::mallinfo2() };
        Self {
            children: children().len(),
            descriptors: descriptors().len(),
            mappings: fs::read_to_string("/proc/self/maps").expect("/proc is mounted").lines().count(),
            threads: fs::read_dir("/proc/self/task").expect("/proc is mounted").count(),
            heap: heap.uordblks + heap.hblkhd,
        }
    }

    /// Whether nothing is more than it was.
    fn is_back_at(&self, before: &Self) -> bool {
        // The allocator maps memory for itself as it likes; a segment for each child would be a thousand.
        self.children <= before.children
            && self.descriptors <= before.descriptors
            && self.mappings <= before.mappings + 8
            && self.threads <= before.threads
            && self.heap <= before.heap + HEAP_SLACK
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { children, descriptors, mappings, threads, heap } = self;
        write!(f, "{children} children, {descriptors} descriptors, {mappings} mappings, {threads} threads, {heap} bytes of heap")
    }
}

fn child(total: SharedValue<u64>, n: u64) -> Result<u64> {
    total.update(|total| total + n)?;
    Ok(n)
}

/// Runs this with numbers of children, and compares what there is after the last one has ended with what there was before. The numbers.
fn compare(run: fn(&SharedValue<u64>, u64) -> Result<()>) -> Result<String> {
    let total = SharedValue::new(0)?;
    let sum = |count: u64| count * (count - 1) / 2;
    run(&total, BEFORE)?;
    until("the first children have gone", || children().is_empty());
    assert_eq!(total.get()?, sum(BEFORE));
    let before = Count { descriptors: most_descriptors(), ..Count::now() };
    run(&total, CHILDREN)?;
    until("all children have ended", || total.get().is_ok_and(|total| total == sum(BEFORE) + sum(CHILDREN)));
    // The keeper closes what it has of a child a moment after its parent has learnt of its end.
    let mut after = Count::now();
    for _ in 0..1000 {
        if after.is_back_at(&before) {
            return Ok(format!("{before}; after {CHILDREN} children {after}"));
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
        after = Count::now();
    }
    panic!("before: {before}; after {CHILDREN} children: {after}")
}

fn joined(total: &SharedValue<u64>, count: u64) -> Result<()> {
    for n in 0..count {
        assert_eq!(Process::spawn(child, (total, n))?.join()?, n);
    }
    Ok(())
}

fn dropped(total: &SharedValue<u64>, count: u64) -> Result<()> {
    for n in 0..count {
        drop(Process::spawn(child, (total, n))?);
    }
    Ok(())
}

#[test]
fn a_thousand_children_that_are_joined() -> Result<()> {
    let _watch = watchdog(240, "1,000 children, joined");
    println!("{}", Process::spawn(|| compare(joined), ())?.join()?);
    Ok(())
}

#[test]
fn a_thousand_children_that_nobody_joins() -> Result<()> {
    let _watch = watchdog(240, "1,000 children, dropped");
    println!("{}", Process::spawn(|| compare(dropped), ())?.join()?);
    Ok(())
}
