//! What can go wrong, in one type that `?` turns everything into.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use crate::liveness::Unregistered;
use crate::loan::{LoanError, TryLoanError};
use crate::queue::{RecvError, RecvTimeoutError, SendError, SendSliceError, SendTimeoutError, TryRecvError, TrySendError};
use crate::sync::{BarrierError, LockError, ReleaseError, TryLockError};
use crate::{TextTooLong, sys};

/// A `Result` with coproc's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Bytes that are no value of the type that was expected there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupted;

impl fmt::Display for Corrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "these bytes are no value of the expected type: a process was killed while it wrote them, or wrote something else",
        )
    }
}

impl StdError for Corrupted {}

/// Why a descriptor is not the shared object that was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unfit {
    /// The file is not one of coproc's.
    NotASegment,
    /// The file is shorter or longer than its header says. In bytes.
    Length {
        /// What the header says.
        expected: u64,
        /// What there is.
        found: u64,
    },
    /// It was made by a release of coproc with another protocol.
    Protocol {
        /// The protocol of this release.
        expected: u32,
        /// The protocol of the segment.
        found: u32,
    },
    /// It is another kind of object.
    Kind {
        /// What was expected, as `SharedValue`.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// It holds another type, or the same type laid out otherwise.
    Type {
        /// The type that was expected.
        expected: &'static str,
    },
    /// Its length, or the content of what is frozen, can still be changed by others, so it cannot be trusted.
    Unsealed,
    /// It is sealed against writing.
    ReadOnly,
    /// It belongs to a family of processes of which this one is no member.
    Stranger,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotASegment => f.write_str("the file is no shared object of coproc"),
            Self::Length { expected, found } => write!(f, "the segment should be {expected} bytes long, but has {found}"),
            Self::Protocol { expected, found } => {
                write!(
                    f,
                    "the segment speaks protocol {found}, this release of coproc speaks {expected}: use one release everywhere"
                )
            }
            Self::Kind { expected, found } => write!(f, "the segment holds a {found}, not a {expected}"),
            Self::Type { expected } => {
                write!(
                    f,
                    "the segment does not hold a `{expected}` of this program: the type, or its fields, differ from its maker's"
                )
            }
            Self::Unsealed => f.write_str(
                "the segment is not sealed as it should be: others could cut its memory off, or change what is frozen",
            ),
            Self::ReadOnly => f.write_str("the segment is sealed against writing"),
            Self::Stranger => f.write_str("the segment belongs to processes that are no relatives of this one"),
        }
    }
}

/// What can go wrong in this crate and in coproc-pool.
///
/// `Debug` shows the text, not the structure, because that is what a `main` that returns an error prints.
#[non_exhaustive]
pub enum Error {
    /// There is not as much memory, in bytes. Nothing was taken.
    NoSpace {
        /// What was asked for.
        wanted: u64,
        /// What the machine, the control group or the address-space limit has left.
        free: u64,
    },
    /// So many elements of such a size are more bytes than can be counted.
    TooLarge {
        /// Number of elements.
        len: usize,
        /// Size of one, in bytes.
        size: usize,
    },
    /// An array or a queue of no elements.
    Empty,
    /// An index past the end.
    OutOfBounds {
        /// The index.
        index: usize,
        /// The number of elements.
        len: usize,
    },
    /// The process has no free descriptor left (`RLIMIT_NOFILE`).
    TooManyDescriptors {
        /// The limit.
        limit: u64,
    },
    /// What another process gave is not what was expected.
    Unfit(Unfit),
    /// Bytes that are no value of the expected type.
    Corrupted,
    /// The lock was not given.
    Lock(LockError),
    /// The lock was not given at once, or in time.
    TryLock(TryLockError),
    /// The queue, or the other end of the ring or the pipe, is closed; to a receiver, all is received too.
    Closed,
    /// Everybody else who had the queue, or the other end of the ring or the pipe, has died or gone without closing it.
    Disconnected,
    /// The queue is full, empty, or another is at it, so a call that does not wait did nothing.
    WouldBlock,
    /// The time is over.
    TimedOut,
    /// The system refused. With what was being done.
    Os(&'static str, io::Error),
    /// Another crate's error.
    Other(Box<dyn StdError + Send + Sync>),
}

impl Error {
    /// The error of this system call.
    pub(crate) fn os(doing: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| Self::from_os(doing, error)
    }

    /// The error of a system call, with what was being done.
    #[doc(hidden)]
    pub fn from_os(doing: &'static str, error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EMFILE) => Self::no_descriptors(),
            _ => Self::Os(doing, error),
        }
    }

    pub(crate) fn no_descriptors() -> Self {
        Self::TooManyDescriptors { limit: sys::limit(rustix::process::Resource::Nofile).unwrap_or(u64::MAX) }
    }

