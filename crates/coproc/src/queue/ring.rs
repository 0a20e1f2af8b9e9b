//! The ring in shared memory: two robust locks and a sequence in each slot. No waiting here, and no types but bytes.
//!
//! ```text
//! body + 0     senders:   lock, position      (one cache line, and the next left empty)
//!      + 128   receivers: lock, position
//!      + 256   not_empty, not_full, closed
//!      + 384   slot 0: sequence u64, item bytes; slot 1: ...
//! ```
//!
//! One lock orders the senders, the other the receivers; each side's position is a single word of its own. Between the sides an item
//! crosses by its slot's sequence: `2 * lap` is free for the sender of that lap, `2 * lap + 1` is full for its receiver, so zero is ready.
//!
//! What a death leaves, step by step:
//!
//! | killed after | the item | what the next one does |
//! |---|---|---|
//! | taking the lock | not sent / still there | takes the lock over from the dead |
//! | writing the item's bytes | not sent: the slot is still free | overwrites them |
//! | storing the sequence | sent / taken | finds the slot ahead of the position and moves on |
//! | storing the position | sent / taken | takes the lock over from the dead |

#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::shape::Shape;
use crate::ring::{End, Stop};
use crate::segment::Segment;
use crate::sync::{Held, LockError, Patience, RawLock, TryLockError, WaitWord};

/// From the start of the body to the first slot, in bytes.
pub(super) const SLOTS: usize = size_of::<Control>();

/// Size of a slot's sequence, in bytes.
pub(super) const SEQUENCE: usize = size_of::<AtomicU64>();

/// One side of the ring, alone on its cache lines.
#[derive(Debug)]
#[repr(C, align(128))]
pub(super) struct Side {
    lock: RawLock,
    /// Lap and index of the next slot, packed as [`Shape`] says. Written under the lock, looked at without. May lag behind the slots
    /// after a death.
    position: AtomicU64,
}

#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Signals {
    pub(crate) not_empty: WaitWord,
    pub(crate) not_full: WaitWord,
    closed: AtomicU32,
}

#[derive(Debug)]
#[repr(C)]
pub(super) struct Control {
    senders: Side,
    receivers: Side,
    pub(super) signals: Signals,
}

/// What a slot is to a side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// It is the side's turn.
    Mine,
    /// The other side has not been there yet: full, or empty.
    Theirs,
    /// This side has been there already.
    Past,
    /// No code of ours leaves that.
    Never,
}

/// A view of the ring in a segment.
///
/// 1. `control` is the start of `shape.body()` bytes, mapped as long as the segment, beside which this is kept.
/// 2. Slots lie at `SLOTS + index * stride`, for index below `capacity`: inside these bytes, aligned to 8.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ring {
    control: NonNull<Control>,
    shape: Shape,
}

// SAFETY: it points to memory that all threads and processes may reach: atomics, and slots whose bytes go by turns.
unsafe impl Send for Ring {}
// SAFETY: as above.
unsafe impl Sync for Ring {}

impl Ring {
    /// # Safety
    /// The segment's body begins with `shape.body()` bytes of a ring, is writable, and outlives the ring.
    pub(crate) unsafe fn new(segment: &Segment, shape: Shape) -> Self {
        Self { control: segment.body().cast(), shape }
    }

    #[inline]
    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    #[inline]
    pub(super) fn control(&self) -> &Control {
        // SAFETY: invariant 1; the body is aligned to 128, and any bytes are a `Control`.
        unsafe { self.control.as_ref() }
    }

    #[inline]
    pub(crate) fn signals(&self) -> &Signals {
        &self.control().signals
    }

    #[inline]
    fn side(&self, end: End) -> &Side {
        match end {
            End::Send => &self.control().senders,
            End::Recv => &self.control().receivers,
        }
    }

    /// The sequence of a slot, and where its bytes begin.
    #[inline]
    fn slot(&self, index: usize) -> (&AtomicU64, *mut u8) {
        debug_assert!(index < self.shape.capacity);
        let at = SLOTS + index * self.shape.stride();
        let slot = self.control.as_ptr().cast::<u8>().wrapping_add(at);
        // SAFETY: invariant 2; any bytes are an atomic.
        let sequence = unsafe { &*slot.cast::<AtomicU64>() };
        (sequence, slot.wrapping_add(SEQUENCE))
    }

