//! The program's side of the zygote: starting it, asking it for children, replacing it.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use coproc::__private::{ForkLock, Parcel, family, keep_tickets};
use coproc::{Error, Result};
use rustix::process::Pid;

use super::board::Board;
use super::lifeline::Lifeline;
use super::rights::Rights;
use super::{Opening, exec, refused};
use crate::channel::Channel;
use crate::context::{Context, Origin};
use crate::keeper::{self, Child, Keeper, lock};
use crate::sys::{self, ThreadStatus};

/// What the zygote says when it is ready. Anything else says why it cannot be.
pub(super) const READY: &str = "ready";

/// How often a child is asked for, of a new zygote each time, before it is started without.
const TRIES: usize = 3;

/// How many children wait to be told what they shall be: so many that are started one right after the other need not wait until they are made.
pub(super) const SPARES: usize = 4;

/// What the zygote says of a child that it was asked for, in one packet. With a child comes its descriptor.
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
    /// This program's ends of the channels of the children that were asked for, in that order. Who holds its lock waits for no child.
    asked: Mutex<VecDeque<Channel>>,
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
    let (mut stale, mut failed) = (0, 0);
    while failed < TRIES {
        let Some(zygote) = current()? else { return Ok(None) };
        match zygote.take()? {
            // That was said some time ago, and things may have changed.
            Taken::Refused(_) if stale < SPARES => stale += 1,
            Taken::Refused(error) => return Err(refused(error)),
            Taken::Gone => {
                retire(&zygote);
                failed += 1;
            }
            Taken::Spare(spare) => {
                let told = zygote.tell(opening, asked, arguments, &spare.channel);
                // If it was told nothing it leaves, and its keeper sees to the rest.
                let child = Child::new(spare.pid, Some(spare.pidfd), &zygote.keeper)?;
                match told? {
                    Told::Yes => return Ok(Some((child, spare.channel))),
                    Told::Ended if stale < SPARES => stale += 1,
                    Told::Ended => failed += 1,
                    Told::Differs => {
                        retire(&zygote);
                        failed += 1;
                    }
                }
            }
        }
    }
    Ok(None)
}

/// Whether this program exits, so that there are no next callers.
static EXITS: AtomicBool = AtomicBool::new(false);

/// Asks for the children that the next callers take, unless that would take the processors from those that run. Waits for nobody.
pub(crate) fn ask_ahead() {
    // Relaxed: a child too many is no harm.
    if EXITS.load(Ordering::Relaxed) {
        return;
    }
    let Some(state) = ZYGOTE.try_lock() else { return };
    let State::Some(zygote) = &*state else { return };
    let zygote = Arc::clone(zygote);
    drop(state);
    if zygote.pid == std::process::id()
        // Those who run, and this one: it is not counted, but the zygote is.
        && zygote.keeper.running() < zygote.origin.processors()
        && let Ok(mut asked) = zygote.asked.try_lock()
    {
        let _ = zygote.ask(&mut asked, false);
    }
}

