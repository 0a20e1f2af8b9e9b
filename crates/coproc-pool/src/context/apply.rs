//! How a child puts itself into its context.

#![allow(unsafe_code)]

use std::ffi::{CString, OsStr, c_int};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::ptr;

use rustix::fs::Mode;
use rustix::process::Rlimit;
use rustix::thread::CpuSet;

use super::{Context, RESOURCES, Refused, Setting};
use crate::sys;

/// Signals have numbers from 1 on.
const SIGNALS: std::ops::RangeInclusive<c_int> = 1..=64;

impl Context {
    /// Sets all of it up, in this process.
    ///
    /// # Errors
    /// The first setting that the system refuses, and that cannot be missed. What came before it stays set.
    ///
    /// # Safety
    /// The process has one thread: others could read the environment at this moment.
    pub(crate) unsafe fn apply(&self) -> Result<(), Refused> {
        self.settings.iter().enumerate().try_for_each(|(index, setting)| {
            // SAFETY: one thread, as the caller says.
            match unsafe { setting.apply() } {
                Err(_) if index < self.inherited && setting.can_be_missed() => Ok(()),
                Err(error) => Err(Refused { doing: setting.doing(), code: error.raw_os_error().unwrap_or(libc::EINVAL) }),
                Ok(()) => Ok(()),
            }
        })
    }
}

impl Setting {
    /// # Safety
    /// As [`Context::apply`].
    unsafe fn apply(&self) -> io::Result<()> {
        match self {
            // SAFETY: one thread, as the caller says.
            Self::NoVariables => check(unsafe { libc::clearenv() }),
            // SAFETY: as above.
            Self::Variable(name, value) => unsafe { set_variable(name, value.as_deref()) },
            Self::Directory(path) => Ok(rustix::process::chdir(path)?),
            Self::OpenDirectory(directory) => Ok(rustix::process::fchdir(directory)?),
            Self::Umask(mask) => {
                rustix::process::umask(Mode::from_bits_truncate(*mask));
                Ok(())
            }
            Self::Ignored(signals) => {
                let result = SIGNALS.into_iter().try_for_each(|signal| ignore(signal, has(*signals, signal)));
                // Before any that is held back comes through.
                sys::leave_interrupts_to_parent();
                result
            }
            Self::Blocked(signals) => block(*signals),
            &Self::Limit(resource, current, maximum) => {
                let resource = *RESOURCES.get(resource).ok_or(io::ErrorKind::InvalidInput)?;
                Ok(rustix::process::setrlimit(resource, Rlimit { current, maximum })?)
            }
            Self::Cpus(cpus) => {
                let mut set = CpuSet::new();
                for &cpu in cpus {
                    if cpu as usize >= CpuSet::MAX_CPU {
                        return Err(io::ErrorKind::InvalidInput.into());
                    }
                    set.set(cpu as usize);
                }
                Ok(rustix::thread::sched_setaffinity(None, &set)?)
            }
            Self::Nice(nice) => Ok(rustix::process::setpriority_process(None, *nice)?),
            Self::Standard(0, file) => Ok(rustix::stdio::dup2_stdin(file)?),
            Self::Standard(1, file) => Ok(rustix::stdio::dup2_stdout(file)?),
            Self::Standard(_, file) => Ok(rustix::stdio::dup2_stderr(file)?),
        }
    }
}

fn check(code: c_int) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn has(signals: u64, signal: c_int) -> bool {
    signals >> (signal - 1) & 1 == 1
}

/// Sets a variable of the environment, or takes it out.
///
/// # Safety
/// The process has one thread.
unsafe fn set_variable(name: &OsStr, value: Option<&OsStr>) -> io::Result<()> {
    // Not std's functions, which panic where the C library refuses.
    let name = CString::new(name.as_bytes())?;
    let Some(value) = value else {
        // SAFETY: the name is a C string, and nobody reads the environment now.
        return check(unsafe { libc::unsetenv(name.as_ptr()) });
    };
    let value = CString::new(value.as_bytes())?;
    // SAFETY: both are C strings, which are copied, and nobody reads the environment now.
    check(unsafe { libc::setenv(name.as_ptr(), value.as_ptr(), 1) })
}

/// Ignores a signal; or stops ignoring it.
fn ignore(signal: c_int, ignored: bool) -> io::Result<()> {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: with no new action, it only writes the current one.
    if unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) } != 0 {
        // One that the C library keeps for itself.
        return Ok(());
    }
    // SAFETY: it was just written.
    let mut action = unsafe { action.assume_init() };
    if (action.sa_sigaction == libc::SIG_IGN) == ignored {
        return Ok(());
    }
    action.sa_sigaction = if ignored { libc::SIG_IGN } else { libc::SIG_DFL };
    // SAFETY: neither is a function that could do anything.
    check(unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) })
}

/// Holds back these signals, and no others.
fn block(signals: u64) -> io::Result<()> {
    let mut set = MaybeUninit::uninit();
    // SAFETY: writes the whole set.
    check(unsafe { libc::sigemptyset(set.as_mut_ptr()) })?;
    // SAFETY: it was just written.
    let mut set = unsafe { set.assume_init() };
    for signal in SIGNALS.filter(|&signal| has(signals, signal)) {
        // SAFETY: writes the set. It refuses what the C library keeps for itself, which is held back by nobody.
        unsafe { libc::sigaddset(&raw mut set, signal) };
    }
    // SAFETY: reads the set.
    check(unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const set, ptr::null_mut()) })
}
