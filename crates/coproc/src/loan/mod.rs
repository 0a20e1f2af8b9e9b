//! A queue whose items are buffers, written in place and read in place.
//!
//! The order of the items is that of a ring, as in a [`Queue`](crate::Queue), whose slots carry the number of a buffer. Beside it
//! each buffer has a word that says who has it ([`owners`]). The word is the truth about a buffer, with one exception: what is in
//! the ring is received, whatever its word says of the dead.
//!
//! | killed after | leaves | who comes next |
//! |---|---|---|
//! | taking a free buffer (HELD) | its word | takes it back, by an exchange of exactly that word |
//! | marking it as sent (SENT), before the slot is handed over | its word; not inside | the same |
//! | handing the slot over to receivers | SENT, inside | receives it |
//! | taking over its word (HELD), before the slot is handed back | HELD, inside | receives it: the first one had not |
//! | handing the slot back | HELD, not inside | takes it back: the item has died with its receiver |
//! | giving it back (free), before the wake | a free buffer, a borrower asleep | the borrower finds it at the end of its slice |
//!
//! *Taking back*, which a borrower does who finds no free buffer: (a) collect the words that name the dead; (b) under the
//! receivers' lock, look which of these buffers are inside; (c) free the others. Whoever is dead at (a) has made its last store,
//! so (b) sees all that it has sent, and it sends no more: what is not inside at (b) never will be. If a receiver took one out
//! between (a) and (b), its word names that receiver, and the exchange at (c) fails. So nobody needs the senders' lock, and (c)
//! needs none.
//!
//! *There is room for every buffer*: a buffer is inside once at most, since its sender has it, and has it no more once it is
//! inside. Receivers take in order. So who has a buffer in hand finds a slot free, under the senders' lock: a look before that
//! may be an old one.
//!
//! Which happens-before edge: the bytes written before [`LoanQueue::send`] are seen after [`LoanQueue::recv`], by the Release and
//! Acquire of the slot's sequence in the ring; those before a loan is dropped are seen by the next borrower, by the Release and
//! Acquire of the word.

#![allow(unsafe_code)]

mod error;
mod guard;
mod owners;
mod shape;

pub use error::{LoanError, TryLoanError};
pub use guard::Loan;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::{Error, Result, Unfit};
use crate::handle::handle;
use crate::layout::{Layout, PROTOCOL};
use crate::liveness::{self, Thread};
use crate::queue::{self, RecvError, RecvTimeoutError, Ring, RingTurn, SendError, TryRecvError, Turn, wait_for};
use crate::ring::{End, Stop};
use crate::segment::{Kind, Plan, Segment};
use crate::sync::{Deadline, Patience, SLICE, WaitWord};
use owners::Owners;
use shape::{ITEM, Shape};

/// A first-in first-out queue of buffers in shared memory, for what is too large to be copied: frames, tensors, blocks of a file.
///
/// A sender takes a free buffer on loan, writes it in place, and sends it; a receiver gets that same buffer on loan, reads it in
/// place, and gives it back by dropping it, or sends it on. The bytes are never copied. All buffers are of one size and lie in
/// one segment. Only [`loan`](Self::loan) waits for room: there is a place in the queue for every buffer.
///
/// **When a process dies**, killed at any instruction, the others go on. What it had sent is received; what it had on loan comes
/// back, at the latest when somebody waits for a buffer, within one slice (20 ms) of the kernel closing its descriptors. A
/// receiver that dies takes one item with it at most, beside those that it had received before.
///
/// ```
/// use coproc::LoanQueue;
///
/// let frames = LoanQueue::new(4, 640 * 480)?;
/// let mut frame = frames.loan(640 * 480)?;
/// frame.fill(7);
/// frames.send(frame)?;
///
/// let frame = frames.recv()?;
/// assert!(frame.iter().all(|&pixel| pixel == 7));
/// assert_eq!(frames.available(), 3);
/// drop(frame);
/// assert_eq!(frames.available(), 4);
/// # Ok::<(), coproc::Error>(())
/// ```
pub struct LoanQueue {
    segment: Segment,
    shape: Shape,
    ring: Ring,
    owners: Owners,
}

handle!(LoanQueue);

