//! The system calls of starting and ending processes, without policy.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use coproc::__private::{SignalMask, above_standard};
use rustix::process::{Pid, PidfdFlags};

/// `posix_spawn_file_actions_addclosefrom_np(3)`, where the C library has it.
type CloseFrom = unsafe extern "C" fn(*mut libc::posix_spawn_file_actions_t, c_int) -> c_int;

fn close_from() -> Option<CloseFrom> {
    // SAFETY: looks a name up in what is loaded.
    let symbol = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"posix_spawn_file_actions_addclosefrom_np".as_ptr()) };
    // SAFETY: if there is a function of that name, the C library says that it has this type; null is `None`.
    unsafe { std::mem::transmute::<*mut libc::c_void, Option<CloseFrom>>(symbol) }
}

/// Whether [`spawn`] closes what it does not hand down; else the child must.
pub(crate) fn spawn_closes_the_rest() -> bool {
    close_from().is_some()
}

/// Starts a program (`posix_spawn(3)`) whose descriptors are 0, 1, 2 and `files`, from 3 on, and nothing else where the C library can do that.
pub(crate) fn spawn(
    program: &CStr,
    args: &[CString],
    env: &[CString],
    files: &[BorrowedFd<'_>],
    mask: SignalMask,
) -> io::Result<Pid> {
    const FIRST: c_int = 3;
    let check = |code: c_int| if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) };
    let last = FIRST + files.len() as c_int;
    // Copies above the numbers that they are moved to, so that no move overwrites what another one still needs.
    let files = files.iter().map(|file| rustix::io::fcntl_dupfd_cloexec(file, last)).collect::<Result<Vec<_>, _>>()?;

    let mut actions = Actions::new()?;
    for (number, file) in (FIRST..).zip(&files) {
        // SAFETY: the actions are initialised (`Actions::new`); they keep the numbers.
        check(unsafe { libc::posix_spawn_file_actions_adddup2(&raw mut actions.0, file.as_raw_fd(), number) })?;
    }
    if let Some(close_from) = close_from() {
        // SAFETY: as above.
        check(unsafe { close_from(&raw mut actions.0, last) })?;
    }
    let mut attributes = Attributes::new()?;
    // SAFETY: the attributes are initialised (`Attributes::new`); they keep a copy of the mask.
    check(unsafe { libc::posix_spawnattr_setsigmask(&raw mut attributes.0, mask.as_ptr()) })?;
    // SAFETY: as above.
    check(unsafe { libc::posix_spawnattr_setflags(&raw mut attributes.0, libc::POSIX_SPAWN_SETSIGMASK as libc::c_short) })?;

    let pointers = |texts: &[CString]| -> Vec<*mut c_char> {
        texts.iter().map(|text| text.as_ptr().cast_mut()).chain([ptr::null_mut()]).collect()
    };
    let (args, env) = (pointers(args), pointers(env));
    let mut pid = 0;
    // SAFETY: actions and attributes are initialised; `args` and `env` are arrays of C strings that live until here, ended by null; they
    // are not written to, whatever the type says.
    let code = unsafe {
        libc::posix_spawn(
            &raw mut pid,
            program.as_ptr(),
            &raw const actions.0,
            &raw const attributes.0,
            args.as_ptr(),
            env.as_ptr(),
        )
    };
    check(code)?;
    Pid::from_raw(pid).ok_or_else(|| io::ErrorKind::Other.into())
}

struct Actions(libc::posix_spawn_file_actions_t);

impl Actions {
    fn new() -> io::Result<Self> {
        let mut actions = MaybeUninit::uninit();
        // SAFETY: initialises the actions.
        match unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) } {
            // SAFETY: they were just initialised.
            0 => Ok(Self(unsafe { actions.assume_init() })),
            code => Err(io::Error::from_raw_os_error(code)),
        }
    }
}

impl Drop for Actions {
    fn drop(&mut self) {
        // SAFETY: they were initialised, and are not used any more.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut self.0) };
    }
}

struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    fn new() -> io::Result<Self> {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: initialises the attributes.
        match unsafe { libc::posix_spawnattr_init(attributes.as_mut_ptr()) } {
            // SAFETY: they were just initialised.
            0 => Ok(Self(unsafe { attributes.assume_init() })),
            code => Err(io::Error::from_raw_os_error(code)),
        }
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: they were initialised, and are not used any more.
        unsafe { libc::posix_spawnattr_destroy(&raw mut self.0) };
    }
}

/// A descriptor of a child process (`pidfd_open(2)`), readable when it has ended.
pub(crate) fn pidfd(pid: Pid) -> io::Result<OwnedFd> {
    above_standard(rustix::process::pidfd_open(pid, PidfdFlags::empty())?)
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Exited(i32),
    Killed(i32),
    /// Somebody else has taken it.
    Unknown,
}

/// Takes the exit status of a child; `None` if it still runs.
pub(crate) fn reap(pidfd: BorrowedFd<'_>) -> Option<Status> {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    loop {
        return match waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
            Ok(None) => None,
            Ok(Some(status)) => Some(match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => Status::Exited(code),
                (_, Some(signal)) => Status::Killed(signal),
                _ => Status::Unknown,
            }),
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => Some(Status::Unknown),
        };
    }
}

/// Kills a child and takes its exit status; does nothing if the number is no child's any more.
pub(crate) fn end(pid: Pid) {
    use rustix::process::{Signal, WaitId, WaitIdOptions, kill_process, waitid};
    if waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT).is_ok() {
        let _ = kill_process(pid, Signal::KILL);
        let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
    }
}

/// Sends a signal to a child.
pub(crate) fn signal(pidfd: BorrowedFd<'_>, signal: rustix::process::Signal) -> io::Result<()> {
    Ok(rustix::process::pidfd_send_signal(pidfd, signal)?)
}

/// In a child: dies when the thread that started it ends (`PR_SET_PDEATHSIG`).
pub(crate) fn die_with_parent() {
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
}

/// The name of the calling thread, as `ps` shows it; the first 15 bytes.
pub(crate) fn set_thread_name(name: &str) {
    let short: Vec<u8> = name.bytes().filter(|&byte| byte != 0).take(15).collect();
    if let Ok(name) = CString::new(short) {
        let _ = rustix::thread::set_name(&name);
    }
}

/// Ctrl-C at the terminal reaches the whole group; a child leaves it to its parent. An empty handler, not "ignore", which would pass to
/// what the child executes. What was ignored stays so.
pub(crate) fn leave_interrupts_to_parent() {
    extern "C" fn nothing(_: c_int) {}
    let mut old = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: with no new action, it only writes the current one.
    if unsafe { libc::sigaction(libc::SIGINT, ptr::null(), old.as_mut_ptr()) } != 0 {
        return;
    }
    // SAFETY: it was just written.
    let mut action = unsafe { old.assume_init() };
    if action.sa_sigaction == libc::SIG_DFL {
        action.sa_sigaction = nothing as extern "C" fn(c_int) as usize;
        action.sa_flags = libc::SA_RESTART;
        // SAFETY: the handler does nothing, which is safe at any moment.
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
