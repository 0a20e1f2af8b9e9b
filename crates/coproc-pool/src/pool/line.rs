//! The wires between a pool and its workers: a channel to each, for what does not fit the board, and the bell of the crew.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coproc::__private::{Parcel, above_standard};
use coproc::{Error, Message, Result};
use rustix::event::EventfdFlags;

use crate::channel::{Channel, Received};
use crate::error::Cause;
use crate::keeper::Child;
use crate::report::Report;

/// What begins a packet from a worker. (Words of a panic that aborts begin with a smaller number: they are a `Report`.)
///
/// `WANT` and a position: it wants the arguments of that task. `SENT`, a report, and a position: the report of that task.
pub(super) const WANT: u8 = 10;
pub(super) const SENT: u8 = 11;
/// The answer to `WANT`: the arguments follow, or there are none.
pub(super) const FOUND: u8 = 12;
pub(super) const MISSING: u8 = 13;

/// A channel that gives so many errors in a row is of no use.
const MOST_ERRORS: usize = 8;

/// A worker process, and the pool's end of its channel.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) child: Arc<Child>,
    pub(super) channel: Arc<Channel>,
    /// What it said of a panic that is about to abort it, or why it does not begin.
    pub(super) last_words: Option<Cause>,
    /// The other end is closed.
    pub(super) is_cut: bool,
}

/// The lines of a pool, by seat. A seat without a worker has none.
///
/// Who holds a line's lock may take the desk's; never the other way.
#[derive(Debug)]
pub(super) struct Lines(Box<[Mutex<Option<Line>>]>);

impl Lines {
    pub(super) fn new(seats: usize) -> Self {
        Self((0..seats).map(|_| Mutex::new(None)).collect())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The line of this seat, or nobody's.
    pub(super) fn at(&self, seat: usize) -> Option<MutexGuard<'_, Option<Line>>> {
        // A panic meanwhile is none of a user's, and leaves nothing half changed.
        Some(self.0.get(seat)?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The worker of this seat, if there is one.
    pub(super) fn child(&self, seat: usize) -> Option<Arc<Child>> {
        self.at(seat)?.as_ref().map(|line| Arc::clone(&line.child))
    }

    /// Takes all that a worker has sent: gives it the arguments that it wants, and hands its reports on.
    pub(super) fn drain(&self, seat: usize, arguments: impl Fn(u64) -> Option<Arc<Parcel>>, mut report: impl FnMut(u64, Parcel)) {
        let Some(mut line) = self.at(seat) else { return };
        let Some(line) = line.as_mut() else { return };
        let mut errors = 0;
        loop {
            match line.channel.recv_from(line.child.pidfd.as_fd(), false) {
                Ok(Received::Parcel(parcel)) => match (parcel.bytes.first(), position_in(&parcel)) {
                    (Some(&WANT), Some(position)) => line.give(arguments(position)),
                    (Some(&SENT), Some(position)) => report(position, parcel),
                    _ => line.last_words = parcel.open::<Report<()>>().and_then(|report| report.settle().err()),
                },
                Ok(Received::Nothing) => return,
                Ok(Received::End) => {
                    line.is_cut = true;
                    return;
                }
                Err(error) => {
                    // A system's error is told once, before what was sent (`ECONNRESET`, of who died with something unread). What cannot be
                    // opened is lost, and whose it was is not known: who waits for it learns that it never came.
                    line.last_words.get_or_insert(Cause::Unreadable { message: error.to_string() });
                    errors += usize::from(matches!(error, Error::Os(..)));
                    if errors > MOST_ERRORS {
                        line.is_cut = true;
                        return;
                    }
                }
            }
        }
    }
}

impl Line {
    fn give(&self, arguments: Option<Arc<Parcel>>) {
        // If that fails the worker has died, which its pidfd says, or it waits for what cannot be sent, and is told so.
        let sent = match arguments {
            Some(arguments) => self.channel.send(&Parcel::of(&FOUND)).is_ok_and(|()| self.channel.send(&arguments).is_ok()),
            None => false,
        };
        if !sent {
            let _ = self.channel.send(&Parcel::of(&MISSING));
        }
    }
}

/// The position at the end of a packet.
fn position_in(parcel: &Parcel) -> Option<u64> {
    parcel.bytes.last_chunk().map(|bytes| u64::from_ne_bytes(*bytes))
}

/// A packet that asks for the arguments of the task at this position.
pub(super) fn want(position: u64) -> Parcel {
    Parcel::of(&(WANT, position))
}

/// A packet with the report of the task at this position.
pub(super) fn sent<M: Message>(report: &M, position: u64) -> Parcel {
    let mut parcel = Parcel::of(&SENT);
    report.write(&mut parcel.writer());
    position.write(&mut parcel.writer());
    parcel
}

/// Wakes the crew.
#[derive(Debug)]
pub(super) struct Bell(OwnedFd);

impl Bell {
    pub(super) fn new() -> Result<Self> {
        let bell = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let bell = bell.map_err(io::Error::from).and_then(above_standard);
        bell.map(Self).map_err(|error| Error::from_os("creating an eventfd", error))
    }

    pub(super) fn ring(&self) {
        // If it has been rung more often than it can count, it will be heard all the same.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    pub(super) fn silence(&self) {
        let _ = rustix::io::read(&self.0, &mut [0_u8; 8]);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
