//! A point in monotonic time until which to wait.

use std::time::{Duration, Instant};

/// When to give up; `None` means never.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    pub(crate) const NEVER: Self = Self(None);

    /// This long from now. What no clock can say (`Duration::MAX`) is never.
    pub(crate) fn after(time: Duration) -> Self {
        Self(Instant::now().checked_add(time))
    }

    /// How long to sleep now: at most this long, and not past the deadline. `None` if it has passed.
    pub(crate) fn slice(self, longest: Duration) -> Option<Duration> {
        match self.0 {
            None => Some(longest),
            Some(end) => end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()).map(|left| left.min(longest)),
        }
    }

    /// Whether it has passed.
    pub(crate) fn has_passed(self) -> bool {
        self.slice(Duration::MAX).is_none()
    }
}
