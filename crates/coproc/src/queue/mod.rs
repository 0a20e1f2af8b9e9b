//! A bounded queue between processes, many senders to many receivers.

#![allow(unsafe_code)]

mod error;
mod iter;
mod joinable;
mod ready;
mod ring;
mod shape;
#[cfg(test)]
mod tests;
mod waiting;

pub use error::{RecvError, RecvTimeoutError, SendError, SendSliceError, SendTimeoutError, TryRecvError, TrySendError};
pub use iter::{Drain, Iter};
pub use joinable::{JoinTimeoutError, JoinableQueue, NoTask, TasksLost};
pub(crate) use ring::{Place, Ring};
pub(crate) use shape::Shape;
pub(crate) use waiting::{RingTurn, Turn, wait_for};

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::handle::handle;
use crate::layout::{Layout, PROTOCOL};
use crate::message::{Item, Reader, Writer, item_at};
use crate::ring::{End, Stop};
use crate::segment::{Holder, Kind, Plan, Segment};
use crate::sync::{Deadline, Patience};
use waiting::{found_at_once, wake};

/// A bounded first-in first-out queue in shared memory, for any number of senders and receivers in any processes.
///
/// Items cross by value, in one copy each way for plain data; nothing is allocated after creation. Any capacity will do, not only powers of
/// two. Handles of shared objects cross as [`Ticket`](crate::Ticket)s. When [`send`](Self::send) has returned, every process sees the item. The items of one sender arrive in its order.
///
/// **When a process dies**, killed at any instruction, the others go on, after 10 ms or so if it was just at the queue. An item is in the
/// queue until one store takes it out; from then on it belongs to that receiver and dies with it: at most one per dead receiver, up to
/// `n` for [`recv_into`](Self::recv_into). Nothing else is lost, nothing is seen twice. A sender killed in [`send_slice`](Self::send_slice) leaves a prefix.
///
/// **When every other process that had the queue has died or gone** without closing it, who would wait for them gets `Disconnected`, at most
/// 20 ms later: a receiver when the queue is empty, a sender when it is full. A handle on its way to a process counts as one. So does another handle in
/// this process, but not other threads that share one handle by reference; and a queue that was never given to another process is never
/// disconnected. `try_recv` and `try_send` ask about the others once in 64 times.
///
/// ```
/// use coproc::Queue;
///
/// let queue = Queue::new(100)?;
/// queue.send(7_u32)?;
/// queue.send_slice(&[8, 9])?;
/// queue.close();
/// assert_eq!(queue.iter().collect::<Vec<_>>(), [7, 8, 9]);
/// # Ok::<(), coproc::Error>(())
/// ```
pub struct Queue<T> {
    segment: Holder,
    ring: Ring,
    of: PhantomData<fn(T) -> T>,
}

handle!(Queue<T: Item>);

// Without a bound on `T` here, a `T` that is no item is one error that says why, and not a missing function.
impl<T> Queue<T> {
    /// An empty queue with room for this many items.
    ///
    /// # Errors
    /// [`Error::Empty`] for a capacity of 0, [`Error::TooLarge`] if its bytes cannot be counted, [`Error::NoSpace`] if there is no memory for it,
    /// [`Error::TooManyDescriptors`] if there is no descriptor, or what the system says.
    pub fn new(capacity: usize) -> Result<Self>
    where
        T: Item,
    {
        if capacity == 0 {
            return Err(Error::Empty);
        }
        let shape = Shape::new(capacity, T::SIZE);
        let body = shape.body().ok_or(Error::TooLarge { len: capacity, size: T::SIZE })?;
        let segment = Segment::create(Plan { kind: Kind::Queue, layout: Self::LAYOUT, len: capacity, body })?;
        // SAFETY: the body was made for this shape, and the segment is kept beside the ring.
        let ring = unsafe { Ring::new(&segment, shape) };
        Ok(Self { segment: Holder::of(segment), ring, of: PhantomData })
    }
}

impl<T: Item> Queue<T> {
    const LAYOUT: u64 = Layout::of::<()>("Queue").number(PROTOCOL).number(T::SIZE as u64).number(T::LAYOUT).hash();

    fn from_segment(segment: Segment) -> Result<Self> {
        segment.expect(Kind::Queue, Self::LAYOUT, std::any::type_name::<T>())?;
        let capacity = segment.len();
        if capacity == 0 {
            return Err(Error::Empty);
        }
        let shape = Shape::new(capacity, T::SIZE);
        segment.expect_body(shape.body())?;
        // SAFETY: the body has the size of this shape and can be written (`expect`), and the segment is kept beside the ring.
        let ring = unsafe { Ring::new(&segment, shape) };
        Ok(Self { segment: Holder::of(segment), ring, of: PhantomData })
    }

    pub(crate) fn segment(&self) -> &Segment {
        &self.segment
    }

    /// How many items fit.
    pub fn capacity(&self) -> usize {
        self.ring.shape().capacity
    }

