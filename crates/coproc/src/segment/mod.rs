//! One shared object: one sealed memory file, mapped.
//!
//! Mappings and descriptors keep it alive; the kernel frees it when the last is gone, however the processes ended.

mod header;
mod mapping;
mod presence;
pub(crate) mod space;

pub use header::{Header, Kind};
pub(crate) use mapping::watch_forks;
pub(crate) use presence::Holder;

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use crate::error::{Error, Result, Unfit};
use crate::liveness::{Registry, known_identity};
use crate::sys;
use mapping::Mapping;

/// Where the body begins, in bytes.
pub(crate) const BODY: usize = header::SIZE;

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
        Ok(Self(Mapping::listed(file, header, &registry, false)?))
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
        Ok(Self(Mapping::listed(file, header, &registry, true)?))
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
        let (file_id, _) = sys::file::identity(file.as_fd()).map_err(Error::os("looking at a descriptor"))?;
        if let Some(known) = Mapping::find(file_id) {
            return Ok(Self(known));
        }
        let (header, registry, frozen) = Self::inspect(file.as_fd())?;
        if !header.kind.counts_holders() {
            return Ok(Self(Mapping::listed(file, header, &registry, frozen)?));
        }
        let own = presence::another(file.as_fd()).map_err(Error::os("taking a place at a segment"))?;
        let mapping = Mapping::listed(own, header, &registry, frozen)?;
        mapping.presence.note_others();
        Ok(Self(mapping))
    }

    /// A look at the segment of a descriptor that another process gave: whoever has it, this is nobody more.
    ///
    /// # Errors
    /// As [`attach`](Self::attach).
    pub(crate) fn look(file: BorrowedFd<'_>) -> Result<Self> {
        let (header, registry, frozen) = Self::inspect(file)?;
        // By a description of its own: that of the descriptor may have a place, and keeps it as long as it is mapped.
        let own = sys::file::reopen(file).map_err(Error::os("opening a segment"))?;
        Ok(Self(Mapping::unlisted(own, header, &registry, frozen)?))
    }

    /// What a descriptor that another process gave says, if it is a segment of this process's family: its header, its family's registry, and
    /// whether nobody can change it.
    fn inspect(file: BorrowedFd<'_>) -> Result<(Header, Arc<Registry>, bool)> {
        // The seals first: only what they say makes the length a fact.
        let (length_sealed, content_sealed) = sys::file::seals(file);
        let header = Self::read_header(file)?;
        if !length_sealed {
            return Err(Unfit::Unsealed.into());
        }
        let registry = Registry::find(header.family).ok_or(Unfit::Stranger)?;
        Ok((header, registry, content_sealed))
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

    /// Takes one of the two ends of a connection; `false` if this process has it already, as a hostile peer may have it.
    pub(crate) fn take_end(&self, end: usize) -> bool {
        let me = known_identity();
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
        self.0.is_frozen()
    }

    /// The descriptor, to give to another process of the family.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.0.given.store(true, Ordering::Relaxed);
        self.0.file.as_fd()
    }

    /// Another descriptor of the segment.
    ///
    /// # Errors
    /// What the system says.
    pub fn duplicate(&self) -> Result<OwnedFd> {
        self.0.given.store(true, Ordering::Relaxed);
        sys::file::duplicate(&self.0.file).map_err(Error::os("duplicating a descriptor"))
    }

    /// Whether there is no other handle, in no process: none was cloned, sent or handed down by a fork.
    pub fn is_sole(&self) -> bool {
        let is_sole = Arc::strong_count(&self.0) == 1;
        // Acquire: pairs with the Release of the last drop of another handle; what was done with it, also that it was given away.
        fence(Ordering::Acquire);
        is_sole && self.0.is_private()
    }

    /// Those to whom it was given have no handle any more, or never use it without being told: they do not count from now on.
    pub fn forget_given(&self) {
        self.0.given.store(false, Ordering::Relaxed);
    }

    /// Whether both are handles of one segment.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = self.header();
        write!(f, "Segment({:?}, {} elements, {} bytes, {:032x})", header.kind, header.len, header.size, header.id)
    }
}
