//! A point at which all wait for all.

#![allow(unsafe_code)]

use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::deadline::Deadline;
use super::error::{LockError, TryLockError};
use super::lock::{Patience, RawLock};
use super::members::{MEMBERS, Members};
use super::wait::WaitWord;
use crate::layout::{Layout, PROTOCOL};
use crate::liveness::{self, Thread};
use crate::shareable::{Direct, LastHandle, Shareable};

/// For so many rounds it is remembered how they ended.
const REMEMBERED: u64 = 64;

/// A point at which a number of parties, threads or processes, wait until all are there.
///
/// In place, usable in a segment, a `static` or on the stack. A barrier whose bytes are zero is one of no parties, at which nobody waits.
/// It may be used again at once: those who are late from one round do not mix with the next.
///
/// **When a process dies** that has arrived, or has announced itself by [`party`](Self::party), the round is broken for all who wait, within 20 ms of the kernel
/// closing its descriptors. One that has done neither is like one that is slow: nobody knows that it was to come. A time-out
/// breaks the round too, and so does [`abort`](Self::abort). A broken barrier stays so until [`reset`](Self::reset).
///
/// ```
/// use coproc::{Barrier, SharedValue};
///
/// let start = SharedValue::new(Barrier::new(2))?;
/// # let other = start.clone();
/// # let thread = std::thread::spawn(move || other.wait().unwrap().is_leader());
/// let leads = start.wait()?.is_leader(); // in every party; exactly one is told that it leads
/// # assert!(leads ^ thread.join().unwrap());
/// # Ok::<(), coproc::Error>(())
/// ```
#[repr(C)]
pub struct Barrier {
    /// Guards what is below.
    lock: RawLock,
    parties: AtomicU64,
    /// The number of the round, times two; plus one while it is broken. One exchange ends a round; the lock is needed to end it well.
    round: AtomicU64,
    /// How the last 64 rounds ended: bit (round % 64) is set if it was broken. Written before `round`, under the lock.
    broken: AtomicU64,
    sleepers: WaitWord,
    _pad: u32,
    /// Who is there.
    members: Members,
}

// SAFETY:
// 1. Zero is a barrier of no parties. 2. It holds integers. 3. By name, size and protocol version.
// 5. All access is atomic; no count is an index, and arithmetic on counts wraps or saturates.
unsafe impl Shareable for Barrier {
    type Access = Direct;
    const LAYOUT: u64 = Layout::of::<Self>("Barrier").number(PROTOCOL).hash();
    const LEAVES: bool = true;

    fn leave(&self, _: &LastHandle) {
        let mine = liveness::known_identity();
        if mine == 0 {
            return;
        }
        self.members.leave(mine);
        self.lock.leave();
    }
}

/// How a wait at a [`Barrier`] ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarrierWaitResult {
    index: u32,
    leader: bool,
}

impl BarrierWaitResult {
    /// The place of this party in the order of arrival: 0 to parties - 1, each once.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Whether this is the party that is told that it leads: the last to arrive.
    pub fn is_leader(&self) -> bool {
        self.leader
    }
}

/// How a wait at a [`Barrier`] ended badly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BarrierError {
    /// The round is broken: a party died, ran out of time, or aborted, or somebody reset the barrier.
    Broken,
    /// Not all came in time. The barrier is broken now.
    TimedOut,
    /// More processes take part than a barrier has places for (32).
    Crowded,
    /// The words are impossible, or this process has forked and could not register itself.
    Lock(LockError),
}

impl fmt::Display for BarrierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken => f.write_str("the barrier is broken: a party died, ran out of time, or aborted"),
            Self::TimedOut => f.write_str("timed out: not all parties came; the barrier is broken"),
            Self::Crowded => write!(f, "more than {MEMBERS} processes take part in one barrier"),
            Self::Lock(error) => error.fmt(f),
        }
    }
}

impl Error for BarrierError {}

impl Barrier {
    /// A barrier for this many parties.
    pub const fn new(parties: u32) -> Self {
        Self {
            lock: RawLock::new(),
            parties: AtomicU64::new(parties as u64),
            round: AtomicU64::new(0),
            broken: AtomicU64::new(0),
            sleepers: WaitWord::new(),
            _pad: 0,
            members: Members::new(),
        }
    }