/// The program exits: nobody will start another child, or seldom.
pub(crate) fn ask_no_more_ahead() {
    EXITS.store(true, Ordering::Relaxed);
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
        ours.send_files(&[0], &files, true).map_err(|error| Error::from_os("sending to the zygote", error))?;
        let ticket = exec::ticket(true)?;
        let (rights, origin, pid, pidfd) = keeper.run(move || {
            let status = ThreadStatus::now()?;
            let (pid, pidfd) = exec::execute(&ticket, &theirs)?;
            Ok::<_, Error>((Rights::of(&status)?, Origin::now(&status)?, pid, pidfd))
        })??;
        // Nobody waits for it.
        Child::new(pid, pidfd, &keeper)?;
        let zygote = Self {
            pid: std::process::id(),
            socket: ours,
            asked: Mutex::default(),
            taken: Mutex::new(0),
            board,
            keeper,
            rights,
            origin,
        };
        match zygote.is_ready() {
            Ok(Some(true)) => Ok(Started::Ready(Arc::new(zygote))),
            Ok(Some(false)) => Ok(Started::Cannot),
            Ok(None) => Ok(Started::Died),
            Err(error) => {
                zygote.dismiss();
                Err(error)
            }
        }
    }

    /// Waits for its first word: whether it is ready, or cannot be; `None` if it has died. Asks it for children before.
    fn is_ready(&self) -> Result<Option<bool>> {
        // Until it is ready there is time. If this cannot be, who takes a child asks.
        let _ = self.ask(&mut lock(&self.asked), false);
        let kept = keep_tickets();
        let mut word = [0; 512];
        let len = self.socket.recv_into(&mut word, &mut []);
        let len = len.map_err(|error| Error::from_os("receiving from the zygote", error))?;
        // Not before the word was received: what comes after it is taken by who lets the zygote go.
        kept?;
        Ok((len > 0).then(|| &word[..len] == READY.as_bytes()))
    }

    /// Asks for as many children as are missing, or as there are descriptors for.
    fn ask(&self, asked: &mut VecDeque<Channel>, wait: bool) -> Result<()> {
        let missing = SPARES - asked.len();
        if missing == 0 {
            return Ok(());
        }
        let mut pairs = Vec::with_capacity(missing);
        while pairs.len() < missing {
            match Channel::pair() {
                Ok(pair) => pairs.push(pair),
                Err(error) if pairs.is_empty() => return Err(error),
                Err(_) => {
                    // Something is left for what else it takes.
                    pairs.truncate(1.max(pairs.len() - 1));
                    break;
                }
            }
        }
        let files: Vec<_> = pairs.iter().map(|(_, theirs)| theirs.as_fd()).collect();
        match self.socket.send_files(&[files.len() as u8], &files, wait) {
            Ok(true) => asked.extend(pairs.into_iter().map(|(ours, _)| ours)),
            Ok(false) => {}
            Err(error) => match error.raw_os_error() {
                // It is gone: whoever waits for what it says learns that.
                Some(libc::EPIPE | libc::ECONNRESET | libc::ECONNREFUSED | libc::ENOTCONN) => {}
                _ => return Err(Error::from_os("asking for a child process", error)),
            },
        }
        Ok(())
    }

    /// Takes the first child that was asked for.
    fn take(&self) -> Result<Taken> {
        let mut taken = lock(&self.taken);
        let mut asked = lock(&self.asked);
        // Nobody else takes it: there is one until this has taken it.
        if asked.is_empty() {
            self.ask(&mut asked, true)?;
        }
        drop(asked);
        // There will be a descriptor.
        let place = rustix::io::fcntl_dupfd_cloexec(&self.socket, 3);
        drop(place.map_err(|error| Error::from_os("watching a child process", error.into()))?);
        Ok(self.next(&mut taken))
    }

    /// Waits for what the zygote says next. `taken` is the number of the last attempt of which it has said what came of it.
    fn next(&self, taken: &mut u32) -> Taken {
        let mut bytes = [0; Offer::SIZE];
        // Whatever else is wrong with the socket, it is of no use any more.
        let Ok(Some((len, files))) = self.socket.recv_files(&mut bytes, true) else { return Taken::Gone };
        let Some(offer) = Offer::parse(&bytes[..len]) else { return Taken::Gone };
        *taken = offer.number;
        // Of each that was asked for it says something, in order.
        let channel = lock(&self.asked).pop_front();
        let Some(pid) = Pid::from_raw(offer.pid) else {
            return Taken::Refused(io::Error::from_raw_os_error(offer.error));
        };
        match (files.into_iter().next(), channel) {
            (Some(pidfd), Some(channel)) => Taken::Spare(Spare { pid, pidfd, channel }),
            // Another thread has taken the place that was kept for it.
            _ => {
                sys::end(pid);
                Taken::Refused(io::Error::from_raw_os_error(libc::EMFILE))
            }
        }
    }

    /// Lets it go, and the children that it has made for nobody: they read the end of their channels, also where a forked copy of this program has
    /// the other ends too, and leave.
    fn dismiss(&self) {
        self.socket.end_sending();
        let mut taken = lock(&self.taken);
        loop {
            match self.next(&mut taken) {
                Taken::Gone => break,
                Taken::Spare(Spare { pid, pidfd, channel }) => {
                    channel.end_sending();
                    drop(Child::new(pid, Some(pidfd), &self.keeper));
                }
                Taken::Refused(_) => {}
            }
        }
        // It may have been killed when it had made a child, before it could say so.
        lock(&self.asked).drain(..).for_each(|channel| channel.end_sending());
        let (last, pid) = self.board.last();
        if let Some(pid) = Pid::from_raw(pid.cast_signed()).filter(|_| last > *taken) {
            sys::wait_for(pid);
        }
    }

    /// Sends the child what it needs to begin, if it may. Looks at the caller's rights now, and not before it has waited for the child: another thread
    /// may give up those of all.
    fn tell(&self, opening: &mut Opening, asked: &Context, arguments: &mut Parcel, channel: &Channel) -> Result<Told> {
        let context = self.compare(asked);
        let Ok(Some(context)) = context else {
            channel.end_sending();
            return context.map(|_| Told::Differs);
        };
        opening.context = context;
        Ok(if opening.send(arguments, channel)? { Told::Yes } else { Told::Ended })
    }

    /// What its children must set up to be as the calling thread's would be, and as is asked for; `None` if they may do what this thread may not, or the
    /// other way round.
    fn compare(&self, asked: &Context) -> Result<Option<Context>> {
        let status = ThreadStatus::now()?;
        if !Rights::of(&status)?.are(&self.rights) {
            return Ok(None);
        }
        Ok(Some(self.origin.differences(&status)?.then(asked)))
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
