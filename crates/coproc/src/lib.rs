//! What `std::sync` is for threads, made for processes: typed values, arrays, locks and queues in shared memory.
//!
//! A process may be killed with `SIGKILL` at any instruction; the others go on. To start processes that use these, see `coproc-pool`.
//!
//! ```
//! use coproc::{Queue, SharedArray, SharedValue};
//!
//! let n = SharedValue::new(0_i32)?;                   // plain data, reached through its lock
//! *n.lock()? += 1;
//! let a = SharedArray::from_slice(&[0, 1, 2, 3, 4])?;
//! a.lock()?[2] += 1;
//! let q = Queue::new(8)?;
//! q.send("x".len())?;
//! # Ok::<(), coproc::Error>(())
//! ```
//!
//! - **Share**: [`SharedValue`], [`SharedArray`], [`FrozenArray`]. **Send**: [`Queue`], [`LoanQueue`], [`spsc`](fn@spsc), [`Pipe`]. Handles go to other
//!   processes as arguments, through a pipe, or through a queue as a [`Ticket`]. **Wait** for several: [`wait_any`], [`Watch`], [`ready`](fn@ready).
//! - **What may be shared**: [`Plain`] data under a lock, concurrent data ([`Shareable`]) in place, [`Item`]s through a queue, [`Message`]s as arguments and results.
//! - **Synchronise**: [`Mutex`], [`RecursiveMutex`], [`RwLock`], [`Condvar`], [`Event`], [`Semaphore`], [`Barrier`], [`OnceLock`].
//! - **When a process dies**: [`LockError::Poisoned`] names the owner of a lock, a queue loses at most what the dead receiver had taken, permits come back.

#![deny(unsafe_code)]
#![warn(clippy::undocumented_unsafe_blocks)]

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
compile_error!("coproc runs on Linux, x86-64 and aarch64");

#[cfg(doctest)]
mod compile_fail;

extern crate self as coproc;

mod array;
mod body;
mod error;
mod frozen;
mod handle;
pub mod layout;
mod liveness;
mod loan;
mod message;
mod pipe;
mod plain;
mod queue;
mod ready;
mod ring;
mod segment;
mod shareable;
mod spsc;
mod startup;
mod sync;
mod sys;
mod ticket;
mod value;

pub use array::{ReadGuard, SharedArray};
pub use coproc_derive::{Code, Item, Message, Plain, Shareable};
pub use error::{Corrupted, Error, Result, Unfit};
pub use frozen::FrozenArray;
pub use liveness::Unregistered;
pub use loan::{Loan, LoanError, LoanQueue, TryLoanError};
pub use message::{Arg, Item, Message, Outcome, Reader, Writer};
pub use pipe::{Pipe, PipeReceiver, PipeSender, RecvIntoError, channel, channel_with_capacity};
pub use plain::{AtomicFlag, Code, CodeEnum, Flag, Maybe, Plain, ReadOnly, Text, TextTooLong};
pub use queue::{
    Drain, Iter, JoinTimeoutError, JoinableQueue, NoTask, Queue, RecvError, RecvTimeoutError, SendError, SendSliceError,
    SendTimeoutError, TasksLost, TryRecvError, TrySendError,
};
pub use ready::{Observer, Ready, Waitable, Watch, ready, wait_any, wait_any_timeout};
pub use shareable::{Access, Direct, Locked, Shareable};
pub use spsc::{Claim, Iter as ReceiverIter, Peek, Receiver, Sender, spsc};
pub use sync::{
    Barrier, BarrierError, BarrierWaitResult, Condvar, Event, LockError, Mutex, MutexGuard, OnceLock, Owner, Party, Permit,
    RecursiveGuard, RecursiveMutex, ReleaseError, RwLock, RwLockReadGuard, RwLockWriteGuard, Semaphore, TryLockError,
};
pub use ticket::{Ticket, TicketError};
pub use value::SharedValue;

/// For the derives, coproc-pool and the tests. Not part of the API.
#[doc(hidden)]
pub mod __private {
    pub use crate::layout::Layout;
    pub use crate::liveness::{Lease, known_identity, register, tell_of_a_death};
    pub use crate::message::{Failure, Handle, IsPlain, Parcel, bound_max, bound_sum, packets};
    pub use crate::ready::Latch;
    pub use crate::segment::{Header, Kind, Plan, Segment};
    pub use crate::shareable::{DirectField, LastHandle, direct_layout, plain_layout};
    pub use crate::startup::watch_forks;
    pub use crate::sync::WaitWord;
    pub use crate::sys::file::{above_standard, reopen_by};
    pub use crate::sys::fork::{ForkLock, Unforked, on_fork};
    pub use crate::sys::socket;
    pub use crate::sys::thread::{SignalMask, spawn_quiet, spawn_quiet_with_stack};
    pub use crate::ticket::{adopt_family, family, keep_tickets};
    pub use crate::{CodeEnum, Direct, Item, Locked, Message, Plain, Reader, Shareable, Writer};
}
