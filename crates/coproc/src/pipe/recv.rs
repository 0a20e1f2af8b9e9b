//! The receiving side.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::os::fd::AsFd;

use super::error::RecvIntoError;
use super::frame::{self, BEGIN, HEADER, Header, Kind};
use super::{Link, handles};
use crate::message::{Handle, Message, Parcel, Reader, Writer};
use crate::ring::{Receives, Stop, Track};
use crate::sync::Patience;

/// So much memory is taken for a message at first. Its sender says how long it is, but has to be believed only as its bytes come.
const ON_TRUST: usize = 1 << 20;

/// The receiving side of a ring.
#[derive(Debug)]
pub(super) struct In {
    pub(super) track: Track<Receives>,
    /// The message that has begun, of which there may be more to come.
    pub(super) part: Option<Part>,
}

/// A message of which some has been received.
#[derive(Debug)]
pub(super) struct Part {
    bytes: Vec<u8>,
    len: usize,
    handles: Result<Vec<Handle>, Stop>,
}

/// Where the next message is.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// In the ring, of this length.
    Whole(usize),
    /// In `part`, as far as it has come.
    Part,
}

impl In {
    /// Nothing will be received any more.
    pub(super) fn close(&mut self) {
        self.track.close();
        self.part = None;
    }

    /// What goes with the end to another process.
    pub(super) fn give(&mut self, to: &mut Writer<'_>) {
        self.track.let_go();
        let part = self.part.take();
        part.is_some().write(to);
        if let Some(part) = part {
            part.write(to);
        }
    }

    /// What came with the end from another process.
    pub(super) fn given(from: &mut Reader<'_>) -> Option<Option<Part>> {
        Some(if bool::read(from)? { Some(Part::read(from)?) } else { None })
    }

    /// Waits until a message is there to its last byte.
    fn arrive(&mut self, link: &Link, patience: Patience) -> Result<Next, Stop> {
        'messages: loop {
            let next = self.next(link, patience)?;
            while let Some(part) = &self.part
                && part.bytes.len() < part.len
            {
                let left = part.len - part.bytes.len();
                let Some(len) = self.piece(link, left, patience)? else { continue 'messages };
                if let Some(part) = &mut self.part {
                    let bytes = &mut part.bytes;
                    if bytes.capacity() - bytes.len() < len {
                        bytes.reserve_exact(left.min(bytes.len().max(ON_TRUST).max(len)));
                    }
                    take(&mut self.track, len, bytes);
                }
            }
            return Ok(next);
        }
    }

    /// Whether a message is there, or none will be.
    pub(super) fn poll(&mut self, link: &Link, patience: Patience) -> bool {
        !matches!(self.arrive(link, patience), Err(Stop::Wait))
    }

    /// Receives a message, and drops its handles.
    #[inline]
    pub(super) fn recv(&mut self, link: &Link, patience: Patience) -> Result<Vec<u8>, Stop> {
        match self.arrive(link, patience)? {
            Next::Whole(len) => Ok(self.take_whole(len)),
            Next::Part => Ok(self.part.take().map(|part| part.bytes).unwrap_or_default()),
        }
    }

    /// Receives a message with its handles.
    pub(super) fn recv_parcel(&mut self, link: &Link, patience: Patience) -> Result<Parcel, Stop> {
        match (self.arrive(link, patience)?, self.part.take()) {
            (Next::Part, Some(part)) => Ok(Parcel { bytes: part.bytes, handles: part.handles? }),
            (Next::Whole(len), _) => Ok(Parcel { bytes: self.take_whole(len), handles: Vec::new() }),
            (Next::Part, None) => Err(Stop::Corrupted),
        }
    }

