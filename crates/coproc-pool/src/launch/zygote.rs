//! The program's side of the zygote: starting it, asking it for children, replacing it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex};

use coproc::__private::{ForkLock, Parcel, family};
use coproc::{Error, Result};
use rustix::process::Pid;

use super::board::Board;
use super::lifeline::Lifeline;
use super::rights::{self, Rights};
use super::{Opening, exec, refused};
use crate::channel::Channel;
use crate::context::{Context, Origin};
use crate::keeper::{self, Child, Keeper, lock};
use crate::sys;

/// What the zygote says when it is ready. Anything else says why it cannot be.
pub(super) const READY: &str = "ready";

/// How often a child is asked for, of a new zygote each time, before it is started without.
const TRIES: usize = 3;

/// What the zygote says of a child that it was asked for, in one packet. With a child come its descriptor and the program's end of its channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    /// The number of the attempt.
    number: u32,
    /// The child.
    pid: i32,
    /// Why there is none, if not 0.
    error: i32,
}

impl Offer {
    const SIZE: usize = 12;

    pub(super) fn child(number: u32, pid: Pid) -> Self {
        Self { number, pid: pid.as_raw_nonzero().get(), error: 0 }
    }

    pub(super) fn refused(number: u32, error: &io::Error) -> Self {
        Self { number, pid: 0, error: error.raw_os_error().unwrap_or(libc::EIO) }
    }

    pub(super) fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..4].copy_from_slice(&self.number.to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.pid.to_ne_bytes());
        bytes[8..].copy_from_slice(&self.error.to_ne_bytes());
        bytes
    }

    fn parse(packet: &[u8]) -> Option<Self> {
        let (number, rest) = packet.split_first_chunk()?;
        let (pid, error) = rest.split_first_chunk()?;
        let number = u32::from_ne_bytes(*number);
        Some(Self { number, pid: i32::from_ne_bytes(*pid), error: i32::from_ne_bytes(error.try_into().ok()?) })
    }
}

/// The zygote of this program.
#[derive(Debug)]
pub(super) struct Zygote {
    /// The program that it serves: a forked copy of that finds it here, and needs one of its own.
    pid: u32,
    /// Closed with the last caller who uses it; then it leaves.
    socket: Channel,
    /// The number of the last attempt of which it has said what came of it. Locked by the thread that receives.
    taken: Mutex<u32>,
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

/// A child that waits to be told what it shall be.
#[derive(Debug)]
struct Spare {
    pid: Pid,
    pidfd: OwnedFd,
    channel: Channel,
}

/// What a look for a spare child gave.
enum Taken {
    Spare(Spare),
    /// There is none, and why.
    Refused(io::Error),
    /// The zygote is gone.
    Gone,
}

/// Whether a spare child may be told what to run.
enum Told {
    Yes,
    /// It may do what the caller may not, or the other way round. It was told nothing.
    Differs,
    /// It has ended, and ran nothing.
    Ended,
}

/// Starts a child by the zygote; `None` if that cannot be done in this program, or not now.
pub(super) fn start(opening: &mut Opening, asked: &Context, arguments: &mut Parcel) -> Result<Option<(Arc<Child>, Channel)>> {
    let mut refusals = 0;
    let mut tries = 0;
    while tries < TRIES {
        tries += 1;
        let Some(zygote) = current()? else { return Ok(None) };
        let taken = zygote.take()?;
        // The next caller's is made when this one has what it came for, or has failed.
        let _next = Next(&zygote);
        match taken {
            Taken::Gone => retire(&zygote),
            // That was made ready some time ago, and things may have changed.
            Taken::Refused(_) if refusals == 0 => {
                refusals += 1;
                tries -= 1;
            }
            Taken::Refused(error) => return Err(refused(error)),
            Taken::Spare(spare) => {
                let told = zygote.tell(opening, asked, arguments, &spare.channel);
                // If it was told nothing it leaves, and its keeper sees to the rest.
                let child = Child::new(spare.pid, Some(spare.pidfd), &zygote.keeper)?;
                match told? {
                    Told::Yes => return Ok(Some((child, spare.channel))),
                    Told::Differs => retire(&zygote),
                    Told::Ended => {}
                }
            }
        }
    }
    Ok(None)
}

/// Asks for another child when this is dropped.
struct Next<'a>(&'a Zygote);

