//! Threads of the library's own, and which signals a thread holds back.

use std::mem::MaybeUninit;
use std::ptr;
use std::thread::JoinHandle;

use crate::error::{Error, Result};

/// Starts a thread that gets no signals: these are the program's. A thread starts with the mask of the one that starts it.
///
/// # Errors
/// If the system has no more threads: it names the limits.
pub fn spawn_quiet(name: &str, run: impl FnOnce() + Send + 'static) -> Result<()> {
    // They do little.
    spawn_quiet_by(std::thread::Builder::new().stack_size(256 << 10), name, run).map(drop)
}

/// As [`spawn_quiet`], with a stack of the usual size, for threads that run what others wrote.
///
/// # Errors
/// As [`spawn_quiet`].
pub fn spawn_quiet_with_stack(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    spawn_quiet_by(std::thread::Builder::new(), name, run)
}

fn spawn_quiet_by(builder: std::thread::Builder, name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let mask = SignalMask::all().swap();
    let thread = builder.name(name.into()).spawn(run);
    mask.swap();
    thread.map_err(|error| {
        let doing = match error.raw_os_error() {
            Some(libc::EAGAIN) => {
                "starting a thread: too many run (RLIMIT_NPROC, pids.max of the control group, or kernel.threads-max)"
            }
            // As the kernel has it for who has left for another pid namespace.
            Some(libc::EINVAL) => {
                "starting a thread, which one that has unshared its pid namespace cannot, nor therefore start child processes"
            }
            _ => "starting a thread",
        };
        Error::from_os(doing, error)
    })
}

/// Signals that a thread holds back.
#[derive(Clone, Copy)]
pub struct SignalMask(libc::sigset_t);

impl SignalMask {
    /// All signals.
    pub fn all() -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: `sigfillset` writes the whole set.
        unsafe { libc::sigfillset(set.as_mut_ptr()) };
        // SAFETY: it was just written.
        Self(unsafe { set.assume_init() })
    }

    /// Makes this the mask of the calling thread; returns the one before.
    pub fn swap(self) -> Self {
        let mut old = MaybeUninit::uninit();
        // SAFETY: reads one set and writes the other; it fails only for a bad first argument.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, old.as_mut_ptr()) };
        // SAFETY: it was just written.
        Self(unsafe { old.assume_init() })
    }

    /// The mask of the calling thread.
    pub fn current() -> Self {
        let mut now = MaybeUninit::uninit();
        // SAFETY: with no new set, it only writes the current one.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, ptr::null(), now.as_mut_ptr()) };
        // SAFETY: it was just written.
        Self(unsafe { now.assume_init() })
    }

    /// A bit for each signal: signal 1 is bit 0.
    pub fn bits(&self) -> u64 {
        // SAFETY: reads the set; it refuses numbers that are no signals.
        let has = |signal| unsafe { libc::sigismember(&raw const self.0, signal) } == 1;
        (0..64).filter(|bit| has(bit + 1)).fold(0, |bits, bit| bits | 1 << bit)
    }

    /// For calls that take a mask.
    pub fn as_ptr(&self) -> *const libc::sigset_t {
        &raw const self.0
    }
}

impl std::fmt::Debug for SignalMask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SignalMask(..)")
    }
}
