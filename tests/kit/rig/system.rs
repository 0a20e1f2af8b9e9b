//! What the rig asks of the system, beside tracing.

use std::fs;
use std::mem::MaybeUninit;
use std::ptr;
use std::time::{Duration, Instant};

/// The signal of a child that stops or ends is not delivered, but kept for [`child_comes_within`].
pub(super) fn hold_back_children() {
    let set = children_signal();
    // SAFETY: reads the set, and changes what this thread holds back.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()) };
}

/// Waits for that signal; `false` if none came.
pub(super) fn child_comes_within(time: Duration) -> bool {
    let time = libc::timespec { tv_sec: time.as_secs() as libc::time_t, tv_nsec: time.subsec_nanos().into() };
    let set = children_signal();
    // SAFETY: reads the set and the time.
    unsafe { libc::sigtimedwait(&raw const set, ptr::null_mut(), &raw const time) == libc::SIGCHLD }
}

fn children_signal() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: writes the whole set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: changes the set, which was just written.
    unsafe { libc::sigaddset(set.as_mut_ptr(), libc::SIGCHLD) };
    // SAFETY: it was written.
    unsafe { set.assume_init() }
}

pub(super) fn die_with_parent() {
    // SAFETY: takes numbers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

/// Runs this process and its children on one processor, of those that it may use: a step is then no message between two.
pub(super) fn stay_on_processor(number: usize) {
    const SIZE: usize = size_of::<libc::cpu_set_t>();
    let mut all = MaybeUninit::<libc::cpu_set_t>::zeroed();
    // SAFETY: writes at most the set, of which zero is a value.
    if unsafe { libc::sched_getaffinity(0, SIZE, all.as_mut_ptr()) } != 0 {
        return;
    }
    // SAFETY: it was zero, and then written.
    let all = unsafe { all.assume_init() };
    // SAFETY: the number is below the size of the set.
    let allowed = (0..8 * SIZE).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &all) });
    let allowed: Vec<usize> = allowed.collect();
    // SAFETY: a set is plain C data, of which zero is a value.
    let mut one = unsafe { MaybeUninit::<libc::cpu_set_t>::zeroed().assume_init() };
    if let Some(&cpu) = allowed.get(number % allowed.len().max(1)) {
        // SAFETY: the number is below the size of the set.
        unsafe { libc::CPU_SET(cpu, &mut one) };
        // SAFETY: reads the set.
        unsafe { libc::sched_setaffinity(0, SIZE, &raw const one) };
    }
}

/// Passes time.
pub fn busy(time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// How much shared memory the machine has in use, in bytes.
pub fn shared_memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Shmem:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) << 10
}

/// From now on, descendants of this process whose parent dies become its children.
pub fn adopt_orphans() {
    // SAFETY: takes numbers.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
}

/// Puts this process, and the children that it will have, into a process group of its own.
pub fn own_group() {
    // SAFETY: takes numbers.
    unsafe { libc::setpgid(0, 0) };
}

/// Whether this process has done that.
pub fn has_own_group(pid: u32) -> bool {
    // SAFETY: takes a number.
    unsafe { libc::getpgid(pid.cast_signed()) == pid.cast_signed() }
}

/// Whether there is a process left in this group; waits for those that have ended.
pub fn is_anyone_left(group: u32) -> bool {
    let group = -group.cast_signed();
    let mut status = 0;
    // SAFETY: writes the status.
    while unsafe { libc::waitpid(group, &raw mut status, libc::WNOHANG) } > 0 {}
    // SAFETY: sends no signal, only asks.
    unsafe { libc::kill(group, 0) == 0 }
}
