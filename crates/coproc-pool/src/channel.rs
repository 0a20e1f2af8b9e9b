//! The socket between a process and its child: parcels, with the descriptors that they name.
//!
//! Descriptors travel before, or with, the bytes that name them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coproc::__private::{Handle, Parcel, Segment, socket};
use coproc::{Error, Result};

/// Longer parcels go in a segment of their own.
const INLINE: usize = 32 << 10;

/// The first byte of a packet. `MORE` brings nothing but descriptors.
const WHOLE: u8 = 0;
const SPILLED: u8 = 1;
const MORE: u8 = 2;

/// A whole or spilled packet goes on with the number of its handles, four bytes, and a byte for each that says what it is.
const COUNT: usize = 4;

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
        let (one, other) = socket::pair().map_err(|error| Error::from_os("creating a socket", error))?;
        Ok((Self(one), Self(other)))
    }

    pub(crate) fn from_file(file: OwnedFd) -> Self {
        Self(file)
    }

    /// Sends bytes and descriptors in one packet. Waits while the other end's buffer is full.
    pub(crate) fn send_files(&self, bytes: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<()> {
        socket::send(self.as_fd(), bytes, files, true).map(drop)
    }

    /// Receives one packet; `None` if nothing is there (and not told to wait), no bytes if the other end is closed.
    pub(crate) fn recv_files(&self, bytes: &mut [u8], wait: bool) -> io::Result<Option<(usize, Vec<OwnedFd>)>> {
        socket::recv(self.as_fd(), bytes, wait)
    }

    /// Sends a parcel. Waits while the other end's buffer is full.
    ///
    /// # Errors
    /// If the other end is closed, or there is no memory for a long parcel.
    pub(crate) fn send(&self, parcel: &Parcel) -> Result<()> {
        let failed = |error| Error::from_os("sending to another process", error);
        let count = u32::try_from(parcel.handles.len()).map_err(|_| Error::TooLarge { len: parcel.handles.len(), size: 1 })?;
        let spill = (parcel.bytes.len() + parcel.handles.len() > INLINE).then(|| Segment::parcel(&parcel.bytes)).transpose()?;
        let files: Vec<_> = parcel.handles.iter().map(AsFd::as_fd).chain(spill.as_ref().map(Segment::file)).collect();
        let (first, last) = files.split_at(files.len().saturating_sub(1) / socket::MOST_FILES * socket::MOST_FILES);
        for some in first.chunks(socket::MOST_FILES) {
            self.send_files(&[MORE], some).map_err(failed)?;
        }
        let mut packet = vec![if spill.is_some() { SPILLED } else { WHOLE }];
        packet.extend_from_slice(&count.to_ne_bytes());
        packet.extend(parcel.handles.iter().map(Handle::kind));
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
        let mut buffer = vec![0; 1 + COUNT + INLINE];
        let mut files = Vec::new();
        // What follows a first part has been sent already, or never will be.
        let mut wait = wait;
        loop {
            let packet =
                self.recv_files(&mut buffer, wait).map_err(|error| Error::from_os("receiving from another process", error))?;
            let Some((len, some)) = packet else { return Ok(Received::Nothing) };
            files.extend(some);
            match buffer[..len].split_first() {
                None => return Ok(Received::End),
                Some((&MORE, _)) => wait = true,
                Some((&tag, packet)) => return unpack(tag, packet, files).map(Received::Parcel),
            }
        }
    }
}

/// The parcel of a packet and all descriptors that came with it.
fn unpack(tag: u8, packet: &[u8], mut files: Vec<OwnedFd>) -> Result<Parcel> {
    let (count, rest) = packet.split_first_chunk::<COUNT>().ok_or(Error::Corrupted)?;
    let (kinds, bytes) = rest.split_at_checked(u32::from_ne_bytes(*count) as usize).ok_or(Error::Corrupted)?;
    let spill = if tag == SPILLED { Some(files.pop().ok_or(Error::Corrupted)?) } else { None };
    if files.len() != kinds.len() || tag > SPILLED {
        return Err(Error::Corrupted);
    }
    let handles = kinds.iter().zip(files).map(|(&kind, file)| Handle::of(kind, file)).collect::<Result<_>>()?;
    let bytes = match spill {
        Some(spill) => {
            let spill = Segment::attach(spill)?;
            Segment::read_frozen(spill.file(), spill.body_size())?.1
        }
        None => bytes.to_vec(),
    };
    Ok(Parcel { bytes, handles })
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