    /// Another crate's error.
    pub fn other(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Other(error.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSpace { wanted, free } => {
                write!(
                    f,
                    "not enough memory: {wanted} bytes wanted, {free} free (of the machine, the control group or RLIMIT_AS)"
                )
            }
            Self::TooLarge { len, size } => write!(f, "{len} elements of {size} bytes are more than can be counted"),
            Self::Empty => f.write_str("a shared array or queue has at least one element"),
            Self::OutOfBounds { index, len } => write!(f, "index {index} is past the end: the array has {len} elements"),
            Self::TooManyDescriptors { limit } => {
                write!(
                    f,
                    "no free descriptor (RLIMIT_NOFILE is {limit}): each shared object takes one, so put them in one struct or array, or raise the limit"
                )
            }
            Self::Unfit(unfit) => unfit.fmt(f),
            Self::Corrupted => Corrupted.fmt(f),
            Self::Lock(error) => error.fmt(f),
            Self::TryLock(error) => error.fmt(f),
            Self::Closed => f.write_str("the queue or the other end is closed"),
            Self::Disconnected => f.write_str("everybody else who had the queue, or the other end, has died or gone"),
            Self::WouldBlock => f.write_str("the call would have had to wait"),
            Self::TimedOut => f.write_str("timed out"),
            Self::Os(doing, error) => write!(f, "{doing}: {error}"),
            Self::Other(error) => error.fmt(f),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        // The text of an error of the system is part of the text above.
        let first = if let Self::Os(..) = self { None } else { self.source() };
        std::iter::successors(first, |&source| source.source()).try_for_each(|source| write!(f, ": {source}"))
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Os(_, error) => Some(error),
            Self::Other(error) => error.source(),
            _ => None,
        }
    }
}

impl From<LockError> for Error {
    fn from(error: LockError) -> Self {
        Self::Lock(error)
    }
}

impl From<TryLockError> for Error {
    fn from(error: TryLockError) -> Self {
        match error {
            TryLockError::Lock(error) => Self::Lock(error),
            error => Self::TryLock(error),
        }
    }
}

impl From<BarrierError> for Error {
    fn from(error: BarrierError) -> Self {
        match error {
            BarrierError::Lock(error) => Self::Lock(error),
            BarrierError::TimedOut => Self::TimedOut,
            error => Self::other(error),
        }
    }
}

impl From<ReleaseError> for Error {
    fn from(error: ReleaseError) -> Self {
        Self::other(error)
    }
}

impl From<Unfit> for Error {
    fn from(unfit: Unfit) -> Self {
        Self::Unfit(unfit)
    }
}

impl From<Corrupted> for Error {
    fn from(_: Corrupted) -> Self {
        Self::Corrupted
    }
}

impl From<Unregistered> for Error {
    fn from(error: Unregistered) -> Self {
        Self::Lock(LockError::Unregistered(error))
    }
}

impl From<TextTooLong> for Error {
    fn from(error: TextTooLong) -> Self {
        Self::other(error)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Other(error.into())
    }
}

impl<T> From<SendError<T>> for Error {
    fn from(error: SendError<T>) -> Self {
        match error {
            SendError::Closed(_) => Self::Closed,
            SendError::Disconnected(_) => Self::Disconnected,
            SendError::Corrupted(_) => Self::Corrupted,
            SendError::Foreign(_) => Self::other(error.to_string()),
        }
    }
}

impl From<LoanError> for Error {
    fn from(error: LoanError) -> Self {
        match error {
            LoanError::Closed => Self::Closed,
            LoanError::Unregistered(error) => error.into(),
            LoanError::TooLong { .. } => Self::other(error),
        }
    }
}

impl From<TryLoanError> for Error {
    fn from(error: TryLoanError) -> Self {
        match error {
            TryLoanError::WouldBlock => Self::WouldBlock,
            TryLoanError::TimedOut => Self::TimedOut,
            TryLoanError::Loan(error) => error.into(),
        }
    }
}

impl From<SendSliceError> for Error {
    fn from(error: SendSliceError) -> Self {
        error.reason.into()
    }
}

impl<T> From<TrySendError<T>> for Error {
    fn from(error: TrySendError<T>) -> Self {
        match error {
            TrySendError::Full(_) | TrySendError::Busy(_) => Self::WouldBlock,
            TrySendError::Closed(_) => Self::Closed,
            TrySendError::Disconnected(_) => Self::Disconnected,
            TrySendError::Corrupted(_) => Self::Corrupted,
        }
    }
}

impl<T> From<SendTimeoutError<T>> for Error {
    fn from(error: SendTimeoutError<T>) -> Self {
        match error {
            SendTimeoutError::Timeout(_) => Self::TimedOut,
            SendTimeoutError::Closed(_) => Self::Closed,
            SendTimeoutError::Disconnected(_) => Self::Disconnected,
            SendTimeoutError::Corrupted(_) => Self::Corrupted,
        }
    }
}

impl From<RecvError> for Error {
    fn from(error: RecvError) -> Self {
        match error {
            RecvError::Closed => Self::Closed,
            RecvError::Disconnected => Self::Disconnected,
            RecvError::Corrupted => Self::Corrupted,
            RecvError::TooManyDescriptors => Self::no_descriptors(),
        }
    }
}

impl From<TryRecvError> for Error {
    fn from(error: TryRecvError) -> Self {
        match error {
            TryRecvError::Empty | TryRecvError::Busy => Self::WouldBlock,
            TryRecvError::Closed => Self::Closed,
            TryRecvError::Disconnected => Self::Disconnected,
            TryRecvError::Corrupted => Self::Corrupted,
            TryRecvError::TooManyDescriptors => Self::no_descriptors(),
        }
    }
}

impl From<RecvTimeoutError> for Error {
    fn from(error: RecvTimeoutError) -> Self {
        match error {
            RecvTimeoutError::Timeout => Self::TimedOut,
            RecvTimeoutError::Closed => Self::Closed,
            RecvTimeoutError::Disconnected => Self::Disconnected,
            RecvTimeoutError::Corrupted => Self::Corrupted,
            RecvTimeoutError::TooManyDescriptors => Self::no_descriptors(),
        }
    }
}
