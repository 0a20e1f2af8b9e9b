//! What the zygote does: copies of itself, until the program is gone.

#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use coproc::__private::adopt_family;
use coproc::Result;

use super::board::Board;
use super::lifeline;
use super::zygote::{Hello, READY, Request};
use crate::channel::Channel;
use crate::child;
use crate::sys::{self, clone::Thread};

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
    sys::set_thread_name("coproc-zygote");
    if !lifeline::hold(parent, None) {
        sys::leave(1);
    }
    let mut zygote = match Zygote::new(program) {
        Ok(zygote) => zygote,
        Err(()) => sys::leave(1),
    };
    loop {
        let Some((request, channel)) = zygote.request() else { sys::leave(0) };
        let Some(note) = zygote.board.word(request.note) else { continue };
        // SAFETY: this process has one thread (`Zygote::new` has looked, and nobody else's code has run since), and the note is an atomic word.
        match unsafe { zygote.thread.copy(note.as_ptr()) } {
            Ok(false) => {}
            Ok(true) => {
                child_begins(parent, zygote, &channel);
                return channel;
            }
            Err(error) => {
                let refused = Hello::refused(&error);
                let _ = channel.send_files(&refused.to_bytes(), &[]);
            }
        }
        drop(channel);
        zygote.renew();
    }
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
        Ok((board, thread, sys::life::deadly(life.as_fd()).ok()))
    }

    /// The next request, with the child's end of its channel; `None` if the program is gone.
    fn request(&self) -> Option<(Request, Channel)> {
        loop {
            let mut bytes = [0; Request::SIZE];
            let (len, files) = self.program.recv_files(&mut bytes, true).ok()??;
            if len == 0 {
                return None;
            }
            // Without the channel there was no descriptor for it. That it is closed tells who asked.
            if let (Some(request), Some(file)) = (Request::parse(&bytes[..len]), files.into_iter().next()) {
                return Some((request, Channel::from_file(file)));
            }
        }
    }

    /// Opens the lifeline for the next child, while the last one runs.
    fn renew(&mut self) {
        let next = self.deadly.as_ref().and_then(|last| sys::life::deadly(last.as_fd()).ok());
        if next.is_some() {
            self.deadly = next;
        }
    }
}

/// What a child does before anything else: lives no longer than its parent, has nothing of the zygote's, and says that it is there.
fn child_begins(parent: u32, zygote: Zygote, channel: &Channel) {
    let Zygote { program, board, deadly, .. } = zygote;
    drop(program);
    // It is not mapped here.
    std::mem::forget(board);
    if !lifeline::hold(parent, deadly) {
        sys::leave(1);
    }
    let me = rustix::process::getpid();
    let said = match sys::pidfd(me) {
        Ok(file) => channel.send_files(&Hello::here(me).to_bytes(), &[file.as_fd()]),
        Err(error) => {
            let _ = channel.send_files(&Hello::refused(&error).to_bytes(), &[]);
            Err(error)
        }
    };
    if said.is_err() {
        sys::leave(1);
    }
}
