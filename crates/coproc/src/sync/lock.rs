//! The lock itself, without data: mutual exclusion between threads and processes that survives the death of any of them.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::deadline::Deadline;
use super::error::{LockError, Owner, TryLockError};
use super::turns::Turns;
use super::wait::WaitWord;
use super::word::Word;
use crate::liveness::{self, Thread};

/// How long a waiter does nothing before its first look: some hundred nanoseconds, in which a short critical section ends.
const SPINS: u32 = 10;
/// How often a waiter gives way and looks before it sleeps. With half as many more go to sleep, and each wake costs the owner a system call.
const YIELDS: u32 = 30;
/// No longer than this, where every time takes as long as others like to run.
const YIELDING: Duration = Duration::from_millis(1);
/// How long a waiter sleeps before it asks whether the owner lives: the first time, then at most, and after so many times. Who has waited long
/// learns of a death a little later, and costs less while it waits.
const FIRST_SLICE: Duration = Duration::from_millis(1);
const SLICE_AT_FIRST: Duration = Duration::from_millis(7);
const SLICES_AT_FIRST: u32 = 15;
const SLICE_AFTER_LONG: Duration = Duration::from_millis(24);

/// A robust lock. The state table is [`Word`]; all bytes zero is free.
///
/// - Taking it is one exchange of `owner`; giving it back is a plain store of `owner` and a look at `sleepers`. That look needs no fence on
///   this side, since who goes to sleep sees to it that all processors have passed one (`WaitWord::prepare_dearly`). Sleeping is rare, giving back is not.
/// - Who goes to sleep marks `sleepers`, looks at `owner` again, and sleeps for a slice. After each slice it looks at the word first, and
///   asks the kernel about its owner second.
/// - Who waits looks seldom while the lock goes round all the time ([`Turns`]), and often while one owner has it.
/// - Who takes the lock after having slept marks `sleepers` again: the wake that let it go took the mark of the others away.
///
/// What is stored before [`release`](Self::release) is seen after the next [`acquire`](Self::acquire): the Release store there pairs with
/// the Acquire exchange here. After the death of an owner the kernel stands between: it drops the dead process's mark of life only after
/// that process's last store.
///
/// | killed | leaves | who comes next |
/// |---|---|---|
/// | as owner, anywhere up to the store | its word | asks the kernel after a slice, and takes it over by an exchange of exactly that word |
/// | between the store and the wake | a free lock, a sleeper asleep | the sleeper finds it free at the end of its slice |
/// | as a sleeper | a mark | an owner pays one wake of nobody |
/// | woken, before it took the lock | a free lock, no mark | other sleepers find it free at the end of their slices |
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct RawLock {
    owner: AtomicU64,
    sleepers: WaitWord,
    turns: Turns,
}

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

/// What a look at a lock shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Somebody has it, alive or dead.
    Taken,
    /// It is free.
    Clean,
    /// It is free, and was left poisoned.
    Poisoned(Culprit),
}

/// Who left the lock in this state: its process, and its thread where that is still known. Packed as in a lock word, so never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Culprit(NonZeroU64);

impl RawLock {
    pub(crate) const fn new() -> Self {
        Self { owner: AtomicU64::new(0), sleepers: WaitWord::new(), turns: Turns::new() }
    }

    /// Takes the lock. If the claim names a culprit, it was left poisoned, or its owner died; the caller has it all the same.
    ///
    /// # Errors
    /// `WouldBlock`, `TimedOut` as the patience goes; `Deadlock` if this thread has it; `Corrupted` if the word is impossible;
    /// `Unregistered` if this process has forked and cannot register itself.
    #[inline(always)]
    pub(crate) fn acquire(&self, patience: Patience) -> Result<Claim, TryLockError> {
        self.acquire_free().map_or_else(|| self.acquire_slow(patience), Ok)
    }

    /// Takes the lock if it is free and clean and this thread is known already: the common case, and nothing else.
    #[inline(always)]
    pub(crate) fn acquire_free(&self) -> Option<Claim> {
        let me = Thread::known()?;
        self.exchange(Word::FREE, Word::held_by(me)).then(|| Claim::new(me, None))
    }

