//! Those who take part in a run: they start together, and go by one clock.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use coproc::Shareable;
use rustix::time::{ClockId, clock_gettime};

use crate::measure::Result;

/// How long one waits for the others.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where all meet before they start.
#[derive(Debug, Default, Shareable)]
#[repr(C)]
pub(super) struct Start {
    there: AtomicUsize,
}

impl Start {
    /// Waits until so many are there.
    pub(super) fn meet(&self, crew: usize) -> Result<()> {
        // Release: pairs with the Acquire below; what each has opened is there for all.
        self.there.fetch_add(1, Ordering::Release);
        let asked = Instant::now();
        // Acquire: pairs with the Release above.
        while self.there.load(Ordering::Acquire) < crew {
            if asked.elapsed() > PATIENCE {
                return Err("the others did not start".into());
            }
            std::thread::yield_now();
        }
        Ok(())
    }
}

/// The time, in nanoseconds, on a clock that all processes share.
pub(super) fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
