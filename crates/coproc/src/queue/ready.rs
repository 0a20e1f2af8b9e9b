//! Waiting for a queue together with others, or as a task.

use std::sync::atomic::AtomicU32;

use super::ring::End;
use super::{Queue, RecvError, SendError, TryRecvError, TrySendError};
use crate::message::Item;
use crate::ready::{Waitable, ready};

/// Ready when there is something to receive, or nothing will come any more.
impl<T: Item> Waitable for Queue<T> {
    fn is_ready(&self) -> bool {
        !self.ring.must_wait(End::Recv) || self.ring.is_drained()
    }

    fn announce(&self) -> (&AtomicU32, u32) {
        let word = &self.ring.signals().not_empty;
        (word.word(), word.mark())
    }

    fn pass_on(&self) {
        self.ring.signals().not_empty.pass_on_dearly(|| !self.ring.must_wait(End::Recv));
    }
}

/// A queue, ready when there is room, or it is closed.
struct Room<T: Item>(Queue<T>);

impl<T: Item> Clone for Room<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Item> Waitable for Room<T> {
    fn is_ready(&self) -> bool {
        !self.0.ring.must_wait(End::Send) || self.0.is_closed()
    }

    fn announce(&self) -> (&AtomicU32, u32) {
        let word = &self.0.ring.signals().not_full;
        (word.word(), word.mark())
    }

    fn pass_on(&self) {
        self.0.ring.signals().not_full.pass_on_dearly(|| !self.0.ring.must_wait(End::Send));
    }
}

impl<T: Item> Queue<T> {
    /// Waits for room as a task, with any executor, and sends the item. Dropped before that, it has sent nothing.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_async(&self, item: T) -> Result<(), SendError<T>> {
        let mut item = item;
        loop {
            item = match self.try_send(item) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(item)) => item,
                Err(TrySendError::Busy(item)) => {
                    give_way().await;
                    item
                }
                Err(TrySendError::Closed(item)) => return Err(SendError::Closed(item)),
                Err(TrySendError::Disconnected(item)) => return Err(SendError::Disconnected(item)),
                Err(TrySendError::Corrupted(item)) => return Err(SendError::Corrupted(item)),
            };
            // Without a thread that could wait for it, the task looks again and again.
            if ready(Room(self.clone())).await.is_err() {
                give_way().await;
            }
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
                Err(TryRecvError::Closed) => return Err(RecvError::Closed),
                Err(TryRecvError::Disconnected) => return Err(RecvError::Disconnected),
                Err(TryRecvError::Corrupted) => return Err(RecvError::Corrupted),
            }
            if ready(self.clone()).await.is_err() {
                give_way().await;
            }
        }
    }
}

/// Lets other tasks run, once.
fn give_way() -> impl Future<Output = ()> {
    let mut given = false;
    std::future::poll_fn(move |context| {
        if std::mem::replace(&mut given, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
}
