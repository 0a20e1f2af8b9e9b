//! The way by forking this process as it is, threads' locks and all.

#![allow(unsafe_code)]

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::Arc;

use coproc::__private::Parcel;
use coproc::{Error, Result};
use rustix::process::Pid;

use super::lifeline::Lifeline;
use super::{Opening, refused};
use crate::channel::Channel;
use crate::child;
use crate::context::Context;
use crate::keeper::{self, Child};
use crate::sys;

/// Starts a child in this way.
///
/// # Safety
/// What the child runs gets along with what other threads of this process were doing at that moment, which in the child they will never finish.
pub(super) unsafe fn start(opening: &mut Opening, asked: &Context, arguments: &mut Parcel) -> Result<(Arc<Child>, Channel)> {
    let (ours, theirs) = Channel::pair()?;
    let (life, keeper) = (Lifeline::get()?, keeper::any()?);
    // What is printed already must not be printed again by the child.
    let _ = io::stdout().flush();
    // SAFETY: as the caller says. This crate's tables and the C library's are whole in the child.
    match unsafe { libc::fork() } {
        -1 => Err(refused(io::Error::last_os_error())),
        0 => {
            drop(ours);
            begin(&life);
            child::prepare();
            child::run(theirs, child::End::Forked)
        }
        pid => {
            drop(theirs);
            let pid = Pid::from_raw(pid).ok_or(Error::Corrupted)?;
            let pidfd = match sys::pidfd(pid) {
                Ok(pidfd) => Some(pidfd),
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => None,
                Err(error) => {
                    sys::end(pid);
                    return Err(Error::from_os("watching a child process", error));
                }
            };
            let child = Child::new(pid, pidfd, &keeper)?;
            opening.context = asked.clone();
            opening.send(arguments, &ours)?;
            Ok((child, ours))
        }
    }
}

/// The child dies with its parent; not with the thread that forked it, which is what the kernel would see to.
fn begin(life: &Lifeline) {
    let owned = sys::life::deadly(None, life.as_fd()).and_then(|deadly| {
        sys::life::own(deadly.as_fd())?;
        std::mem::forget(deadly);
        Ok(())
    });
    // Nothing else would end it; and it may have come too late.
    if owned.is_err() || std::os::unix::process::parent_id() != life.pid() {
        sys::leave(1);
    }
}
