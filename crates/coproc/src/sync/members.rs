//! Who is at a barrier: the processes that have announced parties, and those whose threads have arrived.

use std::sync::atomic::{AtomicU64, Ordering};

use super::tally::Tally;
use crate::liveness;

/// How many processes can take part.
pub(super) const MEMBERS: usize = 32;

/// The places of those who take part. What belongs to another round counts as not there, so ending a round empties all at once.
#[repr(C)]
pub(super) struct Members([Member; MEMBERS]);

/// What a process has to do with a barrier. Changed under the barrier's lock, but for who leaves.
#[repr(C)]
pub(super) struct Member {
    /// The process, and how many parties it has announced: a [`Tally`]; 0 is an empty place.
    who: AtomicU64,
    /// The round, and how many of its threads have arrived in it: a [`Tally`].
    arrived: AtomicU64,
}

impl Members {
    pub(super) const fn new() -> Self {
        Self([const { Member { who: AtomicU64::new(0), arrived: AtomicU64::new(0) } }; MEMBERS])
    }

    /// How many threads have arrived in this round.
    pub(super) fn arrived_in(&self, round: u64) -> u64 {
        self.0.iter().map(|member| member.arrived_in(round)).sum()
    }

    /// Whether a process has died that arrived in this round, or was announced.
    pub(super) fn has_lost_somebody(&self, round: u64) -> bool {
        self.0.iter().any(|member| {
            let who = member.who();
            let takes_part = who.count() > 0 || member.count_in(round) > 0;
            who.0 != 0 && takes_part && !self.is_alive(who)
        })
    }

    /// The place of this process, if it has one.
    pub(super) fn find(&self, holder: u64) -> Option<&Member> {
        self.0.iter().find(|member| member.who().owner() == holder)
    }

    /// The place of this process; an empty one, or one of a process that has no more to do with the barrier, becomes its own. Under the lock.
    pub(super) fn place(&self, holder: u64, round: u64) -> Option<&Member> {
        if let Some(mine) = self.find(holder) {
            return Some(mine);
        }
        let idle = |member: &&Member| {
            let who = member.who();
            who.0 == 0 || who.count() == 0 && member.arrived_in(round) == 0
        };
        let member = self.0.iter().find(idle)?;
        member.arrived.store(Tally::of(round, 0).0, Ordering::Relaxed);
        member.who.store(Tally::of(holder, 0).0, Ordering::Relaxed);
        Some(member)
    }

    /// Who died takes part no more. Under the lock.
    pub(super) fn bury(&self) {
        for member in &self.0 {
            let who = member.who();
            if who.0 != 0 && !self.is_alive(who) {
                member.empty(who);
            }
        }
    }

    /// This process takes part no more.
    pub(super) fn leave(&self, mine: u64) {
        for member in &self.0 {
            let who = member.who();
            if who.owner() == mine {
                // An idle place may have become another's meanwhile.
                member.empty(who);
            }
        }
    }

    fn is_alive(&self, who: Tally) -> bool {
        liveness::is_alive((&raw const *self).cast(), who.owner())
    }
}

impl Member {
    fn who(&self) -> Tally {
        Tally(self.who.load(Ordering::Relaxed))
    }

    /// Makes the place nobody's, if it is still exactly this one's.
    fn empty(&self, who: Tally) {
        let _ = self.who.compare_exchange(who.0, 0, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// One more announced party of the process that has the place. Under the lock.
    pub(super) fn announce(&self) {
        let who = self.who();
        if who.count() < Tally::MOST {
            self.who.store(who.0 + 1, Ordering::Relaxed);
        }
    }

    /// One less. Under the lock.
    pub(super) fn withdraw(&self) {
        let who = self.who();
        if who.count() > 0 {
            self.who.store(who.0 - 1, Ordering::Relaxed);
        }
    }

    /// One more of its threads has arrived in this round. Under the lock.
    pub(super) fn arrive(&self, round: u64) {
        let arrived = (self.arrived_in(round) + 1).min(Tally::MOST);
        self.arrived.store(Tally::of(round, arrived).0, Ordering::Relaxed);
    }

    /// How many of its threads have arrived in this round.
    fn arrived_in(&self, round: u64) -> u64 {
        if self.who().owner() != 0 { self.count_in(round) } else { 0 }
    }

    /// The same, of a place that somebody has.
    fn count_in(&self, round: u64) -> u64 {
        Tally(self.arrived.load(Ordering::Relaxed)).count_of(Tally::of(round, 0).owner())
    }
}
