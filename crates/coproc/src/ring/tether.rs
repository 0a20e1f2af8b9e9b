//! What ties an end of a ring to the other one: who has it, whether the other is still there, and waiting for it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::control::End;
use super::stop::Stop;
use super::track::{Side, Track};
use crate::liveness::{self, Lifeline, Socket, Thread};
use crate::sync::{Deadline, SLICE, pace};
use crate::sys;

/// How often an end gives way before it sleeps, and how often it looks after each time. First others: while it is away, the other end may pass
/// many slots, and need not pass each by itself.
const YIELDS: u32 = 16;
const LOOKS: u32 = 16;

/// So many times what was waited for is more than one short message.
const MANY: usize = 32;

/// No process's identity: that of who cannot register itself.
const NOBODY: u64 = u64::MAX;

/// How long a pause is.
const MOMENT: Duration = Duration::from_millis(1);

/// An end's tie to the other end.
#[derive(Debug)]
pub(crate) struct Tether {
    lifeline: Lifeline,
    /// Identity of the process that has this end: a forked child that has a copy of it has not. Nobody, when this process has let it go: it closed it, or gave
    /// it to another.
    holder: AtomicU64,
    /// Whether the other end is known to have died.
    cut: AtomicBool,
    /// When who never waits asks next whether it has, by the coarse clock: the exact one would be most of what such a call takes.
    next_question: Duration,
}

impl Tether {
    pub(crate) fn new(lifeline: Lifeline) -> Self {
        let holder = Thread::current().map_or(NOBODY, Thread::identity);
        Self { lifeline, holder: AtomicU64::new(holder), cut: AtomicBool::new(false), next_question: Duration::ZERO }
    }

    /// The identity of the process that has the end.
    #[inline]
    pub(crate) fn holder(&self) -> u64 {
        self.holder.load(Ordering::Relaxed)
    }

    /// Whether this process has the end.
    #[inline]
    pub(crate) fn is_mine(&self) -> bool {
        self.holder() == liveness::known_identity()
    }

