//! Starting a child.
//!
//! # Three ways
//!
//! - [`zygote`], the usual one: a copy of this program that was executed once, before its `main`, and has one thread and little memory, copies itself. Takes
//!   about twice as long as forking a small process, however large the program is.
//! - [`exec`]: the program is executed anew for each child. For programs that cannot have a zygote (a constructor starts threads; the C library is
//!   not known to survive it; a filter for system calls was put on that cannot be compared), and for who asks for it.
//! - [`fork`]: the calling process is copied as it is. For who asks for it and has promised that it is sound.
//!
//! In each the child gets one end of a channel, on which its arguments come, with what it shall be and run behind them ([`Opening`]). A child that finds the end
//! of its channel instead leaves: nothing of the user's has run in it then.
//!
//! # The zygote
//!
//! It is a child of a keeper's thread, as all children are, by `CLONE_PARENT`. It belongs to the program's family without being registered as alive:
//! it never takes a lock. It holds back all signals, has `/dev/null` for standard input, output and error, and waits for packets.
//!
//! It makes children before somebody wants them: the spares, which take their first steps and wait on their channels. A caller takes one. Those that are missing
//! then are asked for, together, by who waits for a child to end, or has done so, as long as fewer children run than there are processors: making one takes as
//! long as it may have to run. So some can be started one right after the other, and in a row of starts and joins the next one is made while the last
//! one runs. Who finds none that is there or asked for asks before it waits.
//!
//! Most of what a start takes is the kernel's work of copying a process and of forgetting it again. So [`pages`] sees to it that a copy has no more pages than
//! it needs, and those when nobody waits for it; [`rehearsal`] that it has the code for what it will do; and the zygote's loop writes to no memory but its
//! stack, since each page would be copied once more. A spare that nobody wants for two milliseconds registers itself as alive, which most children
//! have to.
//!
//! ```text
//! caller                             zygote                               child
//! makes channels, and asks
//! for as many children
//! with one end of each ----------->  notes on the board: attempt n
//!                                    copies itself; the kernel notes
//!                                    the pid on the board, and lets
//!                                    the copy run ----------------------> asks to die with the program,
//! receives <------------------------ {n, pid}, pidfd                      waits on its channel
//! compares its rights with those
//! that the zygote was executed with,
//! sees what else has changed
//!  -- arguments, opening -----------------------------------------------> becomes it, runs, sends its
//! asks for the next, and waits ----> ...                                 result, ends
//! ```
//!
//! The ends of channels go to the zygote, and not from there: while a socket is on its way in another one, the kernel looks for circles of them each time
//! that any socket is closed.
//!
//! Of each attempt the zygote says what came of it, in order: a child, or the error. An error that a caller finds waiting is an old one, so it asks
//! again. Who dies when:
//!
//! - The zygote, before it has made the child: the callers find the end of its socket, and nothing on the board. Another zygote is executed.
//! - The zygote, when it has made the child and not said so: the number on the board is higher than the last that was said. Who lets the zygote go
//!   ends the channel, so the child leaves, and takes its exit status, by the pid on the board, so no zombie is left.
//! - The zygote, later: nobody notices. The children that were offered are there; the caller after that finds the end of the socket.
//! - A spare, before it is told anything: the caller cannot send, or does and learns of a child that was killed. In the first case it takes another. Until
//!   then a spare that was killed is a zombie: nobody but the caller who takes it hears of it.
//! - The child, later: that is its end, which the pidfd tells.
//! - The program: the channels end, the zygote reads the end of its socket, and the kernel ends all ([`lifeline`]).
//! - No zygote, or none of its children, lives long enough, three times in a row: the child is started by executing.
//!
//! To let a zygote go, the program ends its side of the socket, takes what is still said, and ends the channels of the spares: who is told nothing leaves. Ends, rather
//! than closes, because a forked copy of the program may have them too.
//!
//! # Rights
//!
//! A child must not have more rights than its parent has now, which may have given up some since the zygote was executed. So they are
//! compared each time ([`rights`]); a spare child whose rights are others is never told what to run. Another zygote is then executed from a thread
//! that has the caller's rights: from its keeper, or from a new one, which the caller starts. Who has lost what it takes to start threads gets
//! an error.
//!
//! Executing as root brings capabilities back that were dropped: the ticket says what the parent has, and the hook gives up the rest.

pub(crate) mod board;
pub(crate) mod exec;
mod fork;
pub(crate) mod forked;
pub(crate) mod lifeline;
mod opening;
mod pages;
mod rehearsal;
pub(crate) mod rights;
pub(crate) mod serve;
mod zygote;

use std::io;
use std::sync::Arc;

use coproc::__private::Parcel;
use coproc::{Error, Result};

pub(crate) use opening::Opening;
pub(crate) use zygote::{ask_ahead, ask_no_more_ahead};

use crate::channel::Channel;
use crate::context::{Context, Settings, Start};
use crate::image;
use crate::keeper::Child;

/// What a child runs: called with what it was sent, it returns what it sends back.
pub(crate) type Entry = fn(Parcel, &Channel) -> Parcel;

/// Starts a child that runs `entry` on `arguments`; with this process's end of its channel.
pub(crate) fn start(entry: Entry, settings: &Settings, mut arguments: Parcel) -> Result<(Arc<Child>, Channel)> {
    forked::watch_forks();
    if image::is_privileged() {
        // The child would find the same, and do nothing but run `main`.
        return Err(Error::other(
            "a program that has more rights than who started it (setuid and the like) can start no child processes",
        ));
    }
    let entry = image::offset_of(entry as usize)?;
    let mut opening = Opening { entry, name: settings.name.clone(), context: Context::default() };
    let asked = &settings.context;
    match settings.start {
        #[allow(unsafe_code, reason = "the promise was made where it was chosen")]
        // SAFETY: who chose this has promised that it is sound.
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
