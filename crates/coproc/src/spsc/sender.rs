//! The sending end of a ring.

#![allow(unsafe_code)]

use std::fmt;
use std::time::Duration;

use super::Ring;
use crate::message::{Item, Message, Reader, Writer};
use crate::plain::Plain;
use crate::queue::{SendError, SendSliceError, SendTimeoutError, TrySendError};
use crate::ring::{End, Sends, Slot, Stop};
use crate::sync::Deadline;

/// The sending end of a ring. Made by [`spsc`](super::spsc), which says what happens when an end is dropped, given away, or dies.
pub struct Sender<T: Item>(pub(super) Ring<T, Sends>);

impl<T: Item> Sender<T> {
    /// Waits for room and sends the item.
    ///
    /// # Errors
    /// [`SendError::Closed`] if the receiver was dropped, [`SendError::Disconnected`] if it died and there is no room; with the item.
    #[inline(always)]
    pub fn send(&mut self, item: T) -> Result<(), SendError<T>> {
        let Some(slot) = self.0.near() else { return self.send_slowly(item) };
        self.put(slot, &item);
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn send_slowly(&mut self, item: T) -> Result<(), SendError<T>> {
        self.put_until(&item, Deadline::NEVER).map_err(|stop| stop.of_send(item))
    }

    /// Sends the item if there is room. Never waits.
    ///
    /// # Errors
    /// [`TrySendError::Full`], else as [`send`](Self::send); with the item.
    #[inline]
    pub fn try_send(&mut self, item: T) -> Result<(), TrySendError<T>> {
        match self.0.try_slot() {
            Ok(slot) => {
                self.put(slot, &item);
                Ok(())
            }
            Err(stop) => Err(stop.of_try_send(item)),
        }
    }

    /// Waits for room, at most this long (monotonic time), and sends the item.
    ///
    /// # Errors
    /// [`SendTimeoutError::Timeout`], else as [`send`](Self::send); with the item.
    pub fn send_timeout(&mut self, item: T, time: Duration) -> Result<(), SendTimeoutError<T>> {
        self.put_until(&item, Deadline::after(time)).map_err(|stop| stop.of_send_timeout(item))
    }

    /// Sends all items in order, waiting for room as often as need be. What fits at once becomes visible at once.
    ///
    /// # Errors
    /// [`SendSliceError`], with how many were sent before it stopped.
    pub fn send_slice(&mut self, items: &[T]) -> Result<(), SendSliceError> {
        let mut sent = 0;
        while sent < items.len() {
            let rest = &items[sent..];
            let count = self.0.wait_for_some(rest.len()).map_err(|stop| SendSliceError { sent, reason: stop.of_send(()) })?;
            self.put_slice(&rest[..count]);
            sent += count;
        }
        Ok(())
    }

    /// How many items fit.
    pub fn capacity(&self) -> usize {
        self.0.track.capacity()
    }

    /// How many items are inside at this moment. The receiver may take some meanwhile.
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

    /// Whether the receiver was dropped, or this end was given to another process.
    pub fn is_closed(&self) -> bool {
        !self.0.tether.is_mine() || self.0.track.is_closed_by(End::Recv)
    }

    #[inline]
    fn put_until(&mut self, item: &T, deadline: Deadline) -> Result<(), Stop> {
        let slot = self.0.slot(deadline)?;
        self.put(slot, item);
        Ok(())
    }

    /// Sends an item through the next slot, which this is.
    #[inline]
    fn put(&mut self, slot: Slot, item: &T) {
        // SAFETY: the slot has `T::SIZE` bytes, and is this end's to write until it is passed.
        item.write(&mut unsafe { Writer::slot(slot.at(), T::SIZE) });
        self.0.pass_one();
    }

    /// Sends items for which there is room.
    fn put_slice(&mut self, mut items: &[T]) {
        let count = items.len();
        for (slots, count) in self.0.track.slots(count) {
            let some;
            (some, items) = items.split_at(count);
            if T::PLAIN.is_some() {
                // SAFETY: these are `count` slots of `T::SIZE` bytes one after the other, this end's to write until they are passed.
                T::write_each(some, &mut unsafe { Writer::slot(slots, count * T::SIZE) });
                continue;
            }
            for (index, item) in some.iter().enumerate() {
                // SAFETY: as above; this is one of them.
                item.write(&mut unsafe { Writer::slot(slots.wrapping_add(index * T::SIZE), T::SIZE) });
            }
        }
        self.0.track.pass(count);
    }
}

impl<T: Item + Plain> Sender<T> {
    /// Waits until there is room for this many items, and lends it, to be filled in place.
    ///
    /// # Errors
    /// [`SendError::Closed`] if the receiver was dropped, or there will never be room for so many; [`SendError::Disconnected`] if it died and there is no
    /// room.
    pub fn claim(&mut self, count: usize) -> Result<Claim<'_, T>, SendError<()>> {
        let deadline = if count > self.capacity() { Deadline::after(Duration::ZERO) } else { Deadline::NEVER };
        self.0.wait(count, deadline).map_err(|stop| stop.of_send(()))?;
        Ok(Claim { sender: self, count })
    }

