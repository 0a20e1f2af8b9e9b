//! What children inherit from a program, as it was at one moment: a child of the zygote inherits what was so when the zygote was started, and
//! must be told what has changed since.

#![allow(unsafe_code)]

use std::ffi::OsString;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use coproc::{Error, Result};
use once_cell::race::OnceBox;
use rustix::process::Rlimit;
use rustix::thread::CpuSet;

use super::{Context, File, RESOURCES, Setting};
use crate::sys::{self, ThreadStatus};

/// The state of the program, and of the calling thread, that a child inherits. Not in it are rights, which a zygote cannot follow.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    environment: Vec<(OsString, OsString)>,
    /// Device and inode of the working directory.
    directory: (u64, u64),
    umask: u32,
    ignored: u64,
    blocked: u64,
    limits: [Rlimit; RESOURCES.len()],
    cpus: CpuSet,
    nice: i32,
}

impl Origin {
    /// The state now. `status` is that of the calling thread.
    ///
    /// # Errors
    /// If the working directory may not be searched any more.
    pub(crate) fn now(status: &ThreadStatus) -> Result<Self> {
        let directory = rustix::fs::stat(".").map_err(os("looking at the working directory"))?;
        Ok(Self {
            // A name with such a sign can be inherited, but not be set.
            environment: std::env::vars_os().filter(|(name, _)| !name.as_bytes().contains(&b'=')).collect(),
            directory: (directory.st_dev, directory.st_ino),
            umask: status.umask,
            ignored: status.ignored,
            blocked: status.blocked,
            limits: RESOURCES.map(sys::limit),
            cpus: rustix::thread::sched_getaffinity(None).map_err(os("reading the CPU affinity"))?,
            nice: rustix::process::getpriority_process(None).map_err(os("reading the nice value"))?,
        })
    }

    /// How many processors it could run on.
    pub(crate) fn processors(&self) -> usize {
        self.cpus.count() as usize
    }

    /// What a child must set up that has inherited from `self`, to be as if it had inherited from the program now. Standard input, output and error
    /// are always part of it: whether they are still the same cannot be seen.
    ///
    /// # Errors
    /// As [`now`](Self::now), or if a descriptor is wanting for the working directory.
    pub(crate) fn differences(&self, status: &ThreadStatus) -> Result<Context> {
        let now = Self::now(status)?;
        let mut settings = Vec::new();
        if now.environment != self.environment {
            settings.push(Setting::NoVariables);
            settings.extend(now.environment.into_iter().map(|(name, value)| Setting::Variable(name, Some(value))));
        }
        if now.directory != self.directory {
            let directory = sys::folder(".").map_err(|error| Error::from_os("opening the working directory", error))?;
            settings.push(Setting::OpenDirectory(directory.into()));
        }
        if now.umask != self.umask {
            settings.push(Setting::Umask(now.umask));
        }
        if now.ignored != self.ignored {
            settings.push(Setting::Ignored(now.ignored));
        }
        for (resource, (now, then)) in now.limits.into_iter().zip(&self.limits).enumerate() {
            if now != *then {
                settings.push(Setting::Limit(resource, now.current, now.maximum));
            }
        }
        if now.cpus != self.cpus {
            let cpus = (0..CpuSet::MAX_CPU).filter(|&cpu| now.cpus.is_set(cpu));
            settings.push(Setting::Cpus(cpus.map(|cpu| cpu as u32).collect()));
        }
        if now.nice != self.nice {
            settings.push(Setting::Nice(now.nice));
        }
        settings.extend((0..=2).filter_map(standard));
        if now.blocked != self.blocked {
            settings.push(Setting::Blocked(now.blocked));
        }
        Ok(Context { inherited: settings.len(), settings, ..Context::default() })
    }
}

/// Standard input, output or error of this process, if it is open.
fn standard(number: u32) -> Option<Setting> {
    /// Whatever they are at the moment.
    static FILES: OnceBox<[ManuallyDrop<File>; 3]> = OnceBox::new();
    let files = FILES.get_or_init(|| {
        Box::new([0, 1, 2].map(|number| {
            // SAFETY: these numbers belong to the whole program, which knows that any code may use them at any time. They are not closed here: nothing
            // drops the file.
            ManuallyDrop::new(File::from(unsafe { OwnedFd::from_raw_fd(number) }))
        }))
    });
    let file = &files[number as usize];
    rustix::io::fcntl_getfd(&**file).is_ok().then(|| Setting::Standard(number, File::clone(file)))
}

fn os(doing: &'static str) -> impl Fn(rustix::io::Errno) -> Error {
    move |error| Error::from_os(doing, io::Error::from(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_those_of_the_c_library() {
        assert_eq!(RESOURCES.map(sys::limit), RESOURCES.map(rustix::process::getrlimit));
    }

    #[test]
    fn what_is_the_same_is_no_difference() {
        let status = ThreadStatus { umask: 0o27, blocked: 0x10002, ..ThreadStatus::now().unwrap() };
        let then = Origin::now(&status).unwrap();
        let standard =
            |context: &Context| context.settings.iter().filter(|setting| matches!(setting, Setting::Standard(..))).count();
        let same = then.differences(&status).unwrap();
        assert_eq!((same.settings.len(), same.wants_answer()), (standard(&same), false), "{same:?}");
        let other = then.differences(&ThreadStatus { umask: 0o22, blocked: 0x10003, ..status }).unwrap();
        assert_eq!(other.settings.len(), standard(&other) + 2, "{other:?}");
        assert!(matches!(other.settings[0], Setting::Umask(0o22)), "{other:?}");
        assert!(matches!(other.settings.last(), Some(Setting::Blocked(0x10003))), "{other:?}");
    }
}
