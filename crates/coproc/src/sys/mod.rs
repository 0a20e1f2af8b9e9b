//! The system calls, and nothing else: a safe function for each, no policy. The only place that another platform would change.

#![allow(unsafe_code)]

pub(crate) mod file;
pub(crate) mod fork;
pub(crate) mod futex;
pub(crate) mod ofd;
pub(crate) mod prefetch;
pub mod socket;
pub(crate) mod thread;

use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::mm::Advice;

/// Waits until one of these can be read, or is cut, or so much time has passed. Returns for no reason now and then, so what is behind a number may change
/// meanwhile.
pub(crate) fn wait_readable(files: &[RawFd], time: Option<Duration>) {
    let mut polled: Vec<_> = files.iter().map(|&fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 }).collect();
    // Rounded up: who waits for the end of a time does not look just before.
    let time = time.map_or(-1, |time| i32::try_from(time.as_micros().div_ceil(1000)).unwrap_or(i32::MAX));
    // SAFETY: `poll` reads and writes so many `pollfd`s, which `polled` has; their descriptors are numbers, of which any will do.
    if unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, time) } < 0 {
        // More files than the limit allows now, or no memory: look again soon.
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// This thread's id (`gettid(2)`).
pub(crate) fn thread_id() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs()
}

/// From now on, every child process finds these pages zeroed (`MADV_WIPEONFORK`), also one made by a raw `clone`.
///
/// # Errors
/// If the memory is not whole pages that are backed by no file.
pub(crate) fn wipe_on_fork<T: ZeroPages>(pages: &'static T) -> io::Result<()> {
    let at = (&raw const *pages).cast_mut().cast();
    // SAFETY: the range is the static alone, page for page; this process sees no change, and a child finds zeros, which `ZeroPages`
    // says is a value.
    Ok(unsafe { rustix::mm::madvise(at, size_of::<T>(), Advice::LinuxWipeOnFork) }?)
}

/// Whole pages of which all bytes zero is a value.
///
/// # Safety
/// As said; the alignment is a multiple of the page size.
pub(crate) unsafe trait ZeroPages {}

const MEMBARRIER_GLOBAL_EXPEDITED: libc::c_int = 1 << 1;
const MEMBARRIER_REGISTER_GLOBAL_EXPEDITED: libc::c_int = 1 << 2;

fn membarrier(command: libc::c_int) -> bool {
    // SAFETY: takes no memory of ours. Where it is refused, nothing happens.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}

/// This process takes part in [`barrier_everywhere`] from now on. Inherited over a fork.
///
/// It takes no time while there is one thread, and may take a grace period of the kernel, 20 ms or so, when there are more.
pub(crate) fn take_part_in_barriers() {
    static DONE: AtomicBool = AtomicBool::new(false);
    if !DONE.swap(true, Ordering::Relaxed) {
        membarrier(MEMBARRIER_REGISTER_GLOBAL_EXPEDITED);
    }
}

/// Every running thread of every process that takes part passes a full memory barrier between the begin and the end of this call
/// (`membarrier(2)`); threads that do not run have passed one when they were taken off their processor. `false` where that is refused.
pub(crate) fn barrier_everywhere() -> bool {
    membarrier(MEMBARRIER_GLOBAL_EXPEDITED)
}

/// Random bytes (`getrandom(2)`).
pub(crate) fn random() -> io::Result<u128> {
    let mut bytes = [0; 16];
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(u128::from_ne_bytes(bytes))
}

/// The time since some moment, in steps of some milliseconds (`CLOCK_MONOTONIC_COARSE`).
pub(crate) fn coarse_time() -> Duration {
    Duration::try_from(rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse)).unwrap_or_default()
}

/// A limit of this process (`getrlimit(2)`); `None` if there is none.
pub(crate) fn limit(resource: rustix::process::Resource) -> Option<u64> {
    rustix::process::getrlimit(resource).current
}
