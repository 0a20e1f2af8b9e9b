//! Giving up rights, and changing what children inherit.

#![allow(clippy::missing_panics_doc, reason = "each panics if the system refuses, which these tests do not expect")]

use std::io;

fn check(what: &str, code: impl Into<i64>) {
    assert_eq!(code.into(), 0, "{what}: {}", io::Error::last_os_error());
}

/// Whether this process may do everything.
pub fn is_root() -> bool {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// All threads become this user, of this group alone.
pub fn become_user(id: u32) {
    set_groups();
    // SAFETY: takes numbers.
    check("setresgid", unsafe { libc::setresgid(id, id, id) });
    // SAFETY: as above.
    check("setresuid", unsafe { libc::setresuid(id, id, id) });
}

/// All threads are in one group more.
pub fn set_groups() {
    // SAFETY: reads one group.
    check("setgroups", unsafe { libc::setgroups(1, [7].as_ptr()) });
}

/// This thread has no capabilities any more.
pub fn drop_capabilities() {
    let header = [0x2008_0522_u32, 0];
    let none = [0_u32; 6];
    // SAFETY: reads a header and two triples of words.
    check("capset", unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) });
}

/// This thread can never get `CAP_NET_ADMIN` again.
pub fn drop_a_bound() {
    // SAFETY: takes numbers.
    check("prctl", unsafe { libc::prctl(libc::PR_CAPBSET_DROP, 12, 0, 0, 0) });
}

/// This thread gets no more rights by what it executes.
pub fn no_new_privileges() {
    // SAFETY: takes numbers.
    check("prctl", unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) });
}

/// This thread leaves these namespaces for new ones.
pub fn unshare(which: i32) {
    // SAFETY: takes a number, none that would take memory or descriptors from other threads.
    check("unshare", unsafe { libc::unshare(which & !(libc::CLONE_FILES | libc::CLONE_VM)) });
}

/// This thread has a filter for system calls from now on, which lets all pass.
pub fn filter_system_calls() {
    no_new_privileges();
    let mut allow = libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: 0x7fff_0000 };
    let program = libc::sock_fprog { len: 1, filter: &raw mut allow };
    // SAFETY: reads a program of one instruction.
    check("prctl", unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program, 0, 0) });
}

/// A limit of this process becomes so much.
pub fn limit(resource: libc::__rlimit_resource_t, to: u64) {
    let limit = libc::rlimit { rlim_cur: to, rlim_max: to };
    // SAFETY: reads one `rlimit`.
    check("setrlimit", unsafe { libc::setrlimit(resource, &raw const limit) });
}

/// A limit of this process.
pub fn limit_of(resource: libc::__rlimit_resource_t) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes one `rlimit`.
    check("getrlimit", unsafe { libc::getrlimit(resource, &raw mut limit) });
    limit.rlim_cur
}

/// New files lack these mode bits.
pub fn umask(bits: u32) {
    // SAFETY: takes a number and cannot fail.
    unsafe { libc::umask(bits) };
}

/// The nice value of this thread.
pub fn nice() -> i32 {
    // SAFETY: takes numbers.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
}

/// This thread becomes as nice.
pub fn be_nice(to: i32) {
    // SAFETY: takes numbers.
    check("setpriority", unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, to) });
}

/// This thread runs on this CPU alone.
pub fn stay_on_cpu(cpu: usize) {
    // SAFETY: bits, of which none set is a value.
    let mut cpus: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: sets a bit of the set, if it has it.
    unsafe { libc::CPU_SET(cpu, &mut cpus) };
    // SAFETY: reads one set.
    check("sched_setaffinity", unsafe { libc::sched_setaffinity(0, size_of_val(&cpus), &raw const cpus) });
}

/// This thread holds this signal back, and no other.
pub fn hold_back(signal: i32) {
    // SAFETY: bits, of which none set is a value.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: sets a bit of the set.
    check("sigaddset", unsafe { libc::sigaddset(&raw mut set, signal) });
    // SAFETY: reads the set.
    check("pthread_sigmask", unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()) });
}

/// This process has no standard input, output and error any more.
pub fn close_standard_files() {
    for number in 0..3 {
        // SAFETY: nobody owns these numbers, and what uses them expects that they may be closed.
        check("close", unsafe { libc::close(number) });
    }
}
