//! What happens to process-local tables when the process forks.

use std::cell::UnsafeCell;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, TryLockError};

/// Calls these around every `fork(3)` of this process (`pthread_atfork(3)`): before it, after it in the parent, in the child.
pub fn on_fork(before: extern "C" fn(), parent: extern "C" fn(), child: extern "C" fn()) {
    // SAFETY: these are functions of this program; it fails for want of memory only, and then a fork is less well prepared.
    let _ = unsafe { libc::pthread_atfork(Some(before), Some(parent), Some(child)) };
}

/// A table that is never half changed in a forked child: the forking thread holds its lock across the fork.
#[derive(Debug)]
pub struct ForkLock<T: 'static> {
    table: Mutex<T>,
    /// The guard of a thread that is forking. Written and taken only by the thread that holds `table`.
    forking: UnsafeCell<Option<MutexGuard<'static, T>>>,
}

// SAFETY: `table` may be shared as any mutex; `forking` is touched only by who holds the lock of `table` (`hold`, `release`), so
// by one thread at a time, and the guard in it never moves to another thread: a fork is finished by the thread that began it.
unsafe impl<T: Send> Sync for ForkLock<T> {}

impl<T> ForkLock<T> {
    /// One that holds this.
    pub const fn new(table: T) -> Self {
        Self { table: Mutex::new(table), forking: UnsafeCell::new(None) }
    }

    /// The table. A panic of another thread leaves it whole: none is made while it is changed.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The table, if nobody else has it.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.table.try_lock() {
            Ok(table) => Some(table),
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Before the fork: nobody else changes the table until [`release`](Self::release).
    pub fn hold(&'static self) {
        let guard = self.lock();
        // SAFETY: this thread holds the lock.
        unsafe { *self.forking.get() = Some(guard) };
    }

    /// After the fork, in the parent and in the child.
    pub fn release(&'static self, first: impl FnOnce(&mut T)) {
        // SAFETY: the thread that called `hold` holds the lock, and it (or its image in the child) calls this.
        let guard = unsafe { (*self.forking.get()).take() };
        if let Some(mut guard) = guard {
            first(&mut guard);
        }
    }
}

/// A descriptor that this process has and its forked children have not: as long as it is open, somebody else sees this process.
#[derive(Debug)]
pub struct Unforked(u64);

static UNFORKED: ForkLock<BTreeMap<u64, Arc<OwnedFd>>> = ForkLock::new(BTreeMap::new());

extern "C" fn before_fork() {
    UNFORKED.hold();
}

extern "C" fn after_fork_in_parent() {
    UNFORKED.release(|_| ());
}

extern "C" fn after_fork_in_child() {
    UNFORKED.release(BTreeMap::clear);
}

/// From now on, forked children close what is [`Unforked`].
pub(crate) fn watch_forks() {
    static HANDLERS: Once = Once::new();
    HANDLERS.call_once(|| on_fork(before_fork, after_fork_in_parent, after_fork_in_child));
}

impl Unforked {
    /// From now on it is closed in forked children.
    pub fn new(file: Arc<OwnedFd>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        watch_forks();
        UNFORKED.lock().insert(number, file);
        Self(number)
    }

    /// Looks at the descriptor; `None` in a forked child, or if it was taken. No fork happens meanwhile.
    pub(crate) fn with<R>(&self, look: impl FnOnce(BorrowedFd<'_>) -> R) -> Option<R> {
        UNFORKED.lock().get(&self.0).map(|file| look(file.as_fd()))
    }

    /// The descriptor; `None` in a forked child, or if it was taken. A fork while the caller has it leaves the child a copy.
    pub(crate) fn get(&self) -> Option<Arc<OwnedFd>> {
        UNFORKED.lock().get(&self.0).map(Arc::clone)
    }

    /// Takes the descriptor out, once. A fork while the caller has it leaves the child a copy.
    pub(crate) fn take(&self) -> Option<Arc<OwnedFd>> {
        UNFORKED.lock().remove(&self.0)
    }
}

impl Drop for Unforked {
    fn drop(&mut self) {
        // Closed after the lock is given back.
        drop(self.take());
    }
}
