//! The ring in shared memory between one sender and one receiver. No types here but bytes, no locks, and no waiting.
//!
//! What a death leaves: who dies before it has stored its position has sent, or received, nothing; who dies after that has.

#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::Ordering;

use super::bell::Bell;
use super::control::{Control, End, Position, SLOTS};
use crate::sync::WaitWord;
use crate::sys::prefetch;

/// How far ahead an end that goes slot by slot asks for memory, in bytes: four cache lines, so that as many are on their way at a time.
const AHEAD: usize = 256;

/// An end as a type, so that what only one of them needs costs the other nothing.
pub(crate) trait Side: fmt::Debug {
    const END: End;
}

/// The end that sends.
#[derive(Debug)]
pub(crate) enum Sends {}

/// The end that receives.
#[derive(Debug)]
pub(crate) enum Receives {}

impl Side for Sends {
    const END: End = End::Send;
}

impl Side for Receives {
    const END: End = End::Recv;
}

/// The words hold what no code of ours writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Impossible;

/// Where an end's next slot lies, which is known to be the end's: to write or to read as many bytes as it has, before it is passed.
#[derive(Debug)]
pub(crate) struct Slot(*mut u8);

impl Slot {
    #[inline]
    pub(crate) fn at(self) -> *mut u8 {
        self.0
    }
}

/// One end's view of the ring.
///
/// 1. `control` is the start of `size(capacity, stride)` bytes, mapped as long as the segment beside which this is kept.
/// 2. Slots lie at `SLOTS + index * stride`, for index below `capacity`: inside, and aligned to 128 at index 0. `end` is where the last one ends.
/// 3. `position` is what this end has stored last, `next` the slot of index `position % capacity`, or, for the first slot, `end`.
/// 4. The slots from `position` to `limit`, at most `capacity`, are this end's: the other end has passed them. They only become more until this
///    end passes some: a position that goes back, as only a hostile peer's does, takes none away.
/// 5. The slots from `next` to `run`, the run, are some of these, and lie in one piece. So who goes one by one compares nothing but `next` with `run`.
#[derive(Debug)]
pub(crate) struct Track<S> {
    control: NonNull<Control>,
    capacity: usize,
    stride: usize,
    position: u64,
    limit: u64,
    next: *mut u8,
    run: *mut u8,
    end: *mut u8,
    side: PhantomData<fn() -> S>,
}

// SAFETY: it points to memory that all threads and processes may reach: atomics, and slots whose bytes go by turns.
unsafe impl<S> Send for Track<S> {}
// SAFETY: as above; through a shared reference it only looks at atomics.
unsafe impl<S> Sync for Track<S> {}

impl<S: Side> Track<S> {
    const END: End = S::END;

    /// Size of a ring, in bytes, if it can be counted.
    pub(crate) fn size(capacity: usize, stride: usize) -> Option<usize> {
        // The capacity too, of items without bytes: twice as much can be counted.
        isize::try_from(capacity).ok()?;
        capacity.checked_mul(stride)?.checked_add(SLOTS).filter(|&size| isize::try_from(size).is_ok())
    }

    /// This end, as the last process that had it left it.
    ///
    /// # Errors
    /// If the positions are impossible.
    ///
    /// # Safety
    /// From `at` on, which is aligned to 128, `size(capacity, stride)` bytes can be written as long as this lives; `capacity` is not 0. Before
    /// slots are asked for, nobody of this process has this end beside.
    pub(crate) unsafe fn new(at: NonNull<u8>, capacity: usize, stride: usize) -> Result<Self, Impossible> {
        let first = at.as_ptr().wrapping_add(SLOTS);
        let end = first.wrapping_add(capacity * stride);
        let mut track =
            Self { control: at.cast(), capacity, stride, position: 0, limit: 0, next: first, run: first, end, side: PhantomData };
        // Acquire: pairs with the Release in `publish`, in the process that had this end before.
        track.position = track.positions()[Self::END as usize].0.load(Ordering::Acquire);
        track.limit = track.position;
        track.next = first.wrapping_add((track.position % capacity as u64) as usize * stride);
        track.run = track.next;
        track.look()?;
        Ok(track)
    }

    fn control(&self) -> &Control {
        // SAFETY: invariant 1; any bytes are a `Control`.
        unsafe { self.control.as_ref() }
    }

