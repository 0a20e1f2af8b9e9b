//! The socket between a process and its child: parcels, with the descriptors that they name.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use coproc::__private::{Parcel, packets, socket};
use coproc::{Error, Result};
use rustix::event::{PollFd, PollFlags};

use crate::sys;

/// One end of the socket.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

/// What a look at the channel gave.
pub(crate) type Received = packets::Received<Parcel>;

impl Channel {
    /// Two connected ends.
    ///
    /// # Errors
    /// If there are no two free descriptors.
    pub(crate) fn pair() -> Result<(Self, Self)> {
        let (one, other) = socket::pair().map_err(|error| Error::from_os("creating a socket", error))?;
        Ok((Self(one), Self(other)))
    }

    pub(crate) fn from_file(file: OwnedFd) -> Self {
        Self(file)
    }

    /// Sends bytes and descriptors in one packet. `false` if there is no room for it, unless told to wait for that.
    pub(crate) fn send_files(&self, bytes: &[u8], files: &[BorrowedFd<'_>], wait: bool) -> io::Result<bool> {
        socket::send(self.as_fd(), bytes, files, wait)
    }

    /// Receives one packet; `None` if nothing is there (and not told to wait), no bytes if the other end is closed.
    pub(crate) fn recv_files(&self, bytes: &mut [u8], wait: bool) -> io::Result<Option<(usize, Vec<OwnedFd>)>> {
        socket::recv(self.as_fd(), bytes, wait)
    }

    /// Waits for a packet and receives it, into places for its descriptors: those are left as they are for which this process has no number. No bytes if the
    /// other end is closed. Allocates nothing.
    pub(crate) fn recv_into(&self, bytes: &mut [u8], files: &mut [Option<OwnedFd>]) -> io::Result<usize> {
        let mut places = files.iter_mut();
        let len = socket::recv_each(self.as_fd(), bytes, true, |file| {
            if let Some(place) = places.next() {
                *place = Some(file);
            }
        })?;
        Ok(len.unwrap_or(0))
    }

    /// The other end receives what was sent, and then the end, though a forked copy of this process has this end too.
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

    /// Receives a parcel from the parent.
    ///
    /// # Errors
    /// If what came is no parcel, or its descriptors could not be attached.
    pub(crate) fn recv(&self, wait: bool) -> Result<Received> {
        let mut files = Vec::new();
        let mut wait = wait;
        loop {
            match packets::recv(self.as_fd(), &mut files, wait)? {
                packets::Received::Parcel(packed) => return packed.open().map(Received::Parcel),
                // What follows a first part has been sent already; or never will be, and then this process ends with its parent.
                packets::Received::Nothing if !files.is_empty() => wait = true,
                packets::Received::Nothing => return Ok(Received::Nothing),
                packets::Received::End => return Ok(Received::End),
            }
        }
    }

    /// Receives a parcel from the child of this descriptor. When that has ended nothing more comes, though a copy of this process that was forked
    /// at the wrong moment may have the other end of the channel too.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub(crate) fn recv_from(&self, child: BorrowedFd<'_>, wait: bool) -> Result<Received> {
        let mut files = Vec::new();
        let mut has_ended = false;
        loop {
            match packets::recv(self.as_fd(), &mut files, false)? {
                packets::Received::Parcel(packed) => return packed.open().map(Received::Parcel),
                packets::Received::Nothing if !wait && files.is_empty() => return Ok(Received::Nothing),
                // Looked at once more after its end was seen: it may have sent something before that.
                packets::Received::Nothing if !has_ended => has_ended = self.wait_beside(child),
                packets::Received::Nothing | packets::Received::End => return Ok(Received::End),
            }
        }
    }

    /// Whether nothing comes for so long.
    pub(crate) fn is_quiet_for(&self, time: Duration) -> bool {
        !sys::end::is_readable(self.as_fd(), Some(time))
    }

    /// Waits until there is something to receive, or the child of this descriptor has ended; whether it has.
    fn wait_beside(&self, child: BorrowedFd<'_>) -> bool {
        let mut polled = [PollFd::new(self, PollFlags::IN), PollFd::from_borrowed_fd(child, PollFlags::IN)];
        // Interrupted: who calls looks again.
        rustix::event::poll(&mut polled, None).is_ok() && !polled[1].revents().is_empty()
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_child_that_has_ended_sends_nothing_though_its_end_is_open() {
        let mut child = Command::new("true").spawn().unwrap();
        let pidfd = crate::sys::pidfd(rustix::process::Pid::from_child(&child)).unwrap();
        let (ours, theirs) = Channel::pair().unwrap();
        theirs.send(&Parcel::of(&7_u32)).unwrap();
        let first = ours.recv_from(pidfd.as_fd(), true).unwrap();
        assert!(matches!(first, Received::Parcel(parcel) if parcel.open() == Some(7_u32)));
        assert!(matches!(ours.recv_from(pidfd.as_fd(), true).unwrap(), Received::End));
        assert!(matches!(ours.recv_from(pidfd.as_fd(), false).unwrap(), Received::Nothing));
        child.wait().unwrap();
        assert!(matches!(ours.recv_from(pidfd.as_fd(), true).unwrap(), Received::End));
        drop(theirs);
        assert!(matches!(ours.recv_from(pidfd.as_fd(), false).unwrap(), Received::End));
    }
}
