//! Messages in one direction.

use std::fmt;

use super::methods::{receives, sends};
use super::recv::{In, Part};
use super::send::Out;
use super::way::Way;
use super::{CAPACITY, Link, create};
use crate::error::Result;
use crate::liveness::Lifeline;
use crate::message::{Message, Reader, Writer};
use crate::segment::Segment;

/// A [`Pipe`](crate::Pipe) in one direction: an end that sends, and one that receives.
///
/// ```
/// let (sender, receiver) = coproc::channel()?;
/// sender.send(b"one")?;
/// sender.send(b"")?;
/// drop(sender);
/// assert_eq!(receiver.recv()?, b"one");
/// assert_eq!(receiver.recv()?, b"");
/// assert_eq!(receiver.recv(), Err(coproc::RecvError::Closed));
/// # Ok::<(), coproc::Error>(())
/// ```
///
/// # Errors
/// As [`Pipe::with_capacity`](crate::Pipe::with_capacity).
#[doc(alias = "pipe")]
pub fn channel() -> Result<(PipeSender, PipeReceiver)> {
    channel_with_capacity(CAPACITY)
}

/// As [`channel`], with room for this many bytes on their way; rounded up.
///
/// # Errors
/// As [`Pipe::with_capacity`](crate::Pipe::with_capacity).
pub fn channel_with_capacity(bytes: usize) -> Result<(PipeSender, PipeReceiver)> {
    let (segment, [one, other]) = create(bytes, 1)?;
    Ok((PipeSender::new(segment.clone(), one)?, PipeReceiver::new(segment, other, None)?))
}

/// The sending end of a [`channel`]. As an end of a [`Pipe`](crate::Pipe) is, which says what happens when it is dropped, given away, or dies.
pub struct PipeSender {
    link: Link,
    out: Way<Out>,
}

/// The receiving end of a [`channel`]. As an end of a [`Pipe`](crate::Pipe) is, which says what happens when it is dropped, given away, or dies.
pub struct PipeReceiver {
    pub(super) link: Link,
    pub(super) inside: Way<In>,
}

impl PipeSender {
    fn new(segment: Segment, lifeline: Lifeline) -> Result<Self> {
        let link = Link::new(segment, lifeline, 0)?;
        let out = link.way(1, 0, |track| Out { track })?;
        Ok(Self { link, out })
    }

    /// How many bytes are on their way at most. What is longer is streamed.
    pub fn capacity(&self) -> usize {
        self.link.capacity()
    }

    /// Whether the receiver was closed or dropped, or this end was, or was given away.
    pub fn is_closed(&self) -> bool {
        self.link.is_closed(&self.out)
    }

    /// Closes this end, which then sends nothing more. Threads that wait at it come back. So does dropping it.
    pub fn close(&self) {
        self.link.close(|| self.out.finish(|out| out.track.close()));
    }
}

impl PipeReceiver {
    fn new(segment: Segment, lifeline: Lifeline, part: Option<Part>) -> Result<Self> {
        let link = Link::new(segment, lifeline, 1)?;
        let inside = link.way(1, 0, |track| In { track, part })?;
        Ok(Self { link, inside })
    }

    /// How many bytes are on their way at most. What is longer is streamed.
    pub fn capacity(&self) -> usize {
        self.link.capacity()
    }

    /// Whether the sender was closed or dropped, or this end was, or was given away. There may be messages yet.
    pub fn is_closed(&self) -> bool {
        self.link.is_closed(&self.inside)
    }

    /// Closes this end, which then receives nothing more. Threads that wait at it come back. So does dropping it.
    pub fn close(&self) {
        self.link.close(|| self.inside.finish(|inside| inside.close()));
    }
}

sends!(PipeSender);
receives!(PipeReceiver);

impl Drop for PipeSender {
    fn drop(&mut self) {
        self.close();
    }
}

impl Drop for PipeReceiver {
    fn drop(&mut self) {
        self.close();
    }
}

impl Message for PipeSender {
    /// Gives the end away: it is closed here from now on.
    fn write(&self, to: &mut Writer<'_>) {
        self.link.give(to, |_| self.out.finish(|out| out.track.let_go()));
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let (segment, lifeline) = Link::given(from)?;
        Self::new(segment, lifeline).ok()
    }
}

impl Message for PipeReceiver {
    /// Gives the end away: it is closed here from now on.
    fn write(&self, to: &mut Writer<'_>) {
        self.link.give(to, |to| self.inside.finish(|inside| inside.give(to)));
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let (segment, lifeline) = Link::given(from)?;
        Self::new(segment, lifeline, In::given(from)?).ok()
    }
}

impl fmt::Debug for PipeSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.link.debug("PipeSender", self.is_closed(), f)
    }
}

impl fmt::Debug for PipeReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.link.debug("PipeReceiver", self.is_closed(), f)
    }
}
