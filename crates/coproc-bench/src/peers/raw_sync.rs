//! The mutex of `raw_sync` in memory of `shared_memory`: a process-shared pthread mutex that is not robust. It works between processes as
//! long as none of them dies; the process that made the memory must outlive the others, or its name goes.

#![allow(unsafe_code)]

use raw_sync::locks::{LockImpl, LockInit, Mutex};
use shared_memory::{Shmem, ShmemConf};

use crate::measure::Result;

/// A counter under such a mutex.
pub(crate) struct RawCounter {
    mutex: Box<dyn LockImpl>,
    /// Where the mutex lies, and behind it the count. After the field above, so dropped after it.
    memory: Shmem,
}

/// The mutex is said to take less; the count behind it has a cache line of its own.
const COUNT_AT: usize = 128;
const SIZE: usize = 256;

impl RawCounter {
    pub(crate) fn new() -> Result<Self> {
        let memory = ShmemConf::new().size(SIZE).create()?;
        // SAFETY: the mapping holds `SIZE` bytes.
        let count = unsafe { memory.as_ptr().add(COUNT_AT) };
        // SAFETY: there is room for the mutex in front of the count, and nobody uses it yet.
        let (mutex, size) = unsafe { Mutex::new(memory.as_ptr(), count) }?;
        assert!(size <= COUNT_AT, "the mutex of raw_sync takes {size} bytes");
        Ok(Self { mutex, memory })
    }

    /// The counter of this name, which another process made and keeps.
    pub(crate) fn open(name: &str) -> Result<Self> {
        let memory = ShmemConf::new().os_id(name).open()?;
        // SAFETY: the mapping holds `SIZE` bytes.
        let count = unsafe { memory.as_ptr().add(COUNT_AT) };
        // SAFETY: who made it has made the mutex before it told the name.
        let (mutex, _) = unsafe { Mutex::from_existing(memory.as_ptr(), count) }?;
        Ok(Self { mutex, memory })
    }

    pub(crate) fn name(&self) -> &str {
        self.memory.get_os_id()
    }

    /// Calls `with` on the count, under the mutex.
    #[inline]
    pub(crate) fn with<R>(&self, with: impl FnOnce(&mut u64) -> R) -> R {
        let guard = self.mutex.lock().expect("the mutex is whole");
        let count = guard.cast::<u64>();
        // SAFETY: the count lies in the mapping, aligned, and this thread has the mutex, so nobody else reaches it.
        with(unsafe { &mut *count })
    }
}