    fn positions(&self) -> &[Position; 2] {
        &self.control().positions
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many slots this end has passed, ever.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// How many slots this end may use, as far as it knows without a look at the other's word.
    #[inline]
    pub(crate) fn known(&self) -> usize {
        // At most the capacity, which is a number of slots in memory.
        self.limit.wrapping_sub(self.position) as usize
    }

    /// How many slots this end may use: free ones for the sender, full ones for the receiver.
    #[inline]
    pub(crate) fn look(&mut self) -> Result<usize, Impossible> {
        let usable = self.usable()?;
        if usable < self.known() {
            return Err(Impossible);
        }
        self.limit = self.position.wrapping_add(usable as u64);
        Ok(usable)
    }

    /// How many items are inside, as this end sees it.
    pub(crate) fn len(&self) -> usize {
        let usable = self.usable().unwrap_or(0);
        if Self::END == End::Send { self.capacity - usable } else { usable }
    }

    #[inline]
    fn usable(&self) -> Result<usize, Impossible> {
        // Acquire: pairs with the Release in `publish`; the items' bytes are written, or have been read.
        let other = self.positions()[1 - Self::END as usize].0.load(Ordering::Acquire);
        let inside = match Self::END {
            End::Send => self.position.wrapping_sub(other),
            End::Recv => other.wrapping_sub(self.position),
        };
        let inside = usize::try_from(inside).ok().filter(|&inside| inside <= self.capacity).ok_or(Impossible)?;
        Ok(if Self::END == End::Send { self.capacity - inside } else { inside })
    }

    /// Where this end's next `count` slots lie: in one piece, or in two if they reach past the end of the ring. Pieces are given with
    /// their number of slots.
    ///
    /// # Panics
    /// If they are more than are known to be this end's.
    #[inline]
    pub(crate) fn slots(&self, count: usize) -> [(*mut u8, usize); 2] {
        self.slots_behind(0, count)
    }

    /// As [`slots`](Self::slots), behind the first so many.
    ///
    /// # Panics
    /// If they are more than are known to be this end's.
    #[inline]
    pub(crate) fn slots_behind(&self, skipped: usize, count: usize) -> [(*mut u8, usize); 2] {
        assert!(skipped <= self.known() && count <= self.known() - skipped);
        let from = self.step(skipped);
        let room = self.end.addr() - from.addr();
        let before = if count * self.stride <= room { count } else { room / self.stride };
        [(from, before), (self.first(), count - before)]
    }

    /// This end's next slot, if it is in the run.
    #[inline]
    pub(crate) fn near(&self) -> Option<Slot> {
        (self.next != self.run).then_some(Slot(self.next))
    }

    /// This end's next slot; the run goes on from there with all that is known to be this end's.
    ///
    /// # Panics
    /// If none is known to be.
    #[inline]
    pub(crate) fn run_on(&mut self) -> Slot {
        assert!(self.known() > 0);
        self.next = self.step(0);
        let room = self.end.addr() - self.next.addr();
        self.run = self.next.wrapping_add((self.known() * self.stride).min(room));
        Slot(self.next)
    }

    #[inline]
    fn first(&self) -> *mut u8 {
        self.control.as_ptr().cast::<u8>().wrapping_add(SLOTS)
    }

    /// The slot that lies so many behind the next one, at most the capacity.
    #[inline]
    fn step(&self, count: usize) -> *mut u8 {
        let slot = self.next.wrapping_add(count * self.stride);
        if slot < self.end { slot } else { self.round(slot) }
    }

    /// Where a slot at or past the end is found: inside again, by invariant 2. A call, so that it costs nothing where there is no need.
    #[cold]
    fn round(&self, slot: *mut u8) -> *mut u8 {
        slot.wrapping_sub(self.capacity * self.stride)
    }

    /// Hands this end's next `count` slots to the other end, and wakes it if it sleeps.
    ///
    /// # Panics
    /// If they are more than are known to be this end's.
    #[inline]
    pub(crate) fn pass(&mut self, count: usize) {
        assert!(count <= self.known());
        self.next = self.step(count);
        self.run = self.next;
        self.publish(count);
    }

    /// As [`pass`](Self::pass), of the first slot of the run.
    ///
    /// # Panics
    /// If there is none, as there never is where slots have no bytes.
    #[inline]
    pub(crate) fn pass_near(&mut self) {
        assert!(self.next != self.run);
        if Self::END == End::Send {
            prefetch::for_writing(self.next.wrapping_add(AHEAD));
        } else {
            let ahead = self.next.wrapping_add(AHEAD);
            // Behind the run the other end may be writing, and the line would be taken from it.
            if ahead < self.run {
                prefetch::for_reading(ahead);
            }
        }
        self.next = self.next.wrapping_add(self.stride);
        self.publish(1);
    }

    #[inline]
    fn publish(&mut self, count: usize) {
        self.position = self.position.wrapping_add(count as u64);
        // Release: pairs with the Acquire in `usable`; the items' bytes are written, or have been read.
        self.positions()[Self::END as usize].0.store(self.position, Ordering::Release);
        self.there().notify_one_cheaply();
    }

    /// Where this end sleeps.
    pub(crate) fn here(&self) -> &WaitWord {
        self.control().signals.of(Self::END)
    }

    /// Where the other end sleeps.
    #[inline]
    fn there(&self) -> &WaitWord {
        self.control().signals.of(Self::END.other())
    }

    /// This end's bell, for threads that have not the track.
    ///
    /// # Safety
    /// It is used no longer than the ring is mapped.
    pub(crate) unsafe fn bell(&self) -> Bell {
        // SAFETY: as the caller says.
        unsafe { Bell::new(self.control, self.capacity, Self::END) }
    }

    /// From now on this process, of this identity, has the end.
    pub(crate) fn hold(&self, holder: u64) {
        self.control().signals.hold(Self::END, holder);
    }

    /// The end is on its way to another process.
    pub(crate) fn let_go(&self) {
        self.control().signals.hold(Self::END, 0);
    }

    /// Whether the process that had the other end last has died, and had it to its death. Asks the kernel.
    pub(crate) fn other_is_dead(&self) -> bool {
        self.control().signals.holder_is_dead(Self::END.other())
    }

    /// This end is done.
    pub(crate) fn close(&self) {
        self.control().signals.close(Self::END);
    }

    /// Whether this end has said that it is done.
    #[inline]
    pub(crate) fn is_closed_by(&self, end: End) -> bool {
        self.control().signals.is_closed_by(end)
    }

    /// Whether this end sends, and the receiver has said that it is done.
    #[inline]
    pub(crate) fn sends_in_vain(&self) -> bool {
        S::END == End::Send && self.control().signals.is_abandoned_by(End::Recv)
    }
}
