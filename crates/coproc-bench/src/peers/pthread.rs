//! What C programs share between processes: a robust pthread mutex, and a counter under it.

#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::io;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

/// A counter under a mutex, in memory that the children of a fork would share.
///
/// `at` points to a mapping of our own that holds one initialised `Shared`, and stays until `self` is dropped.
#[derive(Debug)]
pub(crate) struct RobustCounter {
    at: NonNull<Shared>,
}

#[repr(C)]
struct Shared {
    mutex: UnsafeCell<libc::pthread_mutex_t>,
    count: UnsafeCell<u64>,
}

// SAFETY: the mutex is made for use by many threads, and the count is reached under it alone.
unsafe impl Send for RobustCounter {}
// SAFETY: as above.
unsafe impl Sync for RobustCounter {}

/// The result of a pthread call, which is an error number.
fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) }
}

impl RobustCounter {
    pub(crate) fn new() -> io::Result<Self> {
        let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a fresh anonymous mapping at an address that the kernel chooses overlaps nothing.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), size_of::<Shared>(), access, flags, -1, 0) };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let counter = Self { at: NonNull::new(at.cast()).ok_or(io::ErrorKind::OutOfMemory)? };
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: the pointer is to room for the attributes.
        check(unsafe { libc::pthread_mutexattr_init(attributes.as_mut_ptr()) })?;
        // SAFETY: they are initialised.
        check(unsafe { libc::pthread_mutexattr_setpshared(attributes.as_mut_ptr(), libc::PTHREAD_PROCESS_SHARED) })?;
        // SAFETY: they are initialised.
        check(unsafe { libc::pthread_mutexattr_setrobust(attributes.as_mut_ptr(), libc::PTHREAD_MUTEX_ROBUST) })?;
        // SAFETY: the mapping is large enough, aligned to a page, and nobody uses the mutex yet; the attributes are initialised.
        check(unsafe { libc::pthread_mutex_init(counter.shared().mutex.get(), attributes.as_ptr()) })?;
        Ok(counter)
    }

    fn shared(&self) -> &Shared {
        // SAFETY: the mapping holds a `Shared` (see `at`), all of it in cells; zeros are one too.
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

impl Drop for RobustCounter {
    fn drop(&mut self) {
        // SAFETY: this is the whole mapping that `new` made, and no reference into it outlives `self`. On Linux a mutex that nobody has
        // needs no other end.
        unsafe { libc::munmap(self.at.as_ptr().cast(), size_of::<Shared>()) };
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
