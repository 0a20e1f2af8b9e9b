//! One shared object: one sealed memory file, mapped.
//!
//! Mappings and descriptors keep it alive; the kernel frees it when the last is gone, however the processes ended.

#![allow(unsafe_code)]

mod header;
mod presence;
mod space;

pub use header::Header;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Once, OnceLock, Weak};

use memmap2::{Mmap, MmapOptions, MmapRaw};

use crate::error::{Error, Result, Unfit};
use crate::liveness::{self, Registry};
use crate::sys::{self, fork::ForkLock};

/// Where the body begins, in bytes.
pub(crate) const BODY: usize = header::SIZE;

/// Of so many looks at something that does not become ready, one asks the kernel whether it still can.
const LOOKS_PER_QUESTION: usize = 64;

/// What a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// A `SharedValue`.
    Value = 1,
    /// A `SharedArray`.
    Array = 2,
    /// A `FrozenArray`.
    Frozen = 3,
    /// A `Queue`.
    Queue = 4,
    /// Bytes on their way to another process, or between a pool and its workers.
    Parcel = 5,
    /// A ring between one sender and one receiver.
    Ring = 6,
    /// A `LoanQueue`.
    LoanQueue = 7,
    /// The two rings of a `Pipe`, or the one of a channel.
    Pipe = 8,
}

impl Kind {
    const ALL: [Self; 8] =
        [Self::Value, Self::Array, Self::Frozen, Self::Queue, Self::Parcel, Self::Ring, Self::LoanQueue, Self::Pipe];

    fn from_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|&kind| kind as u32 == code)
    }

    /// Whether it matters who else has it.
    fn counts_holders(self) -> bool {
        self == Self::Queue
    }

    fn name(self) -> &'static str {
        match self {
            Self::Value => "SharedValue",
            Self::Array => "SharedArray",
            Self::Frozen => "FrozenArray",
            Self::Queue => "Queue",
            Self::Parcel => "parcel",
            Self::Ring => "spsc ring",
            Self::LoanQueue => "LoanQueue",
            Self::Pipe => "Pipe",
        }
    }
}

/// What a new segment is to hold.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// What it is.
    pub kind: Kind,
    /// Structural hash of the element type.
    pub layout: u64,
    /// Number of elements.
    pub len: usize,
    /// Size of the body, in bytes.
    pub body: usize,
}

/// A handle of a mapped segment. Clones share the mapping; attaching twice in one process gives the same mapping.
#[derive(Clone)]
pub struct Segment(Arc<Mapping>);

struct Mapping {
    /// 1. `map` is the whole file, at least [`BODY`] bytes, mapped until this is dropped.
    /// 2. Its length is sealed, so all of it stays accessible.
    /// 3. If `map` is `Frozen`, the content is sealed too: nobody writes it.
    /// 4. Its start is page-aligned.
    map: Map,
    file: OwnedFd,
    file_id: (u64, u64),
    header: Header,
    /// What to do with the body when this process gives up its last handle.
    leave: OnceLock<Leave>,
    /// Whether others find it when they attach the same segment.
    listed: bool,
    /// The process that mapped it. A forked child shares its description, so it cannot ask about others.
    identity: u64,
    /// Whether another process has, or had, it too.
    shared: AtomicBool,
    /// Whether this process was the last when it asked.
    alone: AtomicBool,
    /// How many [`Holder`]s this process has.
    holders: AtomicUsize,
    /// How often somebody wanted to know, who does not want to wait for the answer.
    asked: AtomicUsize,
    /// The identity under which this process has the one and the other end of a connection, or 0.
    ends: [AtomicU64; 2],
}

/// Gives up what this process still holds in a body that starts here and has this many elements.
///
/// # Safety
/// The body is one of the type that gave the function, and this process has no other handle of it.
pub(crate) type Leave = unsafe fn(NonNull<u8>, usize);

enum Map {
    Shared(MmapRaw),
    Frozen(Mmap),
}

/// The mapped segments of this process, by device and inode of their file.
static MAPPED: ForkLock<BTreeMap<(u64, u64), Weak<Mapping>>> = ForkLock::new(BTreeMap::new());

extern "C" fn before_fork() {
    MAPPED.hold();
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

fn mapped() -> std::sync::MutexGuard<'static, BTreeMap<(u64, u64), Weak<Mapping>>> {
    watch_forks();
    MAPPED.lock()
}

