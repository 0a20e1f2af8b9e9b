//! Waiting, for peers that can only be asked.

use crossbeam_utils::Backoff;

/// Asks until there is an answer; spins at first, and then gives way in between.
#[inline]
pub(crate) fn poll<R>(mut ask: impl FnMut() -> Option<R>) -> R {
    let backoff = Backoff::new();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        backoff.snooze();
    }
}
