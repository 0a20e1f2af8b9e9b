//! What is told to `tracing`, if the feature of that name is on. Else nothing is: nothing here prints.

use crate::error::Cause;
use crate::process::Child;

/// A child was started.
pub(crate) fn started(child: &Child) {
    #[cfg(feature = "tracing")]
    tracing::debug!(name = child.name(), pid = child.pid(), daemon = child.daemon(), "child process started");
    let _ = child;
}

/// A child has ended, and its result was looked at; with the cause if it has none.
pub(crate) fn ended(child: &Child, cause: Option<&Cause>) {
    #[cfg(feature = "tracing")]
    match cause {
        None => tracing::debug!(name = child.name(), pid = child.pid(), "child process ended"),
        Some(cause) => tracing::warn!(name = child.name(), pid = child.pid(), %cause, "child process failed"),
    }
    let _ = (child, cause);
}

/// A worker of a pool has died, and another one took its place.
pub(crate) fn replaced(dead: u32, new: u32) {
    #[cfg(feature = "tracing")]
    tracing::warn!(dead, new, "pool worker replaced");
    let _ = (dead, new);
}