impl Segment {
    /// A new segment whose body is all zero.
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::TooLarge`], [`Error::TooManyDescriptors`], or what the system says.
    pub fn create(plan: Plan) -> Result<Self> {
        let (file, header, registry) = Self::make(plan)?;
        sys::file::seal_length(file.as_fd()).map_err(Error::os("sealing shared memory"))?;
        if plan.kind.counts_holders() {
            presence::take_place(file.as_fd()).map_err(Error::os("taking a place at a segment"))?;
        }
        Self::map(file, header, &registry, false)
    }

    /// A new segment with these bytes in its body, from `at` on, which nobody, not even its creator, can change: the kernel sees to it.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_frozen(plan: Plan, at: usize, bytes: &[u8]) -> Result<Self> {
        let (file, header, registry) = Self::make(plan)?;
        // Written, not mapped: the kernel refuses the seal while anybody has a writable mapping, as a child has that is forked meanwhile.
        sys::file::write_at(file.as_fd(), bytes, (BODY + at) as u64).map_err(Error::os("writing shared memory"))?;
        sys::file::seal_all(file.as_fd()).map_err(Error::os("sealing shared memory"))?;
        Self::map(file, header, &registry, true)
    }

    /// A new segment with these bytes as its body, which nobody can change.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn parcel(bytes: &[u8]) -> Result<Self> {
        Self::create_frozen(Plan { kind: Kind::Parcel, layout: 0, len: bytes.len(), body: bytes.len() }, 0, bytes)
    }

    /// The file of a new segment, with its memory and its header, not yet sealed.
    fn make(plan: Plan) -> Result<(OwnedFd, Header, Arc<Registry>)> {
        let size = plan.body.checked_add(BODY).filter(|&size| isize::try_from(size).is_ok());
        let size = size.ok_or(Error::TooLarge { len: plan.len, size: plan.body / plan.len.max(1) })? as u64;
        let registry = Registry::home().map_err(Error::os("registering this process as alive"))?;
        let header = Header {
            kind: plan.kind,
            id: sys::random().map_err(Error::os("drawing a random number"))?,
            family: registry.id(),
            layout: plan.layout,
            len: plan.len as u64,
            size,
        };
        let file = sys::file::memory("coproc").map_err(Error::os("creating shared memory"))?;
        space::reserve(file.as_fd(), size)?;
        sys::file::write_at(file.as_fd(), &header.to_bytes(), 0).map_err(Error::os("writing shared memory"))?;
        Ok((file, header, registry))
    }

    /// The segment of a descriptor that another process gave.
    ///
    /// # Errors
    /// [`Error::Unfit`] if it is no segment of this family, or what the system says.
    pub fn attach(file: OwnedFd) -> Result<Self> {
        // The seals first: only what they say makes the length a fact.
        let (length_sealed, content_sealed) = sys::file::seals(file.as_fd());
        let (file_id, _) = sys::file::identity(file.as_fd()).map_err(Error::os("looking at a descriptor"))?;
        if let Some(known) = mapped().get(&file_id).and_then(Weak::upgrade) {
            return Ok(Self(known));
        }
        let header = Self::read_header(file.as_fd())?;
        if !length_sealed {
            return Err(Unfit::Unsealed.into());
        }
        let registry = Registry::find(header.family).ok_or(Unfit::Stranger)?;
        if !header.kind.counts_holders() {
            return Self::map(file, header, &registry, content_sealed);
        }
        let own = presence::another(file.as_fd()).map_err(Error::os("taking a place at a segment"))?;
        let segment = Self::map(own, header, &registry, content_sealed)?;
        segment.0.shared.store(true, Ordering::Relaxed);
        Ok(segment)
    }

    /// A look at the segment of a descriptor that another process gave: whoever has it, this is nobody more.
    ///
    /// # Errors
    /// As [`attach`](Self::attach).
    pub(crate) fn look(file: BorrowedFd<'_>) -> Result<Self> {
        let (length_sealed, content_sealed) = sys::file::seals(file);
        let header = Self::read_header(file)?;
        if !length_sealed {
            return Err(Unfit::Unsealed.into());
        }
        let registry = Registry::find(header.family).ok_or(Unfit::Stranger)?;
        // By a description of its own: that of the descriptor may have a place, and keeps it as long as it is mapped.
        let own = sys::file::reopen(file).map_err(Error::os("opening a segment"))?;
        Ok(Self(Arc::new(Mapping::new(own, header, &registry, content_sealed, false)?)))
    }

    /// Asks whether no process has it, nor is it on its way to one. For a [`look`](Self::look).
    pub(crate) fn has_nobody(&self) -> bool {
        presence::is_alone(self.file())
    }

    /// What goes to another process instead of the descriptor, where it matters who has the segment: one with a place, while it is on its way.
    pub(crate) fn on_its_way(&self) -> Option<OwnedFd> {
        if !self.header().kind.counts_holders() {
            return None;
        }
        self.0.shared.store(true, Ordering::Relaxed);
        self.0.alone.store(false, Ordering::Relaxed);
        // Without a descriptor for that it goes as others do: until it arrives, nobody sees that there is one more.
        presence::another(self.file()).ok()
    }

    /// Asks whether this process has the only handle, and others have had some. Threads that share it by reference are not seen.
    pub(crate) fn is_alone(&self) -> bool {
        let mapping = &*self.0;
        let alone = mapping.shared.load(Ordering::Relaxed)
            && mapping.holders.load(Ordering::Relaxed) <= 1
            && mapping.identity == liveness::known_identity()
            && presence::is_alone(self.file());
        mapping.alone.store(alone, Ordering::Relaxed);
        alone
    }

    /// What the last question found.
    pub(crate) fn was_alone(&self) -> bool {
        self.0.alone.load(Ordering::Relaxed)
    }

    /// As [`is_alone`](Self::is_alone), for those who look again and again: the kernel is asked now and then.
    pub(crate) fn is_found_alone(&self) -> bool {
        let looks = self.0.asked.fetch_add(1, Ordering::Relaxed) + 1;
        (self.was_alone() || looks.is_multiple_of(LOOKS_PER_QUESTION)) && self.is_alone()
    }

    /// The header and the body of a file that nobody can change any more, read without mapping it and without being of its family.
    ///
    /// # Errors
    /// [`Error::Unfit`] if it is none, [`Error::NoSpace`] if it is larger than `most` bytes, or what the system says.
    pub fn read_frozen(file: BorrowedFd<'_>, most: usize) -> Result<(Header, Vec<u8>)> {
        if sys::file::seals(file) != (true, true) {
            return Err(Unfit::Unsealed.into());
        }
        let header = Self::read_header(file)?;
        let body = header.size - BODY as u64;
        if body > most as u64 {
            return Err(Error::NoSpace { wanted: body, free: most as u64 });
        }
        let mut bytes = vec![0; body as usize];
        let read = sys::file::read_at(file, &mut bytes, BODY as u64).map_err(Error::os("reading a segment"))?;
        if read == bytes.len() { Ok((header, bytes)) } else { Err(Unfit::NotASegment.into()) }
    }

    fn read_header(file: BorrowedFd<'_>) -> Result<Header> {
        let (_, size) = sys::file::identity(file).map_err(Error::os("looking at a descriptor"))?;
        let mut bytes = [0; header::SIZE];
        let read = sys::file::read_at(file, &mut bytes, 0).map_err(Error::os("reading a header"))?;
        Ok(Header::parse(&bytes[..read], size)?)
    }

    fn map(file: OwnedFd, header: Header, registry: &Arc<Registry>, frozen: bool) -> Result<Self> {
        let mapping = Arc::new(Mapping::new(file, header, registry, frozen, true)?);
        let mut mapped = mapped();
        if let Some(known) = mapped.get(&mapping.file_id).and_then(Weak::upgrade) {
            // Its end takes the lock.
            drop(mapped);
            return Ok(Self(known));
        }
        mapped.insert(mapping.file_id, Arc::downgrade(&mapping));
        Ok(Self(mapping))
    }

    /// Checks that it is what the caller is about to use it as.
    ///
    /// # Errors
    /// [`Error::Unfit`], saying how it differs.
    pub fn expect(&self, kind: Kind, layout: u64, type_name: &'static str) -> Result<()> {
        let header = self.header();
        if header.kind != kind {
            return Err(Unfit::Kind { expected: kind.name(), found: header.kind.name() }.into());
        }
        if header.layout != layout {
            return Err(Unfit::Type { expected: type_name }.into());
        }
        if self.is_frozen() != (kind == Kind::Frozen) {
            return Err(if self.is_frozen() { Unfit::ReadOnly } else { Unfit::Unsealed }.into());
        }
        Ok(())
    }

    /// Checks that the body has this size.
    ///
    /// # Errors
    /// [`Error::Unfit`] if it has another.
    pub fn expect_body(&self, body: Option<usize>) -> Result<()> {
        match body {
            Some(body) if body == self.body_size() => Ok(()),
            _ => Err(Unfit::Length {
                expected: body.map_or(u64::MAX, |body| body.saturating_add(BODY) as u64),
                found: self.header().size,
            }
            .into()),
        }
    }

    /// What to do when this process gives up its last handle; the first word counts.
    ///
    /// # Safety
    /// The body is what `leave` asks for: the caller has checked the type.
    pub(crate) unsafe fn on_leave(&self, leave: Leave) {
        let _ = self.0.leave.set(leave);
    }

    /// Takes one of the two ends of a connection; `false` if this process has it already, as a hostile peer may have it.
    pub(crate) fn take_end(&self, end: usize) -> bool {
        let me = liveness::known_identity();
        // Acquire: pairs with the Release in `leave_end`; what this process did with the end before.
        self.0.ends[end].swap(me, Ordering::Acquire) != me
    }

    /// This process has that end no more.
    pub(crate) fn leave_end(&self, end: usize) {
        // Release: pairs with the Acquire in `take_end`.
        self.0.ends[end].store(0, Ordering::Release);
    }

    /// What the header says.
    pub fn header(&self) -> &Header {
        &self.0.header
    }

    /// Number of elements.
    #[allow(clippy::len_without_is_empty, reason = "a segment is not a collection")]
    pub fn len(&self) -> usize {
        self.header().len as usize
    }

    /// Start of the body: [`body_size`](Self::body_size) bytes that others may read and write at any time, 128 bytes after the start of a page. Read-only if
    /// the segment is frozen.
    pub fn body(&self) -> NonNull<u8> {
        self.0.body()
    }

    /// Size of the body, in bytes.
    pub fn body_size(&self) -> usize {
        self.header().size as usize - BODY
    }

    /// Whether the kernel lets nobody write it.
    pub fn is_frozen(&self) -> bool {
        matches!(self.0.map, Map::Frozen(_))
    }

    /// The descriptor, to give to another process of the family.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.0.file.as_fd()
    }

    /// Another descriptor of the segment.
    ///
    /// # Errors
    /// What the system says.
    pub fn duplicate(&self) -> Result<OwnedFd> {
        sys::file::duplicate(&self.0.file).map_err(Error::os("duplicating a descriptor"))
    }

    /// Whether both are handles of one segment.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// A part in a segment: while there is another one in this process, nobody is alone.
#[derive(Debug)]
pub(crate) struct Holder(Segment);

impl Holder {
    pub(crate) fn of(segment: Segment) -> Self {
        segment.0.holders.fetch_add(1, Ordering::Relaxed);
        Self(segment)
    }
}

impl Clone for Holder {
    fn clone(&self) -> Self {
        Self::of(self.0.clone())
    }
}

impl Deref for Holder {
    type Target = Segment;

    fn deref(&self) -> &Segment {
        &self.0
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.0.holders.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Mapping {
    fn new(file: OwnedFd, header: Header, registry: &Arc<Registry>, frozen: bool, listed: bool) -> Result<Self> {
        let size = header.size as usize;
        let map = if frozen {
            // SAFETY: the content is sealed, so nobody changes the bytes behind the slice.
            Map::Frozen(
                unsafe { MmapOptions::new().len(size).map_copy_read_only(&file) }.map_err(Error::os("mapping shared memory"))?,
            )
        } else {
            Map::Shared(MmapOptions::new().len(size).map_raw(&file).map_err(Error::os("mapping shared memory"))?)
        };
        let (file_id, _) = sys::file::identity(file.as_fd()).map_err(Error::os("looking at a descriptor"))?;
        let start = map.start().addr();
        liveness::note_region(start, start + size, registry);
        Ok(Self {
            map,
            file,
            file_id,
            header,
            leave: OnceLock::new(),
            listed,
            identity: liveness::known_identity(),
            shared: AtomicBool::new(false),
            alone: AtomicBool::new(false),
            holders: AtomicUsize::new(0),
            asked: AtomicUsize::new(0),
            ends: Default::default(),
        })
    }

    fn body(&self) -> NonNull<u8> {
        let body = self.map.start().cast_mut().wrapping_add(BODY);
        // SAFETY: the mapping is at least `BODY` bytes long (invariant 1), so this is inside it or just behind, and not null.
        unsafe { NonNull::new_unchecked(body) }
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
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = self.header();
        write!(f, "Segment({:?}, {} elements, {} bytes, {:032x})", header.kind, header.len, header.size, header.id)
    }
}
