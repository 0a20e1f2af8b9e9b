//! Children that do not outlive a scope.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coproc::{Message, Result};

use super::link::Link;
use super::{CAPTURES, Process};
use crate::call::Call;
use crate::error::ProcessError;

/// Runs `f`, which may start child processes in its scope; all of them have ended when this returns: what `std::thread::scope` is for threads.
///
/// Those that `f` has not joined are joined at its end. If one of these has failed, that is the error, of the first one started, after all have
/// ended. (Threads panic there; here a failure is a value.)
///
/// If `f` returns an error or panics, its children are waited for all the same, as threads are. So a child that waits for something
/// that only `f` would have given waits for ever, and its parent for it: have it wait for what is closed when `f` drops it, as a queue or a pipe.
///
/// ```
/// use coproc_pool::{coproc::SharedArray, scope};
///
/// let sums = SharedArray::<u64>::zeroed(4)?;
/// let add = |sums: SharedArray<u64>, at: usize| sums.set(at, (at as u64 + 1) * 10);
/// let first = scope(|s| {
///     for at in 1..4 {
///         s.spawn(add, (&sums, at))?;
///     }
///     s.spawn(|n: u64| n * 10, (1,))?.join().map_err(Into::into)
/// })?;
/// assert_eq!((first, sums.to_vec()?), (10, vec![0, 20, 30, 40]));
/// # Ok::<(), coproc::Error>(())
/// ```
///
/// # Errors
/// What `f` returns; else the [`ProcessError`] of a child that it has not joined.
///
/// # Panics
/// If `f` does, with what it panicked with.
pub fn scope<R>(f: impl FnOnce(&Scope) -> Result<R>) -> Result<R> {
    let scope = Scope { children: Mutex::default() };
    let result = catch_unwind(AssertUnwindSafe(|| f(&scope)));
    let failure = scope.finish();
    match result {
        Err(panic) => resume_unwind(panic),
        Ok(Err(error)) => Err(error),
        Ok(Ok(value)) => failure.map_or(Ok(value), |failure| Err(failure.into())),
    }
}

/// Where children are started that have ended when [`scope`] returns.
pub struct Scope {
    /// Those that nobody has joined, in the order of their start.
    children: Mutex<BTreeMap<u64, Arc<Link>>>,
}

impl Scope {
    /// Starts a child in this scope. See [`Process::spawn`] for function and arguments; with more to say of it, use
    /// [`Builder::spawn_scoped`](crate::Builder::spawn_scoped).
    ///
    /// # Errors
    /// As [`Process::spawn`].
    pub fn spawn<F, Args, Sig>(&self, f: F, args: Args) -> Result<ScopedProcess<'_, F::Output>>
    where
        F: Call<Args, Sig>,
    {
        const { assert!(size_of::<F>() == 0, "{}", CAPTURES) };
        Process::builder().start(f, &args).map(|process| self.enter(process))
    }

    pub(super) fn enter<T>(&self, process: Process<T>) -> ScopedProcess<'_, T> {
        let mut children = self.children();
        let number = children.last_key_value().map_or(0, |(last, _)| last + 1);
        children.insert(number, Arc::clone(&process.link));
        ScopedProcess { process, scope: self, number }
    }

    /// Waits for all; the first failure that nobody has seen.
    fn finish(&self) -> Option<ProcessError> {
        let children = std::mem::take(&mut *self.children());
        for link in children.values() {
            link.child.wait();
        }
        children.values().find_map(|link| link.failure())
    }

    fn children(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Link>>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.children().values().map(|link| &link.child)).finish()
    }
}

/// A child process that has ended when its scope does: a [`Process`], to which it dereferences.
pub struct ScopedProcess<'scope, T> {
    process: Process<T>,
    scope: &'scope Scope,
    number: u64,
}

impl<T: Message> ScopedProcess<'_, T> {
    /// As [`Process::join`]: a failure that is seen here is none of the scope's.
    ///
    /// # Errors
    /// As [`Process::join`].
    pub fn join(self) -> Result<T, ProcessError> {
        let Self { process, scope, number } = self;
        let result = process.join();
        scope.children().remove(&number);
        result
    }
}

impl<T> Deref for ScopedProcess<'_, T> {
    type Target = Process<T>;

    fn deref(&self) -> &Process<T> {
        &self.process
    }
}

impl<T> DerefMut for ScopedProcess<'_, T> {
    fn deref_mut(&mut self) -> &mut Process<T> {
        &mut self.process
    }
}

impl<T> fmt::Debug for ScopedProcess<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.process.fmt(f)
    }
}
