//! Which process and thread this is, in a form that a fork cannot copy.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::registry;
use crate::sys;

/// The page in which the identity lies: the first word; the rest is unused. Zero until one is drawn, and again in every child.
#[cfg_attr(target_arch = "x86_64", repr(C, align(4096)))]
#[cfg_attr(not(target_arch = "x86_64"), repr(C, align(65536)))]
struct Page(AtomicU64);

// SAFETY: an atomic, of which zero is a value, alone on pages of the largest size that the architecture uses.
unsafe impl sys::ZeroPages for Page {}

/// This process's identity: 40 random bits, neither none of them set nor all, in a page that the kernel wipes in every child, also in one that was made without
/// the C library (`MADV_WIPEONFORK`). Zero means "draw and register first".
///
/// All its bytes are zero in the executable, so it lies in memory that is backed by no file, as the advice wants it.
static PAGE: Page = Page(AtomicU64::new(0));

/// The largest identity.
pub(crate) const LARGEST: u64 = u64::MAX >> Thread::IDENTITY_SHIFT;

/// See [`seat`].
static SEAT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The last answer of [`Thread::current`]. A forked child finds it stale, because the identity in it is not the page's.
    static CURRENT: Cell<u64> = const { Cell::new(NO_THREAD) };
}

/// The bits of no thread: no process has this identity, and no page holds it.
const NO_THREAD: u64 = u64::MAX;

/// A thread of some process, packed as in a lock word: thread id in bits 0 to 21, identity in bits 24 to 63.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Thread(u64);

/// This process could not register itself as alive. Holds the error number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unregistered(pub(crate) i32);

impl fmt::Display for Unregistered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = io::Error::from_raw_os_error(self.0);
        write!(f, "this process could not register itself as alive ({error}); it needs /proc and two free descriptors")
    }
}

impl std::error::Error for Unregistered {}

impl From<io::Error> for Unregistered {
    fn from(error: io::Error) -> Self {
        Self(error.raw_os_error().unwrap_or(libc::ENOENT))
    }
}

impl Thread {
    const IDENTITY_SHIFT: u32 = 24;

    /// The calling thread, if it has been asked for before, and the process has not forked since.
    #[inline]
    pub(crate) fn known() -> Option<Self> {
        let thread = CURRENT.get();
        (thread >> Self::IDENTITY_SHIFT == known_identity()).then_some(Self(thread))
    }

    /// The calling thread.
    ///
    /// # Errors
    /// [`Unregistered`] if this is a forked process that cannot register itself.
    pub(crate) fn current() -> Result<Self, Unregistered> {
        Self::known().map_or_else(Self::enter, Ok)
    }

    /// The first call of a thread, or the first since a fork.
    #[cold]
    fn enter() -> Result<Self, Unregistered> {
        let identity = registry::enter()?;
        let thread = identity << Self::IDENTITY_SHIFT | u64::from(sys::thread_id());
        CURRENT.set(thread);
        Ok(Self(thread))
    }

    /// Its process.
    #[inline]
    pub(crate) fn identity(self) -> u64 {
        self.0 >> Self::IDENTITY_SHIFT
    }

    /// As packed in a lock word.
    #[inline]
    pub(crate) fn bits(self) -> u64 {
        self.0
    }
}

/// The identity of this process, or 0 if it has drawn none since it was made.
#[inline]
pub fn known_identity() -> u64 {
    PAGE.0.load(Ordering::Relaxed)
}

/// A small number that differs between processes that were started one after the other: the process id at the time of registering.
#[inline]
pub(crate) fn seat() -> usize {
    SEAT.load(Ordering::Relaxed)
}

/// In a forked child, whose one thread calls this: it is another thread than its image in the parent.
pub(super) fn forget_thread() {
    CURRENT.set(NO_THREAD);
}

/// Makes this the identity of the process. Called with the registries locked.
pub(super) fn publish(identity: u64) -> io::Result<()> {
    sys::wipe_on_fork(&PAGE)?;
    sys::take_part_in_barriers();
    SEAT.store(std::process::id() as usize, Ordering::Relaxed);
    PAGE.0.store(identity, Ordering::Relaxed);
    Ok(())
}

/// A random identity: 40 bits, neither none of them set nor all.
pub(super) fn draw() -> io::Result<u64> {
    loop {
        let identity = sys::random()? as u64 >> Thread::IDENTITY_SHIFT;
        if identity != 0 && identity != LARGEST {
            return Ok(identity);
        }
    }
}