impl LoanQueue {
    const LAYOUT: u64 = Layout::of::<()>("LoanQueue").number(PROTOCOL).hash();

    /// An empty queue of so many buffers of so many bytes each, all free and zero.
    ///
    /// # Errors
    /// [`Error::Empty`] for no buffers or no bytes, [`Error::TooLarge`] if all their bytes cannot be counted, [`Error::NoSpace`]
    /// if there is no memory for them, [`Error::TooManyDescriptors`] if there is no descriptor, or what the system says.
    pub fn new(buffers: usize, size: usize) -> Result<Self> {
        if buffers == 0 || size == 0 {
            return Err(Error::Empty);
        }
        let shape = Shape::new(buffers, size).ok_or(Error::TooLarge { len: buffers, size })?;
        let segment = Segment::create(Plan { kind: Kind::LoanQueue, layout: Self::LAYOUT, len: buffers, body: shape.body() })?;
        // SAFETY: the body was made for this shape.
        Ok(unsafe { Self::of(segment, shape) })
    }

    fn from_segment(segment: Segment) -> Result<Self> {
        segment.expect(Kind::LoanQueue, Self::LAYOUT, "LoanQueue")?;
        let buffers = segment.len();
        if buffers == 0 {
            return Err(Error::Empty);
        }
        let shape = Shape::of_body(buffers, segment.body_size()).ok_or(Unfit::NotASegment)?;
        // SAFETY: the body has the size of this shape, and can be written (`expect`).
        Ok(unsafe { Self::of(segment, shape) })
    }

    /// # Safety
    /// The body of the segment is `shape.body()` bytes long, and writable.
    unsafe fn of(segment: Segment, shape: Shape) -> Self {
        // SAFETY: the ring is the first part of the body, and the segment is kept beside it.
        let ring = unsafe { Ring::new(&segment, queue::Shape::new(shape.buffers, ITEM)) };
        // SAFETY: the shape has the words inside the body.
        let words = unsafe { segment.body().add(shape.words) };
        // SAFETY: as above; the body begins at a multiple of 128, the words at a multiple of 64 of it, and the segment is kept
        // beside them.
        let owners = unsafe { Owners::new(words, shape.buffers) };
        Self { segment, shape, ring, owners }
    }

    /// How many buffers there are.
    pub fn buffers(&self) -> usize {
        self.shape.buffers
    }

    /// How many bytes a buffer has.
    pub fn size(&self) -> usize {
        self.shape.size
    }

    /// How many buffers are free at this moment. Those of dead processes are not, until somebody waits for one.
    pub fn available(&self) -> usize {
        self.owners.available()
    }

    /// How many buffers were sent and not yet received at this moment.
    #[doc(alias = "qsize")]
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether a receiver would find nothing at this moment.
    pub fn is_empty(&self) -> bool {
        self.ring.is_idle(End::Recv)
    }

    /// Closes the queue for all: nothing more is lent or sent, what is inside is still received. Never waits.
    pub fn close(&self) {
        self.ring.close_for_all();
    }

    /// Whether the queue was closed.
    pub fn is_closed(&self) -> bool {
        self.ring.is_closed()
    }

    /// Waits for a free buffer, and lends so many of its bytes.
    ///
    /// # Errors
    /// [`LoanError::Closed`], [`LoanError::TooLong`] if a buffer has not as many, [`LoanError::Unregistered`].
    pub fn loan(&self, len: usize) -> Result<Loan, LoanError> {
        self.loan_until(len, Deadline::NEVER).map_err(|error| match error {
            TryLoanError::Loan(error) => error,
            // Not without a deadline.
            TryLoanError::WouldBlock | TryLoanError::TimedOut => LoanError::Closed,
        })
    }

    /// Lends so many bytes of a buffer, if one is free.
    ///
    /// # Errors
    /// [`TryLoanError::WouldBlock`] if none is, else as [`loan`](Self::loan).
    pub fn try_loan(&self, len: usize) -> Result<Loan, TryLoanError> {
        let me = self.borrower(len)?;
        match self.take(len, me) {
            Err(Stop::Wait) if self.reap(Patience::Yield) => self.take(len, me),
            result => result,
        }
        .map_err(|stop| if stop == Stop::Closed { LoanError::Closed.into() } else { TryLoanError::WouldBlock })
    }

