//! How the two ends of a connection know of each other: by a pair of sockets.
//!
//! Each end holds one. When an end dies, however, or the message in which it travels is lost, the kernel closes its socket, and the other
//! end sees that its own is cut. A socket on its way from one process to another is open.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use rustix::event::{PollFd, PollFlags, Timespec};

use crate::error::{Error, Result};
use crate::sys::{fork::Unforked, socket};

/// An end's socket, on its way.
pub(crate) type Socket = Arc<OwnedFd>;

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
    pub(crate) fn adopt(socket: Socket) -> Self {
        Self(Unforked::new(socket))
    }

    /// The socket, to send and receive by as long as this process has the end; `None` in a forked child, whose parent has it.
    pub(crate) fn socket(&self) -> Option<Socket> {
        self.0.get()
    }

    /// Takes the socket out, to give the end away: whoever gets it must be the only one who has it. `None` in a forked child, whose
    /// parent has it, or the second time.
    pub(crate) fn take(&self) -> Option<Socket> {
        self.0.take()
    }

    /// Whether the other end is gone. Without a socket there is none.
    pub(crate) fn is_cut(&self) -> bool {
        let cut = self.0.with(|socket| {
            let mut polled = [PollFd::from_borrowed_fd(socket, PollFlags::empty())];
            let now = Timespec { tv_sec: 0, tv_nsec: 0 };
            // If the kernel will not say, it is there.
            rustix::event::poll(&mut polled, Some(&now)).is_ok() && !polled[0].revents().is_empty()
        });
        // Acquire: pairs with the kernel's store that cut the socket; whatever the other end had stored before it.
        fence(Ordering::Acquire);
        cut.unwrap_or(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_when_the_other_end_is_dropped() {
        let (one, other) = Lifeline::pair().unwrap();
        assert!(!one.is_cut());
        let on_its_way = other.take();
        assert!(other.take().is_none());
        drop(other);
        assert!(!one.is_cut());
        drop(on_its_way);
        assert!(one.is_cut());
    }
}
