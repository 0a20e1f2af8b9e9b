//! Who reads under a reader-writer lock: a slot for each process.

use std::sync::atomic::{AtomicU64, Ordering};

use super::error::TryLockError;
use super::lock::Patience;
use super::tally::Tally;
use super::wait::WaitWord;
use crate::liveness;

/// How many processes can read at the same time; the next one waits.
const READERS: usize = 64;
/// How many reader slots lie on one cache line.
const PER_LINE: usize = 8;

/// Which processes read, and with how many guards each: a [`Tally`] a slot; 0 is an empty one. A process keeps its slot when it has no guard any
/// more, until another one needs it. There is no counter of readers beside them that could be wrong.
#[repr(C)]
pub(super) struct Readers([AtomicU64; READERS]);

impl Readers {
    pub(super) const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; READERS])
    }

    /// Counts one more reader of this process, if it has a slot where it looks first: the common case, and nothing else. The slot.
    #[inline]
    pub(super) fn mark_again(&self, holder: u64) -> Option<&AtomicU64> {
        let slot = &self.0[preferred()];
        let readers = Tally(slot.load(Ordering::Relaxed));
        if readers.owner() != holder || readers.count() == Tally::MOST {
            return None;
        }
        // SeqCst: with the look at the writer's lock after it, pairs with the exchange and the look in `wait_for`: a writer that is not
        // seen after this sees the reader.
        slot.compare_exchange(readers.0, readers.0 + 1, Ordering::SeqCst, Ordering::Relaxed).is_ok().then_some(slot)
    }

    /// Counts one more reader of this process: in its slot, an empty one, or one that nobody uses any more. `None` if there is none.
    pub(super) fn mark(&self, holder: u64) -> Option<&AtomicU64> {
        let first = preferred();
        let all = || (0..READERS).map(|n| &self.0[(first + n) % READERS]);
        let usable: [&dyn Fn(Tally) -> bool; 4] =
            [&|readers| readers.owner() == holder, &|readers| readers.0 == 0, &|readers| readers.count() == 0, &|readers| {
                !self.is_alive(readers)
            }];
        for usable in usable {
            for slot in all() {
                let mut readers = Tally(slot.load(Ordering::Relaxed));
                // Again on the same slot, if another thread of this process was quicker: one slot is enough for all of them.
                while let Some(more) = readers.one_more_of(holder).filter(|_| usable(readers)) {
                    // SeqCst: as in `mark_again`.
                    match slot.compare_exchange(readers.0, more.0, Ordering::SeqCst, Ordering::Relaxed) {
                        Ok(_) => return Some(slot),
                        Err(now) => readers = Tally(now),
                    }
                }
            }
        }
        None
    }

    /// Waits until none reads that lives; `drain` is where.
    #[inline]
    pub(super) fn wait_for_all(&self, drain: &WaitWord, patience: Patience) -> Result<(), TryLockError> {
        self.0.iter().try_for_each(|slot| self.wait_for(slot, drain, patience))
    }

    #[inline]
    fn wait_for(&self, slot: &AtomicU64, drain: &WaitWord, patience: Patience) -> Result<(), TryLockError> {
        // SeqCst: with the exchange of the writer's lock before it, pairs with `mark` and the look after it: a reader that is not
        // seen here sees the writer. Acquire: pairs with the Release in the reader's drop.
        let readers = || Tally(slot.load(Ordering::SeqCst));
        loop {
            if readers().count() == 0 {
                return Ok(());
            }
            let ticket = drain.prepare();
            let readers = readers();
            if readers.count() == 0 {
                return Ok(());
            }
            if !self.is_alive(readers) {
                let _ = slot.compare_exchange(readers.0, 0, Ordering::SeqCst, Ordering::Relaxed);
                continue;
            }
            match patience {
                Patience::Until(deadline) => {
                    if !drain.sleep(ticket, deadline) {
                        return Err(TryLockError::TimedOut);
                    }
                }
                Patience::Try | Patience::Yield => return Err(TryLockError::WouldBlock),
            }
        }
    }

    /// This process reads no more.
    pub(super) fn leave(&self, mine: u64) {
        for slot in &self.0 {
            let word = slot.load(Ordering::Relaxed);
            if Tally(word).owner() == mine {
                let _ = slot.compare_exchange(word, 0, Ordering::Release, Ordering::Relaxed);
            }
        }
    }

    fn is_alive(&self, readers: Tally) -> bool {
        liveness::is_alive((&raw const *self).cast(), readers.owner())
    }
}

/// Where a process looks for its slot first: processes that were started one after the other begin on different cache lines.
#[inline]
fn preferred() -> usize {
    let lines = READERS / PER_LINE;
    let seat = liveness::seat();
    (seat % lines) * PER_LINE + seat / lines % PER_LINE
}
