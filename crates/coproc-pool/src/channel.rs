//! The socket between a process and its child: packets, with the descriptors that they name.
//!
//! A packet is there whole or not at all, and stays there when its sender dies. Descriptors travel before, or with, the bytes that
//! name them.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coproc::__private::{Parcel, Segment, above_standard};
use coproc::{Error, Result};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    SocketFlags, SocketType,
};

/// Longer parcels go in a segment of their own.
const INLINE: usize = 32 << 10;

/// The kernel takes at most 253 descriptors in a packet.
const MOST_FILES: usize = 250;

/// The first byte of a packet.
const WHOLE: u8 = 0;
const SPILLED: u8 = 1;
const MORE: u8 = 2;

/// One end of the socket.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

/// What a look at the channel gave.
#[derive(Debug)]
pub(crate) enum Received {
    /// A parcel.
    Parcel(Parcel),
    /// Nothing at the moment (only if not told to wait).
    Nothing,
    /// The other end is closed, and all that was sent has been received.
    End,
}

impl Channel {
    /// Two connected ends.
    pub(crate) fn pair() -> Result<(Self, Self)> {
        let (one, other) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(io::Error::from)
            .and_then(|(one, other)| Ok((above_standard(one)?, above_standard(other)?)))
            .map_err(|error| Error::from_os("creating a socket", error))?;
        Ok((Self(one), Self(other)))
    }

    pub(crate) fn from_file(file: OwnedFd) -> Self {
        Self(file)
    }

    /// Sends bytes and descriptors in one packet. Waits while the other end's buffer is full.
    pub(crate) fn send_files(&self, bytes: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FILES))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(files));
        }
        loop {
            match rustix::net::sendmsg(&self.0, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
                Err(rustix::io::Errno::INTR) => {}
                result => return result.map(drop).map_err(io::Error::from),
            }
        }
    }

    /// Receives one packet; `None` if nothing is there (and not told to wait), no bytes if the other end is closed.
    pub(crate) fn recv_files(&self, bytes: &mut [u8], wait: bool) -> io::Result<Option<(usize, Vec<OwnedFd>)>> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FILES))];
        let flags = RecvFlags::CMSG_CLOEXEC | if wait { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
        loop {
            let mut control = RecvAncillaryBuffer::new(&mut space);
            match rustix::net::recvmsg(&self.0, &mut [IoSliceMut::new(bytes)], &mut control, flags) {
                Ok(message) => {
                    let mut files = Vec::new();
                    for part in control.drain() {
                        if let RecvAncillaryMessage::ScmRights(rights) = part {
                            for file in rights {
                                files.push(above_standard(file)?);
                            }
                        }
                    }
                    return Ok(Some((message.bytes, files)));
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Ok(None),
                // What the other end had not read when it died.
                Err(rustix::io::Errno::CONNRESET) => return Ok(Some((0, Vec::new()))),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends a parcel. Waits while the other end's buffer is full.
    ///
    /// # Errors
    /// If the other end is closed, or there is no memory for a long parcel.
    pub(crate) fn send(&self, parcel: &Parcel) -> Result<()> {
        let failed = |error| Error::from_os("sending to another process", error);
        let spill = (parcel.bytes.len() > INLINE).then(|| Segment::parcel(&parcel.bytes)).transpose()?;
        let files: Vec<_> = parcel.segments.iter().chain(&spill).map(Segment::file).collect();
        let (first, last) = files.split_at(files.len().saturating_sub(1) / MOST_FILES * MOST_FILES);
        for some in first.chunks(MOST_FILES) {
            self.send_files(&[MORE], some).map_err(failed)?;
        }
        let mut packet = vec![if spill.is_some() { SPILLED } else { WHOLE }];
        if spill.is_none() {
            packet.extend_from_slice(&parcel.bytes);
        }
        self.send_files(&packet, last).map_err(failed)
    }

    /// Receives a parcel.
    ///
    /// # Errors
    /// If what came is no parcel, or its descriptors could not be attached.
    pub(crate) fn recv(&self, wait: bool) -> Result<Received> {
        let mut buffer = vec![0; INLINE + 1];
        let mut files = Vec::new();
        // What follows a first part has been sent already, or never will be.
        let mut wait = wait;
        loop {
            let packet =
                self.recv_files(&mut buffer, wait).map_err(|error| Error::from_os("receiving from another process", error))?;
            let Some((len, some)) = packet else { return Ok(Received::Nothing) };
            files.extend(some);
            let Some((&tag, bytes)) = buffer[..len].split_first() else { return Ok(Received::End) };
            if tag == MORE {
                wait = true;
                continue;
            }
            let mut segments = files.into_iter().map(Segment::attach).collect::<Result<Vec<_>>>()?;
            let bytes = match tag {
                WHOLE => bytes.to_vec(),
                SPILLED => {
                    let spill = segments.pop().ok_or(Error::Corrupted)?;
                    Segment::read_frozen(spill.file(), spill.body_size())?.1
                }
                _ => return Err(Error::Corrupted),
            };
            return Ok(Received::Parcel(Parcel { bytes, segments }));
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
