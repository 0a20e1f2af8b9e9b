//! How the two ends of a connection know of each other: by a pair of sockets.
//!
//! Each end holds one. When an end dies, however, or the message in which it travels is lost, the kernel closes its socket, and the other
//! end sees that its own is cut. A socket on its way from one process to another is open.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec};

use crate::error::{Error, Result};
use crate::sys::{fork::Unforked, socket};

/// This process's end.
#[derive(Debug)]
pub(crate) struct Lifeline(Unforked);

impl Lifeline {
    /// Two ends that see each other.
    pub(crate) fn pair() -> Result<(Self, Self)> {
        let (one, other) = socket::pair().map_err(Error::os("creating a socket"))?;
        Ok((Self::adopt(Arc::new(one)), Self::adopt(Arc::new(other))))
    }

    /// The end that another process gave away.
    pub(crate) fn adopt(socket: Arc<OwnedFd>) -> Self {
        Self(Unforked::new(socket))
    }

    /// The socket, as long as this process has the end; `None` in a forked child, whose parent has it.
    pub(crate) fn socket(&self) -> Option<Arc<OwnedFd>> {
        self.0.get()
    }

    /// The socket, of which nothing stays here: the end is given away.
    pub(crate) fn take(&self) -> Option<Arc<OwnedFd>> {
        self.0.take()
    }

    /// Whether the other end is gone. Who has not this end has no other.
    pub(crate) fn is_cut(&self) -> bool {
        let Some(socket) = self.0.get() else { return true };
        let mut polled = [PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        // If the kernel will not say, it is there.
        rustix::event::poll(&mut polled, Some(&now)).is_ok() && !polled[0].revents().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_when_the_other_end_is_dropped() {
        let (one, other) = Lifeline::pair().unwrap();
        assert!(!one.is_cut());
        let on_its_way = other.socket();
        drop(other);
        assert!(!one.is_cut());
        drop(on_its_way);
        assert!(one.is_cut());
    }
}
