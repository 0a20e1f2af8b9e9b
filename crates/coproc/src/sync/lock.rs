//! The lock itself, without data: mutual exclusion between threads and processes that survives the death of any of them.

#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::deadline::Deadline;
use super::error::{LockError, Owner, TryLockError};
use super::word::Word;
use crate::liveness::{self, Thread};
use crate::sys::futex;

/// How often a waiter gives way before it sleeps.
const YIELDS: u32 = 8;
/// How long a waiter sleeps before it asks whether the owner lives: the first time, and at most.
const FIRST_SLICE: Duration = Duration::from_millis(1);
const LONGEST_SLICE: Duration = Duration::from_millis(10);

/// A robust lock. The state table is [`Word`]; all bytes zero is free.
///
/// What is stored before [`release`](Self::release) is seen after the next [`acquire`](Self::acquire): the Release swap there pairs with
/// the Acquire exchange here. After the death of an owner the kernel stands between: it drops the dead process's mark of life only after
/// that process's last store.
#[derive(Debug, Default)]
#[repr(transparent)]
pub(crate) struct RawLock(AtomicU64);

/// How long a caller is willing to wait.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Patience {
    /// Not at all.
    Try,
    /// A few times of giving way, without sleep.
    Yield,
    /// Until then.
    Until(Deadline),
}

/// Who left the lock in this state: its process, and its thread where that is still known (else 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Culprit {
    identity: u64,
    thread_id: u32,
}

impl RawLock {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Takes the lock. `Some` culprit: it was left poisoned, or its owner died; the caller has it all the same.
    ///
    /// # Errors
    /// `WouldBlock`, `TimedOut` as the patience goes; `Deadlock` if this thread has it; `Corrupted` if the word is impossible;
    /// `Unregistered` if this process has forked and cannot register itself.
    #[inline]
    pub(crate) fn acquire(&self, patience: Patience) -> Result<Option<Culprit>, TryLockError> {
        let me = Thread::current().map_err(LockError::Unregistered)?;
        // Acquire: pairs with the Release in `release`; the data written under the lock before.
        match self.0.compare_exchange(0, Word::held_by(me).0, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => Ok(None),
            Err(_) => self.acquire_slow(me, patience),
        }
    }

    #[cold]
    fn acquire_slow(&self, me: Thread, patience: Patience) -> Result<Option<Culprit>, TryLockError> {
        let mut yields = 0;
        let mut slept = false;
        let mut slice = FIRST_SLICE;
        loop {
            let word = self.word();
            if !word.is_possible() {
                return Err(LockError::Corrupted.into());
            }
            if word.is_free() {
                // Having slept, others may sleep too and their mark is gone: set it for them.
                let taken = if slept { word.taken_by(me).with_sleepers() } else { word.taken_by(me) };
                if self.exchange(word, taken) {
                    return Ok(word.is_poisoned().then(|| Culprit::of(word)));
                }
                continue;
            }
            if word.is_owned_by(me) {
                return Err(LockError::Deadlock.into());
            }
            let sleep = match patience {
                Patience::Try => None,
                _ if yields < YIELDS => {
                    yields += 1;
                    std::thread::yield_now();
                    continue;
                }
                Patience::Yield => None,
                Patience::Until(deadline) => deadline.slice(slice),
            };
            if let Some(sleep) = sleep {
                let marked = word.with_sleepers();
                if word != marked && !self.exchange(word, marked) {
                    continue;
                }
                futex::wait(self.low_half(), marked.low_half(), sleep);
                slept = true;
                slice = (slice * 2).min(LONGEST_SLICE);
            }
            // The word first, the kernel second, and the exchange on exactly the word that the kernel was asked about: of two
            // who find the owner dead, one wins and the other finds a living owner.
            let word = self.word();
            if word.is_free() || !word.is_possible() {
                continue;
            }
            if !liveness::is_alive((&raw const self.0).cast(), word.identity()) {
                if self.exchange(word, word.taken_by(me).with_sleepers().with_poison()) {
                    return Ok(Some(Culprit::of(word)));
                }
                continue;
            }
            if sleep.is_none() {
                return Err(if matches!(patience, Patience::Until(_)) {
                    TryLockError::TimedOut
                } else {
                    TryLockError::WouldBlock
                });
            }
        }
    }

    /// Gives the lock back, poisoned by this culprit or clean. Only the owner may call it.
    #[inline]
    pub(crate) fn release(&self, poison: Option<Culprit>) {
        let word = poison.map_or(Word::FREE, |culprit| Word::poisoned_by(culprit.identity));
        // Release: pairs with the Acquire in `exchange` and `acquire`; the data written under the lock.
        if Word(self.0.swap(word.0, Ordering::Release)).has_sleepers() {
            self.wake();
        }
    }

    #[cold]
    fn wake(&self) {
        futex::wake(self.low_half(), 1);
    }

    /// Whether somebody has it who, as far as the kernel knows, lives.
    pub(crate) fn is_held(&self) -> bool {
        let word = self.word();
        !word.is_free() && liveness::is_alive((&raw const self.0).cast(), word.identity())
    }

    /// Whether the data is marked as torn.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.word().is_poisoned()
    }

    /// The process gives up its last handle: a lock that a forgotten guard of its holds is free, and poisoned.
    pub(crate) fn leave(&self) {
        let word = self.word();
        let mine = liveness::known_identity();
        if mine != 0 && !word.is_free() && word.identity() == mine {
            self.release(Some(Culprit::of(word)));
        }
    }

    /// Who that is, in terms that a user knows.
    pub(crate) fn owner(&self, culprit: Culprit) -> Owner {
        let registry = liveness::registry_of((&raw const self.0).cast());
        let pid = match registry {
            _ if culprit.identity == liveness::known_identity() => std::process::id(),
            Some(registry) => registry.pid_of(culprit.identity),
            None => 0,
        };
        Owner { pid, tid: culprit.thread_id }
    }

    fn word(&self) -> Word {
        // Relaxed: what is decided on it is confirmed by an exchange.
        Word(self.0.load(Ordering::Relaxed))
    }

    fn exchange(&self, old: Word, new: Word) -> bool {
        // Acquire: pairs with the Release in `release`; the data written under the lock before.
        self.0.compare_exchange(old.0, new.0, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    fn low_half(&self) -> &AtomicU32 {
        const { assert!(cfg!(target_endian = "little"), "the low half comes first") };
        // SAFETY: the first four bytes of an aligned `AtomicU64` are in bounds and aligned for an `AtomicU32`. This reference is given to
        // the futex call alone, so the kernel, not this program, reads the half; all other access is to the whole word.
        unsafe { &*(&raw const self.0).cast::<AtomicU32>() }
    }
}

impl Culprit {
    fn of(word: Word) -> Self {
        Self { identity: word.identity(), thread_id: word.thread_id() }
    }

    /// The calling thread, because it panics.
    pub(crate) fn caller() -> Option<Self> {
        let thread = Thread::current().ok()?;
        Some(Self::of(Word::held_by(thread)))
    }
}