    /// How many parties it is for.
    pub fn parties(&self) -> u32 {
        self.parties.load(Ordering::Relaxed) as u32
    }

    /// How many parties wait at this moment.
    #[doc(alias = "n_waiting")]
    pub fn waiting(&self) -> u32 {
        let round = self.round.load(Ordering::Relaxed) >> 1;
        self.members.arrived_in(round) as u32
    }

    /// Whether it is broken at this moment.
    pub fn is_broken(&self) -> bool {
        self.round.load(Ordering::Relaxed) & 1 != 0
    }

    /// Announces this process as a party: if it dies before it arrives, the round is broken. Ends when the value is dropped, or when the
    /// process drops its last handle of the segment.
    ///
    /// # Errors
    /// [`BarrierError::Crowded`], [`BarrierError::Lock`].
    pub fn party(&self) -> Result<Party<'_>, BarrierError> {
        let holder = Thread::current().map_err(LockError::Unregistered)?.identity();
        self.locked(Deadline::NEVER, |it| {
            let round = it.round.load(Ordering::Relaxed) >> 1;
            it.members.place(holder, round).ok_or(BarrierError::Crowded)?.announce();
            Ok(Party { of: it, holder })
        })?
    }

    /// Arrives, and waits until all parties have.
    ///
    /// # Errors
    /// [`BarrierError`].
    pub fn wait(&self) -> Result<BarrierWaitResult, BarrierError> {
        self.wait_until(Deadline::NEVER)
    }

    /// Arrives, and waits until all parties have, at most this long (monotonic time). A time-out breaks the barrier.
    ///
    /// # Errors
    /// [`BarrierError`].
    pub fn wait_timeout(&self, time: Duration) -> Result<BarrierWaitResult, BarrierError> {
        self.wait_until(Deadline::after(time))
    }

    /// Breaks the barrier: all who wait, or come, get [`BarrierError::Broken`].
    ///
    /// # Errors
    /// [`BarrierError::Lock`].
    pub fn abort(&self) -> Result<(), BarrierError> {
        self.break_round(self.round.load(Ordering::Relaxed) >> 1);
        Ok(())
    }

    /// Makes the barrier as new: all who wait get [`BarrierError::Broken`], those who come then begin a round.
    ///
    /// # Errors
    /// [`BarrierError::Lock`].
    pub fn reset(&self) -> Result<(), BarrierError> {
        self.locked(Deadline::NEVER, Self::start_anew)?;
        self.sleepers.notify_all();
        Ok(())
    }

    fn wait_until(&self, deadline: Deadline) -> Result<BarrierWaitResult, BarrierError> {
        let holder = Thread::current().map_err(LockError::Unregistered)?.identity();
        let arrival = match self.locked(deadline, |it| it.arrive(holder)) {
            Err(BarrierError::TimedOut) => {
                // The others would wait for this one for ever.
                self.break_round(self.round.load(Ordering::Relaxed) >> 1);
                return Err(BarrierError::TimedOut);
            }
            arrival => arrival??,
        };
        let (round, index) = match arrival {
            Arrival::Last { index } => {
                self.sleepers.notify_all();
                return Ok(BarrierWaitResult { index, leader: true });
            }
            Arrival::Waits { round, index } => (round, index),
        };
        let over = || self.ended(round).map(|ended| ended.map(|()| BarrierWaitResult { index, leader: false }));
        loop {
            let ticket = self.sleepers.prepare();
            if let Some(end) = over() {
                return end;
            }
            if !self.sleepers.sleep(ticket, deadline) {
                self.break_round(round);
                return over().unwrap_or(Ok(BarrierWaitResult { index, leader: false })).map_err(|_| BarrierError::TimedOut);
            }
            if over().is_none() && self.members.has_lost_somebody(round) {
                // Asked again under the lock, where no place changes hands.
                self.locked(Deadline::NEVER, |it| {
                    if it.members.has_lost_somebody(round) {
                        it.break_round(round);
                    }
                })?;
            }
        }
    }

    /// How this round ended, if it has.
    fn ended(&self, round: u64) -> Option<Result<(), BarrierError>> {
        // Acquire: pairs with the Release in `end_well`, `start_anew` and `break_round`; `broken`, and what the parties did before they arrived.
        let now = self.round.load(Ordering::Acquire);
        if now == round << 1 {
            return None;
        }
        let broken = now >> 1 == round || self.broken.load(Ordering::Relaxed) & (1 << (round % REMEMBERED)) != 0;
        Some(if broken { Err(BarrierError::Broken) } else { Ok(()) })
    }

    /// Counts an arrival of this process. Under the lock.
    fn arrive(&self, holder: u64) -> Result<Arrival, BarrierError> {
        let now = self.round.load(Ordering::Relaxed);
        let round = now >> 1;
        if now & 1 != 0 {
            return Err(BarrierError::Broken);
        }
        if self.members.has_lost_somebody(round) {
            self.break_round(round);
            return Err(BarrierError::Broken);
        }
        let index = self.waiting();
        // One for which there is no place would be missing for ever.
        let Some(member) = self.members.place(holder, round) else {
            self.break_round(round);
            return Err(BarrierError::Crowded);
        };
        // Also for the last one: if it is killed before it has ended the round, the others learn that a party died.
        member.arrive(round);
        if u64::from(index) + 1 >= self.parties.load(Ordering::Relaxed) {
            // Not if somebody has run out of time at this moment.
            return if self.end_well(round) { Ok(Arrival::Last { index }) } else { Err(BarrierError::Broken) };
        }
        Ok(Arrival::Waits { round, index })
    }

    /// Ends the round well, and begins the next; `false` if it is broken. Under the lock.
    fn end_well(&self, round: u64) -> bool {
        self.broken.fetch_and(!(1 << (round % REMEMBERED)), Ordering::Relaxed);
        // Release: pairs with the Acquire in `ended`; `broken`, and through the lock what all parties did.
        let next = round.wrapping_add(1) << 1;
        self.round.compare_exchange(round << 1, next, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// Ends the round badly, and begins the next. Under the lock.
    fn start_anew(&self) {
        let round = self.round.load(Ordering::Relaxed) >> 1;
        self.broken.fetch_or(1 << (round % REMEMBERED), Ordering::Relaxed);
        self.members.bury();
        // Release: pairs with the Acquire in `ended`; `broken`. Whether it was broken before, as others may do without the lock, is no matter.
        self.round.store(round.wrapping_add(1) << 1, Ordering::Release);
    }

    /// Marks this round as broken, unless it has ended, and lets all go. Needs no lock: a round ends by one exchange, well or badly.
    fn break_round(&self, round: u64) {
        // Release: pairs with the Acquire in `ended`.
        if self.round.compare_exchange(round << 1, round << 1 | 1, Ordering::Release, Ordering::Relaxed).is_ok() {
            self.sleepers.notify_all();
        }
    }

    /// Runs this under the lock. Each round ends in one store, so what a dead owner of the lock left is a round that has ended or one
    /// that has not: there is nothing to repair.
    fn locked<'a, R>(&'a self, deadline: Deadline, work: impl FnOnce(&'a Self) -> R) -> Result<R, BarrierError> {
        let _held = self.lock.hold(Patience::Until(deadline)).map_err(|error| match error {
            TryLockError::Lock(error) => BarrierError::Lock(error),
            _ => BarrierError::TimedOut,
        })?;
        Ok(work(self))
    }
}

/// What an arrival means.
enum Arrival {
    Last { index: u32 },
    Waits { round: u64, index: u32 },
}

impl From<LockError> for BarrierError {
    fn from(error: LockError) -> Self {
        Self::Lock(error)
    }
}

impl Default for Barrier {
    fn default() -> Self {
        Self::new(0)
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier")
            .field("parties", &self.parties())
            .field("waiting", &self.waiting())
            .field("broken", &self.is_broken())
            .finish()
    }
}

/// A party that has announced itself with [`Barrier::party`].
#[derive(Debug)]
#[must_use = "the party is announced as long as this lives"]
pub struct Party<'a> {
    of: &'a Barrier,
    /// Identity of the process that announced it.
    holder: u64,
}

impl Drop for Party<'_> {
    fn drop(&mut self) {
        // In a forked child that drops its copy: it is its parent's.
        if self.holder != liveness::known_identity() {
            return;
        }
        let _ = self.of.locked(Deadline::NEVER, |it| {
            if let Some(member) = it.members.find(self.holder) {
                member.withdraw();
            }
        });
    }
}
