//! Readiness as a descriptor, for `epoll`, `mio` and their like.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use rustix::event::EventfdFlags;

use super::Waitable;
use super::watcher::{Registered, Target};
use crate::error::{Error, Result};
use crate::sys::file::above_standard;

/// A descriptor that becomes readable when an object is ready: for programs that wait for sockets and files too.
///
/// It works by the shot: [`arm`](Self::arm) makes the descriptor not readable; it becomes readable once, as soon as the object is ready, or at once if it
/// is. Take what is there by calls that do not wait, then arm again. Only the descriptor's readability counts: never read it.
///
/// A thread of this process waits in its place, so nobody else pays for it. Dropping the watch ends that. A forked child's copy is good for nothing but
/// being dropped.
///
/// ```
/// use coproc::{Queue, Watch};
///
/// let queue = Queue::<u32>::new(4)?;
/// let watch = Watch::new(queue.observe())?;
/// watch.arm()?;
/// queue.send(7)?;
/// # use rustix::event::{PollFd, PollFlags, poll};
/// poll(&mut [PollFd::new(&watch, PollFlags::IN)], None).unwrap(); // or epoll, mio, tokio's AsyncFd
/// assert_eq!(queue.try_recv()?, 7);
/// # Ok::<(), coproc::Error>(())
/// ```
#[derive(Debug)]
pub struct Watch {
    bell: Arc<OwnedFd>,
    registered: Registered,
}

/// An eventfd that is readable while its number is not zero.
struct Bell(Arc<OwnedFd>);

impl Target for Bell {
    fn tell(&self) {
        // It fails only where it has been rung more often than it can count.
        let _ = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }
}

impl Watch {
    /// A descriptor for this object: what `observe` gives ([`Queue::observe`](crate::Queue::observe)), a handle of a shared event.
    ///
    /// # Errors
    /// If there is no descriptor, or no thread.
    pub fn new(object: impl Waitable + Send + Sync + 'static) -> Result<Self> {
        let bell = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(io::Error::from)
            .and_then(above_standard)
            .map_err(Error::os("creating an eventfd"))?;
        let bell = Arc::new(bell);
        let registered = Registered::new(Box::new(object), Box::new(Bell(Arc::clone(&bell))))?;
        Ok(Self { bell, registered })
    }

    /// Makes the descriptor not readable, until the object is ready: if it is already, it is readable again soon.
    ///
    /// # Errors
    /// What the system says; and in a forked child.
    pub fn arm(&self) -> Result<()> {
        // The descriptor is the parent's too: what it is to learn would be taken away from it.
        if !self.registered.is_here() {
            return Err(Error::other("the watch is one of the process that has forked this one"));
        }
        match rustix::io::read(&*self.bell, &mut [0_u8; 8]) {
            Ok(_) | Err(rustix::io::Errno::AGAIN) => {}
            Err(error) => return Err(Error::from_os("resetting an eventfd", error.into())),
        }
        self.registered.arm();
        Ok(())
    }

    /// Whether the object is ready at this moment.
    pub fn is_ready(&self) -> bool {
        self.registered.object().is_ready()
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.bell.as_raw_fd()
    }
}
