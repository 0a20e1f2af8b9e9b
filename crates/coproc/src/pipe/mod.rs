//! Messages between two ends: bytes of any length, values, and handles of shared objects.
//!
//! `frame` is what lies in a ring, `send` and `recv` are its two sides, `way` is how the threads of a process take turns at one, `handles` is what
//! goes through the socket.

#![allow(unsafe_code)]

mod error;
mod frame;
mod handles;
mod methods;
mod one_way;
mod ready;
mod recv;
mod send;
mod way;

pub use error::RecvIntoError;
pub use one_way::{PipeReceiver, PipeSender, channel, channel_with_capacity};

use std::fmt;
use std::ptr::NonNull;

use crate::error::{Error, Result};
use crate::layout::{Layout, PROTOCOL};
use crate::liveness::Lifeline;
use crate::message::{Message, Reader, Writer};
use crate::ring::{Sends, Side, Stop, Tether, Track};
use crate::segment::{Kind, Plan, Segment};
use crate::sync::Patience;
use methods::{receives, sends};
use recv::{In, Part};
use send::Out;
use way::Way;

/// How many bytes are on their way in each direction at most, unless said otherwise.
const CAPACITY: usize = 256 << 10;

/// One of two connected ends, which send each other messages.
///
/// A message is bytes of any length, also none, or a value with its handles ([`Message`]). It arrives whole, and in order. What fits is copied into the
/// memory that both ends share and out of it, without a system call; what is larger than the pipe is streamed through it. Of a message that was not
/// sent wholly, the other end sees nothing.
///
/// Each end is in one process. It may be used by several threads there, which take turns; the two directions are independent. It goes to another process as an
/// argument or in a message, a half received message with it, and is closed where it came from; if what it was written into cannot be sent, it is lost. The
/// handles in a message arrive though their sender drops its own, or dies.
///
/// **When an end is closed or dropped**, the other receives what was sent, and then finds the pipe closed. **When it dies**, with its process or on its way to
/// one, the other finds it disconnected, at most 20 ms later.
///
/// Two ends that both send more than fits, while none receives, wait for each other for ever, as with sockets.
///
/// ```
/// use coproc::{Pipe, RecvError, SharedValue};
///
/// let (here, there) = Pipe::pair()?;
/// here.send(b"how many?")?;
/// assert_eq!(there.recv()?, b"how many?");
/// there.send_value(&(SharedValue::new(3_u64)?, "of these".to_string()))?;
/// drop(there);
/// let (count, text) = here.recv_value::<(SharedValue<u64>, String)>()?;
/// assert_eq!((count.get()?, &*text), (3, "of these"));
/// assert_eq!(here.recv(), Err(RecvError::Closed));
/// # Ok::<(), coproc::Error>(())
/// ```
#[doc(alias = "Connection")]
#[doc(alias = "socketpair")]
pub struct Pipe {
    link: Link,
    out: Way<Out>,
    inside: Way<In>,
}

impl Pipe {
    /// Two connected ends.
    ///
    /// # Errors
    /// As [`with_capacity`](Self::with_capacity).
    pub fn pair() -> Result<(Self, Self)> {
        Self::with_capacity(CAPACITY)
    }

    /// Two connected ends, with room for this many bytes on their way in each direction; rounded up. A message takes 8 bytes more than it has.
    ///
    /// # Errors
    /// [`Error::Empty`] for 0, [`Error::TooLarge`] if the bytes cannot be counted, [`Error::NoSpace`] if there is no memory for it,
    /// [`Error::TooManyDescriptors`] if there are no three descriptors, or what the system says.
    pub fn with_capacity(bytes: usize) -> Result<(Self, Self)> {
        let (segment, [one, other]) = create(bytes, 2)?;
        Ok((Self::new(segment.clone(), one, 0, None)?, Self::new(segment, other, 1, None)?))
    }

    fn new(segment: Segment, lifeline: Lifeline, side: u8, part: Option<Part>) -> Result<Self> {
        let link = Link::new(segment, lifeline, side)?;
        let out = link.way(2, side.into(), |track| Out { track })?;
        let inside = link.way(2, usize::from(1 - side), |track| In { track, part })?;
        Ok(Self { link, out, inside })
    }

    /// How many bytes are on their way in each direction at most. What is longer is streamed.
    pub fn capacity(&self) -> usize {
        self.link.capacity()
    }

    /// Whether the other end was closed or dropped, or this one was, or was given away. There may be messages yet.
    pub fn is_closed(&self) -> bool {
        self.link.is_closed(&self.inside)
    }

    /// Closes this end, which then sends and receives nothing more. Threads that wait at it come back. So does dropping it.
    pub fn close(&self) {
        self.link.close(|| {
            self.out.finish(|out| out.track.close());
            self.inside.finish(|inside| inside.close());
        });
    }
}

sends!(Pipe);
receives!(Pipe);

impl Drop for Pipe {
    fn drop(&mut self) {
        self.close();
    }
}

