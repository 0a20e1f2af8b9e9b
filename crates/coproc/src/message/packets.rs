//! A parcel on a socket: packets, of which all but the last bring nothing but descriptors.
//!
//! Descriptors travel before, or with, the bytes that name them.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::{Handle, Parcel};
use crate::error::{Error, Result};
use crate::segment::{Segment, space};
use crate::sys::socket::{self, MOST_FILES};

/// Longer parcels go in a segment of their own.
const INLINE: usize = 32 << 10;

/// Before longer ones are taken over, it is asked whether there is memory for them.
const MANY: u64 = 1 << 20;

/// The first byte of a packet. `MORE` brings nothing but descriptors.
const WHOLE: u8 = 0;
const SPILLED: u8 = 1;
const MORE: u8 = 2;

/// A whole or spilled packet goes on with the number of its handles, four bytes, and a byte for each that says what it is.
const COUNT: usize = 4;

/// A parcel as it came: its handles are not attached yet.
#[derive(Debug)]
pub struct Packed {
    /// Begins with `WHOLE` or `SPILLED`, a count, and as many kinds.
    packet: Vec<u8>,
    /// The handles' descriptors, and the segment of what was spilled. Too few if this process had no room for more.
    files: Vec<OwnedFd>,
}

/// What a look at a socket gave.
#[derive(Debug)]
pub enum Received<P> {
    /// A parcel.
    Parcel(P),
    /// Nothing, or not all of it, at the moment (only if not told to wait).
    Nothing,
    /// The other end is closed, and all that was sent has been received.
    End,
}

/// Sends a parcel. `false` if there was no room for all of it, unless told to wait for that.
///
/// # Errors
/// If the other end is closed, or there is no memory for a long parcel.
pub fn send(socket: BorrowedFd<'_>, parcel: &Parcel, wait: bool) -> Result<bool> {
    let count = u32::try_from(parcel.handles.len()).map_err(|_| Error::TooLarge { len: parcel.handles.len(), size: 1 })?;
    let spill = (parcel.bytes.len() + parcel.handles.len() > INLINE).then(|| Segment::parcel(&parcel.bytes)).transpose()?;
    let files: Vec<_> = parcel.handles.iter().map(AsFd::as_fd).chain(spill.as_ref().map(Segment::file)).collect();
    let mut packet = vec![if spill.is_some() { SPILLED } else { WHOLE }];
    packet.extend_from_slice(&count.to_ne_bytes());
    packet.extend(parcel.handles.iter().map(Handle::kind));
    if spill.is_none() {
        packet.extend_from_slice(&parcel.bytes);
    }
    send_packets(socket, &packet, &files, wait).map_err(Error::os("sending to another process"))
}

/// The packet of a parcel of a few bytes and no handles, for those who cannot make it when they send it: signal handlers.
pub fn bare(bytes: &[u8]) -> Vec<u8> {
    [&[WHOLE], &[0; COUNT][..], bytes].concat()
}

fn send_packets(socket: BorrowedFd<'_>, packet: &[u8], files: &[BorrowedFd<'_>], wait: bool) -> io::Result<bool> {
    let (first, last) = files.split_at(files.len().saturating_sub(1) / MOST_FILES * MOST_FILES);
    for some in first.chunks(MOST_FILES) {
        if !socket::send(socket, &[MORE], some, wait)? {
            return Ok(false);
        }
    }
    socket::send(socket, packet, last, wait)
}

thread_local! {
    /// Where packets are received: zeroed once, which takes longer than a small one.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Makes ready what [`recv`] uses, in a process whose copies will receive: they then write to one page of it, rather than make them all.
pub fn prepare() {
    BUFFER.with_borrow_mut(|buffer| buffer.resize(1 + COUNT + INLINE, 0));
}

/// Receives a parcel. In `files` is what has come of it, for the next call, if not all of it has.
///
/// # Errors
/// If what came is no parcel, or what the system says.
pub fn recv(socket: BorrowedFd<'_>, files: &mut Vec<OwnedFd>, wait: bool) -> Result<Received<Packed>> {
    BUFFER.with_borrow_mut(|buffer| {
        buffer.resize(1 + COUNT + INLINE, 0);
        loop {
            let received = socket::recv(socket, buffer, wait).map_err(Error::os("receiving from another process"))?;
            let Some((len, some)) = received else { return Ok(Received::Nothing) };
            files.extend(some);
            let packet = &buffer[..len];
            match packet.first() {
                None => return Ok(Received::End),
                Some(&MORE) => {}
                _ => {
                    parts(packet).ok_or(Error::Corrupted)?;
                    return Ok(Received::Parcel(Packed { packet: packet.to_vec(), files: std::mem::take(files) }));
                }
            }
        }
    })
}

/// Whether the bytes were spilled, the handles' kinds, and the bytes.
fn parts(packet: &[u8]) -> Option<(bool, &[u8], &[u8])> {
    let (&tag, packet) = packet.split_first().filter(|&(&tag, _)| tag <= SPILLED)?;
    let (count, rest) = packet.split_first_chunk::<COUNT>()?;
    let (kinds, bytes) = rest.split_at_checked(u32::from_ne_bytes(*count) as usize)?;
    Some((tag == SPILLED, kinds, bytes))
}

impl Packed {
    /// How many descriptors are missing, for want of which it cannot be opened; negative if there are too many.
    fn missing(&self) -> isize {
        let (spilled, kinds, _) = parts(&self.packet).unwrap_or_default();
        (kinds.len() + usize::from(spilled)).cast_signed() - self.files.len().cast_signed()
    }

    /// Whether all its descriptors have come.
    pub(crate) fn is_whole(&self) -> bool {
        self.missing() == 0
    }

    /// Sends it on. `false` if there was no room for all of it.
    ///
    /// # Errors
    /// If the other end is closed.
    pub(crate) fn send(&self, socket: BorrowedFd<'_>) -> io::Result<bool> {
        let files: Vec<_> = self.files.iter().map(AsFd::as_fd).collect();
        send_packets(socket, &self.packet, &files, false)
    }

    /// Attaches its handles.
    ///
    /// # Errors
    /// [`Error::TooManyDescriptors`] if this process had no room for all of them, or that of attaching one.
    pub fn open(self) -> Result<Parcel> {
        match self.missing() {
            0 => {}
            1.. => return Err(Error::no_descriptors()),
            _ => return Err(Error::Corrupted),
        }
        let (spilled, kinds, bytes) = parts(&self.packet).ok_or(Error::Corrupted)?;
        let mut files = self.files;
        let spill = if spilled { files.pop() } else { None };
        let handles = kinds.iter().zip(files).map(|(&kind, file)| Handle::of(kind, file)).collect::<Result<_>>()?;
        let bytes = match spill {
            Some(spill) => {
                let spill = Segment::attach(spill)?;
                let size = spill.body_size() as u64;
                if size > MANY {
                    // Once for the bytes, once for the values that are made of them.
                    space::check(size.saturating_mul(2), size)?;
                }
                Segment::read_frozen(spill.file(), spill.body_size())?.1
            }
            None => bytes.to_vec(),
        };
        Ok(Parcel { bytes, handles })
    }
}
