//! A message on its way: bytes, and the segments whose handles they name.

#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::copy::{copy_in, copy_out};
use crate::error::{Error, Result};
use crate::plain::{Plain, check_plain};
use crate::segment::{Segment, space};
use crate::sys;

/// Bytes and the handles that they name, in the order in which they were written.
#[derive(Clone, Debug, Default)]
pub struct Parcel {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The handles.
    pub handles: Vec<Handle>,
}

/// What a message names beside its bytes. Travels as a descriptor.
#[derive(Clone, Debug)]
pub enum Handle {
    /// A segment, mapped.
    Segment(Segment),
    /// Any other descriptor.
    File(Arc<File>),
}

impl Handle {
    const SEGMENT: u8 = 0;
    const FILE: u8 = 1;

    /// What it is, for who gets the descriptor.
    pub fn kind(&self) -> u8 {
        match self {
            Self::Segment(_) => Self::SEGMENT,
            Self::File(_) => Self::FILE,
        }
    }

    /// The handle of a descriptor that came from another process, and is of this kind.
    ///
    /// # Errors
    /// If it should be a segment's, and is not.
    pub fn of(kind: u8, file: OwnedFd) -> Result<Self> {
        match kind {
            Self::SEGMENT => Segment::attach(file).map(Self::Segment),
            _ => Ok(Self::File(Arc::new(File::new(Arc::new(file))))),
        }
    }
}

/// A descriptor on its way.
#[derive(Debug)]
pub struct File {
    file: Arc<OwnedFd>,
    /// Whether a message has been read that has it now. There is one such at most.
    taken: AtomicBool,
}

impl File {
    fn new(file: Arc<OwnedFd>) -> Self {
        Self { file, taken: AtomicBool::new(false) }
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Segment(segment) => segment.file(),
            Self::File(file) => file.file.as_fd(),
        }
    }
}

impl Parcel {
    /// A parcel that holds this message.
    pub fn of<M: crate::Message>(message: &M) -> Self {
        let mut parcel = Self::default();
        message.write(&mut parcel.writer());
        parcel
    }

    /// A parcel that holds this message, if there is memory for it.
    ///
    /// # Errors
    /// [`Error::NoSpace`].
    pub fn try_of<M: crate::Message>(message: &M) -> Result<Self> {
        let mut parcel = Self::default();
        parcel.fill(|to| message.write(to))?;
        Ok(parcel)
    }

    /// Appends to it.
    pub fn writer(&mut self) -> Writer<'_> {
        Writer::parcel(self)
    }

    /// Appends to it; but not what there is no memory for: of a long parcel there is a copy in shared memory too, when it is sent.
    ///
    /// # Errors
    /// [`Error::NoSpace`]: then it is not whole.
    pub fn fill(&mut self, write: impl FnOnce(&mut Writer<'_>)) -> Result<()> {
        let mut writer = Writer(Target::Careful { parcel: self, refused: Ok(()) });
        write(&mut writer);
        match writer.0 {
            Target::Careful { refused, .. } => refused,
            _ => Ok(()),
        }
    }

    /// Reads from its start.
    pub fn reader(&self) -> Reader<'_> {
        Reader::new(&self.bytes, &self.handles)
    }

    /// Reads the message; `None` if this is not one, or more than one.
    pub fn open<M: crate::Message>(&self) -> Option<M> {
        let mut reader = self.reader();
        M::read(&mut reader).filter(|_| reader.remaining() == 0)
    }
}

/// Where a message writes itself.
#[derive(Debug)]
pub struct Writer<'a>(Target<'a>);

#[derive(Debug)]
enum Target<'a> {
    Parcel(&'a mut Parcel),
    /// A parcel that must not become larger than there is memory for. What is written after it was refused is dropped.
    Careful {
        parcel: &'a mut Parcel,
        refused: Result<()>,
    },
    /// A slot in shared memory: `room` bytes from `at` on are ours to write for `'a`.
    Slot {
        at: *mut u8,
        room: usize,
    },
}

impl<'a> Writer<'a> {
    /// A writer that appends to a parcel.
    pub fn parcel(parcel: &'a mut Parcel) -> Self {
        Self(Target::Parcel(parcel))
    }

    /// A writer that fills a slot.
    ///
    /// # Safety
    /// For `'a`, `at` is valid for writes of `room` bytes, and nobody of this process reads or writes them.
    #[doc(hidden)]
    pub unsafe fn slot(at: *mut u8, room: usize) -> Self {
        Self(Target::Slot { at, room })
    }