impl Message for Pipe {
    /// Gives the end away: it is closed here from now on.
    fn write(&self, to: &mut Writer<'_>) {
        self.link.give(to, |to| {
            self.link.side.write(to);
            self.out.finish(|out| out.track.let_go());
            self.inside.finish(|inside| inside.give(to));
        });
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let (segment, lifeline) = Link::given(from)?;
        let side = u8::read(from).filter(|&side| side < 2)?;
        Self::new(segment, lifeline, side, In::given(from)?).ok()
    }
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.link.debug("Pipe", self.is_closed(), f)
    }
}

/// What connects an end to the other.
struct Link {
    tether: Tether,
    /// Keeps the rings mapped.
    segment: Segment,
    /// 0 or 1, which end it is: that of a pipe sends through the ring of this number, and receives through the other.
    side: u8,
}

impl Link {
    /// # Errors
    /// If this process has the end already.
    fn new(segment: Segment, lifeline: Lifeline, side: u8) -> Result<Self> {
        let tether = Tether::new(lifeline);
        if segment.take_end(side.into()) { Ok(Self { tether, segment, side }) } else { Err(Error::Corrupted) }
    }

    /// Closes the end, if this process has it; `finish` does so to its ways.
    fn close(&self, finish: impl FnOnce()) {
        if let Some(socket) = self.tether.give() {
            finish();
            self.segment.leave_end(self.side.into());
            // The socket last: the other end shall find this one closed, not cut.
            drop(socket);
        }
    }

    /// Gives the end away in a message, if this process has it; `finish` does so to its ways.
    fn give(&self, to: &mut Writer<'_>, finish: impl FnOnce(&mut Writer<'_>)) {
        if let Some(socket) = self.tether.give() {
            to.segment(&self.segment);
            to.file(socket);
            finish(to);
            self.segment.leave_end(self.side.into());
        }
    }

    /// What [`give`](Self::give) wrote, before what the ways did.
    fn given(from: &mut Reader<'_>) -> Option<(Segment, Lifeline)> {
        Some((from.segment()?, Lifeline::adopt(from.file()?)))
    }

    /// Whether this process has the end no more, or the other end has said to this way of it that it is done.
    fn is_closed<S>(&self, way: &Way<S>) -> bool {
        !self.tether.is_mine() || way.is_closed_there()
    }

    /// This end's side of a ring of the segment, which has so many.
    fn way<S: Side, W>(&self, rings: usize, index: usize, side: impl FnOnce(Track<S>) -> W) -> Result<Way<W>> {
        self.segment.expect(Kind::Pipe, layout(rings), "Pipe")?;
        let words = self.segment.len();
        if words <= frame::SLACK {
            return Err(Error::Empty);
        }
        let size = ring_size(words);
        self.segment.expect_body(size.and_then(|size| size.checked_mul(rings)))?;
        let at = self.segment.body().as_ptr().wrapping_add(index * size.unwrap_or(0));
        let at = NonNull::new(at).ok_or(Error::Corrupted)?;
        // SAFETY: the body is `rings` rings of this size (`expect_body`), each a multiple of 128 bytes, and can be written (`expect`); the segment
        // is kept beside the track. Nobody else of this process has this end (`new`).
        let track = unsafe { Track::new(at, words, frame::WORD) }.map_err(|_| Error::Corrupted)?;
        track.hold(self.tether.holder());
        // SAFETY: the bell is kept beside the segment.
        let bell = unsafe { track.bell() };
        Ok(Way::new(side(track), bell))
    }

    /// How many words the end may use now: at least so many. Waits for it if told to.
    #[inline]
    fn wait<S: Side>(&self, track: &mut Track<S>, want: usize, patience: Patience) -> Result<usize, Stop> {
        match patience {
            Patience::Until(deadline) => self.tether.wait(track, want, deadline),
            _ => self.tether.ready_or_cut(track, want),
        }
    }

    /// A thread's turn at a side of this end.
    #[inline]
    fn turn<'a, S>(&self, way: &'a Way<S>, patience: Patience) -> Result<way::Turn<'a, S>, Stop> {
        // First: a forked child has a copy of the lock, as it was.
        if self.tether.is_mine() { way.turn(patience) } else { Err(Stop::Closed) }
    }

    fn capacity(&self) -> usize {
        (self.segment.len() - frame::SLACK) * frame::WORD
    }

    fn debug(&self, name: &str, closed: bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name).field("capacity", &self.capacity()).field("closed", &closed).finish()
    }
}

fn layout(rings: usize) -> u64 {
    Layout::of::<()>("pipe").number(PROTOCOL).number(rings as u64).hash()
}

/// Size of a ring of so many words, up to where the next may begin.
fn ring_size(words: usize) -> Option<usize> {
    Track::<Sends>::size(words, frame::WORD)?.checked_next_multiple_of(128)
}

/// A segment of so many rings, in each of which a message of this length fits at once; and the two ends of its socket.
fn create(bytes: usize, rings: usize) -> Result<(Segment, [Lifeline; 2])> {
    if bytes == 0 {
        return Err(Error::Empty);
    }
    let words = frame::words(bytes) + frame::SLACK;
    let body = ring_size(words).and_then(|size| size.checked_mul(rings)).ok_or(Error::TooLarge { len: bytes, size: rings })?;
    let segment = Segment::create(Plan { kind: Kind::Pipe, layout: layout(rings), len: words, body })?;
    let (one, other) = Lifeline::pair()?;
    Ok((segment, [one, other]))
}
