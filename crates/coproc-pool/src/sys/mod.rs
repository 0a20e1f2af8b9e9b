//! The system calls of starting and ending processes, without policy.

#![allow(unsafe_code)]

pub(crate) mod caps;
pub(crate) mod clone;
pub(crate) mod end;
pub(crate) mod life;
pub(crate) mod spawn;
mod thread_status;

use std::ffi::{CStr, c_int};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, Rlimit};

pub(crate) use end::{Status, end, leave, pidfd, reap, signal, wait_for};
pub(crate) use spawn::{spawn, spawn_closes_the_rest};
pub(crate) use thread_status::ThreadStatus;

/// In a child: dies when the thread that started it ends (`PR_SET_PDEATHSIG`).
pub(crate) fn die_with_parent() {
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
}

/// A limit of this process (`getrlimit(2)`). Those who provide it ask for that of any process (`prlimit(2)`), which takes twice as long.
pub(crate) fn limit(resource: Resource) -> Rlimit {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes one `struct rlimit`, of which the kernel has the same notion where numbers have 64 bits.
    if unsafe { libc::syscall(libc::SYS_getrlimit, resource as libc::c_long, &raw mut limit) } != 0 {
        return rustix::process::getrlimit(resource);
    }
    let finite = |value| (value != libc::RLIM_INFINITY).then_some(value);
    Rlimit { current: finite(limit.rlim_cur), maximum: finite(limit.rlim_max) }
}

/// A folder, to look from it at what is in it.
pub(crate) fn folder(path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// The name of the calling thread, as `ps` shows it; the first 15 bytes.
pub(crate) fn set_thread_name(name: &str) {
    let mut short = [0; 16];
    let bytes = name.bytes().filter(|&byte| byte != 0);
    short[..15].iter_mut().zip(bytes).for_each(|(to, byte)| *to = byte);
    if let Ok(name) = CStr::from_bytes_until_nul(&short) {
        let _ = rustix::thread::set_name(name);
    }
}

/// Whether somebody has sent `SIGINT` to this process, which is a child: set by [`leave_interrupts_to_parent`]'s handler.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

pub(crate) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Ctrl-C at the terminal reaches the whole group; a child leaves it to its parent, and notes only what a process has sent. A handler, not
/// "ignore", which would pass to what the child executes. What was ignored stays so.
pub(crate) fn leave_interrupts_to_parent() {
    extern "C" fn note(_: c_int, info: *const libc::siginfo_t, _: *const libc::c_void) {
        // SAFETY: the kernel passes it to a handler of this kind (`SA_SIGINFO`).
        let code = unsafe { (*info).si_code };
        // What the kernel itself sends has a positive code.
        if code <= 0 {
            INTERRUPTED.store(true, Ordering::Relaxed);
        }
    }
    let mut old = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: with no new action, it only writes the current one.
    if unsafe { libc::sigaction(libc::SIGINT, ptr::null(), old.as_mut_ptr()) } != 0 {
        return;
    }
    // SAFETY: it was just written.
    let mut action = unsafe { old.assume_init() };
    if action.sa_sigaction == libc::SIG_DFL {
        action.sa_sigaction = note as extern "C" fn(c_int, *const libc::siginfo_t, *const libc::c_void) as usize;
        action.sa_flags = libc::SA_RESTART | libc::SA_SIGINFO;
        // SAFETY: the handler stores a flag, which is safe at any moment.
        unsafe { libc::sigaction(libc::SIGINT, &raw const action, ptr::null_mut()) };
    }
}

/// Closes all descriptors from this one on (`close_range(2)`).
pub(crate) fn close_all_from(first: u32) {
    // SAFETY: called before `main`, in a child that was just executed: nobody owns what it inherited beyond these.
    unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
}

/// Takes over a descriptor that was handed down under this number, closed on exec from now on; `None` if there is none.
///
/// # Safety
/// Nobody else in the process owns the number.
pub(crate) unsafe fn inherited(number: c_int) -> Option<OwnedFd> {
    // SAFETY: `fcntl` may be asked about any number.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return None;
    }
    // SAFETY: it is open, and nobody else owns it, as the caller says.
    let file = unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::CLOEXEC).ok()?;
    Some(file)
}

/// Opens what is missing of standard input, output and error on `/dev/null`, as std's start code does, which a child does not run: what it
/// opens later must not become its output.
pub(crate) fn fill_standard_files() {
    for number in 0..=2 {
        // SAFETY: `fcntl` may be asked about any number.
        if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
            // The lowest free number, which is this one; it stays open for good.
            // SAFETY: the path is a C string.
            unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
        }
    }
}

/// Whether this variable is in the environment. For before `main`, where nobody changes it.
pub(crate) fn has_env(name: &CStr) -> bool {
    // SAFETY: before `main` there is one thread.
    !unsafe { libc::getenv(name.as_ptr()) }.is_null()
}

/// Takes this variable out of the environment. For before `main`, where nobody reads it.
pub(crate) fn remove_env(name: &CStr) {
    // SAFETY: before `main` there is one thread.
    unsafe { libc::unsetenv(name.as_ptr()) };
}
