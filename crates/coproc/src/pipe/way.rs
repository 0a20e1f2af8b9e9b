//! What a process has of a ring of a pipe, for its threads to take turns at.

#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::AtomicU32;

use super::methods::NEVER;
use crate::ring::{Bell, Look, Stop};
use crate::segment::Segment;
use crate::sync::{Held, Patience, RawLock};

/// One direction: this process's side of its ring.
///
/// The lock lies in private memory: no other process has it, and none can leave it locked.
pub(super) struct Way<S> {
    lock: RawLock,
    /// Reached by the thread that has the lock.
    side: UnsafeCell<S>,
    bell: Bell,
}

// SAFETY: the side is reached under the lock alone, by one thread at a time, which is all that `S: Send` asks for.
unsafe impl<S: Send> Sync for Way<S> {}

impl<S> Way<S> {
    pub(super) fn new(side: S, bell: Bell) -> Self {
        Self { lock: RawLock::new(), side: UnsafeCell::new(side), bell }
    }

    /// This thread's turn.
    #[inline]
    pub(super) fn turn(&self, patience: Patience) -> Result<Turn<'_, S>, Stop> {
        let held = self.lock.hold(patience).map_err(|_| Stop::Busy)?;
        Ok(Turn { side: &self.side, _held: held })
    }

    /// The last turn: who has one, or waits for it, finds that this process has the end no more, and leaves.
    pub(super) fn finish(&self, last: impl FnOnce(&mut S)) {
        self.bell.ring();
        if let Ok(mut side) = self.turn(NEVER) {
            last(&mut side);
        }
    }

    /// Announces a sleeper at this side.
    pub(super) fn announce(&self) -> (&AtomicU32, u32) {
        self.bell.announce()
    }

    /// Wakes another sleeper at this side, if there is something for it.
    pub(super) fn pass_on(&self) {
        self.bell.pass_on();
    }

    /// What waits for it in the place of a thread; the ring lies in this segment.
    pub(super) fn look(&self, segment: Segment) -> Look {
        Look::new(self.bell, segment)
    }

    /// Whether the other end has said that it is done.
    pub(super) fn is_closed_there(&self) -> bool {
        self.bell.is_closed_there()
    }
}

impl<S> fmt::Debug for Way<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Way").field("closed", &self.is_closed_there()).finish()
    }
}

/// The side, until this is dropped.
pub(super) struct Turn<'a, S> {
    side: &'a UnsafeCell<S>,
    _held: Held<'a>,
}

impl<S> Deref for Turn<'_, S> {
    type Target = S;

    #[inline]
    fn deref(&self) -> &S {
        // SAFETY: this thread has the lock, and only this `Turn` is made of it.
        unsafe { &*self.side.get() }
    }
}

impl<S> DerefMut for Turn<'_, S> {
    #[inline]
    fn deref_mut(&mut self) -> &mut S {
        // SAFETY: as above, exclusively borrowed.
        unsafe { &mut *self.side.get() }
    }
}