    #[inline]
    fn turn(&self, end: End, position: u64) -> Turn {
        let Some(index) = self.shape.index(position) else { return Turn::Never };
        // Acquire: pairs with the Release in `pass`; the item's bytes, or that they have been read.
        let sequence = self.slot(index).0.load(Ordering::Acquire);
        let mine = (self.shape.lap(position) << 1).wrapping_add((end == End::Recv).into());
        match sequence.wrapping_sub(mine).cast_signed() {
            0 => Turn::Mine,
            -1 => Turn::Theirs,
            1.. => Turn::Past,
            _ => Turn::Never,
        }
    }

    /// Whether, at a look without the lock, there is nothing to do: full, or empty. A slot that a dead process has left ahead of the
    /// position is no reason to say so: that is repaired under the lock.
    #[inline]
    pub(crate) fn must_wait(&self, end: End) -> bool {
        // Relaxed: only a look; what is done is decided under the lock.
        self.turn(end, self.side(end).position.load(Ordering::Relaxed)) == Turn::Theirs
    }

    /// Passes as many slots as it is the side's turn for, at most `most`, through `work`, which gets the number and the bytes of
    /// each, and then hands them to the other side. Returns how many; at least one.
    ///
    /// A sender's slot is handed over at once, so that what a killed sender leaves is a prefix; a receiver's slots are handed over after
    /// all were worked on, so that what a killed receiver has taken is in its hands.
    #[inline]
    pub(crate) fn pass(
        &self,
        end: End,
        most: usize,
        patience: Patience,
        mut work: impl FnMut(usize, *mut u8),
    ) -> Result<usize, Stop> {
        let side = self.side(end);
        let held = hold(&side.lock, patience)?;
        // SeqCst: stands in one order with the exchange of the lock before it, and with the looks in `is_drained`.
        if end == End::Send && self.control().signals.closed.load(Ordering::SeqCst) != 0 {
            return Err(Stop::Closed);
        }
        let first = self.settle(end, side)?;
        let mut position = first;
        let mut count = 0;
        while count < most && (count == 0 || self.turn(end, position) == Turn::Mine) {
            // `turn` has found the index to be inside.
            let index = self.shape.index(position).ok_or(Stop::Corrupted)?;
            let (_, bytes) = self.slot(index);
            work(count, bytes);
            let lap = self.shape.lap(position);
            position = self.shape.next(position);
            count += 1;
            if end == End::Send {
                self.hand_over(end, side, lap, index, position);
            }
        }
        if end == End::Recv {
            let mut position = first;
            for _ in 0..count {
                let index = self.shape.index(position).ok_or(Stop::Corrupted)?;
                let lap = self.shape.lap(position);
                position = self.shape.next(position);
                self.hand_over(end, side, lap, index, position);
            }
        }
        drop(held);
        Ok(count)
    }

