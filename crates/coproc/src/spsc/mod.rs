//! A ring between one sender and one receiver, without locks.

#![allow(unsafe_code)]

mod distance;
mod ready;
mod receiver;
mod sender;

pub use receiver::{Iter, Peek, Receiver};
pub use sender::{Claim, Sender};

use std::fmt;
use std::marker::PhantomData;

use self::distance::Distance;
use crate::error::{self, Error};
use crate::layout::{Layout, PROTOCOL};
use crate::liveness::Lifeline;
use crate::message::{Item, Reader, Writer};
use crate::ring::{Sends, Side, Slot, Stop, Tether, Track};
use crate::segment::{Kind, Plan, Segment};
use crate::sync::Deadline;

/// A bounded first-in first-out ring in shared memory with one sender and one receiver, each in any process.
///
/// Faster than a [`Queue`](crate::Queue): no locks, no step that waits for the other end but where the ring is full or empty, and plain data
/// can be written and read in place. The ends move: an end given to another process, as an argument or in a message, is that process's from
/// then on, and who gave it finds it closed.
///
/// **When an end is dropped**, the other finds the ring closed: the receiver after it has received all that was sent. **When it dies**, with its process
/// or on its way to one, the other finds the ring disconnected, at most 20 ms later; what was sent before is still received.
///
/// ```
/// let (mut sender, mut receiver) = coproc::spsc::<u64>(100)?;
/// sender.send(7)?;
/// sender.send_slice(&[8, 9])?;
/// drop(sender);
/// assert_eq!(receiver.iter().collect::<Vec<_>>(), [7, 8, 9]);
/// # Ok::<(), coproc::Error>(())
/// ```
///
/// # Errors
/// [`Error::Empty`] for a capacity of 0, [`Error::TooLarge`] if its bytes cannot be counted, [`Error::NoSpace`] if there is no memory for it,
/// [`Error::TooManyDescriptors`] if there are no three descriptors, or what the system says.
pub fn spsc<T: Item>(capacity: usize) -> error::Result<(Sender<T>, Receiver<T>)> {
    if capacity == 0 {
        return Err(Error::Empty);
    }
    let body = Track::<Sends>::size(capacity, T::SIZE).ok_or(Error::TooLarge { len: capacity, size: T::SIZE })?;
    let segment = Segment::create(Plan { kind: Kind::Ring, layout: layout::<T>(), len: capacity, body })?;
    let (one, other) = Lifeline::pair()?;
    let sender = Ring::new(segment.clone(), one)?;
    Ok((Sender(sender), Receiver(Ring::new(segment, other)?)))
}

fn layout<T: Item>() -> u64 {
    Layout::of::<()>("spsc").number(PROTOCOL).number(T::SIZE as u64).number(T::LAYOUT).hash()
}

/// What both ends are made of.
#[derive(Debug)]
struct Ring<T, S: Side> {
    track: Track<S>,
    tether: Tether,
    /// Keeps the ring mapped.
    segment: Segment,
    distance: Distance,
    of: PhantomData<fn(T) -> T>,
}

impl<T: Item, S: Side> Ring<T, S> {
    /// # Errors
    /// If the segment is none of this ring, this process has the end already, or it was dropped by another one.
    fn new(segment: Segment, lifeline: Lifeline) -> error::Result<Self> {
        segment.expect(Kind::Ring, layout::<T>(), std::any::type_name::<T>())?;
        let capacity = segment.len();
        if capacity == 0 {
            return Err(Error::Empty);
        }
        segment.expect_body(Track::<S>::size(capacity, T::SIZE))?;
        let tether = Tether::new(lifeline);
        // SAFETY: the body has the size of this ring and can be written (`expect`); the segment is kept beside the track; that nobody of this
        // process has the end is what `take_end` says.
        let track = unsafe { Track::new(segment.body(), capacity, T::SIZE) }.map_err(|_| Error::Corrupted)?;
        if track.is_closed_by(S::END) || !segment.take_end(S::END as usize) {
            return Err(Error::Corrupted);
        }
        track.hold(tether.holder());
        Ok(Self { track, tether, segment, distance: Distance::new(capacity, T::SIZE), of: PhantomData })
    }

