//! The ring in shared memory between one sender and one receiver. No types here but bytes, no locks, and no waiting.
//!
//! ```text
//! + 0     sent: how many slots the sender has filled, ever      (one cache line, and the next left empty)
//! + 128   received: how many the receiver has freed, ever
//! + 256   not_empty, not_full; closed by the sender, by the receiver (4 bytes each); who has the sender, the receiver (8 bytes each)
//! + 384   slot 0, slot 1, ...
//! ```
//!
//! Each end writes one of the two positions and reads the other. All zero is an empty ring.
//!
//! What a death leaves: who dies before it has stored its position has sent, or received, nothing; who dies after that has.

#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::liveness;
use crate::sync::WaitWord;

/// From the start of the ring to the first slot, in bytes.
const SLOTS: usize = size_of::<Control>();

#[derive(Debug)]
#[repr(C, align(128))]
struct Position(AtomicU64);

#[derive(Debug)]
#[repr(C, align(128))]
struct Signals {
    not_empty: WaitWord,
    not_full: WaitWord,
    closed: [AtomicU32; 2],
    /// The identities of the processes that have the ends; 0 while an end is on its way.
    holders: [AtomicU64; 2],
}

#[derive(Debug)]
#[repr(C)]
struct Control {
    positions: [Position; 2],
    signals: Signals,
}

/// Which end of a ring, or side of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Send = 0,
    Recv = 1,
}

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

/// One end's view of the ring.
///
/// 1. `control` is the start of `size(capacity, stride)` bytes, mapped as long as the segment beside which this is kept.
/// 2. Slots lie at `SLOTS + index * stride`, for index below `capacity`: inside, and aligned to 128 at index 0. `end` is where the last one ends.
/// 3. `position` is what this end has stored last, `next` the slot of index `position % capacity`.
/// 4. The slots from `position` to `limit`, at most `capacity`, are this end's: the other end has passed them. They only become more until this
///    end passes some: a position that goes back, as only a hostile peer's does, takes none away.
#[derive(Debug)]
pub(crate) struct Track<S> {
    control: NonNull<Control>,
    capacity: usize,
    stride: usize,
    position: u64,
    limit: u64,
    next: *mut u8,
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
        let mut track = Self { control: at.cast(), capacity, stride, position: 0, limit: 0, next: first, end, side: PhantomData };
        // Acquire: pairs with the Release in `pass`, in the process that had this end before.
        track.position = track.positions()[Self::END as usize].0.load(Ordering::Acquire);
        track.limit = track.position;
        track.next = first.wrapping_add((track.position % capacity as u64) as usize * stride);
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
        // Acquire: pairs with the Release in `pass`; the items' bytes are written, or have been read.
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

    /// Where this end's next slot lies.
    ///
    /// # Panics
    /// If none is known to be this end's.
    #[inline]
    pub(crate) fn next_slot(&self) -> *mut u8 {
        assert!(self.known() > 0);
        self.next
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
        self.position = self.position.wrapping_add(count as u64);
        self.next = self.step(count);
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
        Bell { control: self.control, capacity: self.capacity, end: Self::END }
    }

    /// From now on this process, of this identity, has the end.
    pub(crate) fn hold(&self, holder: u64) {
        self.control().signals.holders[Self::END as usize].store(holder, Ordering::Relaxed);
    }

    /// The end is on its way to another process.
    pub(crate) fn let_go(&self) {
        self.hold(0);
    }

    /// Whether the process that had the other end last has died, and had it to its death. Asks the kernel.
    pub(crate) fn other_is_dead(&self) -> bool {
        self.control().signals.holder_is_dead(Self::END.other())
    }

    /// This end is done.
    pub(crate) fn close(&self) {
        // Release: pairs with the Acquire in `is_closed`; whatever was sent before.
        self.control().signals.closed[Self::END as usize].store(1, Ordering::Release);
        self.here().notify_all();
        self.there().notify_all();
    }

    /// Whether this end has said that it is done.
    #[inline]
    pub(crate) fn is_closed_by(&self, end: End) -> bool {
        self.control().signals.is_closed_by(end)
    }

    /// Whether this end sends, and the receiver has said that it is done.
    #[inline]
    pub(crate) fn sends_in_vain(&self) -> bool {
        // Relaxed: a sender looks at nothing that the receiver has written before.
        S::END == End::Send && self.control().signals.closed[End::Recv as usize].load(Ordering::Relaxed) != 0
    }
}

impl Signals {
    /// Whether the process that had this end last has died, and had it to its death.
    fn holder_is_dead(&self, end: End) -> bool {
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
    fn of(&self, end: End) -> &WaitWord {
        if end == End::Send { &self.not_full } else { &self.not_empty }
    }

    #[inline]
    fn is_closed_by(&self, end: End) -> bool {
        // Acquire: pairs with the Release in `close`; a look at the positions after this sees all that was sent.
        self.closed[end as usize].load(Ordering::Acquire) != 0
    }
}

/// What a thread can do at an end while another thread has the track.
///
/// `control` is mapped as long as this is used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bell {
    control: NonNull<Control>,
    capacity: usize,
    end: End,
}

// SAFETY: it points to atomics that all threads and processes may reach.
unsafe impl Send for Bell {}
// SAFETY: as above.
unsafe impl Sync for Bell {}

impl Bell {
    fn control(&self) -> &Control {
        // SAFETY: it is mapped, as `Track::bell`'s caller said; any bytes are a `Control`.
        unsafe { self.control.as_ref() }
    }

    fn signals(&self) -> &Signals {
        &self.control().signals
    }

    /// Wakes the thread of this end that sleeps.
    pub(crate) fn ring(&self) {
        self.signals().of(self.end).notify_all();
    }

    /// Whether the other end has said that it is done.
    pub(crate) fn is_closed_there(&self) -> bool {
        self.signals().is_closed_by(self.end.other())
    }

    /// Whether the process that has the other end has died. Asks the kernel.
    pub(crate) fn other_is_dead(&self) -> bool {
        self.signals().holder_is_dead(self.end.other())
    }

    /// Announces a sleeper at this end: where it sleeps, and on which value.
    pub(crate) fn announce(&self) -> (&AtomicU32, u32) {
        let here = self.signals().of(self.end);
        (here.word(), here.mark())
    }

    /// Wakes the thread of this end that sleeps, if there is something for it: the wake may have come to another one.
    pub(crate) fn pass_on(&self) {
        self.signals().of(self.end).pass_on(|| self.is_turn());
    }

    /// Whether the end has a slot that it may use: there is room for the sender, or something for the receiver. Impossible positions count as
    /// that: who uses them is told.
    pub(crate) fn is_turn(&self) -> bool {
        // Acquire: pairs with the Release in `pass`, so that who asks after a wake sees what woke it.
        let [sent, received] = self.control().positions.each_ref().map(|position| position.0.load(Ordering::Acquire));
        match self.end {
            End::Send => sent.wrapping_sub(received) != self.capacity as u64,
            End::Recv => sent != received,
        }
    }
}

impl End {
    pub(crate) fn other(self) -> Self {
        if self == Self::Send { Self::Recv } else { Self::Send }
    }
}
