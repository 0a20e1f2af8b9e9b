//! The socket between a process and its child: parcels, with the descriptors that they name.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coproc::__private::{Parcel, packets, socket};
use coproc::{Error, Result};

/// One end of the socket.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

/// What a look at the channel gave.
pub(crate) type Received = packets::Received<Parcel>;

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

    /// The other end receives what was sent, and then the end.
    pub(crate) fn end_sending(&self) {
        let _ = rustix::net::shutdown(&self.0, rustix::net::Shutdown::Write);
    }

    /// Sends a parcel. Waits while the other end's buffer is full.
    ///
    /// # Errors
    /// If the other end is closed, or there is no memory for a long parcel.
    pub(crate) fn send(&self, parcel: &Parcel) -> Result<()> {
        packets::send(self.as_fd(), parcel, true).map(drop)
    }

    /// Receives a parcel.
    ///
    /// # Errors
    /// If what came is no parcel, or its descriptors could not be attached.
    pub(crate) fn recv(&self, wait: bool) -> Result<Received> {
        let mut files = Vec::new();
        let mut wait = wait;
        loop {
            match packets::recv(self.as_fd(), &mut files, wait)? {
                packets::Received::Parcel(packed) => return packed.open().map(Received::Parcel),
                // What follows a first part has been sent already, or never will be.
                packets::Received::Nothing if !files.is_empty() => wait = true,
                packets::Received::Nothing => return Ok(Received::Nothing),
                packets::Received::End => return Ok(Received::End),
            }
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
