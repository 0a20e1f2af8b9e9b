//! What the tests in `tests/` share: a watchdog, signals, descriptors, and ways to know from outside where a process is.
//!
//! Nothing here sleeps to prove a thing. A child says where it is through shared memory; that it also sleeps in the kernel is read
//! from `/proc`.

mod files;
mod processes;
pub mod rig;
pub mod rights;

pub use files::{
    Seal, bytes_of, descriptors, file_of, leaky, leftovers, limit_descriptors, memory, most_descriptors, peek, poke, print_into,
};
pub use processes::{
    End, children, fork, ignore_children, kill, kill_if_there, killed, outlive_parent, resume, signal, state_of, steal_a_child,
    stop, thread_id, until_asleep, until_in_call, until_thread_asleep, wait_for, zygote,
};

use std::io::{self, Write};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use coproc::{Event, Result, SharedArray};

/// Where the lock word of a value or an array lies in its file.
pub const LOCK_WORD: u64 = 128;

/// Ends the whole process with a message if it is not dropped in time: a hang is a failure that says what hung.
#[derive(Debug)]
#[must_use = "it watches until it is dropped"]
pub struct Watchdog(#[allow(dead_code, reason = "its end is what counts")] mpsc::Sender<()>);

/// Watches what follows.
///
/// # Panics
/// If no thread can be started.
pub fn watchdog(seconds: u64, what: &str) -> Watchdog {
    let (alive, end) = mpsc::channel();
    let what = what.to_owned();
    thread::Builder::new()
        .name("watchdog".into())
        .spawn(move || {
            if end.recv_timeout(Duration::from_secs(seconds)) == Err(mpsc::RecvTimeoutError::Timeout) {
                // Not `eprintln`, which a test captures: it would be lost with the process.
                let _ = writeln!(io::stderr(), "\nwatchdog: {what}: not done after {seconds} s");
                std::process::abort();
            }
        })
        .expect("no thread for the watchdog");
    Watchdog(alive)
}

/// Gives way until this is so.
///
/// # Panics
/// If it is not so after 30 seconds.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < end, "never came true: {what}");
        thread::yield_now();
    }
}

/// Waits for an event that a child is to set.
///
/// # Panics
/// If it is not set within 30 seconds.
pub fn wait(event: &Event, what: &str) {
    assert!(event.wait_timeout(Duration::from_secs(30)), "never happened: {what}");
}

/// Events to meet at, in one segment.
///
/// # Errors
/// As [`SharedArray::zeroed`].
pub fn events(count: usize) -> Result<SharedArray<Event>> {
    SharedArray::zeroed(count)
}

/// Waits for ever.
pub fn pause() -> ! {
    loop {
        thread::park();
    }
}

/// Random numbers that are the same in every run (splitmix64).
#[derive(Clone, Copy, Debug)]
pub struct Random(pub u64);

impl Random {
    /// A word as a hostile peer would choose it: a small number, one near the end, a single bit, or noise.
    pub fn strange_word(&mut self) -> u64 {
        match self.below(4) {
            0 => self.below(8),
            1 => u64::MAX - self.below(8),
            2 => 1 << self.below(64),
            _ => self.next(),
        }
    }

    /// The next number.
    #[allow(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut n = self.0;
        n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ (n >> 31)
    }

    /// A number below this one.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
