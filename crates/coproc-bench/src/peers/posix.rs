//! A POSIX semaphore that processes could share.

#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::io;

/// A `sem_t`, in a box of its own because it must not move.
#[derive(Debug)]
pub(crate) struct Semaphore(Box<UnsafeCell<libc::sem_t>>);

impl Semaphore {
    pub(crate) fn new(permits: u32) -> io::Result<Self> {
        // SAFETY: `sem_t` is plain C data, of which zero is a value; it is initialised below.
        let semaphore = Self(Box::new(UnsafeCell::new(unsafe { std::mem::zeroed() })));
        // SAFETY: the pointer is to room for the semaphore, which nobody uses yet.
        match unsafe { libc::sem_init(semaphore.0.get(), 1, permits) } {
            0 => Ok(semaphore),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Takes a permit and gives it back.
    #[inline]
    pub(crate) fn pass(&self) {
        // SAFETY: it is initialised and not moved.
        let taken = unsafe { libc::sem_wait(self.0.get()) };
        assert_eq!(taken, 0, "sem_wait");
        // SAFETY: as above.
        let given = unsafe { libc::sem_post(self.0.get()) };
        assert_eq!(given, 0, "sem_post");
    }
}
