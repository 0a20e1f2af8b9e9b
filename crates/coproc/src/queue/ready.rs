//! Waiting for a queue together with others, or as a task.

use std::sync::atomic::AtomicU32;

use super::ring::Ring;
use super::{Queue, RecvError, SendError, TryRecvError};
use crate::message::Item;
use crate::ready::{Observer, Waitable, give_way, wait};
use crate::ring::{End, Stop};
use crate::segment::Segment;

/// A side of a queue, to wait for. Has no part in the queue: in this process it does not count as one that may yet send or receive. The place of the
/// process is its mapping's, which this keeps.
#[derive(Clone, Debug)]
struct Side {
    ring: Ring,
    end: End,
    /// Keeps the ring mapped.
    segment: Segment,
}

impl Waitable for Side {
    fn is_ready(&self) -> bool {
        self.ring.is_ready(self.end, &self.segment)
    }

    fn announce(&self) -> (&AtomicU32, u32) {
        self.ring.announce(self.end)
    }

    fn pass_on(&self) {
        self.ring.pass_on(self.end);
    }

    fn ask_kernel(&self) {
        // What it finds is kept for the next look.
        self.segment.is_alone();
    }
}

impl Ring {
    /// Whether it is the side's turn, or waiting for it is in vain.
    fn is_ready(&self, end: End, segment: &Segment) -> bool {
        self.is_over(end) || !self.must_wait(end) || segment.is_found_alone()
    }

    fn announce(&self, end: End) -> (&AtomicU32, u32) {
        (self.word(end).word(), self.word(end).mark())
    }

    fn pass_on(&self, end: End) {
        self.word(end).pass_on(|| !self.must_wait(end));
    }
}

impl<T: Item> Queue<T> {
    fn side(&self, end: End) -> Side {
        Side { ring: self.ring, end, segment: Segment::clone(&self.segment) }
    }

    /// What a [`Watch`](crate::Watch) or [`ready`](fn@crate::ready) waits for: that something can be received, or nothing will come any more. It is no further handle
    /// of the queue: in this process it keeps nobody waiting. Other processes count this one among those that have the queue until it is dropped too.
    pub fn observe(&self) -> Observer {
        Observer::new(self.side(End::Recv))
    }

    /// Waits for room as a task, with any executor, and sends the item. Dropped before that, it has sent nothing.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_async(&self, item: T) -> Result<(), SendError<T>> {
        loop {
            match self.put_one(&item) {
                Ok(()) => return Ok(()),
                Err(Stop::Wait) => {}
                Err(Stop::Busy) => give_way().await,
                Err(stop) => return Err(stop.of_send(item)),
            }
            wait(Observer::new(self.side(End::Send))).await;
        }
    }

    /// Waits for an item as a task, with any executor. Dropped before that, it has taken nothing.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub async fn recv_async(&self) -> Result<T, RecvError> {
        loop {
            match self.try_recv() {
                Ok(item) => return Ok(item),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Busy) => give_way().await,
                Err(error) => return Err(error.into()),
            }
            wait(self.observe()).await;
        }
    }
}

/// Ready when something can be received, or nothing will come any more.
impl<T: Item> Waitable for Queue<T> {
    fn is_ready(&self) -> bool {
        self.ring.is_ready(End::Recv, &self.segment)
    }

    fn announce(&self) -> (&AtomicU32, u32) {
        self.ring.announce(End::Recv)
    }

    fn pass_on(&self) {
        self.ring.pass_on(End::Recv);
    }

    fn ask_kernel(&self) {
        self.segment.is_alone();
    }
}