    /// Writes bytes.
    ///
    /// # Panics
    /// If a type writes more into a slot than its [`Message::BOUND`](crate::Message::BOUND) says.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Target::Parcel(parcel) => parcel.bytes.extend_from_slice(bytes),
            Target::Careful { parcel, refused } => {
                if refused.is_ok() {
                    *refused = make_room(&mut parcel.bytes, bytes.len());
                }
                if refused.is_ok() {
                    parcel.bytes.extend_from_slice(bytes);
                }
            }
            Target::Slot { at, room } => {
                assert!(bytes.len() <= *room, "a message wrote more bytes than its BOUND");
                // SAFETY: `slot`'s caller gave `room` bytes from `at` on, and there are as many as `bytes` has (asserted);
                // `bytes` is not part of them, since nobody else of this process has them.
                unsafe { copy_in(bytes, *at) };
                *at = at.wrapping_add(bytes.len());
                *room -= bytes.len();
            }
        }
    }

    /// Writes plain data.
    #[inline]
    pub fn plain<T: Plain>(&mut self, value: &T) {
        const { check_plain::<T>() };
        // SAFETY: plain data has no padding, so all its bytes are initialised; they stay borrowed through `value`.
        self.bytes(unsafe { std::slice::from_raw_parts((&raw const *value).cast::<u8>(), size_of::<T>()) });
    }

    /// Writes the handle of a segment.
    ///
    /// # Panics
    /// If a type that says that it is bounded ([`Message::BOUND`](crate::Message::BOUND)) writes a handle into a slot.
    #[doc(hidden)]
    pub fn segment(&mut self, segment: &Segment) {
        match segment.on_its_way() {
            Some(file) => self.file(Arc::new(file)),
            None => self.handle(Handle::Segment(segment.clone())),
        }
    }

    /// Writes a descriptor.
    ///
    /// # Panics
    /// As [`segment`](Self::segment).
    #[doc(hidden)]
    pub fn file(&mut self, file: Arc<OwnedFd>) {
        self.handle(Handle::File(Arc::new(File::new(file))));
    }

    /// Writes a handle.
    ///
    /// # Panics
    /// As [`segment`](Self::segment).
    #[doc(hidden)]
    pub fn handle(&mut self, handle: Handle) {
        match &mut self.0 {
            Target::Parcel(parcel) | Target::Careful { parcel, .. } => parcel.handles.push(handle),
            Target::Slot { .. } => panic!("a bounded message wrote a handle"),
        }
    }
}

/// Makes room for more bytes, if there is memory for these and for a copy of all.
fn make_room(bytes: &mut Vec<u8>, more: usize) -> Result<()> {
    /// Fewer are not worth a look.
    const MANY: usize = 1 << 20;
    if more <= bytes.capacity() - bytes.len() {
        return Ok(());
    }
    let len = bytes.len().saturating_add(more);
    if len >= MANY {
        space::check(2 * len as u64, 2 * len as u64)?;
    }
    bytes.try_reserve(more).map_err(|_| Error::NoSpace { wanted: len as u64, free: space::free() })
}

/// Where a message reads itself from.
#[derive(Debug)]
pub struct Reader<'a> {
    /// `left` bytes from `at` on are readable for `'a`; another process may change them meanwhile.
    at: *const u8,
    left: usize,
    handles: &'a [Handle],
    /// How many more sequences may nest: bytes from outside must not decide how deep the stack grows.
    depth: u8,
    of: PhantomData<&'a [u8]>,
}

/// How deep sequences may nest in a message.
const DEEPEST: u8 = 64;

impl<'a> Reader<'a> {
    /// A reader of these bytes and handles.
    pub fn new(bytes: &'a [u8], handles: &'a [Handle]) -> Self {
        Self { at: bytes.as_ptr(), left: bytes.len(), handles, depth: DEEPEST, of: PhantomData }
    }

    /// A reader of a slot or a part of a segment.
    ///
    /// # Safety
    /// For `'a`, `at` is valid for reads of `len` bytes.
    #[doc(hidden)]
    pub unsafe fn raw(at: *const u8, len: usize, handles: &'a [Handle]) -> Self {
        Self { at, left: len, handles, depth: DEEPEST, of: PhantomData }
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.left
    }

    /// Fills `to` with the next bytes; `None`, and nothing read, if there are fewer.
    #[inline]
    pub fn bytes(&mut self, to: &mut [MaybeUninit<u8>]) -> Option<()> {
        let left = self.left.checked_sub(to.len())?;
        // SAFETY: `left + to.len()` bytes from `at` on are readable (invariant of the fields), and `to` is exclusively ours.
        // A peer that writes them at this moment gives us other bytes, each of which is copied once.
        unsafe { copy_out(self.at, to) };
        self.at = self.at.wrapping_add(to.len());
        self.left = left;
        Some(())
    }

    /// Reads plain data.
    #[inline]
    pub fn plain<T: Plain>(&mut self) -> Option<T> {
        const { check_plain::<T>() };
        let mut value = MaybeUninit::<T>::uninit();
        let room = value.as_mut_ptr().cast::<MaybeUninit<u8>>();
        // SAFETY: these are the bytes of `value`, exclusively ours.
        let room = unsafe { std::slice::from_raw_parts_mut(room, size_of::<T>()) };
        self.bytes(room)?;
        // SAFETY: `bytes` wrote all of them, and every bit pattern of plain data is a value.
        Some(unsafe { value.assume_init() })
    }

    /// Reads a part that may hold further such parts; `None` if they nest too deep.
    pub(super) fn nested<R>(&mut self, read: impl FnOnce(&mut Self) -> Option<R>) -> Option<R> {
        self.depth = self.depth.checked_sub(1)?;
        let result = read(self);
        self.depth += 1;
        result
    }

    /// Reads the handle of a segment.
    #[doc(hidden)]
    pub fn segment(&mut self) -> Option<Segment> {
        match self.handle()? {
            Handle::Segment(segment) => Some(segment.clone()),
            Handle::File(file) => Segment::attach(sys::file::duplicate(&file.file).ok()?).ok(),
        }
    }

    /// Reads a descriptor; `None` if another message was read from the same parcel, which has it.
    #[doc(hidden)]
    pub fn file(&mut self) -> Option<Arc<OwnedFd>> {
        match self.handle()? {
            Handle::File(file) => (!file.taken.swap(true, Ordering::Relaxed)).then(|| Arc::clone(&file.file)),
            Handle::Segment(_) => None,
        }
    }

    /// Reads a handle.
    #[doc(hidden)]
    pub fn handle(&mut self) -> Option<&'a Handle> {
        let (first, rest) = self.handles.split_first()?;
        self.handles = rest;
        Some(first)
    }
}
