//! What the zygote does: copies of itself, until the program is gone.

#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coproc::__private::{adopt_family, socket};
use coproc::Result;

use super::board::Board;
use super::zygote::{Offer, READY};
use super::{lifeline, rehearsal};
use crate::channel::Channel;
use crate::child;
use crate::overflow;
use crate::sys::{self, clone::Thread};

/// The names of the zygote, and of a child that nobody has taken yet.
const NAME: &str = "coproc-zygote";
const SPARE: &str = "coproc-spare";

/// What it needs.
struct Zygote {
    program: Channel,
    board: Board,
    thread: Thread,
    /// The reading end of the program's lifeline, opened for the next child alone. `None` where that is not possible.
    deadly: Option<OwnedFd>,
}

/// Serves the program of this process id, which is the parent. Returns in each child, with its channel.
pub(crate) fn serve(parent: u32, program: Channel) -> Channel {
    sys::set_thread_name(NAME);
    if !lifeline::hold(parent, None) {
        sys::leave(1);
    }
    let mut zygote = match Zygote::new(program) {
        Ok(zygote) => zygote,
        Err(()) => sys::leave(1),
    };
    while zygote.is_asked() {
        if let Some(channel) = zygote.make() {
            zygote.begin(parent);
            return channel;
        }
        zygote.renew();
    }
    sys::leave(0)
}

impl Zygote {
    /// Makes itself ready, and says so, or why not.
    fn new(program: Channel) -> std::result::Result<Self, ()> {
        let ready = Self::prepare(&program);
        let word = match &ready {
            Ok(_) => READY.to_owned(),
            Err(error) => error.to_string(),
        };
        program.send_files(word.as_bytes(), &[]).map_err(drop)?;
        let (board, thread, deadly) = ready.map_err(drop)?;
        Ok(Self { program, board, thread, deadly })
    }

    fn prepare(program: &Channel) -> Result<(Board, Thread, Option<OwnedFd>)> {
        let os = coproc::Error::from_os;
        let received = program.recv_files(&mut [0], true).map_err(|error| os("receiving from the program", error))?;
        let mut files = received.map(|(_, files)| files).unwrap_or_default().into_iter();
        let (Some(life), Some(board)) = (files.next(), files.next()) else {
            return Err(coproc::Error::other("the program sent too few descriptors"));
        };
        adopt_family(files.collect())?;
        let board = Board::attach(&board).map_err(|error| os("mapping shared memory", error))?;
        let thread =
            Thread::current().ok_or_else(|| coproc::Error::other("the C library does not say where it keeps its thread's id"))?;
        if !sys::clone::can_copy() {
            return Err(coproc::Error::other("the system has no clone3, or does not allow it"));
        }
        let threads = std::fs::read_dir("/proc/self/task").map_err(|error| os("counting threads", error))?.count();
        if threads != 1 {
            return Err(coproc::Error::other("a constructor of this program starts threads"));
        }
        // Who waits for the end of the program's output must not wait for this process; the children get theirs from the program.
        let null = File::options().read(true).write(true).open("/dev/null").map_err(|error| os("opening /dev/null", error))?;
        rustix::stdio::dup2_stdin(&null).map_err(|error| os("replacing standard input", error.into()))?;
        rustix::stdio::dup2_stdout(&null).map_err(|error| os("replacing standard output", error.into()))?;
        rustix::stdio::dup2_stderr(&null).map_err(|error| os("replacing standard error", error.into()))?;
        child::prepare();
        overflow::prepare();
        Ok((board, thread, sys::life::deadly(life.as_fd()).ok()))
    }

    /// Waits until the program asks for a child; `false` if it is gone.
    fn is_asked(&self) -> bool {
        matches!(self.program.recv_files(&mut [0], true), Ok(Some((1.., _))))
    }

    /// Makes a child, and says so; in the child, its end of the channel.
    fn make(&self) -> Option<Channel> {
        let (number, note) = self.board.attempt();
        let made = socket::pair().and_then(|(ours, theirs)| {
            // SAFETY: this process has one thread (`prepare` has looked, and nobody else's code has run since), and the note is an atomic word.
            let made = unsafe { self.thread.copy(note) }?;
            Ok((made, ours, theirs))
        });
        match made {
            Ok((None, _, theirs)) => return Some(Channel::from_file(theirs)),
            Ok((Some((pid, pidfd)), ours, _)) => self.say(Offer::child(number, pid), &[pidfd.as_fd(), ours.as_fd()]),
            Err(error) => self.say(Offer::refused(number, &error), &[]),
        }
        None
    }

    fn say(&self, offer: Offer, files: &[BorrowedFd<'_>]) {
        // Who does not hear it is gone, and the next look tells.
        let _ = self.program.send_files(&offer.to_bytes(), files);
    }

    /// What a child does before anything else: lives no longer than its parent, and has nothing of the zygote's.
    fn begin(self, parent: u32) {
        let Self { program, board, deadly, .. } = self;
        drop(program);
        // It is not mapped here.
        std::mem::forget(board);
        if !lifeline::hold(parent, deadly) {
            sys::leave(1);
        }
        sys::set_thread_name(SPARE);
        rehearsal::rehearse();
    }

    /// Opens the lifeline for the next child, while the last one runs.
    fn renew(&mut self) {
        let next = self.deadly.as_ref().and_then(|last| sys::life::deadly(last.as_fd()).ok());
        if next.is_some() {
            self.deadly = next;
        }
    }
}
