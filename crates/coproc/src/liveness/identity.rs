//! Which process and thread this is, in a form that a fork cannot copy.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use super::registry;
use crate::sys;

/// What the page holds before it is there: no identity.
static NONE: AtomicU64 = AtomicU64::new(0);

/// Where this process's identity lies: 40 random bits, never zero, in a page that the kernel wipes in every child. Zero means
/// "draw and register first".
///
/// Points to `NONE` or to a page that is never unmapped.
static PAGE: AtomicPtr<AtomicU64> = AtomicPtr::new((&raw const NONE).cast_mut());

thread_local! {
    /// The last answer of [`Thread::current`]. A forked child finds it stale, because the identity in it is not the page's.
    static CURRENT: Cell<u64> = const { Cell::new(0) };
}

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

    /// The calling thread.
    ///
    /// # Errors
    /// [`Unregistered`] if this is a forked process that cannot register itself.
    #[inline]
    pub(crate) fn current() -> Result<Self, Unregistered> {
        let thread = CURRENT.get();
        if thread != 0 && thread >> Self::IDENTITY_SHIFT == known_identity() { Ok(Self(thread)) } else { Self::enter() }
    }

    /// The first call of a thread, or the first since a fork.
    #[cold]
    fn enter() -> Result<Self, Unregistered> {
        let identity = registry::enter()?;
        let thread = identity << Self::IDENTITY_SHIFT | u64::from(sys::thread_id());
        CURRENT.set(thread);
        Ok(Self(thread))
    }

    /// As packed in a lock word.
    #[inline]
    pub(crate) fn bits(self) -> u64 {
        self.0
    }
}

/// The identity of this process, or 0 if it has drawn none since it was made.
#[inline]
pub(crate) fn known_identity() -> u64 {
    // Acquire: pairs with the Release in `publish`; the page is mapped.
    let page = PAGE.load(Ordering::Acquire);
    // SAFETY: it points to `NONE` or to a page that stays mapped; both hold an aligned `AtomicU64`.
    unsafe { &*page }.load(Ordering::Relaxed)
}

/// Makes this the identity of the process. Called with the registries locked.
pub(super) fn publish(identity: u64) -> io::Result<()> {
    let mut page = PAGE.load(Ordering::Relaxed);
    if std::ptr::eq(page, &raw const NONE) {
        page = sys::wiped_page()?.as_ptr().cast();
        // Release: pairs with the Acquire in `known_identity`; the page is mapped.
        PAGE.store(page, Ordering::Release);
    }
    // SAFETY: the page stays mapped and starts with an aligned `AtomicU64`.
    unsafe { &*page }.store(identity, Ordering::Relaxed);
    Ok(())
}

/// A random identity: 40 bits, not zero.
pub(super) fn draw() -> io::Result<u64> {
    loop {
        let identity = sys::random()? as u64 >> Thread::IDENTITY_SHIFT;
        if identity != 0 {
            return Ok(identity);
        }
    }
}