    /// As [`acquire`](Self::acquire), of a lock that was not to be had at once.
    #[cold]
    #[inline(never)]
    fn acquire_slow(&self, patience: Patience) -> Result<Claim, TryLockError> {
        let me = Thread::current().map_err(LockError::Unregistered)?;
        let mut yields = 0;
        let mut yielding = Deadline::NEVER;
        if !matches!(patience, Patience::Try) {
            yielding = Deadline::after(YIELDING);
            self.turns.let_pass(yielding, || (0..SPINS).for_each(|_| std::hint::spin_loop()));
        }
        let mut slices = 0;
        let mut ticket = None;
        loop {
            let word = self.word();
            if !word.is_possible() {
                return Err(LockError::Corrupted.into());
            }
            if word.is_free() {
                if !self.exchange(word, word.taken_by(me)) {
                    continue;
                }
                if slices > 0 {
                    self.sleepers.mark();
                }
                return Ok(Claim::new(me, Culprit::of(word).filter(|_| word.is_poisoned())));
            }
            if word.is_owned_by(me) {
                return Err(LockError::Deadlock.into());
            }
            let deadline = match patience {
                Patience::Try => None,
                _ if yields < YIELDS && !yielding.has_passed() => {
                    self.turns.let_pass(yielding, std::thread::yield_now);
                    yields += 1;
                    continue;
                }
                Patience::Yield => None,
                Patience::Until(deadline) => Some(deadline).filter(|deadline| !deadline.has_passed()),
            };
            if let Some(deadline) = deadline {
                let marked = self.sleepers.prepare_again(ticket);
                ticket = Some(marked);
                // Held by whomever: it will wake.
                if self.word().is_free() {
                    continue;
                }
                self.sleepers.sleep_for(marked, deadline, slice(slices));
                slices += 1;
            }
            // The word first, the kernel second, and the exchange on exactly the word that the kernel was asked about: of two
            // who find the owner dead, one wins and the other finds a living owner.
            let word = self.word();
            if word.is_free() || !word.is_possible() {
                continue;
            }
            if !liveness::is_alive(self.address(), word.identity()) {
                if self.exchange(word, word.taken_by(me).with_poison()) {
                    self.sleepers.mark();
                    return Ok(Claim::new(me, Culprit::of(word)));
                }
                continue;
            }
            if deadline.is_none() {
                if slices > 0 {
                    // The wake that came too late for this one took the mark of the others away.
                    self.sleepers.pass_on_first(|| self.word().is_free());
                }
                return Err(if matches!(patience, Patience::Until(_)) {
                    TryLockError::TimedOut
                } else {
                    TryLockError::WouldBlock
                });
            }
        }
    }

