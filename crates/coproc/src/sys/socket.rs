//! Connected sockets that carry packets, with descriptors (`unix(7)`, `SOCK_SEQPACKET`).
//!
//! A packet is there whole or not at all, and stays there when its sender dies, with its descriptors.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    SocketFlags, SocketType,
};

use super::file::above_standard;

/// How many descriptors a packet carries at most; the kernel takes 253.
pub const MOST_FILES: usize = 250;

/// How long to wait where the kernel does not say when there is room.
const PAUSE: Duration = Duration::from_millis(1);

/// Two connected ends.
///
/// # Errors
/// If there are no two free descriptors.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (one, other) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    Ok((above_standard(one)?, above_standard(other)?))
}

/// Sends bytes and descriptors in one packet. `false` if there is no room for it, unless told to wait for that.
///
/// # Errors
/// If the other end is closed, or there are too many descriptors.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], files: &[BorrowedFd<'_>], wait: bool) -> io::Result<bool> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FILES))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let flags = SendFlags::NOSIGNAL | if wait { SendFlags::empty() } else { SendFlags::DONTWAIT };
    loop {
        match rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags) {
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => return Ok(false),
            // As many descriptors of this user are on their way as it may have open: the receivers must take some first.
            Err(rustix::io::Errno::TOOMANYREFS) if wait => std::thread::sleep(PAUSE),
            Err(rustix::io::Errno::TOOMANYREFS) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Ends the connection, for all who have either end.
///
/// # Errors
/// What the system says.
pub fn shut(socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::net::shutdown(socket, rustix::net::Shutdown::Both)?)
}

/// Receives one packet: how many bytes, and its descriptors, of which the last are missing if there is no place for them. `None` if there is nothing, unless
/// told to wait for that; no bytes if the other end is closed and all it sent has been received.
///
/// # Errors
/// What the system says.
pub fn recv(socket: BorrowedFd<'_>, bytes: &mut [u8], wait: bool) -> io::Result<Option<(usize, Vec<OwnedFd>)>> {
    let mut files = Vec::new();
    let len = recv_each(socket, bytes, wait, |file| files.push(file))?;
    Ok(len.map(|len| (len, files)))
}

/// As [`recv`], but hands over each descriptor, and allocates nothing.
///
/// # Errors
/// As [`recv`].
pub fn recv_each(socket: BorrowedFd<'_>, bytes: &mut [u8], wait: bool, take: impl FnMut(OwnedFd)) -> io::Result<Option<usize>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FILES))];
    let flags = RecvFlags::CMSG_CLOEXEC | if wait { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
    loop {
        let mut control = RecvAncillaryBuffer::new(&mut space);
        match rustix::net::recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut control, flags) {
            Ok(message) => {
                let rights = control.drain().filter_map(|part| match part {
                    RecvAncillaryMessage::ScmRights(rights) => Some(rights),
                    _ => None,
                });
                rights.flatten().map_while(|file| above_standard(file).ok()).for_each(take);
                return Ok(Some(message.bytes));
            }
            // The other end has died, and left packets of ours unread. Said once: what it sent itself is still here.
            Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNRESET) => {}
            Err(rustix::io::Errno::AGAIN) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}
