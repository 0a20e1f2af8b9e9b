//! The system calls, modelled.

use std::time::Duration;

use crate::world;

pub(crate) mod atomic;
pub(crate) mod futex;

pub(crate) mod prefetch {
    /// A hint.
    pub(crate) fn for_writing(_: *const u8) {}

    /// A hint.
    pub(crate) fn for_reading(_: *const u8) {}
}

/// Never called: the models wait without giving way first.
pub(crate) fn yield_now() {
    unreachable!("build.rs sets the number of yields to 0")
}

/// `membarrier(2)` makes every running thread pass a full barrier at some point within the call. Between the notifier's store and its look there
/// is a place for one (`compiler_fence`), so whether the barrier falls before it, there, or after it, the outcome is one that two SeqCst
/// fences allow: this one and that one. Where the kernel refuses the call there is neither.
pub(crate) fn barrier_everywhere() -> bool {
    let is_made = world::step() && !world::get().options.barrier_refused;
    if is_made {
        world::fence();
    }
    is_made
}

/// Points in the model's time, which only passes where a slice of a sleep ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant(Duration);

impl Instant {
    pub(crate) fn now() -> Self {
        Self(world::get().time())
    }

    pub(crate) fn checked_add(self, time: Duration) -> Option<Self> {
        self.0.checked_add(time).map(Self)
    }

    pub(crate) fn checked_duration_since(self, earlier: Self) -> Option<Duration> {
        self.0.checked_sub(earlier.0)
    }
}

/// The model's time.
pub(crate) fn coarse_time() -> Duration {
    world::get().time()
}
