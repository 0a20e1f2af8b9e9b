//! Starting a child.

pub(crate) mod board;
pub(crate) mod exec;
mod fork;
mod forked;
pub(crate) mod lifeline;
mod opening;
pub(crate) mod rights;
pub(crate) mod serve;
mod zygote;

use std::io;
use std::sync::Arc;

use coproc::__private::Parcel;
use coproc::{Error, Result};

pub(crate) use opening::Opening;

use crate::channel::Channel;
use crate::context::{Context, Settings, Start};
use crate::image;
use crate::keeper::Child;

/// What a child runs: called with what it was sent, it returns what it sends back.
pub(crate) type Entry = fn(Parcel, &Channel) -> Parcel;

/// Starts a child that runs `entry` on `arguments`; with this process's end of its channel.
pub(crate) fn start(entry: Entry, settings: &Settings, mut arguments: Parcel) -> Result<(Arc<Child>, Channel)> {
    forked::watch();
    if image::is_privileged() {
        // The child would find the same, and do nothing but run `main`.
        return Err(Error::other("a program that has more rights than who started it (setuid and the like) can start no child processes"));
    }
    let entry = image::offset_of(entry as usize)?;
    let mut opening = Opening { entry, name: settings.name.clone(), context: Context::default() };
    let asked = &settings.context;
    match settings.start {
        // SAFETY: who chose this has promised that it is sound.
        #[allow(unsafe_code)]
        Start::Fork => unsafe { fork::start(&mut opening, asked, &mut arguments) },
        Start::Exec => exec::start(&mut opening, asked, &mut arguments),
        Start::Auto => match zygote::start(&mut opening, asked, &mut arguments)? {
            Some(started) => Ok(started),
            None => exec::start(&mut opening, asked, &mut arguments),
        },
    }
}

/// The error of a system that has no process left to give: it names the limits.
fn refused(error: io::Error) -> Error {
    let doing = match error.raw_os_error() {
        Some(libc::EAGAIN) => {
            "starting a child process: too many run (RLIMIT_NPROC, pids.max of the control group, or kernel.pid_max)"
        }
        Some(libc::ENOMEM) => {
            "starting a child process: no memory for one (of the machine or the control group), or the first process of its pid namespace has ended"
        }
        _ => "starting a child process",
    };
    Error::from_os(doing, error)
}