    /// Lends room for this many items if there is as much. Never waits.
    ///
    /// # Errors
    /// [`TrySendError::Full`] if there is not, else as [`claim`](Self::claim).
    pub fn try_claim(&mut self, count: usize) -> Result<Claim<'_, T>, TrySendError<()>> {
        self.0.try_ready(count).map_err(|stop| stop.of_try_send(()))?;
        Ok(Claim { sender: self, count })
    }
}

/// Room in a ring, lent to its sender. What it holds before it is filled is old. Dropping it sends nothing.
///
/// ```
/// let (mut sender, mut receiver) = coproc::spsc::<u8>(8)?;
/// let mut room = sender.claim(3)?;
/// room.as_mut_slices().0.copy_from_slice(b"abc");
/// room.commit(3);
/// let items = receiver.peek()?;
/// assert_eq!(items.as_slices().0, b"abc");
/// items.release(3);
/// # Ok::<(), coproc::Error>(())
/// ```
#[must_use = "nothing is sent before `commit`"]
pub struct Claim<'a, T: Item + Plain> {
    sender: &'a mut Sender<T>,
    count: usize,
}

impl<T: Item + Plain> Claim<'_, T> {
    const ALIGNED: () = assert!(align_of::<T>() <= 128, "an item in place has an alignment of at most 128");

    /// How many items fit.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether none fits.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The room: in one piece, or in two where it reaches past the end of the ring.
    pub fn as_mut_slices(&mut self) -> (&mut [T], &mut [T]) {
        let () = Self::ALIGNED;
        let [(first, before), (second, after)] = self.sender.0.lent(self.count);
        // SAFETY: `before` slots from `first` on are this end's until they are passed, which needs `self`; a slot of plain data has its
        // size, the first of the ring is aligned to 128, and any bytes are values.
        let front = unsafe { std::slice::from_raw_parts_mut(first.cast::<T>(), before) };
        // SAFETY: as above; these are other slots.
        let back = unsafe { std::slice::from_raw_parts_mut(second.cast::<T>(), after) };
        (front, back)
    }

    /// Sends the first so many items of the room.
    ///
    /// # Panics
    /// If these are more than it has.
    pub fn commit(self, count: usize) {
        assert!(count <= self.count, "{count} items of {} claimed", self.count);
        self.sender.0.pass_lent(count);
    }
}

impl<T: Item + Plain> fmt::Debug for Claim<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("len", &self.count).finish()
    }
}

impl<T: Item> Message for Sender<T> {
    /// Gives the end away: it is closed here from now on.
    fn write(&self, to: &mut Writer<'_>) {
        self.0.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Ring::read(from).map(Self)
    }
}

impl<T: Item> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.debug("Sender", f)
    }
}
