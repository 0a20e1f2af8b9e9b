//! Waiting for an end together with others, or as a task.

use std::sync::atomic::AtomicU32;

use super::{Receiver, Ring, Sender};
use crate::message::Item;
use crate::queue::{RecvError, SendError, TryRecvError, TrySendError};
use crate::ready::{Observer, Waitable};
use crate::ring::{Look, Side};

impl<T: Item, S: Side> Ring<T, S> {
    fn look(&self) -> Look {
        // SAFETY: the bell is kept beside the segment.
        Look::new(unsafe { self.track.bell() }, self.segment.clone())
    }

    fn is_ready(&self) -> bool {
        !self.tether.is_mine() || self.tether.is_cut() || self.look().is_ready()
    }

    fn announce(&self) -> (&AtomicU32, u32) {
        (self.track.here().word(), self.track.here().mark())
    }

    fn pass_on(&self) {
        self.look().pass_on();
    }
}

macro_rules! waits {
    ($end:ident, $what:literal) => {
        #[doc = $what]
        impl<T: Item> Waitable for $end<T> {
            fn is_ready(&self) -> bool {
                self.0.is_ready()
            }

            fn announce(&self) -> (&AtomicU32, u32) {
                self.0.announce()
            }

            fn pass_on(&self) {
                self.0.pass_on();
            }

            fn ask_kernel(&self) {
                self.0.tether.ask(&self.0.track);
            }
        }

        impl<T: Item> $end<T> {
            /// What a [`Watch`](crate::Watch) or [`ready`](fn@crate::ready) waits for in the place of this end.
            pub fn observe(&self) -> Observer {
                Observer::new(self.0.look())
            }
        }
    };
}

waits!(Sender, "Ready when there is room, or the receiver has gone.");
waits!(Receiver, "Ready when there is something to receive, or the sender has gone.");

impl<T: Item> Sender<T> {
    /// Waits for room as a task, with any executor, and sends the item. Dropped before that, it has sent nothing.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_async(&mut self, item: T) -> Result<(), SendError<T>> {
        let mut item = item;
        loop {
            item = match self.try_send(item) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(item) | TrySendError::Busy(item)) => item,
                Err(TrySendError::Closed(item)) => return Err(SendError::Closed(item)),
                Err(TrySendError::Disconnected(item)) => return Err(SendError::Disconnected(item)),
                Err(TrySendError::Corrupted(item)) => return Err(SendError::Corrupted(item)),
            };
            crate::ready::wait(self.observe()).await;
        }
    }
}

impl<T: Item> Receiver<T> {
    /// Waits for an item as a task, with any executor. Dropped before that, it has taken nothing.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub async fn recv_async(&mut self) -> Result<T, RecvError> {
        loop {
            match self.try_recv() {
                Ok(item) => return Ok(item),
                Err(TryRecvError::Empty | TryRecvError::Busy) => {}
                Err(error) => return Err(error.into()),
            }
            crate::ready::wait(self.observe()).await;
        }
    }
}
