//! What the zygote does: copies of itself, until the program is gone.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use coproc::__private::{adopt_family, register};
use coproc::Result;

use super::board::Board;
use super::pages::Pages;
use super::zygote::{Offer, READY, SPARES};
use super::{lifeline, rehearsal};
use crate::channel::Channel;
use crate::child;
use crate::overflow;
use crate::sys::{self, clone::Thread};

/// The names of the zygote, and of a child that nobody has taken yet.
const NAME: &str = "coproc-zygote";
const SPARE: &str = "coproc-spare";

/// A copy that nobody takes for so long does beforehand also what not every child needs.
const LONG: Duration = Duration::from_millis(2);

/// What it needs.
struct Zygote {
    program: Channel,
    board: Board,
    thread: Thread,
    /// The reading end of the program's lifeline.
    life: OwnedFd,
    /// The folder of this process's descriptors.
    files: OwnedFd,
    pages: Pages,
}

/// Serves the program of this process id, which is the parent. Returns in each child, with its channel.
pub(crate) fn serve(parent: u32, program: Channel) -> Channel {
    sys::set_thread_name(NAME);
    if !lifeline::hold(parent, None) {
        sys::leave(1);
    }
    let zygote = match Zygote::new(program) {
        Ok(zygote) => zygote,
        Err(()) => sys::leave(1),
    };
    while let Some(mut files) = zygote.asked() {
        while let Some(file) = files.next() {
            let channel = file.map(Channel::from_file);
            if let Some(channel) = zygote.make(channel) {
                // With this the ends of the next ones are closed here.
                drop(files);
                zygote.begin(parent, &channel);
                return channel;
            }
        }
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
        program.send_files(word.as_bytes(), &[], true).map_err(drop)?;
        let (board, thread, life, files, pages) = ready.map_err(drop)?;
        Ok(Self { program, board, thread, life, files, pages })
    }

    fn prepare(program: &Channel) -> Result<(Board, Thread, OwnedFd, OwnedFd, Pages)> {
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
        let files = sys::folder("/proc/self/fd").map_err(|error| os("opening /proc/self/fd", error))?;
        let pages = Pages::prepare().unwrap_or_default();
        child::prepare();
        overflow::prepare();
        rehearsal::rehearse(NAME);
        Ok((board, thread, life, files, pages))
    }

    /// Waits until the program asks for children, and gives their ends of their channels, but for those for which there was no number; `None` if the program is
    /// gone. Allocates nothing: each page that this process writes to is copied once more for each child.
    fn asked(&self) -> Option<impl Iterator<Item = Option<OwnedFd>> + use<>> {
        let (mut count, mut files) = ([0], [const { None }; SPARES]);
        let len = self.program.recv_into(&mut count, &mut files).ok()?;
        (len > 0).then(|| files.into_iter().take(count[0].into()))
    }

    /// Makes a child with this end of its channel, and says so; in the child, gives it back.
    fn make(&self, channel: Option<Channel>) -> Option<Channel> {
        let (number, note) = self.board.attempt();
        let made = channel.ok_or_else(|| io::Error::from_raw_os_error(libc::EMFILE)).and_then(|channel| {
            // SAFETY: this process has one thread (`prepare` has looked, and nobody else's code has run since), and the note is an atomic word.
            Ok((unsafe { self.thread.copy(note) }?, channel))
        });
        match made {
            Ok((None, channel)) => return Some(channel),
            Ok((Some((pid, pidfd)), channel)) => {
                drop(channel);
                self.say(Offer::child(number, pid), &[pidfd.as_fd()]);
            }
            Err(error) => self.say(Offer::refused(number, &error), &[]),
        }
        None
    }

    fn say(&self, offer: Offer, files: &[BorrowedFd<'_>]) {
        if self.program.send_files(&offer.to_bytes(), files, true).is_err() {
            // The program is gone; or there was no memory, and it must not wait for what it has not heard. The board says the rest.
            sys::leave(1);
        }
    }

    /// What a child does before anything else: lives no longer than its parent, and has nothing of the zygote's.
    fn begin(self, parent: u32, channel: &Channel) {
        let Self { program, board, life, files, pages, .. } = self;
        drop(program);
        // It is not mapped here.
        std::mem::forget(board);
        if !lifeline::hold(parent, sys::life::deadly(Some(files.as_fd()), life.as_fd()).ok()) {
            sys::leave(1);
        }
        drop(life);
        rehearsal::rehearse(SPARE);
        pages.take();
        if channel.is_quiet_for(LONG) {
            // Else it is done when it counts.
            let _ = register(files.as_fd());
        }
    }
}
