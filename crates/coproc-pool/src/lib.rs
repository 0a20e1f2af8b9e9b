//! Child processes and pools of them that share memory with no serialization: what `std::thread` is for threads, made for processes.
//!
//! ```
//! use coproc_pool::{Pool, Process, coproc::SharedValue};
//!
//! fn add(total: SharedValue<u64>, n: u64) -> coproc::Result<()> {
//!     *total.lock()? += n;
//!     Ok(())
//! }
//!
//! let total = SharedValue::new(0)?;
//! Process::spawn(add, (&total, 7))?.join()?;
//! assert_eq!(total.get()?, 7);
//!
//! let pool = Pool::new(2)?;
//! assert_eq!(pool.map(|n: u64| n * n, 0..4)?, [0, 1, 4, 9]);
//! # Ok::<(), coproc::Error>(())
//! ```
//!
//! - [`Process`]: a function of this program in a process of its own; [`Builder`]: one that differs from its parent; [`scope`](fn@scope): those that end with a
//!   block of code; [`Child`]: any of them, to watch and to end; [`active_children`], [`parent`](fn@parent), [`current_name`]: relatives.
//! - [`Pool`]: processes that are kept, and calls spread over them; [`Task`]: one that was submitted; [`PoolStats`], [`Progress`]: what it is doing.
//! - [`ProcessError`], [`PoolError`], [`Cause`]: how these can fail. A dead process is an answer, never a hang.
//!
//! With the feature `progress`, a pool draws bars for calls that last: [`PoolBuilder`]`::progress_bar`. With the feature `tracing`, starts and ends of children and replaced workers are events for the program's own subscriber. Without it nothing is
//! told, and nothing is ever printed that is not a fault.

#![deny(unsafe_code)]

mod call;
mod channel;
mod child;
mod context;
mod error;
mod hook;
mod image;
mod keeper;
mod launch;
mod log;
mod me;
mod overflow;
mod pool;
mod process;
mod report;
mod sys;

/// The programs of the README, as tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
mod readme {}

pub use call::Call;
pub use coproc;
pub use error::{Cause, PoolError, ProcessError};
pub use pool::{
    AsCompleted, Imap, Mapping, Pool, PoolBuilder, PoolStats, Progress, Submission, Task, WorkerState, WorkerStats, as_completed,
};
pub use process::{
    Builder, Child, ExitStatus, Parent, Process, Scope, ScopedProcess, Stdio, active_children, current_name, interrupted, parent,
    scope,
};
