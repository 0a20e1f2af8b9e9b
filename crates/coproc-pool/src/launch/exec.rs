//! The way by executing this program once more.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::sync::{Arc, mpsc};

use coproc::__private::{Parcel, Segment, family, keep_tickets, spawn_quiet};
use coproc::{Error, Message, Result};
use rustix::process::Pid;

use super::lifeline::Lifeline;
use super::rights::Rights;
use super::{Opening, refused};
use crate::channel::Channel;
use crate::context::{Context, Origin};
use crate::hook;
use crate::keeper::{self, Child};
use crate::sys::{self, ThreadStatus, caps::Capabilities};

/// The variable that tells the hook to look at the inherited descriptors.
pub(crate) const MARK: &std::ffi::CStr = c"COPROC_CHILD";
pub(crate) const TICKET_FILE: i32 = 3;
pub(crate) const CHANNEL_FILE: i32 = 4;
pub(crate) const FIRST_OTHER_FILE: u32 = 5;

/// What says that an executed program is one of ours. Lies in a segment that nobody can change.
#[derive(Debug, Message)]
pub(crate) struct Ticket {
    /// [`hook::fingerprint`] of the parent.
    pub(crate) fingerprint: u64,
    /// The parent's process id.
    pub(crate) parent: u32,
    /// Whether it must itself close what it inherited by accident.
    pub(crate) close_rest: bool,
    /// Whether it is the zygote, rather than a child.
    pub(crate) zygote: bool,
    /// What the parent may do: a program that root executes may do all again.
    pub(crate) capabilities: Capabilities,
}

/// The ticket for the zygote, or for a child.
pub(super) fn ticket(zygote: bool) -> Result<Segment> {
    let parent = std::process::id();
    let capabilities =
        sys::caps::capabilities().map_err(|error| Error::from_os("looking at the capabilities of this thread", error))?;
    let (fingerprint, close_rest) = (hook::fingerprint(), !sys::spawn_closes_the_rest());
    let ticket = Ticket { fingerprint, parent, close_rest, zygote, capabilities };
    Segment::parcel(&Parcel::of(&ticket).bytes)
}

/// Starts a child in this way.
pub(super) fn start(opening: &mut Opening, asked: &Context, arguments: &mut Parcel) -> Result<(Arc<Child>, Channel)> {
    let status = ThreadStatus::now()?;
    let rights = Rights::of(&status)?;
    let (ours, theirs) = Channel::pair()?;
    let (life, family, ticket) = (Lifeline::get()?, family()?, ticket(false)?);
    let files: Vec<_> = [life.as_fd()].into_iter().chain(family.iter().map(AsFd::as_fd)).collect();
    ours.send_files(&[0], &files, true).map_err(|error| Error::from_os("sending to a child process", error))?;
    let job = move || Ok((Origin::now(&ThreadStatus::now()?)?, execute(&ticket, &theirs)?));
    let (keeper, (origin, (pid, pidfd))) = if rights.are_incomparable() {
        (keeper::any()?, on_own_thread(job)?)
    } else {
        let keeper = keeper::with_rights(&rights)?;
        let done = keeper.run(job)??;
        (keeper, done)
    };
    let child = Child::new(pid, pidfd, &keeper)?;
    keep_tickets()?;
    // It has not begun: without this it leaves.
    opening.context = origin.differences(&status)?.then(asked);
    opening.send(arguments, &ours)?;
    Ok((child, ours))
}

/// What was executed, and the state that it inherited. No descriptor of the process: it has ended, and somebody else has waited for it.
type Executed = (Origin, (Pid, Option<OwnedFd>));

/// Runs this on a thread that has the rights of the calling one and lives as long as the child.
fn on_own_thread(job: impl FnOnce() -> Result<Executed> + Send + 'static) -> Result<Executed> {
    let (reply, answer) = mpsc::sync_channel(1);
    spawn_quiet("coproc-parent", move || {
        let done = job();
        let child = done.as_ref().ok().and_then(|(_, (_, pidfd))| pidfd.as_ref()).map(OwnedFd::try_clone);
        let _ = reply.send(done);
        match child {
            Some(Ok(child)) => while !sys::end::has_ended(child.as_fd(), None) {},
            // For want of a descriptor it cannot see that the child has ended.
            Some(Err(_)) => loop {
                std::thread::park();
            },
            None => {}
        }
    })?;
    answer.recv().map_err(|_| Error::other("the thread that starts a child process has ended"))?
}

/// Executes this program anew, with this ticket and this end of a channel.
pub(super) fn execute(ticket: &Segment, channel: &Channel) -> Result<(Pid, Option<OwnedFd>)> {
    let text = |bytes: Vec<u8>| CString::new(bytes).ok();
    let args: Vec<_> = std::env::args_os().filter_map(|arg| text(arg.into_vec())).collect();
    let mark = [MARK.to_bytes(), b"=1"].concat();
    let env = std::env::vars_os().map(|(name, value)| [name.into_vec(), b"=".to_vec(), value.into_vec()].concat());
    let env: Vec<_> = env.chain([mark]).filter_map(text).collect();
    // By this name the file is found though it was moved, replaced or deleted since the program started.
    let pid = sys::spawn(c"/proc/self/exe", &args, &env, &[ticket.file(), channel.as_fd()]).map_err(refused)?;
    match sys::pidfd(pid) {
        Ok(pidfd) => Ok((pid, Some(pidfd))),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok((pid, None)),
        Err(error) => {
            // Nobody would notice its end. It has not begun.
            sys::end(pid);
            Err(Error::from_os("watching a child process", error))
        }
    }
}
