//! A pair of sockets that keep the boundaries of messages, which are 64 bytes long.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};

/// How long a message is, in bytes: a number, eight times.
pub(crate) const MESSAGE: usize = 64;

/// One of two connected ends.
#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

impl Socket {
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(one), Self(other)))
    }

    #[inline]
    pub(crate) fn send(&self, number: u64) {
        let message = [number.to_ne_bytes(); 8];
        let sent = send(&self.0, message.as_flattened(), SendFlags::NOSIGNAL).expect("the other end is open");
        assert_eq!(sent, MESSAGE, "a part of a message was sent");
    }

    #[inline]
    pub(crate) fn recv(&self) -> u64 {
        let mut message = [[0; 8]; 8];
        let (received, _) = recv(&self.0, message.as_flattened_mut(), RecvFlags::empty()).expect("the other end is open");
        assert_eq!(received, MESSAGE, "a message of another length");
        assert_eq!(message[0], message[7], "the message is torn");
        u64::from_ne_bytes(message[0])
    }
}
