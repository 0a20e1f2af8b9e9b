//! An end of a ring for threads that have not got it.

#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use super::control::{Control, End, Signals};

/// What a thread can do at an end while another thread has the track.
///
/// `control` is mapped as long as this is used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bell {
    control: NonNull<Control>,
    capacity: usize,
    end: End,
}

// SAFETY: it points to atomics that all threads and processes may reach.
unsafe impl Send for Bell {}
// SAFETY: as above.
unsafe impl Sync for Bell {}

impl Bell {
    /// # Safety
    /// It is used no longer than this is mapped.
    pub(super) unsafe fn new(control: NonNull<Control>, capacity: usize, end: End) -> Self {
        Self { control, capacity, end }
    }

    fn control(&self) -> &Control {
        // SAFETY: it is mapped, as `new`'s caller said; any bytes are a `Control`.
        unsafe { self.control.as_ref() }
    }

    fn signals(&self) -> &Signals {
        &self.control().signals
    }

    /// Wakes the thread of this end that sleeps.
    pub(crate) fn ring(&self) {
        self.signals().of(self.end).notify_all();
    }

    /// Whether the other end has said that it is done.
    pub(crate) fn is_closed_there(&self) -> bool {
        self.signals().is_closed_by(self.end.other())
    }

    /// Whether the process that has the other end has died. Asks the kernel.
    pub(crate) fn other_is_dead(&self) -> bool {
        self.signals().holder_is_dead(self.end.other())
    }

    /// Announces a sleeper at this end: where it sleeps, and on which value.
    pub(crate) fn announce(&self) -> (&AtomicU32, u32) {
        let here = self.signals().of(self.end);
        (here.word(), here.mark())
    }

    /// Wakes the thread of this end that sleeps, if there is something for it: the wake may have come to another one.
    pub(crate) fn pass_on(&self) {
        self.signals().of(self.end).pass_on(|| self.is_turn());
    }

    /// Whether the end has a slot that it may use: there is room for the sender, or something for the receiver. Impossible positions count as
    /// that: who uses them is told.
    pub(crate) fn is_turn(&self) -> bool {
        // Acquire: pairs with the Release in `Track::publish`, so that who asks after a wake sees what woke it.
        let [sent, received] = self.control().positions.each_ref().map(|position| position.0.load(Ordering::Acquire));
        match self.end {
            End::Send => sent.wrapping_sub(received) != self.capacity as u64,
            End::Recv => sent != received,
        }
    }
}