impl Drop for Next<'_> {
    fn drop(&mut self) {
        self.0.ask();
    }
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
        drop(state);
        zygote.dismiss();
    }
}

enum Started {
    Ready(Arc<Zygote>),
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
                let zygote = Self { pid: std::process::id(), socket: ours, taken: Mutex::new(0), board, keeper, rights, origin };
                zygote.ask();
                Started::Ready(Arc::new(zygote))
            }
            _ => Started::Cannot,
        })
    }

    /// Asks for a child.
    fn ask(&self) {
        // If it is gone, whoever waits for that child learns it.
        let _ = self.socket.send_files(&[0], &[]);
    }

    /// Takes a child that was asked for. Each caller asks for one afterwards, and there is one more from the start.
    fn take(&self) -> Result<Taken> {
        // There will be two descriptors.
        let places = [self.place()?, self.place()?];
        let mut taken = lock(&self.taken);
        drop(places);
        self.next(&mut taken)
    }

    fn place(&self) -> Result<OwnedFd> {
        rustix::io::fcntl_dupfd_cloexec(&self.socket, 3).map_err(|error| Error::from_os("watching a child process", error.into()))
    }

    /// Waits for what the zygote says next. `taken` is the number of the last attempt of which it has said what came of it.
    fn next(&self, taken: &mut u32) -> Result<Taken> {
        let mut bytes = [0; Offer::SIZE];
        let received = self.socket.recv_files(&mut bytes, true);
        let (len, files) = received.map_err(|error| Error::from_os("receiving from the zygote", error))?.unwrap_or_default();
        let Some(offer) = Offer::parse(&bytes[..len]) else { return Ok(Taken::Gone) };
        *taken = offer.number;
        let Some(pid) = Pid::from_raw(offer.pid) else {
            return Ok(Taken::Refused(io::Error::from_raw_os_error(offer.error)));
        };
        let mut files = files.into_iter();
        match (files.next(), files.next()) {
            (Some(pidfd), Some(channel)) => Ok(Taken::Spare(Spare { pid, pidfd, channel: Channel::from_file(channel) })),
            // Other threads have taken the places that were kept for it.
            _ => {
                sys::end(pid);
                Ok(Taken::Refused(io::Error::from_raw_os_error(libc::EMFILE)))
            }
        }
    }

    /// Lets it go, and the children that it has made for nobody.
    fn dismiss(&self) {
        self.socket.end_sending();
        let mut taken = lock(&self.taken);
        loop {
            match self.next(&mut taken) {
                Ok(Taken::Gone) => break,
                // It reads the end of its channel, and leaves.
                Ok(Taken::Spare(Spare { pid, pidfd, .. })) => drop(Child::new(pid, Some(pidfd), &self.keeper)),
                Ok(Taken::Refused(_)) | Err(_) => {}
            }
        }
        // It may have been killed when it had made a child, before it could say so.
        let (last, pid) = self.board.last();
        if let Some(pid) = Pid::from_raw(pid.cast_signed()).filter(|_| last > *taken) {
            sys::wait_for(pid);
        }
    }

    /// Sends the child what it needs to begin, if it may.
    fn tell(&self, opening: &mut Opening, asked: &Context, arguments: &mut Parcel, channel: &Channel) -> Result<Told> {
        let status = rights::status()?;
        if !Rights::of(&status)?.are(&self.rights) {
            return Ok(Told::Differs);
        }
        opening.context = self.origin.differences(&status)?.then(asked);
        Ok(if opening.send(arguments, channel)? { Told::Yes } else { Told::Ended })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_back() {
        let child = Offer::child(7, Pid::from_raw(4_000_000).unwrap());
        for offer in [child, Offer::refused(u32::MAX, &io::Error::from_raw_os_error(libc::EAGAIN))] {
            assert_eq!(Offer::parse(&offer.to_bytes()), Some(offer));
            assert_eq!(Offer::parse(&offer.to_bytes()[1..]), None);
        }
    }
}
