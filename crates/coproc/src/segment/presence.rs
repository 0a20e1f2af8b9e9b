//! Who has a segment: asked of the kernel, never counted.
//!
//! Each process that has a segment of a kind for which this matters has it by a description of its own, which holds a lock on a byte far behind the end of
//! the file: its place. A handle on its way to another process has a place too. The kernel drops the lock when the last descriptor and the
//! mapping of the description are gone, however that came. So nobody else has the segment when nobody else has a place.

use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::{Header, Segment};
use crate::liveness::{self, Registry, Unregistered};
use crate::sys;

/// Where the places lie.
const FIRST: u64 = 1 << 61;
const PLACES: u64 = 1 << 40;

/// Of so many looks at something that does not become ready, one asks the kernel whether it still can.
const LOOKS_PER_QUESTION: usize = 64;

/// Takes a place through this description, which nobody else has.
pub(super) fn take_place(file: BorrowedFd<'_>) -> io::Result<()> {
    // Taken already is one chance in 2^40. More than a few in a row is a hostile peer that has locked them all.
    for _ in 0..8 {
        if sys::ofd::lock(file, FIRST + sys::random()? as u64 % PLACES)? {
            return Ok(());
        }
    }
    Err(io::Error::from_raw_os_error(libc::EADDRINUSE))
}

/// The same file by another description, with a place of its own.
pub(super) fn another(file: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let another = sys::file::reopen(file)?;
    take_place(another.as_fd())?;
    Ok(another)
}

/// Whether no description but this one has a place. If the kernel will not say, there are others.
fn is_alone(file: BorrowedFd<'_>) -> bool {
    sys::ofd::is_any_locked(file, FIRST, PLACES).is_ok_and(|others| !others)
}

/// What this process knows of who has a segment.
pub(super) struct Presence {
    /// The process that mapped it. A forked child shares its description, so it cannot ask about others.
    identity: u64,
    /// Whether another process has, or had, it too.
    shared: AtomicBool,
    /// Whether this process was the last when it asked.
    alone: AtomicBool,
    /// How many [`Holder`]s this process has.
    holders: AtomicUsize,
    /// How often somebody wanted to know, who does not want to wait for the answer.
    asked: AtomicUsize,
}

impl Presence {
    pub(super) fn new() -> Result<Self, Unregistered> {
        Ok(Self {
            // Drawn now, if this process was only just made: what it maps must not look like what its parent has.
            identity: liveness::Thread::current()?.identity(),
            shared: AtomicBool::new(false),
            alone: AtomicBool::new(false),
            holders: AtomicUsize::new(0),
            asked: AtomicUsize::new(0),
        })
    }

    /// Whether another process has, or had, it too.
    pub(super) fn is_shared(&self) -> bool {
        self.shared.load(Ordering::Relaxed)
    }

    /// Another process has it, or will.
    pub(super) fn note_others(&self) {
        self.shared.store(true, Ordering::Relaxed);
    }
}

/// Tells the family, when it is dropped, that this process has given up a segment: who sleeps may be alone with it now.
pub(super) struct Farewell(Option<Arc<Registry>>);

impl Farewell {
    pub(super) fn new(header: &Header, registry: &Arc<Registry>) -> Self {
        Self(header.kind.counts_holders().then(|| Arc::clone(registry)))
    }

    /// Nobody else has it.
    pub(super) fn cancel(&mut self) {
        self.0 = None;
    }
}

impl Drop for Farewell {
    fn drop(&mut self) {
        self.0.iter().for_each(|registry| registry.tell());
    }
}

impl Segment {
    /// Asks whether no process has it, nor is it on its way to one. For a [`look`](Self::look).
    pub(crate) fn has_nobody(&self) -> bool {
        is_alone(self.file())
    }

    /// What goes to another process instead of the descriptor, where it matters who has the segment: one with a place, while it is on its way.
    pub(crate) fn on_its_way(&self) -> Option<OwnedFd> {
        if !self.header().kind.counts_holders() {
            return None;
        }
        self.0.presence.note_others();
        self.0.presence.alone.store(false, Ordering::Relaxed);
        // Without a descriptor for that it goes as others do: until it arrives, nobody sees that there is one more.
        another(self.file()).ok()
    }

    /// Asks whether this process has the only handle, and others have had some. Threads that share it by reference are not seen.
    pub(crate) fn is_alone(&self) -> bool {
        let presence = &self.0.presence;
        let alone = presence.shared.load(Ordering::Relaxed)
            && presence.holders.load(Ordering::Relaxed) <= 1
            && presence.identity == liveness::known_identity()
            && is_alone(self.file());
        presence.alone.store(alone, Ordering::Relaxed);
        alone
    }

    /// As [`is_alone`](Self::is_alone), for those who look again and again: the kernel is asked now and then, and again where it has said so.
    pub(crate) fn is_found_alone(&self) -> bool {
        let presence = &self.0.presence;
        let looks = presence.asked.fetch_add(1, Ordering::Relaxed) + 1;
        (presence.alone.load(Ordering::Relaxed) || looks.is_multiple_of(LOOKS_PER_QUESTION)) && self.is_alone()
    }
}

/// A part in a segment: while there is another one in this process, nobody is alone.
#[derive(Debug)]
pub(crate) struct Holder(Segment);

impl Holder {
    pub(crate) fn of(segment: Segment) -> Self {
        segment.0.presence.holders.fetch_add(1, Ordering::Relaxed);
        Self(segment)
    }
}

impl Clone for Holder {
    fn clone(&self) -> Self {
        Self::of(self.0.clone())
    }
}

impl Deref for Holder {
    type Target = Segment;

    fn deref(&self) -> &Segment {
        &self.0
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.0.presence.holders.fetch_sub(1, Ordering::Relaxed);
        if self.0.0.presence.is_shared() {
            // A thread that sleeps at another part of this process may be alone now.
            liveness::registry_of(self.0.body().as_ptr().cast_const().cast()).iter().for_each(|registry| registry.tell());
        }
    }
}
