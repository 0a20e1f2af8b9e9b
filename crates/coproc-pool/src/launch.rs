//! Starting a child: what it is handed, and the way by executing this program once more.
//!
//! The child inherits two descriptors beside standard input, output and error: 3, a frozen segment with the [`Ticket`], which says that
//! it is one of ours and what it shall run; and 4, its end of the channel, on which the family's registry, its context if it has one, and the
//! arguments wait.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;

use coproc::__private::{Parcel, Segment, SignalMask, family};
use coproc::{Error, Message, Result};
use rustix::process::Pid;

use crate::channel::Channel;
use crate::context::Settings;
use crate::hook;
use crate::image;
use crate::keeper::{self, Child};
use crate::sys;

/// The variable that tells the hook to look at the inherited descriptors.
pub(crate) const MARK: &std::ffi::CStr = c"COPROC_CHILD";
pub(crate) const TICKET_FILE: i32 = 3;
pub(crate) const CHANNEL_FILE: i32 = 4;
pub(crate) const FIRST_OTHER_FILE: u32 = 5;

/// What a child runs: called with what it was sent, it returns what it sends back.
pub(crate) type Entry = fn(Parcel, &Channel) -> Parcel;

/// What a child is told before anything else. Lies in a segment that nobody can change.
#[derive(Debug, Message)]
pub(crate) struct Ticket {
    /// [`hook::fingerprint`] of the parent.
    pub(crate) fingerprint: u64,
    /// Offset of an [`Entry`] in the executable.
    pub(crate) entry: u64,
    /// The parent's process id.
    pub(crate) parent: u32,
    /// Whether the child must itself close what it inherited by accident.
    pub(crate) close_rest: bool,
    /// The child's name.
    pub(crate) name: String,
}

/// Starts a child that runs `entry` on `arguments`; with this process's end of its channel.
///
/// The child waits for a word that it is being watched: one that ends before has nobody who knows of its end.
pub(crate) fn start(entry: Entry, settings: &Settings, arguments: &Parcel) -> Result<(Arc<Child>, Channel)> {
    let (launch, channel) = Launch::new(entry, settings, arguments)?;
    let child = keeper::start(launch)?;
    // If that fails it has ended, and the caller will learn that from the child.
    let _ = channel.send_files(GO, &[]);
    Ok((child, channel))
}

/// The word that lets a child begin.
pub(crate) const GO: &[u8] = b"go";

/// A child that is ready to be started: made on the caller's thread, started on the keeper's.
#[derive(Debug)]
pub(crate) struct Launch {
    ticket: Segment,
    channel: Channel,
    mask: SignalMask,
}

impl Launch {
    /// Prepares a child that runs `entry` on `arguments`; with the parent's end of its channel.
    pub(crate) fn new(entry: Entry, settings: &Settings, arguments: &Parcel) -> Result<(Self, Channel)> {
        let ticket = Ticket {
            fingerprint: hook::fingerprint(),
            entry: image::offset_of(entry as usize)?,
            parent: std::process::id(),
            close_rest: !sys::spawn_closes_the_rest(),
            name: settings.name.clone(),
        };
        let ticket = Segment::parcel(&Parcel::of(&ticket).bytes)?;
        let (ours, theirs) = Channel::pair()?;
        let family = family()?;
        let family: Vec<_> = family.iter().map(AsFd::as_fd).collect();
        // It says whether a context follows.
        let first = [u8::from(!settings.context.is_empty())];
        ours.send_files(&first, &family).map_err(|error| Error::from_os("sending to a child process", error))?;
        if !settings.context.is_empty() {
            ours.send(&Parcel::of(&settings.context))?;
        }
        ours.send(arguments)?;
        Ok((Self { ticket, channel: theirs, mask: SignalMask::current() }, ours))
    }

    /// Starts the child by executing this program anew. No descriptor of the process: it has ended, and somebody else has waited for it.
    pub(crate) fn execute(self) -> Result<(Pid, Option<OwnedFd>)> {
        let failed = |error| Error::from_os("starting a child process (limits: RLIMIT_NPROC, RLIMIT_NOFILE)", error);
        let text = |bytes: Vec<u8>| CString::new(bytes).ok();
        let args: Vec<_> = std::env::args_os().filter_map(|arg| text(arg.into_vec())).collect();
        let mark = [MARK.to_bytes(), b"=1"].concat();
        let env = std::env::vars_os().map(|(name, value)| [name.into_vec(), b"=".to_vec(), value.into_vec()].concat());
        let env: Vec<_> = env.chain([mark]).filter_map(text).collect();
        let files = [self.ticket.file(), self.channel.as_fd()];
        // By this name the file is found though it was moved, replaced or deleted since the program started.
        let pid = sys::spawn(c"/proc/self/exe", &args, &env, &files, self.mask).map_err(failed)?;
        match sys::pidfd(pid) {
            Ok(pidfd) => Ok((pid, Some(pidfd))),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok((pid, None)),
            Err(error) => {
                // Nobody would notice its end. It has not been told to begin.
                sys::end(pid);
                Err(Error::from_os("watching a child process", error))
            }
        }
    }
}
