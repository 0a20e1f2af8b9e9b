//! Starting a program.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use rustix::process::Pid;

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

/// Starts a program (`posix_spawn(3)`) whose descriptors are 0, 1, 2 and `files`, from 3 on, and nothing else where the C library can do that. It holds back
/// the signals that the calling thread does.
pub(crate) fn spawn(program: &CStr, args: &[CString], env: &[CString], files: &[BorrowedFd<'_>]) -> io::Result<Pid> {
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

    let pointers = |texts: &[CString]| -> Vec<*mut c_char> {
        texts.iter().map(|text| text.as_ptr().cast_mut()).chain([ptr::null_mut()]).collect()
    };
    let (args, env) = (pointers(args), pointers(env));
    let mut pid = 0;
    // SAFETY: the actions are initialised, and there are no attributes; `args` and `env` are arrays of C strings that live until here, ended by null; they
    // are not written to, whatever the type says.
    let code = unsafe {
        libc::posix_spawn(&raw mut pid, program.as_ptr(), &raw const actions.0, ptr::null(), args.as_ptr(), env.as_ptr())
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