    /// Waits for a free buffer, at most this long (monotonic time), and lends so many of its bytes.
    ///
    /// # Errors
    /// [`TryLoanError::TimedOut`] if none came free in that time, else as [`loan`](Self::loan).
    pub fn loan_timeout(&self, len: usize, time: Duration) -> Result<Loan, TryLoanError> {
        self.loan_until(len, Deadline::after(time))
    }

    /// Sends a buffer. Waits for no receiver: there is room for every buffer. Only another sender that is just at it is waited
    /// for.
    ///
    /// # Errors
    /// [`SendError::Closed`]; [`SendError::Foreign`] if it is a loan of another queue, or of the process that this one was forked
    /// from. With the loan.
    pub fn send(&self, mut loan: Loan) -> Result<(), SendError<Loan>> {
        if !loan.is_mine_and_of(self) {
            return Err(SendError::Foreign(loan));
        }
        let sent = self.ring.pass_in(1, Patience::Until(Deadline::NEVER), |_, bytes| {
            // SAFETY: it is a slot of this ring.
            let [index, len] = unsafe { slot(bytes) };
            // Relaxed, all: the ring hands the slot over with Release.
            index.store(loan.index as u64, Ordering::Relaxed);
            len.store(loan.len as u64, Ordering::Relaxed);
            self.owners.mark_sent(loan.index, loan.holder);
        });
        match sent {
            Ok(_) => {
                loan.holder = 0;
                Ok(())
            }
            Err(Stop::Closed) => Err(SendError::Closed(loan)),
            // Full it cannot be.
            Err(_) => Err(SendError::Corrupted(loan)),
        }
    }

    /// Waits for a buffer that was sent, and gives as many of its bytes as were sent.
    ///
    /// # Errors
    /// [`RecvError::Closed`] if the queue is closed and empty.
    pub fn recv(&self) -> Result<Loan, RecvError> {
        self.recv_until(Deadline::NEVER)?.ok_or(RecvError::Corrupted)
    }

    /// Takes a buffer that was sent, if there is one.
    ///
    /// # Errors
    /// [`TryRecvError::Empty`], [`TryRecvError::Closed`] if there will be none any more, [`TryRecvError::Busy`].
    pub fn try_recv(&self) -> Result<Loan, TryRecvError> {
        match self.pass_out(Patience::Yield) {
            Ok(loan) => loan.ok_or(TryRecvError::Corrupted),
            Err(Stop::Wait) if self.ring.is_drained() => Err(TryRecvError::Closed),
            Err(stop) => Err(stop.into()),
        }
    }

    /// Waits for a buffer that was sent, at most this long (monotonic time).
    ///
    /// # Errors
    /// [`RecvTimeoutError::Timeout`], [`RecvTimeoutError::Closed`] if the queue is closed and empty.
    pub fn recv_timeout(&self, time: Duration) -> Result<Loan, RecvTimeoutError> {
        self.recv_until(Deadline::after(time))?.ok_or(RecvTimeoutError::Corrupted)
    }

    /// Receives until the queue is closed and empty. What is no buffer is passed over.
    pub fn iter(&self) -> impl Iterator<Item = Loan> {
        std::iter::repeat_with(|| self.recv_until(Deadline::NEVER)).map_while(Result::ok).flatten()
    }

    /// `None` is an item that was taken and is no buffer.
    fn recv_until(&self, deadline: Deadline) -> Result<Option<Loan>, Stop> {
        let turn = RingTurn { ring: &self.ring, end: End::Recv, is_alone: || false };
        wait_for(&turn, deadline, |patience| self.pass_out(patience))
    }

    fn loan_until(&self, len: usize, deadline: Deadline) -> Result<Loan, TryLoanError> {
        let me = self.borrower(len)?;
        let lent = wait_for(&Buffer { queue: self, deadline }, deadline, |_| self.take(len, me));
        lent.map_err(|stop| if stop == Stop::Wait { TryLoanError::TimedOut } else { LoanError::Closed.into() })
    }

    /// The identity of this process, if it may have a loan of so many bytes.
    fn borrower(&self, len: usize) -> Result<u64, LoanError> {
        if len > self.shape.size {
            return Err(LoanError::TooLong { len, size: self.shape.size });
        }
        Ok(Thread::current().map_err(LoanError::Unregistered)?.identity())
    }

