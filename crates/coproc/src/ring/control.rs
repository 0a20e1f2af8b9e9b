//! What two ends share but the slots: positions, and signals.
//!
//! ```text
//! + 0     sent: how many slots the sender has filled, ever      (one cache line, and the next left empty)
//! + 128   received: how many the receiver has freed, ever
//! + 256   not_empty, not_full; closed by the sender, by the receiver (4 bytes each); who has the sender, the receiver (8 bytes each)
//! + 384   slot 0, slot 1, ...
//! ```
//!
//! Each end writes one of the two positions and reads the other. All zero is an empty ring.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::liveness;
use crate::sync::WaitWord;

/// From the start of the ring to the first slot, in bytes.
pub(super) const SLOTS: usize = size_of::<Control>();

#[derive(Debug)]
#[repr(C, align(128))]
pub(super) struct Position(pub(super) AtomicU64);

#[derive(Debug)]
#[repr(C, align(128))]
pub(super) struct Signals {
    not_empty: WaitWord,
    not_full: WaitWord,
    closed: [AtomicU32; 2],
    /// The identities of the processes that have the ends; 0 while an end is on its way.
    holders: [AtomicU64; 2],
}

#[derive(Debug)]
#[repr(C)]
pub(super) struct Control {
    pub(super) positions: [Position; 2],
    pub(super) signals: Signals,
}

/// Which end of a ring, or side of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Send = 0,
    Recv = 1,
}

impl End {
    pub(crate) fn other(self) -> Self {
        if self == Self::Send { Self::Recv } else { Self::Send }
    }
}

impl Signals {
    /// From now on the process of this identity has this end; 0: it is on its way to another.
    pub(super) fn hold(&self, end: End, holder: u64) {
        self.holders[end as usize].store(holder, Ordering::Relaxed);
    }

    /// Whether the process that had this end last has died, and had it to its death.
    pub(super) fn holder_is_dead(&self, end: End) -> bool {
        let word = &self.holders[end as usize];
        let holder = word.load(Ordering::Relaxed);
        // Strange bits are nobody's identity. If the word is still the same after the death, its last store was not to give the end away: the
        // kernel says that it is dead after all its stores.
        holder != 0
            && holder <= liveness::LARGEST
            && !liveness::is_alive((&raw const *word).cast(), holder)
            && word.load(Ordering::Relaxed) == holder
    }

    /// Where this end sleeps.
    #[inline]
    pub(super) fn of(&self, end: End) -> &WaitWord {
        if end == End::Send { &self.not_full } else { &self.not_empty }
    }

    #[inline]
    pub(super) fn is_closed_by(&self, end: End) -> bool {
        // Acquire: pairs with the Release in `close`; a look at the positions after this sees all that was sent.
        self.closed[end as usize].load(Ordering::Acquire) != 0
    }

    /// As [`is_closed_by`](Self::is_closed_by), for who looks at nothing that this end has written before.
    #[inline]
    pub(super) fn is_abandoned_by(&self, end: End) -> bool {
        // Relaxed: as said.
        self.closed[end as usize].load(Ordering::Relaxed) != 0
    }

    /// This end is done; whoever sleeps learns it.
    pub(super) fn close(&self, end: End) {
        // Release: pairs with the Acquire in `is_closed_by`; whatever was sent before.
        self.closed[end as usize].store(1, Ordering::Release);
        self.of(end).notify_all();
        self.of(end.other()).notify_all();
    }
}
