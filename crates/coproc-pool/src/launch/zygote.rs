//! The program's side of the zygote: starting it, asking it for children, replacing it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use coproc::__private::{ForkLock, Parcel, family};
use coproc::{Error, Result};
use rustix::process::Pid;

use super::board::{Board, Note};
use super::lifeline::Lifeline;
use super::rights::{self, Rights};
use super::{Opening, exec, refused};
use crate::channel::Channel;
use crate::context::{Context, Origin};
use crate::keeper::{self, Child, Keeper};
use crate::sys;

/// What the zygote says when it is ready. Anything else says why it cannot be.
pub(super) const READY: &str = "ready";

/// How often a child is asked for, of a new zygote each time, before it is started without.
const TRIES: usize = 3;

/// What is asked of the zygote, in one packet, with the child's end of its channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// Where on the board to note the child's process id.
    pub(super) note: u16,
}

impl Request {
    pub(super) const SIZE: usize = 2;

    fn to_bytes(self) -> [u8; Self::SIZE] {
        self.note.to_ne_bytes()
    }

    pub(super) fn parse(packet: &[u8]) -> Option<Self> {
        Some(Self { note: u16::from_ne_bytes(packet.try_into().ok()?) })
    }
}

/// The first packet that comes out of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    /// The child, whose descriptor comes with it.
    pid: i32,
    /// Why there is none, if not 0.
    error: i32,
}

impl Hello {
    const SIZE: usize = 8;

    pub(super) fn here(pid: Pid) -> Self {
        Self { pid: pid.as_raw_nonzero().get(), error: 0 }
    }

    pub(super) fn refused(error: &io::Error) -> Self {
        Self { pid: 0, error: error.raw_os_error().unwrap_or(libc::EIO) }
    }

    pub(super) fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..4].copy_from_slice(&self.pid.to_ne_bytes());
        bytes[4..].copy_from_slice(&self.error.to_ne_bytes());
        bytes
    }

    fn parse(packet: &[u8]) -> Option<Self> {
        let (pid, error) = packet.split_first_chunk()?;
        Some(Self { pid: i32::from_ne_bytes(*pid), error: i32::from_ne_bytes(error.try_into().ok()?) })
    }
}

/// The zygote of this program.
#[derive(Debug)]
pub(super) struct Zygote {
    /// The program that it serves: a forked copy of that finds it here, and needs one of its own.
    pid: u32,
    /// Closed with the last caller who uses it; then it leaves.
    socket: Channel,
    board: Board,
    keeper: Arc<Keeper>,
    rights: Rights,
    origin: Origin,
}

/// What is known of the zygote.
#[derive(Debug, Default)]
pub(super) enum State {
    /// There is none yet, or no more.
    #[default]
    None,
    Some(Arc<Zygote>),
    /// This program cannot have one.
    Never,
}

pub(super) static ZYGOTE: ForkLock<State> = ForkLock::new(State::None);

/// What became of a request.
enum Answer {
    Child(Pid, OwnedFd, Channel),
    /// There is no child, and will be none: the zygote, or the child, died before it said a word.
    Gone,
    /// The caller may not do what the zygote may, or more.
    Differs,
}

/// Starts a child by the zygote; `None` if that cannot be done in this program, or not now.
pub(super) fn start(opening: &mut Opening, asked: &Context, arguments: &mut Parcel) -> Result<Option<(Arc<Child>, Channel)>> {
    for _ in 0..TRIES {
        let Some(zygote) = current()? else { return Ok(None) };
        match zygote.ask(opening, asked, arguments)? {
            Answer::Child(pid, pidfd, channel) => return Ok(Some((Child::new(pid, Some(pidfd), &zygote.keeper)?, channel))),
            Answer::Gone | Answer::Differs => retire(&zygote),
        }
    }
    Ok(None)
}

/// The zygote; starts one if there is none. `None` if there cannot be one.
fn current() -> Result<Option<Arc<Zygote>>> {
    let mut state = ZYGOTE.lock();
    match &*state {
        State::Never => return Ok(None),
        State::Some(zygote) if zygote.pid == std::process::id() => return Ok(Some(Arc::clone(zygote))),
        State::Some(_) | State::None => {}
    }
    let rights = Rights::now()?;
    if rights.are_incomparable() {
        return Ok(None);
    }
    for _ in 0..TRIES {
        match Zygote::start(&rights)? {
            Started::Ready(zygote) => {
                let zygote = Arc::new(zygote);
                *state = State::Some(Arc::clone(&zygote));
                return Ok(Some(zygote));
            }
            Started::Cannot => {
                *state = State::Never;
                return Ok(None);
            }
            Started::Died => {}
        }
    }
    Ok(None)
}

/// Uses this one no more.
fn retire(zygote: &Arc<Zygote>) {
    let mut state = ZYGOTE.lock();
    if matches!(&*state, State::Some(now) if Arc::ptr_eq(now, zygote)) {
        *state = State::None;
    }
}

enum Started {
    Ready(Zygote),
    /// It said so.
    Cannot,
    Died,
}