    /// The next item's place, for a receiver that takes one: under the lock of its side.
    #[inline(always)]
    pub(crate) fn next_item(&self, patience: Patience) -> Result<Place<'_>, Stop> {
        let side = self.side(End::Recv);
        let held = hold(&side.lock, patience)?;
        let position = self.settle(End::Recv, side)?;
        // `settle` has found the index to be inside.
        let index = self.shape.index(position).ok_or(Stop::Corrupted)?;
        Ok(Place { ring: self, position, index, _held: held })
    }

    /// The one store by which an item is sent, or taken; then the position, which may lag.
    #[inline]
    fn hand_over(&self, end: End, side: &Side, lap: u64, index: usize, next: u64) {
        let theirs = (lap << 1).wrapping_add(if end == End::Send { 1 } else { 2 });
        // Release: pairs with the Acquire in `turn`; the item's bytes are written, or read.
        self.slot(index).0.store(theirs, Ordering::Release);
        // Relaxed: others look at it only to guess, or under the lock.
        side.position.store(next, Ordering::Relaxed);
    }

    /// The side's position, moved past the slots that a dead process had handed over. Under the lock.
    #[inline]
    fn settle(&self, end: End, side: &Side) -> Result<u64, Stop> {
        let mut position = side.position.load(Ordering::Relaxed);
        for _ in 0..=self.shape.capacity {
            match self.turn(end, position) {
                Turn::Mine => return Ok(position),
                Turn::Theirs => {
                    side.position.store(position, Ordering::Relaxed);
                    return Err(Stop::Wait);
                }
                Turn::Past => position = self.shape.next(position),
                Turn::Never => return Err(Stop::Corrupted),
            }
        }
        Err(Stop::Corrupted)
    }

    /// The position behind all that was ever sent. Changes with each item, and with nothing else.
    pub(super) fn sent(&self) -> u64 {
        let mut position = self.side(End::Send).position.load(Ordering::Relaxed);
        for _ in 0..self.shape.capacity {
            if self.turn(End::Send, position) != Turn::Past {
                break;
            }
            position = self.shape.next(position);
        }
        position
    }

    /// As [`must_wait`](Self::must_wait), but looks past the slots that a dead process has left ahead of the position.
    pub(crate) fn is_idle(&self, end: End) -> bool {
        let mut position = self.side(end).position.load(Ordering::Relaxed);
        for _ in 0..self.shape.capacity {
            match self.turn(end, position) {
                Turn::Past => position = self.shape.next(position),
                turn => return turn == Turn::Theirs,
            }
        }
        true
    }

    /// Shows the bytes of every item that is inside, in order; meanwhile no receiver takes any.
    pub(crate) fn look_inside(&self, patience: Patience, mut look: impl FnMut(*mut u8)) -> Result<(), Stop> {
        let side = self.side(End::Recv);
        let _held = hold(&side.lock, patience)?;
        let mut position = match self.settle(End::Recv, side) {
            Err(Stop::Wait) => return Ok(()),
            position => position?,
        };
        for _ in 0..self.shape.capacity {
            let Some(index) = self.shape.index(position).filter(|_| self.turn(End::Recv, position) == Turn::Mine) else { break };
            look(self.slot(index).1);
            position = self.shape.next(position);
        }
        Ok(())
    }

    pub(super) fn close(&self) {
        // SeqCst: pairs with the loads in `pass` and `is_closed`.
        self.signals().closed.store(1, Ordering::SeqCst);
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        // SeqCst: pairs with the store in `close`, and stands before the look at the lock in `is_drained`.
        self.signals().closed.load(Ordering::SeqCst) != 0
    }

    /// Whether nothing can come any more: closed, then no living sender at it (one may have looked before it was closed), then
    /// still empty. In this order: a sender that takes the lock after it was seen free also sees that the queue is closed.
    pub(crate) fn is_drained(&self) -> bool {
        self.is_closed() && !self.control().senders.lock.is_held() && self.must_wait(End::Recv)
    }

    /// How many items are inside. After a death it may be off by what the dead one had in hand, until the next operation.
    pub(crate) fn len(&self) -> usize {
        let head = self.side(End::Recv).position.load(Ordering::Relaxed);
        let tail = self.side(End::Send).position.load(Ordering::Relaxed);
        self.shape.distance(head, tail).clamp(0, self.shape.capacity as i128) as usize
    }
}

/// An item in the ring, which the receiver that has this, and the lock of its side, may take out. Dropping it leaves the item inside.
pub(crate) struct Place<'a> {
    ring: &'a Ring,
    position: u64,
    index: usize,
    _held: Held<'a>,
}

impl Place<'_> {
    /// The item's bytes.
    #[inline(always)]
    pub(crate) fn bytes(&self) -> *const u8 {
        self.ring.slot(self.index).1
    }

    /// They have been read: the slot is the senders' again.
    #[inline(always)]
    pub(crate) fn hand_over(self) {
        let shape = self.ring.shape;
        self.ring.hand_over(
            End::Recv,
            self.ring.side(End::Recv),
            shape.lap(self.position),
            self.index,
            shape.next(self.position),
        );
    }
}

/// Takes a side's lock. What a dead owner left is mended by `settle`.
#[inline(always)]
fn hold(lock: &RawLock, patience: Patience) -> Result<Held<'_>, Stop> {
    lock.hold(patience).map_err(|error| match error {
        TryLockError::WouldBlock | TryLockError::TimedOut | TryLockError::Lock(LockError::Deadlock) => Stop::Busy,
        TryLockError::Lock(_) => Stop::Corrupted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_is_pinned() {
        assert_eq!(size_of::<Side>(), 128);
        assert_eq!(SLOTS, 384);
    }
}
