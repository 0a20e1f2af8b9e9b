//! `futex(2)`, always the shared kind: the private flag is faster by nothing that matters, and wakes no other process.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use rustix::thread::futex::{self, Flags};

/// Sleeps while the word has this value, at most this long. May return early for no reason; the caller looks again.
pub(crate) fn wait(word: &AtomicU32, value: u32, slice: Duration) {
    let slice =
        rustix::fs::Timespec { tv_sec: slice.as_secs().min(i64::MAX as u64) as i64, tv_nsec: slice.subsec_nanos().into() };
    // EAGAIN, EINTR and ETIMEDOUT all mean: look at the word again.
    let _ = futex::wait(word, Flags::empty(), value, Some(&slice));
}

/// Wakes at most this many sleepers.
///
/// The moment of danger is before this call: whoever saw the new value may already have unmapped the word. A wake of a word
/// that is gone, or that is another one by now, is harmless: sleepers look again. The reference keeps it mapped in this process.
pub(crate) fn wake(word: &AtomicU32, count: u32) {
    let _ = futex::wake(word, Flags::empty(), count);
}

/// Wakes all sleepers.
pub(crate) fn wake_all(word: &AtomicU32) {
    wake(word, i32::MAX.unsigned_abs());
}
