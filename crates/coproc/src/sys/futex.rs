//! `futex(2)`, always the shared kind: the private flag is faster by nothing that matters, and wakes no other process.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use once_cell::race::OnceBool;
use rustix::thread::futex::{self, Flags, Wait, WaitFlags, WaitPtr, WaitvFlags};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Sleeps while the word has this value, at most this long. May return early for no reason; the caller looks again.
pub(crate) fn wait(word: &AtomicU32, value: u32, slice: Duration) {
    let slice =
        rustix::fs::Timespec { tv_sec: slice.as_secs().min(i64::MAX as u64) as i64, tv_nsec: slice.subsec_nanos().into() };
    // EAGAIN, EINTR and ETIMEDOUT all mean: look at the word again.
    let _ = futex::wait(word, Flags::empty(), value, Some(&slice));
}

/// Sleeps while the word has this value, until it is woken. May return early for no reason.
pub(crate) fn wait_forever(word: &AtomicU32, value: u32) {
    let _ = futex::wait(word, Flags::empty(), value, None);
}

/// How many words [`wait_any`] takes at once; what is more it leaves out.
pub(crate) const MOST_WORDS: usize = 128;

/// Whether the kernel knows how to wait for several words.
pub(crate) fn can_wait_for_several() -> bool {
    static KNOWN: OnceBool = OnceBool::new();
    // Of no words it says that the call is wrong, if it knows it.
    KNOWN.get_or_init(|| {
        let answer = futex::waitv(&[], WaitvFlags::empty(), None, rustix::thread::ClockId::Monotonic);
        answer == Err(rustix::io::Errno::INVAL)
    })
}

/// Sleeps while every one of these words has its value, at most this long (`futex_waitv(2)`). `false` if nobody woke it and no word has changed; may
/// return early for no reason. Where the kernel is older than the call (5.16), it sleeps for a millisecond.
pub(crate) fn wait_any(words: &[(&AtomicU32, u32)], slice: Duration) -> bool {
    let wait = |&(word, value): &(&AtomicU32, u32)| {
        let mut wait = Wait::new();
        wait.val = u64::from(value);
        wait.uaddr = WaitPtr::new(word.as_ptr().cast());
        wait.flags = WaitFlags::SIZE_U32;
        wait
    };
    let list: Vec<_> = words.iter().take(MOST_WORDS).map(wait).collect();
    // Until a point in time, unlike the others.
    let until = (Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default()).saturating_add(slice);
    let until = Timespec { tv_sec: until.as_secs().min(i64::MAX as u64) as i64, tv_nsec: until.subsec_nanos().into() };
    match futex::waitv(&list, WaitvFlags::empty(), Some(&until), rustix::thread::ClockId::Monotonic) {
        Err(rustix::io::Errno::TIMEDOUT) => false,
        Err(rustix::io::Errno::NOSYS) => {
            std::thread::sleep(slice.min(Duration::from_millis(1)));
            false
        }
        _ => true,
    }
}

/// Wakes at most this many sleepers, and says how many.
///
/// The moment of danger is before this call: whoever saw the new value may already have unmapped the word. A wake of a word
/// that is gone, or that is another one by now, is harmless: sleepers look again. The reference keeps it mapped in this process.
pub(crate) fn wake(word: &AtomicU32, count: u32) -> u32 {
    // It cannot fail: the word is one.
    futex::wake(word, Flags::empty(), count).map_or(0, |woken| woken as u32)
}

/// Wakes all sleepers.
pub(crate) fn wake_all(word: &AtomicU32) {
    wake(word, i32::MAX.unsigned_abs());
}