    /// Takes the lock until what this returns is dropped, also by a panic. For locks that guard no half-done state: that the last owner died
    /// is no matter, and nothing is poisoned.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    #[inline(always)]
    pub(crate) fn hold(&self, patience: Patience) -> Result<Held<'_>, TryLockError> {
        self.acquire(patience).map(|claim| Held { lock: self, claim })
    }

    /// Gives the lock back: poisoned if the claim says so, or its thread has begun to panic since. Does nothing if that is not the calling one, as in a
    /// forked child that drops its copy of a guard. The word is not asked: nobody else writes it while its owner lives. (A process that has
    /// closed its mark of life, as one that closes all its descriptors, is dead for the others, and frees what they have taken from it.)
    #[inline(always)]
    pub(crate) fn release(&self, claim: Claim) {
        if claim.is_clean() && !std::thread::panicking() {
            self.force_release(None);
        } else {
            self.release_slow(claim);
        }
    }

    #[cold]
    #[inline(never)]
    fn release_slow(&self, claim: Claim) {
        if claim.is_callers() {
            self.force_release(if claim.is_torn() { Culprit::caller() } else { claim.culprit });
        }
    }

    #[inline(always)]
    fn force_release(&self, poison: Option<Culprit>) {
        let word = match poison {
            None => Word::FREE,
            Some(culprit) => culprit.poison(),
        };
        self.turns.count();
        // Release: pairs with the Acquire in `exchange`; the data written under the lock.
        self.owner.store(word.0, Ordering::Release);
        self.sleepers.notify_first_cheaply();
    }

    /// The calling thread, which has the lock, makes all processes of a lease its owner.
    pub(crate) fn lend(&self, lease: u64) {
        let word = self.word();
        if self.is_mine() {
            // Relaxed: still held, and nothing was done under it that others of the lease do not learn of otherwise.
            self.owner.store(word.lent_to(lease).0, Ordering::Relaxed);
        }
    }

    /// Whether the processes of this lease have it.
    pub(crate) fn is_lent_to(&self, lease: u64) -> bool {
        let word = self.word();
        !word.is_free() && word.identity() == lease
    }

    /// Gives back what was lent to this lease, and what nobody of it touches any more.
    pub(crate) fn end_lease(&self, lease: u64, is_torn: bool) {
        if self.is_lent_to(lease) {
            self.force_release(Culprit::of(self.word()).filter(|_| is_torn));
        }
    }

    /// Whether somebody has it who, as far as the kernel knows, lives.
    pub(crate) fn is_held(&self) -> bool {
        // SeqCst: see `exchange`. Acquire: pairs with the Release in `force_release`; what the last owner did under the lock.
        let word = Word(self.owner.load(Ordering::SeqCst));
        !word.is_free() && liveness::is_alive(self.address(), word.identity())
    }

    /// Whether the calling thread has it. In a forked child, however it was made, nobody is known.
    #[inline]
    pub(crate) fn is_mine(&self) -> bool {
        Thread::known().is_some_and(|me| self.word().is_owned_by(me))
    }

    /// What a look at it shows.
    #[inline]
    pub(crate) fn state(&self) -> State {
        // SeqCst: see `exchange`. Acquire: pairs with the Release in `force_release`; what the last owner did under the lock.
        let word = Word(self.owner.load(Ordering::SeqCst));
        match Culprit::of(word) {
            None => State::Clean,
            Some(culprit) if word.is_free() => State::Poisoned(culprit),
            Some(_) => State::Taken,
        }
    }

    /// If the owner has died: frees the lock, poisoned, and says who it was. For those who want to know, and not to have it: they never own
    /// it, so their own death here leaves nothing.
    #[cold]
    pub(crate) fn bury(&self) -> Result<Option<Culprit>, LockError> {
        let word = self.word();
        if !word.is_possible() {
            return Err(LockError::Corrupted);
        }
        // The exchange expects exactly the word that the kernel was asked about, as in `acquire_slow`.
        if word.is_free()
            || liveness::is_alive(self.address(), word.identity())
            || !self.exchange(word, Word::poisoned_by(word.identity()))
        {
            return Ok(None);
        }
        self.sleepers.notify_first_cheaply();
        Ok(Culprit::of(word))
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
            self.force_release(Culprit::of(word));
        }
    }

    /// Who that is, in terms that a user knows.
    pub(crate) fn owner(&self, culprit: Culprit) -> Owner {
        let registry = liveness::registry_of(self.address());
        let word = culprit.word();
        let pid = match registry {
            _ if word.identity() == liveness::known_identity() => std::process::id(),
            Some(registry) => registry.pid_of(word.identity()),
            None => 0,
        };
        Owner { pid, tid: word.thread_id() }
    }

    #[inline]
    fn word(&self) -> Word {
        // Relaxed: what is decided on it is confirmed by an exchange.
        Word(self.owner.load(Ordering::Relaxed))
    }

    #[inline]
    fn exchange(&self, old: Word, new: Word) -> bool {
        // Acquire: pairs with the Release in `force_release`; the data written under the lock before.
        // SeqCst: stands in one order with the load in `is_held`: who looked there and found the lock free looked before this.
        self.owner.compare_exchange(old.0, new.0, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    fn address(&self) -> *const () {
        (&raw const *self).cast()
    }
}

/// How long to sleep after so many slices.
fn slice(slices: u32) -> Duration {
    if slices < SLICES_AT_FIRST { (FIRST_SLICE * (1 << slices.min(8))).min(SLICE_AT_FIRST) } else { SLICE_AFTER_LONG }
}

/// A lock that is held by [`RawLock::hold`].
#[must_use = "the lock is given back when this is dropped"]
pub(crate) struct Held<'a> {
    lock: &'a RawLock,
    claim: Claim,
}

