//! What C programs share between processes: a robust pthread mutex, and a counter under it.

#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::io;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use coproc::SharedArray;

use crate::measure::Result;

/// A counter under a mutex, in memory that can be given to other processes.
///
/// `at` points into `memory`, to an initialised `Shared` that nobody moves.
#[derive(Debug)]
pub(crate) struct RobustCounter {
    at: NonNull<Shared>,
    memory: SharedArray<AtomicU64>,
}

#[repr(C)]
struct Shared {
    mutex: UnsafeCell<libc::pthread_mutex_t>,
    count: UnsafeCell<u64>,
}

/// How many words a `Shared` takes; it wants no more alignment than they.
const WORDS: usize = size_of::<Shared>().div_ceil(size_of::<AtomicU64>());
const _: () = assert!(align_of::<Shared>() <= align_of::<AtomicU64>());

// SAFETY: the mutex is made for use by many threads, and the count is reached under it alone.
unsafe impl Send for RobustCounter {}
// SAFETY: as above.
unsafe impl Sync for RobustCounter {}

/// The result of a pthread call, which is an error number.
fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) }
}

impl RobustCounter {
    pub(crate) fn new() -> Result<Self> {
        let counter = Self::at(SharedArray::zeroed(WORDS)?)?;
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: the pointer is to room for the attributes.
        check(unsafe { libc::pthread_mutexattr_init(attributes.as_mut_ptr()) })?;
        // SAFETY: they are initialised.
        check(unsafe { libc::pthread_mutexattr_setpshared(attributes.as_mut_ptr(), libc::PTHREAD_PROCESS_SHARED) })?;
        // SAFETY: they are initialised.
        check(unsafe { libc::pthread_mutexattr_setrobust(attributes.as_mut_ptr(), libc::PTHREAD_MUTEX_ROBUST) })?;
        // SAFETY: there is room for the mutex, aligned, and nobody uses it yet; the attributes are initialised.
        check(unsafe { libc::pthread_mutex_init(counter.shared().mutex.get(), attributes.as_ptr()) })?;
        Ok(counter)
    }

    /// The counter that [`new`](Self::new) made in this memory, in another process perhaps.
    pub(crate) fn at(memory: SharedArray<AtomicU64>) -> io::Result<Self> {
        if memory.len() != WORDS {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Self { at: NonNull::from(&*memory).cast(), memory })
    }

    /// Where it lies, for another process.
    pub(crate) fn memory(&self) -> &SharedArray<AtomicU64> {
        &self.memory
    }

    fn shared(&self) -> &Shared {
        // SAFETY: the memory holds a `Shared` (see `at`), all of it in cells; zeros are one too.
        unsafe { self.at.as_ref() }
    }

    /// Calls `with` on the count, under the mutex.
    #[inline]
    pub(crate) fn with<R>(&self, with: impl FnOnce(&mut u64) -> R) -> R {
        let shared = self.shared();
        // SAFETY: the mutex is initialised and not moved.
        let locked = unsafe { libc::pthread_mutex_lock(shared.mutex.get()) };
        assert_eq!(locked, 0, "pthread_mutex_lock");
        // SAFETY: this thread has the mutex, so nobody else reaches the count.
        let result = with(unsafe { &mut *shared.count.get() });
        // SAFETY: this thread has the mutex.
        let unlocked = unsafe { libc::pthread_mutex_unlock(shared.mutex.get()) };
        assert_eq!(unlocked, 0, "pthread_mutex_unlock");
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_between_threads() {
        let counter = RobustCounter::new().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..1000).for_each(|_| counter.with(|count| *count += 1)));
            }
        });
        assert_eq!(counter.with(|count| *count), 2000);
    }
}