impl Zygote {
    fn start(rights: &Rights) -> Result<Started> {
        let keeper = keeper::with_rights(rights)?;
        let (ours, theirs) = Channel::pair()?;
        let (board, board_file) = Board::new().map_err(|error| Error::from_os("creating shared memory", error))?;
        let life = Lifeline::get()?;
        let family = family()?;
        let files: Vec<_> = [life.as_fd(), board_file.as_fd()].into_iter().chain(family.iter().map(AsFd::as_fd)).collect();
        ours.send_files(&[0], &files).map_err(|error| Error::from_os("sending to the zygote", error))?;
        let ticket = exec::ticket(true)?;
        let (rights, origin, pid, pidfd) = keeper.run(move || {
            let status = rights::status()?;
            let (pid, pidfd) = exec::execute(&ticket, &theirs)?;
            Ok::<_, Error>((Rights::of(&status)?, Origin::now(&status)?, pid, pidfd))
        })??;
        // Nobody waits for it.
        Child::new(pid, pidfd, &keeper)?;
        let mut word = [0; 512];
        let (len, _) = ours
            .recv_files(&mut word, true)
            .map_err(|error| Error::from_os("receiving from the zygote", error))?
            .unwrap_or_default();
        Ok(match &word[..len] {
            [] => Started::Died,
            word if word == READY.as_bytes() => {
                Started::Ready(Self { pid: std::process::id(), socket: ours, board, keeper, rights, origin })
            }
            _ => Started::Cannot,
        })
    }

    /// Asks for a child. While the zygote makes it, looks what the child must be told, and whether it may be what it then is.
    fn ask(&self, opening: &mut Opening, asked: &Context, arguments: &mut Parcel) -> Result<Answer> {
        let (ours, theirs) = Channel::pair()?;
        let note = self.board.take();
        // There will be a descriptor of the child.
        let place = rustix::io::fcntl_dupfd_cloexec(&ours, 3)
            .map_err(|error| Error::from_os("watching a child process", error.into()))?;
        let request = Request { note: note.number };
        if self.socket.send_files(&request.to_bytes(), &[theirs.as_fd()]).is_err() {
            return Ok(Answer::Gone);
        }
        drop(theirs);
        let told = self.tell(opening, asked, arguments, &ours);
        if !matches!(told, Ok(true)) {
            // It will not begin.
            ours.end_sending();
        }
        drop(place);
        match (told, hello(&ours, &note)?) {
            (Ok(true), Some((pid, pidfd))) => Ok(Answer::Child(pid, pidfd, ours)),
            (Ok(true), None) => Ok(Answer::Gone),
            (told, child) => {
                if let Some((pid, pidfd)) = child {
                    Child::new(pid, Some(pidfd), &self.keeper)?;
                }
                told.map(|_| Answer::Differs)
            }
        }
    }

    /// Sends the child what it needs to begin. `false` if it must not: then it has got nothing.
    fn tell(&self, opening: &mut Opening, asked: &Context, arguments: &mut Parcel, channel: &Channel) -> Result<bool> {
        let status = rights::status()?;
        if !Rights::of(&status)?.are(&self.rights) {
            return Ok(false);
        }
        opening.context = self.origin.differences(&status)?.then(asked);
        // If there is nobody, the missing word of the child will say so.
        opening.send(arguments, channel).map(|()| true)
    }
}

/// Waits for the child's first word; `None` if there is no child any more.
fn hello(channel: &Channel, note: &Note<'_>) -> Result<Option<(Pid, OwnedFd)>> {
    let mut bytes = [0; Hello::SIZE];
    let (len, files) = channel.recv_files(&mut bytes, true).ok().flatten().unwrap_or_default();
    let pid = || Pid::from_raw(note.pid().cast_signed());
    match Hello::parse(&bytes[..len]) {
        Some(Hello { error: 0, pid }) => match (Pid::from_raw(pid), files.into_iter().next()) {
            (Some(pid), Some(file)) => Ok(Some((pid, file))),
            // Another thread has taken the place that was kept for it.
            (Some(pid), None) => {
                sys::end(pid);
                Err(Error::from_os("watching a child process", io::Error::from_raw_os_error(libc::EMFILE)))
            }
            (None, _) => Err(Error::Corrupted),
        },
        Some(Hello { error, .. }) => {
            // Unless there was none, it leaves.
            pid().map(sys::wait_for);
            Err(refused(io::Error::from_raw_os_error(error)))
        }
        None => {
            pid().map(sys::wait_for);
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_back() {
        let request = Request { note: 1023 };
        assert_eq!(Request::parse(&request.to_bytes()), Some(request));
        assert_eq!(Request::parse(&[1]), None);
        for hello in [Hello::here(Pid::from_raw(4_000_000).unwrap()), Hello::refused(&io::Error::from_raw_os_error(libc::EAGAIN))]
        {
            assert_eq!(Hello::parse(&hello.to_bytes()), Some(hello));
            assert_eq!(Hello::parse(&hello.to_bytes()[1..]), None);
        }
    }
}