    /// Receives a message into the front of `to`, waiting as long as it takes.
    #[inline]
    pub(super) fn recv_into(&mut self, link: &Link, to: &mut [u8], patience: Patience) -> Result<usize, RecvIntoError> {
        'messages: loop {
            let next = self.next(link, patience)?;
            let len = match (next, &self.part) {
                (Next::Part, Some(part)) => part.len,
                (Next::Whole(len), _) => len,
                (Next::Part, None) => return Err(RecvIntoError::Corrupted),
            };
            let to = to.get_mut(..len).ok_or(RecvIntoError::TooSmall { needed: len })?;
            let Some(part) = &self.part else {
                take_into(&mut self.track, to);
                return Ok(len);
            };
            let mut done = part.bytes.len();
            to[..done].copy_from_slice(&part.bytes);
            while done < len {
                let count = match self.piece(link, len - done, patience) {
                    Ok(Some(count)) => count,
                    Ok(None) => continue 'messages,
                    Err(stop) => {
                        self.part.iter_mut().for_each(|part| part.bytes = to[..done].to_vec());
                        return Err(stop.into());
                    }
                };
                take_into(&mut self.track, &mut to[done..done + count]);
                done += count;
            }
            self.part = None;
            return Ok(len);
        }
    }

    /// Waits until a message has begun.
    #[inline]
    fn next(&mut self, link: &Link, patience: Patience) -> Result<Next, Stop> {
        if self.part.is_some() {
            return Ok(Next::Part);
        }
        self.wait(link, patience)?;
        let header = frame::header(&self.track).ok_or(Stop::Corrupted)?;
        match header.kind {
            Kind::Whole => Ok(Next::Whole(header.len)),
            Kind::Begin => self.begin(link, header),
            Kind::Part | Kind::Abort => Err(Stop::Corrupted),
        }
    }

    #[cold]
    fn begin(&mut self, link: &Link, header: Header) -> Result<Next, Stop> {
        if header.words() != BEGIN {
            return Err(Stop::Corrupted);
        }
        // No more bytes than memory can have; of the handles as many as there are packets of.
        let [Ok(len), Ok(count)] = frame::numbers(&self.track).map(isize::try_from) else { return Err(Stop::Corrupted) };
        let handles = if count == 0 {
            Ok(Vec::new())
        } else {
            let socket = link.tether.socket().ok_or(Stop::Closed)?;
            handles::recv(socket.as_fd(), self.track.position(), count.cast_unsigned())
        };
        self.track.pass(BEGIN);
        self.part = Some(Part { bytes: Vec::new(), len: len.cast_unsigned(), handles });
        Ok(Next::Part)
    }

    /// Waits for more of the message that has begun, of which this much is left: how much there is. `None` if it was aborted.
    fn piece(&mut self, link: &Link, left: usize, patience: Patience) -> Result<Option<usize>, Stop> {
        self.wait(link, patience)?;
        match frame::header(&self.track) {
            Some(Header { kind: Kind::Part, len }) if 0 < len && len <= left => Ok(Some(len)),
            Some(Header { kind: Kind::Abort, len: 0 }) => {
                self.part = None;
                self.track.pass(HEADER);
                Ok(None)
            }
            _ => Err(Stop::Corrupted),
        }
    }

    /// Waits for a chunk.
    #[inline]
    fn wait(&mut self, link: &Link, patience: Patience) -> Result<(), Stop> {
        match link.wait(&mut self.track, HEADER, patience) {
            Ok(_) => Ok(()),
            Err(stop @ (Stop::Closed | Stop::Disconnected)) => Err(self.end(link, stop)),
            Err(stop) => Err(stop),
        }
    }

    /// The sender is gone: what has come of a message is dropped, and the handles of which it died before it sent the bytes. If it is this end that
    /// is gone, all goes with it.
    #[cold]
    fn end(&mut self, link: &Link, stop: Stop) -> Stop {
        if let Some(socket) = link.tether.socket() {
            self.part = None;
            handles::drop_all(socket.as_fd());
        }
        stop
    }

    #[inline]
    fn take_whole(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len);
        take(&mut self.track, len, &mut bytes);
        bytes
    }
}

/// Takes the next chunk, of this length, and appends it to bytes that have room for it.
#[inline]
fn take(track: &mut Track<Receives>, len: usize, to: &mut Vec<u8>) {
    let whole = to.len() + len;
    frame::get(track, &mut to.spare_capacity_mut()[..len]);
    // SAFETY: they are within the capacity, and `get` has written the last `len` of them.
    unsafe { to.set_len(whole) };
    track.pass(Header { kind: Kind::Part, len }.words());
}

/// Takes the next chunk into this.
#[inline]
fn take_into(track: &mut Track<Receives>, to: &mut [u8]) {
    let (at, len) = (to.as_mut_ptr().cast::<MaybeUninit<u8>>(), to.len());
    // SAFETY: the same bytes, exclusively borrowed; `get` writes them and leaves none uninitialised.
    frame::get(track, unsafe { std::slice::from_raw_parts_mut(at, len) });
    track.pass(Header { kind: Kind::Part, len }.words());
}

/// How a fault is written.
const FAULTS: [Stop; 2] = [Stop::TooManyDescriptors, Stop::Corrupted];

impl Part {
    fn write(&self, to: &mut Writer<'_>) {
        self.len.write(to);
        self.bytes.write(to);
        let handles = self.handles.as_deref().map_err(|stop| FAULTS.iter().position(|fault| fault == stop).unwrap_or(1));
        handles.map(<[_]>::len).write(to);
        handles.unwrap_or_default().iter().for_each(|handle| to.handle(handle.clone()));
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let len = usize::read(from).filter(|&len| isize::try_from(len).is_ok())?;
        let bytes = Vec::read(from).filter(|bytes: &Vec<u8>| bytes.len() <= len)?;
        let handles = match Result::<usize, usize>::read(from)? {
            Ok(count) => Ok((0..count).map(|_| from.handle().cloned()).collect::<Option<_>>()?),
            Err(fault) => Err(*FAULTS.get(fault)?),
        };
        Some(Self { bytes, len, handles })
    }
}
