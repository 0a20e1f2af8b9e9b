//! The tasks of a queue that are taken and not done.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Result;
use crate::liveness;
use crate::message::{Message, Reader, Writer};
use crate::sync::{Event, Tally};
use crate::{SharedArray, SharedValue};

/// How many processes can have taken tasks at the same time: as many as a family has.
const WORKERS: usize = 1024;

/// Who has taken how many tasks that are not done.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    /// A [`Tally`] each. A process keeps its place at a count of 0. What is in the queue is counted nowhere, so no count can be wrong after a
    /// death: the dead one's is the only one that it could have left half made.
    taken: SharedArray<AtomicU64>,
    /// Set when a process has done all that it had taken.
    pub(super) quiet: SharedValue<Event>,
}

impl Ledger {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { taken: SharedArray::zeroed(WORKERS)?, quiet: SharedValue::new(Event::new())? })
    }

    fn is_alive(&self, identity: u64) -> bool {
        liveness::is_alive(self.taken.as_ptr().cast(), identity)
    }

    /// The word of this process; makes it one if it has none. `None` if there is no place.
    pub(super) fn place(&self, me: u64) -> Option<&AtomicU64> {
        let of = |who: u64| self.taken.iter().find(|word| Tally(word.load(Ordering::Relaxed)).owner() == who);
        let take = |word: &AtomicU64, old: Tally| {
            word.compare_exchange(old.0, Tally::of(me, 0).0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        if me == 0 {
            return None;
        }
        if let Some(mine) = of(me) {
            return Some(mine);
        }
        // One that nobody has; else of one who has died and lost nothing.
        let idle = |word: &&AtomicU64| {
            let seen = Tally(word.load(Ordering::Relaxed));
            seen.count() == 0 && (seen.0 == 0 || !self.is_alive(seen.owner())) && take(word, seen)
        };
        self.taken.iter().find(idle)
    }

    /// One task less of this process. It may have two words, if two of its threads took their first task at once.
    pub(super) fn less(&self, me: u64) -> Option<()> {
        let less = |word: u64| (me != 0 && Tally(word).count_of(me) > 0).then(|| word - 1);
        // Release: pairs with the Acquire in `is_any_at_work`; what was done.
        let before = self.taken.iter().find_map(|word| word.fetch_update(Ordering::Release, Ordering::Relaxed, less).ok())?;
        if Tally(before).count() == 1 {
            self.quiet.set();
        }
        Some(())
    }

    /// Whether a living process has taken tasks that are not done.
    pub(super) fn is_any_at_work(&self) -> bool {
        self.taken.iter().any(|word| {
            // Acquire: pairs with the Release in `less`; what was done.
            let seen = Tally(word.load(Ordering::Acquire));
            seen.count() > 0 && self.is_alive(seen.owner())
        })
    }

    /// Strikes out what the dead had taken; how much it was.
    pub(super) fn bury(&self) -> u64 {
        let mut lost = 0;
        for word in self.taken.iter() {
            let seen = Tally(word.load(Ordering::Relaxed));
            // Exactly the word that was looked at: another joiner may be quicker.
            if seen.count() > 0
                && !self.is_alive(seen.owner())
                && word.compare_exchange(seen.0, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
            {
                lost += seen.count();
            }
        }
        lost
    }
}

impl Message for Ledger {
    fn write(&self, to: &mut Writer<'_>) {
        self.taken.write(to);
        self.quiet.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let ledger = Self { taken: Message::read(from)?, quiet: Message::read(from)? };
        (ledger.taken.len() == WORKERS).then_some(ledger)
    }
}