    /// How many items are inside at this moment.
    #[doc(alias = "qsize")]
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether a receiver would find nothing at this moment.
    pub fn is_empty(&self) -> bool {
        self.ring.is_idle(End::Recv)
    }

    /// Whether a sender would find no room at this moment.
    pub fn is_full(&self) -> bool {
        self.ring.is_idle(End::Send)
    }

    /// Closes the queue for all: nothing more is sent, what is inside is still received. Never waits.
    pub fn close(&self) {
        self.ring.close_for_all();
    }

    /// Whether the queue was closed.
    pub fn is_closed(&self) -> bool {
        self.ring.is_closed()
    }

    /// Waits for room and sends the item.
    ///
    /// # Errors
    /// [`SendError::Closed`], [`SendError::Disconnected`] if it is full and nobody else is left; with the item.
    #[doc(alias = "put")]
    #[inline]
    pub fn send(&self, item: T) -> Result<(), SendError<T>> {
        match self.send_until(std::slice::from_ref(&item), Deadline::NEVER) {
            Ok(_) => Ok(()),
            Err(stop) => Err(stop.of_send(item)),
        }
    }

    /// Sends the item if there is room.
    ///
    /// # Errors
    /// [`TrySendError`], with the item.
    #[doc(alias = "put_nowait")]
    #[inline]
    pub fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
        match self.put_one(&item) {
            Ok(()) => Ok(()),
            Err(stop) => Err(stop.of_try_send(item)),
        }
    }

    /// Waits for room, at most this long (monotonic time), and sends the item.
    ///
    /// # Errors
    /// [`SendTimeoutError`], with the item.
    pub fn send_timeout(&self, item: T, time: Duration) -> Result<(), SendTimeoutError<T>> {
        match self.send_until(std::slice::from_ref(&item), Deadline::after(time)) {
            Ok(_) => Ok(()),
            Err(stop) => Err(stop.of_send_timeout(item)),
        }
    }

    /// Sends all items in order, waiting for room as often as need be. Other senders' items may come in between where it had to wait.
    ///
    /// # Errors
    /// [`SendSliceError`], with how many were sent before the queue was closed.
    pub fn send_slice(&self, items: &[T]) -> Result<(), SendSliceError> {
        let mut sent = 0;
        while sent < items.len() {
            match self.send_until(&items[sent..], Deadline::NEVER) {
                Ok(count) => sent += count,
                Err(stop) => return Err(SendSliceError { sent, reason: stop.of_send(()) }),
            }
        }
        Ok(())
    }

    /// Waits for an item.
    ///
    /// # Errors
    /// [`RecvError::Closed`] if the queue is closed and empty, [`RecvError::Disconnected`] if it is empty and nobody else is left.
    #[doc(alias = "get")]
    #[inline]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.recv_until(Deadline::NEVER, RecvError::Corrupted)
    }

    /// Takes an item if there is one.
    ///
    /// # Errors
    /// [`TryRecvError::Empty`], [`TryRecvError::Closed`] if there will be none any more, [`TryRecvError::Busy`].
    #[doc(alias = "get_nowait")]
    #[inline]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        match self.next_item(Patience::Yield) {
            Ok(place) => self.take(place, TryRecvError::Corrupted),
            Err(Stop::Wait) => Err(self.why_empty().into()),
            Err(stop) => Err(stop.into()),
        }
    }

    /// Waits for an item, at most this long (monotonic time).
    ///
    /// # Errors
    /// [`RecvTimeoutError::Timeout`], [`RecvTimeoutError::Closed`] if the queue is closed and empty.
    pub fn recv_timeout(&self, time: Duration) -> Result<T, RecvTimeoutError> {
        self.recv_until(Deadline::after(time), RecvTimeoutError::Corrupted)
    }

    /// Waits for an item, then takes as many as there are and fit, into the front of `items`. Returns how many: at least one, unless
    /// there is no room for any.
    ///
    /// # Errors
    /// [`RecvError::Closed`] if the queue is closed and empty; [`RecvError::Corrupted`] if one of them is no value of its type: these are dropped.
    pub fn recv_into(&self, items: &mut [T]) -> Result<usize, RecvError> {
        if items.is_empty() {
            return Ok(0);
        }
        let mut good = 0;
        let taken = wait_for(&self.turn(End::Recv), Deadline::NEVER, |patience| {
            good = 0;
            self.pass_out(items.len(), patience, |_, reader| {
                if let Some(item) = T::read(reader) {
                    items[good] = item;
                    good += 1;
                }
            })
        })?;
        if taken == good { Ok(taken) } else { Err(RecvError::Corrupted) }
    }

    /// Receives until the queue is closed and empty. What is no value of its type is passed over.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { queue: self }
    }

    /// Receives what is there, without waiting: until the queue is found empty, or [`try_recv`](Self::try_recv) would say that it is busy. What is no
    /// value of its type is passed over.
    #[doc(alias = "try_iter")]
    pub fn drain(&self) -> Drain<'_, T> {
        Drain { queue: self }
    }

    /// Waits for room until the deadline, and sends as many of these as there is room for: at least one.
    #[inline]
    fn send_until(&self, items: &[T], deadline: Deadline) -> Result<usize, Stop> {
        match self.pass_in(items, Patience::Until(deadline)) {
            Err(Stop::Wait) => self.send_later(items, deadline),
            result => {
                found_at_once();
                result
            }
        }
    }

    /// What a call on this side waits for.
    fn turn(&self, end: End) -> RingTurn<'_, impl Fn() -> bool> {
        RingTurn { ring: &self.ring, end, is_alone: || self.segment.is_alone() }
    }

    #[cold]
    fn send_later(&self, items: &[T], deadline: Deadline) -> Result<usize, Stop> {
        waiting::wait_again(&self.turn(End::Send), deadline, |patience| self.pass_in(items, patience))
    }

    /// Sends the item if there is room; else says whether there ever will be.
    #[inline]
    fn put_one(&self, item: &T) -> Result<(), Stop> {
        match self.pass_in(std::slice::from_ref(item), Patience::Yield) {
            Ok(_) => Ok(()),
            Err(Stop::Wait) if self.is_closed() => Err(Stop::Closed),
            Err(Stop::Wait) if self.segment.is_found_alone() => Err(Stop::Disconnected),
            Err(stop) => Err(stop),
        }
    }

    /// What a receiver is told that found nothing and does not wait.
    fn why_empty(&self) -> Stop {
        if self.ring.is_drained() {
            Stop::Closed
        } else if self.segment.is_found_alone() && self.ring.must_wait(End::Recv) {
            Stop::Disconnected
        } else {
            Stop::Wait
        }
    }

    /// Waits for an item until the deadline. One that is no value of its type is gone, and `bad`.
    #[inline(always)]
    fn recv_until<E: From<Stop>>(&self, deadline: Deadline, bad: E) -> Result<T, E> {
        match self.next_item(Patience::Until(deadline)) {
            Ok(place) => {
                found_at_once();
                self.take(place, bad)
            }
            Err(Stop::Wait) => self.recv_later(deadline, bad),
            Err(stop) => Err(stop.into()),
        }
    }

    #[cold]
    #[inline(never)]
    fn recv_later<E: From<Stop>>(&self, deadline: Deadline, bad: E) -> Result<T, E> {
        let mut item = Err(bad);
        waiting::wait_again(&self.turn(End::Recv), deadline, |patience| {
            let place = self.next_item(patience)?;
            if let Ok(taken) = self.take(place, ()) {
                item = Ok(taken);
            }
            Ok(())
        })?;
        item
    }

    /// The next item, where it lies. [`take`](Self::take) takes it out.
    #[inline(always)]
    fn next_item(&self, patience: Patience) -> Result<Place<'_>, Stop> {
        if self.ring.must_wait(End::Recv) {
            return Err(Stop::Wait);
        }
        self.ring.next_item(patience)
    }

    #[inline(always)]
    fn take<E>(&self, place: Place<'_>, bad: E) -> Result<T, E> {
        let item = Self::item_in(&place, bad);
        self.hand_over(place);
        item
    }

    /// The item at this place: a copy, until that is [handed over](Self::hand_over).
    #[inline(always)]
    fn item_in<E>(place: &Place<'_>, bad: E) -> Result<T, E> {
        // SAFETY: the slot has `T::SIZE` bytes, and it is the receivers' turn, whose lock the place holds.
        unsafe { item_at(place.bytes(), bad) }
    }

    /// Gives the place, whose item was read, to the senders.
    #[inline(always)]
    fn hand_over(&self, place: Place<'_>) {
        place.hand_over();
        wake(&self.ring.signals().not_full, 1);
    }

    /// As [`send_until`](Self::send_until), without waiting for room.
    #[inline]
    fn pass_in(&self, items: &[T], patience: Patience) -> Result<usize, Stop> {
        if self.ring.must_wait(End::Send) {
            return Err(Stop::Wait);
        }
        self.ring.pass_in(items.len(), patience, |n, bytes| {
            // SAFETY: the slot has `T::SIZE` bytes from there on, and it is this side's turn, under its lock.
            let mut writer = unsafe { Writer::slot(bytes, T::SIZE) };
            items[n].write(&mut writer);
        })
    }

    /// Receives as many items as there are, at least one and at most `most`: their numbers, and what they are read from.
    #[inline]
    fn pass_out(&self, most: usize, patience: Patience, mut give: impl FnMut(usize, &mut Reader<'_>)) -> Result<usize, Stop> {
        if self.ring.must_wait(End::Recv) {
            return Err(Stop::Wait);
        }
        let taken = self.ring.pass(End::Recv, most, patience, |n, bytes| {
            // SAFETY: the slot has `T::SIZE` bytes from there on.
            give(n, &mut unsafe { Reader::raw(bytes, T::SIZE, &[]) });
        })?;
        wake(&self.ring.signals().not_full, taken);
        Ok(taken)
    }
}

impl<T: Item> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .field("closed", &self.is_closed())
            .finish()
    }
}
