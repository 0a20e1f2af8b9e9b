//! The receiving end of a ring.

#![allow(unsafe_code)]

use std::fmt;
use std::time::Duration;

use super::Ring;
use crate::message::{Item, Message, Reader, Writer, item_at};
use crate::plain::Plain;
use crate::queue::{RecvError, RecvTimeoutError, TryRecvError};
use crate::ring::{End, Receives, Slot, Stop};
use crate::sync::Deadline;

/// The receiving end of a ring. Made by [`spsc`](super::spsc), which says what happens when an end is dropped, given away, or dies.
pub struct Receiver<T: Item>(pub(super) Ring<T, Receives>);

impl<T: Item> Receiver<T> {
    /// Waits for an item.
    ///
    /// # Errors
    /// [`RecvError::Closed`] if the sender was dropped and all is received, [`RecvError::Disconnected`] if it died.
    #[inline(always)]
    pub fn recv(&mut self) -> Result<T, RecvError> {
        let Some(slot) = self.0.near() else { return self.recv_slowly() };
        self.take(slot, RecvError::Corrupted)
    }

    #[cold]
    #[inline(never)]
    fn recv_slowly(&mut self) -> Result<T, RecvError> {
        let slot = self.0.slot(Deadline::NEVER)?;
        self.take(slot, RecvError::Corrupted)
    }

    /// Takes an item if there is one. Never waits.
    ///
    /// # Errors
    /// [`TryRecvError::Empty`], else as [`recv`](Self::recv).
    #[inline]
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let slot = self.0.try_slot()?;
        self.take(slot, TryRecvError::Corrupted)
    }

    /// Waits for an item, at most this long (monotonic time).
    ///
    /// # Errors
    /// [`RecvTimeoutError::Timeout`], else as [`recv`](Self::recv).
    pub fn recv_timeout(&mut self, time: Duration) -> Result<T, RecvTimeoutError> {
        let slot = self.0.slot(Deadline::after(time))?;
        self.take(slot, RecvTimeoutError::Corrupted)
    }

    /// Waits for an item, then takes as many as there are and fit, into the front of `items`. Returns how many: at least one, unless there is
    /// no room for any.
    ///
    /// # Errors
    /// As [`recv`](Self::recv); [`RecvError::Corrupted`] also if one of them is no value of its type: then all of these are dropped.
    pub fn recv_into(&mut self, items: &mut [T]) -> Result<usize, RecvError> {
        if items.is_empty() {
            return Ok(0);
        }
        let count = self.0.wait_for_some(items.len())?;
        let mut good = true;
        let mut rest = &mut items[..count];
        for (slots, count) in self.0.track.slots(count) {
            let some;
            (some, rest) = rest.split_at_mut(count);
            if T::PLAIN.is_some() {
                // SAFETY: these are `count` slots of `T::SIZE` bytes one after the other, this end's until they are passed.
                good &= T::read_into(some, &mut unsafe { Reader::raw(slots, count * T::SIZE, &[]) }).is_some();
                continue;
            }
            for (index, item) in some.iter_mut().enumerate() {
                // SAFETY: as above; this is one of them.
                let read = T::read(&mut unsafe { Reader::raw(slots.wrapping_add(index * T::SIZE), T::SIZE, &[]) });
                good &= read.map(|read| *item = read).is_some();
            }
        }
        self.0.track.pass(count);
        if good { Ok(count) } else { Err(RecvError::Corrupted) }
    }

    /// Receives until the sender is gone and all is received. What is no value of its type is passed over.
    pub fn iter(&mut self) -> Iter<'_, T> {
        Iter { receiver: self }
    }

    /// How many items fit.
    pub fn capacity(&self) -> usize {
        self.0.track.capacity()
    }

    /// How many items are inside at this moment. The sender may send some meanwhile.
    pub fn len(&self) -> usize {
        self.0.track.len()
    }

    /// Whether nothing is inside at this moment.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is no room at this moment.
    pub fn is_full(&self) -> bool {
        self.len() == self.capacity()
    }

    /// Whether the sender was dropped, or this end was given to another process. There may be items yet.
    pub fn is_closed(&self) -> bool {
        !self.0.tether.is_mine() || self.0.track.is_closed_by(End::Send)
    }

    /// Takes the item out of the next slot, which this is; `bad` if it is no value of its type.
    #[inline]
    fn take<E>(&mut self, slot: Slot, bad: E) -> Result<T, E> {
        // SAFETY: the slot has `T::SIZE` bytes, and is this end's until it is passed.
        let item = unsafe { item_at(slot.at(), bad) };
        self.0.pass_one();
        item
    }
}