    fn take(&self, len: usize, me: u64) -> Result<Loan, Stop> {
        if self.is_closed() {
            return Err(Stop::Closed);
        }
        let index = self.owners.take(me).ok_or(Stop::Wait)?;
        Ok(Loan { of: self.clone(), index, len, holder: me })
    }

    fn give_back(&self, index: usize, holder: u64) {
        if self.owners.give_back(index, holder) {
            self.ring.signals().not_full.notify_one();
        }
    }

    /// Takes what is the next inside, if that is a buffer.
    fn pass_out(&self, patience: Patience) -> Result<Option<Loan>, Stop> {
        if self.ring.must_wait(End::Recv) {
            return Err(Stop::Wait);
        }
        let mut taken = None;
        self.ring.pass(End::Recv, 1, patience, |_, bytes| {
            // SAFETY: it is a slot of this ring.
            let [index, len] = unsafe { slot(bytes) }.each_ref().map(|word| word.load(Ordering::Relaxed) as usize);
            // Known: the lock was taken in its name.
            let me = liveness::known_identity();
            // The word before the slot is handed over. Who is killed in between leaves an item that is inside, as before.
            if index < self.shape.buffers && len <= self.shape.size && self.owners.receive(index, me) {
                taken = Some((index, len, me));
            }
        })?;
        Ok(taken.map(|(index, len, holder)| Loan { of: self.clone(), index, len, holder }))
    }

    /// Takes back what dead processes held. Whether it was anything.
    fn reap(&self, patience: Patience) -> bool {
        let mut dead = self.owners.of_the_dead();
        if dead.iter().all(|&word| word == 0) {
            return false;
        }
        // What is inside will be received, whoever sent it. What is not cannot come in any more: only the dead could send it.
        let looked = self.ring.look_inside(patience, |bytes| {
            // SAFETY: it is a slot of this ring.
            let [index, _] = unsafe { slot(bytes) };
            if let Some(word) = dead.get_mut(index.load(Ordering::Relaxed) as usize) {
                *word = 0;
            }
        });
        let mut any = false;
        if looked.is_ok() {
            for (index, &word) in dead.iter().enumerate().filter(|&(_, &word)| word != 0) {
                any |= self.owners.free(index, word);
            }
        }
        if any {
            self.ring.signals().not_full.notify_all();
        }
        any
    }

    /// The start of a buffer.
    fn buffer(&self, index: usize) -> *mut u8 {
        debug_assert!(index < self.shape.buffers);
        self.segment.body().as_ptr().wrapping_add(self.shape.buffer(index))
    }
}

/// The words of a slot: the number of the buffer, and how many bytes of it were sent.
///
/// # Safety
/// They are the bytes of a slot of a ring with items of [`ITEM`] bytes, mapped for as long as the words are used.
unsafe fn slot<'a>(bytes: *mut u8) -> &'a [AtomicU64; 2] {
    // SAFETY: as many bytes, aligned to 8 as every slot is; any bytes are atomics.
    unsafe { &*bytes.cast() }
}

/// A buffer that is nobody's, to wait for.
struct Buffer<'a> {
    queue: &'a LoanQueue,
    deadline: Deadline,
}

impl Turn for Buffer<'_> {
    fn word(&self) -> &WaitWord {
        &self.queue.ring.signals().not_full
    }

    fn must_wait(&self) -> bool {
        // No longer at a time: the receiver that it waits for there may be a stopped one, and here a buffer comes free.
        let patience = || self.deadline.slice(SLICE).map_or(Patience::Yield, |time| Patience::Until(Deadline::after(time)));
        !self.has_some() && !self.queue.reap(patience())
    }

    fn has_some(&self) -> bool {
        self.queue.owners.is_any_free()
    }

    fn is_over(&self) -> bool {
        self.queue.is_closed()
    }
}

impl fmt::Debug for LoanQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoanQueue")
            .field("len", &self.len())
            .field("available", &self.available())
            .field("buffers", &self.buffers())
            .field("size", &self.size())
            .field("closed", &self.is_closed())
            .finish()
    }
}