    /// Gives the end away. One that was given away already leaves nothing that could be read.
    fn write(&self, to: &mut Writer<'_>) {
        if let Some(socket) = self.tether.give() {
            self.segment.leave_end(S::END as usize);
            self.track.let_go();
            to.segment(&self.segment);
            to.file(socket);
        }
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let segment = from.segment()?;
        Self::new(segment, Lifeline::adopt(from.file()?)).ok()
    }

    #[inline]
    fn try_ready(&mut self, want: usize) -> Result<usize, Stop> {
        self.tether.try_ready(&mut self.track, want)
    }

    /// How many slots this end may use: at least `want`, for which it waits.
    #[inline]
    fn wait(&mut self, want: usize, deadline: Deadline) -> Result<usize, Stop> {
        if self.has(want) {
            return Ok(self.track.known());
        }
        match self.tether.ready(&mut self.track, want) {
            Ok(usable) if self.distance.is_kept(usable) => Ok(usable),
            Ok(_) => self.fall_behind(),
            // However many come at once: it is `distance` that keeps off a stream.
            Err(Stop::Wait) => self.tether.wait_slow(&mut self.track, want, usize::MAX, deadline),
            Err(stop) => Err(stop),
        }
    }

    /// The next slot, if it is known to be this end's, and of use.
    #[inline]
    fn near(&self) -> Option<Slot> {
        self.track.near().filter(|_| self.tether.may_use(&self.track))
    }

    /// The next slot, if it is this end's. Never waits.
    #[inline]
    fn try_slot(&mut self) -> Result<Slot, Stop> {
        if let Some(slot) = self.near() {
            return Ok(slot);
        }
        self.try_ready(1)?;
        Ok(self.track.run_on())
    }

    /// Waits for the next slot, which is not near.
    #[inline]
    fn slot(&mut self, deadline: Deadline) -> Result<Slot, Stop> {
        self.wait(1, deadline)?;
        Ok(self.track.run_on())
    }

    /// Passes the slot that was near, or that a run has begun with.
    #[inline]
    fn pass_one(&mut self) {
        if T::SIZE == 0 { self.track.pass(1) } else { self.track.pass_near() }
    }

    /// Whether so many slots are known to be this end's, and of use.
    #[inline]
    fn has(&self, want: usize) -> bool {
        self.track.known() >= want && self.tether.may_use(&self.track)
    }

    /// Lets the other end get ahead.
    #[cold]
    fn fall_behind(&mut self) -> Result<usize, Stop> {
        Distance::pause();
        let usable = self.track.look()?;
        self.distance.paused(usable);
        Ok(usable)
    }

    /// Waits for a slot, and says how many there are, at most so many.
    fn wait_for_some(&mut self, most: usize) -> Result<usize, Stop> {
        // What has been passed since the last look counts too.
        if self.track.known() < most && self.tether.may_use(&self.track) {
            match self.track.look()? {
                0 => {}
                usable if self.distance.is_kept(usable) => return Ok(usable.min(most)),
                _ => return Ok(self.fall_behind()?.min(most)),
            }
        }
        Ok(self.wait(1, Deadline::NEVER)?.min(most))
    }

    /// The next slots, lent as long as the end is this process's: a forked child that has a copy of a loan has nothing.
    fn lent(&self, count: usize) -> [(*mut u8, usize); 2] {
        self.track.slots(if self.tether.is_mine() { count } else { 0 })
    }

    /// Passes what was lent.
    fn pass_lent(&mut self, count: usize) {
        if self.tether.is_mine() {
            self.track.pass(count);
        }
    }

    fn debug(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("len", &self.track.len())
            .field("capacity", &self.track.capacity())
            .field("closed", &(!self.tether.is_mine() || self.track.is_closed_by(S::END.other())))
            .finish()
    }
}

impl<T, S: Side> Drop for Ring<T, S> {
    fn drop(&mut self) {
        if self.tether.is_mine() {
            self.track.close();
            self.segment.leave_end(S::END as usize);
        }
    }
}