impl<T: Item + Plain> Receiver<T> {
    /// Waits for an item, and lends all that are there, to be read in place.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn peek(&mut self) -> Result<Peek<'_, T>, RecvError> {
        self.0.wait(1, Deadline::NEVER)?;
        Ok(self.lend()?)
    }

    /// Lends all items that are there, if there is one. Never waits.
    ///
    /// # Errors
    /// As [`try_recv`](Self::try_recv).
    pub fn try_peek(&mut self) -> Result<Peek<'_, T>, TryRecvError> {
        match self.0.try_ready(1) {
            Ok(_) => Ok(self.lend()?),
            Err(stop) => Err(stop.into()),
        }
    }

    fn lend(&mut self) -> Result<Peek<'_, T>, Stop> {
        // What has come since the last look too.
        let count = self.0.track.look()?;
        Ok(Peek { receiver: self, count })
    }
}

/// Items in a ring, lent to its receiver. Dropping it leaves them inside.
#[must_use = "nothing is received before `release`"]
pub struct Peek<'a, T: Item + Plain> {
    receiver: &'a mut Receiver<T>,
    count: usize,
}

impl<T: Item + Plain> Peek<'_, T> {
    const ALIGNED: () = assert!(align_of::<T>() <= 128, "an item in place has an alignment of at most 128");

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The items: in one piece, or in two where they reach past the end of the ring.
    pub fn as_slices(&self) -> (&[T], &[T]) {
        let () = Self::ALIGNED;
        let [(first, before), (second, after)] = self.receiver.0.lent(self.count);
        // SAFETY: `before` slots from `first` on are this end's until they are passed, which needs `self`; a slot of plain data has its
        // size, the first of the ring is aligned to 128, and any bytes are values.
        let front = unsafe { std::slice::from_raw_parts(first.cast::<T>(), before) };
        // SAFETY: as above.
        let back = unsafe { std::slice::from_raw_parts(second.cast::<T>(), after) };
        (front, back)
    }

    /// Takes the first so many items out: their room is the sender's again.
    ///
    /// # Panics
    /// If these are more than there are.
    pub fn release(self, count: usize) {
        assert!(count <= self.count, "{count} items of {} there", self.count);
        self.receiver.0.pass_lent(count);
    }
}

impl<T: Item + Plain> fmt::Debug for Peek<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peek").field("len", &self.count).finish()
    }
}

/// Receives items until the sender is gone and all is received. Made by [`Receiver::iter`].
#[derive(Debug)]
pub struct Iter<'a, T: Item> {
    receiver: &'a mut Receiver<T>,
}

impl<T: Item> Iterator for Iter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        loop {
            let slot = match self.receiver.0.near() {
                Some(slot) => slot,
                None => self.receiver.0.slot(Deadline::NEVER).ok()?,
            };
            if let Ok(item) = self.receiver.take(slot, ()) {
                return Some(item);
            }
        }
    }
}

impl<'a, T: Item> IntoIterator for &'a mut Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T: Item> Message for Receiver<T> {
    /// Gives the end away: it is closed here from now on.
    fn write(&self, to: &mut Writer<'_>) {
        self.0.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Ring::read(from).map(Self)
    }
}

impl<T: Item> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.debug("Receiver", f)
    }
}
