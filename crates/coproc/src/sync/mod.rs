//! Locks and signals that work between threads and processes alike, and survive the death of any of them.
//!
//! All are in place, `const fn new`, without allocation, and ready when their bytes are zero. `word` is the state of a lock, `lock` the
//! lock without data, `mutex` the lock with data; `wait` is how one side sleeps for the other.

mod barrier;
mod condvar;
mod deadline;
mod error;
mod event;
mod lock;
mod members;
mod mutex;
mod nap;
mod once;
pub(crate) mod pace;
mod permits;
mod readers;
mod recursive;
mod rwlock;
mod semaphore;
mod tally;
mod turns;
mod wait;
mod word;

pub use barrier::{Barrier, BarrierError, BarrierWaitResult, Party};
pub use condvar::Condvar;
pub use error::{LockError, Owner, TryLockError};
pub use event::Event;
pub use mutex::{Mutex, MutexGuard};
pub use once::OnceLock;
pub use recursive::{RecursiveGuard, RecursiveMutex};
pub use rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use semaphore::{Permit, ReleaseError, Semaphore};

pub(crate) use deadline::Deadline;
pub(crate) use lock::{Held, Patience, RawLock};
pub(crate) use mutex::Parts;
pub(crate) use nap::nap_any;
pub(crate) use tally::Tally;
pub(crate) use wait::SLICE;
pub use wait::WaitWord;