impl Drop for Held<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.claim.is_callers() {
            self.lock.force_release(None);
        }
    }
}

/// What a guard remembers of the moment in which its thread took the lock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    /// The bits of the thread; also [`PANICKING`](Self::PANICKING) and [`BLAMED`](Self::BLAMED), which no thread has.
    bits: u64,
    /// Who left the lock poisoned, as long as nobody has cleared that.
    culprit: Option<Culprit>,
}

impl Claim {
    /// The thread was panicking already: then that is no reason to poison the lock.
    const PANICKING: u64 = super::word::UNUSED;
    /// There is a culprit. Kept here too, so that one comparison tells whether there is anything to do but to give the lock back.
    const BLAMED: u64 = super::word::POISON;

    /// The calling thread, this one, has just taken a lock that the culprit had left poisoned.
    #[inline(always)]
    fn new(me: Thread, culprit: Option<Culprit>) -> Self {
        let panicking = if std::thread::panicking() { Self::PANICKING } else { 0 };
        Self { bits: me.bits() | panicking, culprit: None }.blaming(culprit)
    }

    /// The calling thread has taken a lock once more that it had.
    pub(crate) fn of_caller() -> Result<Self, LockError> {
        Ok(Self::new(Thread::current().map_err(LockError::Unregistered)?, None))
    }

    /// The same, but this is who left the lock poisoned.
    #[inline(always)]
    pub(crate) fn blaming(self, culprit: Option<Culprit>) -> Self {
        let blamed = if culprit.is_some() { Self::BLAMED } else { 0 };
        Self { bits: self.bits & !Self::BLAMED | blamed, culprit }
    }

    /// Who left the lock poisoned, as long as nobody has cleared that.
    #[inline(always)]
    pub(crate) fn culprit(self) -> Option<Culprit> {
        self.culprit
    }

    /// Whether the calling thread made it, was not panicking then, and nobody had left the lock poisoned: the common case.
    #[inline(always)]
    fn is_clean(self) -> bool {
        is_caller(self.bits)
    }

    /// Whether the calling thread made it: in a forked child, which has a copy of its parent's, it did not.
    #[inline]
    pub(crate) fn is_callers(self) -> bool {
        is_caller(self.bits & !(Self::PANICKING | Self::BLAMED))
    }

    /// Whether the calling thread, which made it, has begun to panic since.
    pub(crate) fn is_torn(self) -> bool {
        self.bits & Self::PANICKING == 0 && std::thread::panicking()
    }
}

/// Whether these are the bits of the calling thread. In a forked child, however it was made, nobody is known.
#[inline(always)]
fn is_caller(holder: u64) -> bool {
    Thread::known().is_some_and(|me| me.bits() == holder)
}

impl Culprit {
    /// The owner in this word; `None` if the word names nobody.
    fn of(word: Word) -> Option<Self> {
        NonZeroU64::new(word.owner_bits()).map(Self)
    }

    fn word(self) -> Word {
        Word(self.0.get())
    }

    /// The word of a free lock that this one has poisoned.
    #[cold]
    fn poison(self) -> Word {
        Word::poisoned_by(self.word().identity())
    }

    /// For keeping it in a word beside the lock; 0 is nobody.
    pub(crate) fn to_bits(culprit: Option<Self>) -> u64 {
        culprit.map_or(0, |culprit| culprit.0.get())
    }

    /// What [`to_bits`](Self::to_bits) kept, or any other bits: who has no process is nobody.
    pub(crate) fn from_bits(bits: u64) -> Option<Self> {
        Self::of(Word(bits)).filter(|culprit| culprit.word().identity() != 0)
    }

    /// The calling thread, because it panics.
    #[cold]
    pub(crate) fn caller() -> Option<Self> {
        Self::of(Word::held_by(Thread::current().ok()?))
    }
}
