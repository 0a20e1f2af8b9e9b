//! An end, to wait for by who has not got it: a thread of this process in the place of a descriptor or a task.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::bell::Bell;
use crate::ready::Waitable;
use crate::segment::Segment;

/// Ready when the end has something to do, or never will have.
#[derive(Debug)]
pub(crate) struct Look {
    bell: Bell,
    /// Keeps the ring mapped.
    _segment: Segment,
    /// Whether the other end was found dead.
    cut: AtomicBool,
}

impl Look {
    /// The end of this bell, which lies in this segment.
    pub(crate) fn new(bell: Bell, segment: Segment) -> Self {
        Self { bell, _segment: segment, cut: AtomicBool::new(false) }
    }
}

impl Waitable for Look {
    fn is_ready(&self) -> bool {
        self.bell.is_turn() || self.bell.is_closed_there() || self.cut.load(Ordering::Relaxed)
    }

    fn announce(&self) -> (&AtomicU32, u32) {
        self.bell.announce()
    }

    fn pass_on(&self) {
        self.bell.pass_on();
    }

    fn ask_kernel(&self) {
        self.cut.store(self.bell.other_is_dead(), Ordering::Relaxed);
    }
}
