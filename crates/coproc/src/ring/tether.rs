//! What ties an end of a ring to the other one: who has it, whether the other is still there, and waiting for it.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::stop::Stop;
use super::track::{End, Track};
use crate::liveness::{self, Lifeline};
use crate::sync::{Deadline, SLICE};

/// How often an end looks again before it gives way, and how often it gives way before it sleeps.
const SPINS: u32 = 200;
const YIELDS: u32 = 8;

/// How long a pause is.
const MOMENT: Duration = Duration::from_millis(1);

/// An end's tie to the other end.
#[derive(Debug)]
pub(crate) struct Tether {
    lifeline: Lifeline,
    /// Identity of the process that has this end: a forked child that has a copy of it has not.
    holder: u64,
    /// Whether this process has let it go: it closed it, or gave it to another.
    gone: AtomicBool,
    /// Whether the other end is known to have died.
    cut: AtomicBool,
}

impl Tether {
    pub(crate) fn new(lifeline: Lifeline) -> Self {
        let holder = liveness::known_identity();
        Self { lifeline, holder, gone: AtomicBool::new(false), cut: AtomicBool::new(false) }
    }

    /// Whether this process has the end.
    #[inline]
    pub(crate) fn is_mine(&self) -> bool {
        self.holder == liveness::known_identity() && !self.gone.load(Ordering::Relaxed)
    }

    /// The process has the end no more. `false` if it had not before either.
    pub(crate) fn let_go(&self) -> bool {
        self.is_mine() && !self.gone.swap(true, Ordering::Relaxed)
    }

    /// What goes to the process that gets the end; `None` if this one has it no more. Nothing of it stays here: the other end must see when
    /// the one that gets it dies.
    pub(crate) fn give(&self) -> Option<Arc<OwnedFd>> {
        if self.let_go() { self.lifeline.take() } else { None }
    }

    /// The socket between the ends; `None` if this process has not the end any more.
    pub(crate) fn socket(&self) -> Option<Arc<OwnedFd>> {
        self.lifeline.socket().filter(|_| self.is_mine())
    }

    /// How many slots the end may use now: at least `want`, or why not.
    #[inline]
    pub(crate) fn ready(&self, track: &mut Track, want: usize) -> Result<usize, Stop> {
        if !self.is_mine() {
            return Err(Stop::Closed);
        }
        // A sender whose receiver has gone sends nothing more, also where there is room.
        if track.end() == End::Send && track.is_closed_by(End::Recv) {
            return Err(Stop::Closed);
        }
        if track.known() >= want {
            return Ok(track.known());
        }
        self.look(track, want)
    }

    #[inline]
    fn look(&self, track: &mut Track, want: usize) -> Result<usize, Stop> {
        let usable = track.look()?;
        if usable >= want {
            return Ok(usable);
        }
        if track.end() == End::Recv {
            return self.end_of_file(track, want);
        }
        Err(if self.cut.load(Ordering::Relaxed) { Stop::Disconnected } else { Stop::Wait })
    }

    /// What a receiver that finds too little is told: if the sender has gone, first look once more at what it left.
    fn end_of_file(&self, track: &mut Track, want: usize) -> Result<usize, Stop> {
        let stop = if track.is_closed_by(End::Send) {
            Stop::Closed
        } else if self.cut.load(Ordering::Relaxed) {
            Stop::Disconnected
        } else {
            return Err(Stop::Wait);
        };
        let usable = track.look()?;
        if usable >= want { Ok(usable) } else { Err(stop) }
    }

    /// As [`ready`](Self::ready), and asks the kernel whether the other end is alive if there is too little: for who is about to sleep, or will
    /// never.
    #[inline]
    pub(crate) fn ready_or_cut(&self, track: &mut Track, want: usize) -> Result<usize, Stop> {
        match self.ready(track, want) {
            Err(Stop::Wait) => self.ask(track, want),
            result => result,
        }
    }

    /// Is there anybody who could wake, or will fill or free more?
    #[cold]
    fn ask(&self, track: &mut Track, want: usize) -> Result<usize, Stop> {
        self.cut.store(self.lifeline.is_cut(), Ordering::Relaxed);
        self.ready(track, want)
    }

    /// As [`ready`](Self::ready), but waits for it until the deadline.
    #[inline]
    pub(crate) fn wait(&self, track: &mut Track, want: usize, deadline: Deadline) -> Result<usize, Stop> {
        match self.ready(track, want) {
            Err(Stop::Wait) => self.wait_slow(track, want, deadline),
            result => result,
        }
    }

    #[cold]
    fn wait_slow(&self, track: &mut Track, want: usize, deadline: Deadline) -> Result<usize, Stop> {
        for round in 0..SPINS + YIELDS {
            if round < SPINS {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
            match self.ready(track, want) {
                Err(Stop::Wait) => {}
                result => return result,
            }
        }
        loop {
            let ticket = track.here().prepare_dearly();
            match self.ready_or_cut(track, want) {
                Err(Stop::Wait) => {}
                result => return result,
            }
            let Some(slice) = deadline.slice(SLICE) else { return Err(Stop::Wait) };
            track.here().sleep_for(ticket, slice);
            match self.ready(track, want) {
                Err(Stop::Wait) => {}
                result => return result,
            }
        }
    }

    /// Sleeps until the other end has passed something, and a moment at most: for who waits for what no word in shared memory says.
    #[cold]
    pub(crate) fn pause(&self, track: &mut Track, deadline: Deadline) -> Result<(), Stop> {
        let ticket = track.here().prepare_dearly();
        self.ready(track, 0)?;
        let Some(slice) = deadline.slice(MOMENT) else { return Err(Stop::Wait) };
        track.here().sleep_for(ticket, slice);
        self.ready(track, 0).map(drop)
    }
}
