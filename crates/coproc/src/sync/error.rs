//! Why a lock was not given.

use std::error::Error;
use std::fmt;

use crate::liveness::Unregistered;

/// A thread of some process that held a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its process id, as that process saw it; 0 if it is not known any more.
    pub pid: u32,
    /// Its thread id, as that process saw it; 0 if it is not known any more: the first to find the lock learns it.
    pub tid: u32,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.pid, self.tid) {
            (0, _) => f.write_str("a process that is gone"),
            (pid, 0) => write!(f, "process {pid}"),
            (pid, tid) => write!(f, "process {pid}, thread {tid}"),
        }
    }
}

/// Why `lock` did not give the lock. Small, owned, and `Send + Sync`, so `?` works with every error type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LockError {
    /// A process died, or a thread panicked, while it had the lock: the data may be torn. The lock is free and stays poisoned.
    /// `lock_or_repair` mends it; `lock_poisoned` gives the guard as it is.
    Poisoned(Owner),
    /// This thread has the lock already, perhaps in the same statement: `*n.lock()? += *n.lock()?`.
    Deadlock,
    /// The lock word, or a word beside it, holds what no code of this crate writes.
    Corrupted,
    /// This process has forked and could not register itself as alive.
    Unregistered(Unregistered),
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Poisoned(owner) => {
                write!(f, "the data may be torn: {owner} died or panicked while it had the lock; lock_or_repair() mends it")
            }
            Self::Deadlock => f.write_str("this thread has the lock already"),
            Self::Corrupted => f.write_str("the lock's words in shared memory hold what no code of coproc writes"),
            Self::Unregistered(error) => error.fmt(f),
        }
    }
}

impl Error for LockError {}

/// Why `try_lock`, `lock_timeout` and their like did not give the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TryLockError {
    /// Another has it (`try_lock`).
    WouldBlock,
    /// Another had it for all that time (`lock_timeout`).
    TimedOut,
    /// Waiting would not have helped.
    Lock(LockError),
}

impl From<LockError> for TryLockError {
    fn from(error: LockError) -> Self {
        Self::Lock(error)
    }
}

impl TryLockError {
    /// The error of a call that waits without end, which neither would block nor can time out.
    pub(crate) fn without_end(self) -> LockError {
        match self {
            Self::Lock(error) => error,
            Self::WouldBlock | Self::TimedOut => LockError::Corrupted,
        }
    }
}

impl fmt::Display for TryLockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WouldBlock => f.write_str("another thread or process has it"),
            Self::TimedOut => f.write_str("timed out: another thread or process had it for all that time"),
            Self::Lock(error) => error.fmt(f),
        }
    }
}

impl Error for TryLockError {}
