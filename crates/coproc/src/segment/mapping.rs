//! A mapped file, and the table of those that this process has.

#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, Once, Weak};

use memmap2::{Mmap, MmapOptions, MmapRaw};
use once_cell::race::OnceBox;

use super::presence::{Farewell, Presence};
use super::{BODY, Header, Segment};
use crate::error::{Error, Result};
use crate::liveness::{self, Registry};
use crate::sys::{self, fork::ForkLock};

/// Device and inode of a file.
type FileId = (u64, u64);

pub(super) struct Mapping {
    /// 1. `map` is the whole file, at least [`BODY`] bytes, mapped until this is dropped.
    /// 2. Its length is sealed, so all of it stays accessible.
    /// 3. If `map` is `Frozen`, the content is sealed too: nobody writes it.
    /// 4. Its start is page-aligned.
    map: Map,
    pub(super) file: OwnedFd,
    file_id: FileId,
    pub(super) header: Header,
    pub(super) presence: Presence,
    /// What to do with the body when this process gives up its last handle.
    leave: OnceBox<Leave>,
    /// Whether others find it when they attach the same segment.
    listed: bool,
    /// The identity under which this process has the one and the other end of a connection, or 0.
    pub(super) ends: [AtomicU64; 2],
    /// Whether somebody has been given the descriptor, with which another process may have mapped the file too.
    pub(super) given: AtomicBool,
    /// How often the process had forked when it was mapped: the children have it too.
    forks: u64,
    /// The last field: dropped when the file is closed.
    farewell: Farewell,
}

/// Gives up what this process still holds in a body that starts here and has this many elements.
///
/// # Safety
/// The body is one of the type that gave the function, and this process has no other handle of it.
pub(super) type Leave = unsafe fn(NonNull<u8>, usize);

enum Map {
    Shared(MmapRaw),
    Frozen(Mmap),
}

/// The mapped segments of this process.
static MAPPED: ForkLock<BTreeMap<FileId, Weak<Mapping>>> = ForkLock::new(BTreeMap::new());

/// How often this process has forked.
static FORKS: AtomicU64 = AtomicU64::new(0);

extern "C" fn before_fork() {
    MAPPED.hold();
    // Before the child is there, and while nothing is mapped anew.
    FORKS.fetch_add(1, Ordering::Relaxed);
}

extern "C" fn after_fork() {
    MAPPED.release(|_| ());
}

/// From now on the tables of segments, and of what is below, are whole in every forked child.
pub(crate) fn watch_forks() {
    static HANDLERS: Once = Once::new();
    HANDLERS.call_once(|| {
        // Handlers that were registered later run earlier: this lock is taken before that of the registries, as elsewhere.
        liveness::watch_forks();
        sys::fork::on_fork(before_fork, after_fork, after_fork);
    });
}

fn mapped() -> MutexGuard<'static, BTreeMap<FileId, Weak<Mapping>>> {
    watch_forks();
    MAPPED.lock()
}

impl Mapping {
    /// The mapping that this process has of that file.
    pub(super) fn find(file_id: FileId) -> Option<Arc<Self>> {
        mapped().get(&file_id).and_then(Weak::upgrade)
    }

    /// Maps the file for all who attach it, unless this process has done so meanwhile.
    pub(super) fn listed(file: OwnedFd, header: Header, registry: &Arc<Registry>, frozen: bool) -> Result<Arc<Self>> {
        let mapping = Arc::new(Self::new(file, header, registry, frozen, true)?);
        let mut mapped = mapped();
        if let Some(known) = mapped.get(&mapping.file_id).and_then(Weak::upgrade) {
            // Its end takes the lock.
            drop(mapped);
            return Ok(known);
        }
        mapped.insert(mapping.file_id, Arc::downgrade(&mapping));
        Ok(mapping)
    }

    /// Maps the file for who asks for it alone.
    pub(super) fn unlisted(file: OwnedFd, header: Header, registry: &Arc<Registry>, frozen: bool) -> Result<Arc<Self>> {
        Ok(Arc::new(Self::new(file, header, registry, frozen, false)?))
    }

    fn new(file: OwnedFd, header: Header, registry: &Arc<Registry>, frozen: bool, listed: bool) -> Result<Self> {
        let size = header.size as usize;
        let failed = Error::os("mapping shared memory (limits: RLIMIT_AS, vm.max_map_count)");
        let map = if frozen {
            // SAFETY: the content is sealed, so nobody changes the bytes behind the slice.
            Map::Frozen(unsafe { MmapOptions::new().len(size).map_copy_read_only(&file) }.map_err(failed)?)
        } else {
            Map::Shared(MmapOptions::new().len(size).map_raw(&file).map_err(failed)?)
        };
        let (file_id, _) = sys::file::identity(file.as_fd()).map_err(Error::os("looking at a descriptor"))?;
        let start = map.start().addr();
        liveness::note_region(start, start + size, registry);
        Ok(Self {
            map,
            file,
            file_id,
            farewell: Farewell::new(&header, registry),
            header,
            presence: Presence::new()?,
            leave: OnceBox::new(),
            listed,
            ends: Default::default(),
            given: AtomicBool::new(false),
            forks: FORKS.load(Ordering::Relaxed),
        })
    }

    pub(super) fn body(&self) -> NonNull<u8> {
        let body = self.map.start().cast_mut().wrapping_add(BODY);
        // SAFETY: the mapping is at least `BODY` bytes long (invariant 1), so this is inside it or just behind, and not null.
        unsafe { NonNull::new_unchecked(body) }
    }

    /// Whether no other process can have mapped the file.
    pub(super) fn is_private(&self) -> bool {
        !self.given.load(Ordering::Relaxed) && self.forks == FORKS.load(Ordering::Relaxed)
    }

    pub(super) fn is_frozen(&self) -> bool {
        matches!(self.map, Map::Frozen(_))
    }
}

impl Segment {
    /// What to do when this process gives up its last handle; the first word counts.
    ///
    /// # Safety
    /// The body is what `leave` asks for: the caller has checked the type.
    pub(crate) unsafe fn on_leave(&self, leave: Leave) {
        let _ = self.0.leave.set(Box::new(leave));
    }
}

impl Map {
    fn start(&self) -> *const u8 {
        match self {
            Self::Shared(map) => map.as_ptr(),
            Self::Frozen(map) => map.as_ptr(),
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let mut mapped = mapped();
        // Another thread may have mapped the file anew since the last handle of this mapping went: then this process stays.
        if self.listed && mapped.get(&self.file_id).is_some_and(|entry| entry.strong_count() == 0) {
            mapped.remove(&self.file_id);
            if let Some(leave) = self.leave.get() {
                // SAFETY: who set `leave` had checked the type of the body, which is mapped until the end of this function; there is no
                // handle left, and none is made while `mapped` is locked.
                unsafe { leave(self.body(), self.header.len as usize) };
            }
        }
        liveness::forget_region(self.map.start().addr());
        if !self.presence.is_shared() {
            self.farewell.cancel();
        }
    }
}