    /// The process has the end no more. `false` if it had not before either.
    pub(crate) fn let_go(&self) -> bool {
        // Relaxed: of several threads one does it, and what it does then is under the locks of what it closes or gives.
        self.holder.compare_exchange(liveness::known_identity(), NOBODY, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// What goes to the process that gets the end; `None` if this one has it no more. Nothing of it stays here: the other end must see when
    /// the one that gets it dies.
    pub(crate) fn give(&self) -> Option<Socket> {
        if self.let_go() { self.lifeline.take() } else { None }
    }

    /// The socket between the ends; `None` if this process has not the end any more.
    pub(crate) fn socket(&self) -> Option<Socket> {
        self.lifeline.socket().filter(|_| self.is_mine())
    }

    /// Whether this process has the end, and it is of use: a sender whose receiver has gone sends nothing more, also where there is room.
    #[inline]
    pub(crate) fn may_use<S: Side>(&self, track: &Track<S>) -> bool {
        self.is_mine() && !track.sends_in_vain()
    }

    /// How many slots the end may use now: at least `want`, or why not.
    #[inline]
    pub(crate) fn ready<S: Side>(&self, track: &mut Track<S>, want: usize) -> Result<usize, Stop> {
        if !self.may_use(track) {
            return Err(Stop::Closed);
        }
        if track.known() >= want {
            return Ok(track.known());
        }
        self.look(track, want)
    }

    /// As [`ready`](Self::ready), for who comes again instead of waiting: it is to learn of a death too.
    #[inline]
    pub(crate) fn try_ready<S: Side>(&mut self, track: &mut Track<S>, want: usize) -> Result<usize, Stop> {
        match self.ready(track, want) {
            Err(Stop::Wait) => self.try_slow(track, want),
            result => result,
        }
    }

    #[cold]
    fn try_slow<S: Side>(&mut self, track: &mut Track<S>, want: usize) -> Result<usize, Stop> {
        let now = sys::coarse_time();
        if now < self.next_question {
            return Err(Stop::Wait);
        }
        self.next_question = now + SLICE;
        self.ready_or_cut(track, want)
    }

    /// Asks the kernel whether the other end is there. While a process has it, that process's life counts: copies of the socket may lie about, as
    /// in the workers of a pool that were all given the same items. While it is on its way, the socket does.
    pub(crate) fn ask<S: Side>(&self, track: &Track<S>) {
        if track.other_is_dead() || self.lifeline.is_cut() {
            self.cut.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the other end was found dead.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    #[inline]
    fn look<S: Side>(&self, track: &mut Track<S>, want: usize) -> Result<usize, Stop> {
        let usable = track.look()?;
        if usable >= want {
            return Ok(usable);
        }
        if S::END == End::Recv {
            return self.end_of_file(track, want);
        }
        Err(if self.is_cut() { Stop::Disconnected } else { Stop::Wait })
    }

    /// What a receiver that finds too little is told: if the sender has gone, first look once more at what it left.
    fn end_of_file<S: Side>(&self, track: &mut Track<S>, want: usize) -> Result<usize, Stop> {
        let stop = if track.is_closed_by(End::Send) {
            Stop::Closed
        } else if self.is_cut() {
            Stop::Disconnected
        } else {
            return Err(Stop::Wait);
        };
        let usable = track.look()?;
        if usable >= want { Ok(usable) } else { Err(stop) }
    }

    /// As [`ready`](Self::ready), and asks the kernel whether the other end is alive if there is too little: for who will not come again.
    #[inline]
    pub(crate) fn ready_or_cut<S: Side>(&self, track: &mut Track<S>, want: usize) -> Result<usize, Stop> {
        match self.ready(track, want) {
            Err(Stop::Wait) => {
                self.ask(track);
                self.ready(track, want)
            }
            result => result,
        }
    }

    /// As [`ready`](Self::ready), but waits for it until the deadline.
    #[inline]
    pub(crate) fn wait<S: Side>(&self, track: &mut Track<S>, want: usize, deadline: Deadline) -> Result<usize, Stop> {
        match self.ready(track, want) {
            Err(Stop::Wait) => self.wait_slow(track, want, MANY * want, deadline),
            result => result,
        }
    }

    /// As [`wait`](Self::wait), for who has found too little. `many` at once, or more, are a stream.
    #[cold]
    pub(crate) fn wait_slow<S: Side>(
        &self,
        track: &mut Track<S>,
        want: usize,
        many: usize,
        deadline: Deadline,
    ) -> Result<usize, Stop> {
        let mut look = || match self.ready(track, want) {
            Err(Stop::Wait) => None,
            result => Some(result),
        };
        let found = pace::look_first(&mut look).or_else(|| {
            pace::give_way(YIELDS, || {
                std::thread::yield_now();
                pace::look_for(LOOKS, &mut look)
            })
        });
        if let Some(result) = found {
            if result.as_ref().is_ok_and(|&usable| usable >= many) {
                pace::note_stream();
            }
            return result;
        }
        let mut ticket = None;
        loop {
            let marked = track.here().prepare_again(ticket);
            ticket = Some(marked);
            match self.ready(track, want) {
                Err(Stop::Wait) => {}
                result => return result,
            }
            if track.here().sleep(marked, deadline) {
                // If it was no wake that ended the sleep: is there anybody who could wake?
                match self.ready_or_cut(track, want) {
                    Err(Stop::Wait) => {}
                    result => {
                        if result.as_ref().is_ok_and(|&usable| usable > 1 && usable >= track.capacity() / 2) {
                            pace::note_standstill();
                        }
                        return result;
                    }
                }
            } else {
                // Who never sleeps through a slice is to learn of a death too.
                return self.ready_or_cut(track, want);
            }
        }
    }

    /// Sleeps until the other end has passed something, and a moment at most: for who waits for what no word in shared memory says.
    #[cold]
    pub(crate) fn pause<S: Side>(&self, track: &mut Track<S>, deadline: Deadline) -> Result<(), Stop> {
        let ticket = track.here().prepare_dearly();
        self.ready(track, 0)?;
        if !track.here().sleep_for(ticket, deadline, MOMENT) {
            return Err(Stop::Wait);
        }
        self.ready(track, 0).map(drop)
    }
}
