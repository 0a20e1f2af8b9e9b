//! Why an item was not sent or received. The item always comes back.

use std::error::Error;
use std::fmt;

macro_rules! item_comes_back {
    ($name:ident { $($variant:ident: $text:literal,)+ }) => {
        impl<T> $name<T> {
            /// The item that was not sent.
            pub fn into_inner(self) -> T {
                match self {
                    $(Self::$variant(item))|+ => item,
                }
            }
        }

        impl<T> fmt::Display for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$variant(_) => $text,)+
                })
            }
        }

        /// Shows the reason, not the item, which may not be `Debug`.
        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$variant(_) => concat!(stringify!($variant), "(..)"),)+
                })
            }
        }

        impl<T> Error for $name<T> {}
    };
}

/// Why [`Queue::send`](super::Queue::send), or that of a [`LoanQueue`](crate::LoanQueue), a ring or a pipe, did not send. With the item.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError<T> {
    /// The queue, or the other end, is closed.
    Closed(T),
    /// Everybody else who had the queue, or the other end, has died or gone without closing it.
    Disconnected(T),
    /// The words in shared memory hold what no code of this crate writes.
    Corrupted(T),
    /// The loan is of another [`LoanQueue`](crate::LoanQueue), or of the process that this one was forked from. A
    /// [`Queue`](super::Queue) has no such items.
    Foreign(T),
}

item_comes_back!(SendError {
    Foreign: "the loan is of another queue, or of another process",
    Closed: "the queue or the other end is closed",
    Disconnected: "everybody else who had the queue, or the other end, has died or gone",
    Corrupted: "the words in shared memory hold what no code of coproc writes",
});

/// Why [`Queue::try_send`](super::Queue::try_send), or that of a ring or a pipe, did not send. With the item.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrySendError<T> {
    /// There is no room.
    Full(T),
    /// The queue, or the other end, is closed.
    Closed(T),
    /// Everybody else who had the queue, or the other end, has died or gone without closing it.
    Disconnected(T),
    /// Another sender is at it, and stopped or slow: it may have room.
    Busy(T),
    /// The words in shared memory hold what no code of this crate writes.
    Corrupted(T),
}

item_comes_back!(TrySendError {
    Full: "there is no room",
    Closed: "the queue or the other end is closed",
    Disconnected: "everybody else who had the queue, or the other end, has died or gone",
    Busy: "another sender is at it",
    Corrupted: "the words in shared memory hold what no code of coproc writes",
});

/// Why [`Queue::send_timeout`](super::Queue::send_timeout), or that of a ring or a pipe, did not send. With the item.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendTimeoutError<T> {
    /// There was no room for all that time.
    Timeout(T),
    /// The queue, or the other end, is closed.
    Closed(T),
    /// Everybody else who had the queue, or the other end, has died or gone without closing it.
    Disconnected(T),
    /// The words in shared memory hold what no code of this crate writes.
    Corrupted(T),
}

item_comes_back!(SendTimeoutError {
    Timeout: "timed out: there was no room for all that time",
    Closed: "the queue or the other end is closed",
    Disconnected: "everybody else who had the queue, or the other end, has died or gone",
    Corrupted: "the words in shared memory hold what no code of coproc writes",
});

/// Why [`Queue::send_slice`](super::Queue::send_slice) did not send all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendSliceError {
    /// How many of the first items were sent.
    pub sent: usize,
    /// Why the rest was not.
    pub reason: SendError<()>,
}

impl fmt::Display for SendSliceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} after {} items were sent", self.reason, self.sent)
    }
}

impl Error for SendSliceError {}

macro_rules! plain_errors {
    ($($name:ident { $($variant:ident: $text:literal,)+ })+) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$variant => $text,)+
                })
            }
        }

        impl Error for $name {}
    )+};
}

/// Why [`Queue::recv`](super::Queue::recv), or that of a ring or a pipe, received nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
// As wide as most items beside it in a `Result`: next to a tag of one byte these are moved from and to addresses that are not aligned, in pieces that do not
// fit each other, and a stream of 64 bytes each takes twice the time.
#[repr(u64)]
pub enum RecvError {
    /// The queue, or the other end, is closed, and all is received.
    Closed,
    /// All is received, and everybody else who had the queue, or the other end, has died or gone without closing it.
    Disconnected,
    /// The item's bytes are no value of its type, and it is dropped; or the words in shared memory hold what no code of this crate writes.
    Corrupted,
    /// Of a pipe: this process has not as many free descriptors as the message names objects (`RLIMIT_NOFILE`). It is dropped.
    TooManyDescriptors,
}

/// Why [`Queue::try_recv`](super::Queue::try_recv), or that of a ring or a pipe, received nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
// As `RecvError`.
#[repr(u64)]
pub enum TryRecvError {
    /// There is nothing.
    Empty,
    /// The queue, or the other end, is closed, and all is received.
    Closed,
    /// All is received, and everybody else who had the queue, or the other end, has died or gone without closing it.
    Disconnected,
    /// Another receiver is at it, and stopped or slow: there may be items.
    Busy,
    /// As [`RecvError::Corrupted`].
    Corrupted,
    /// As [`RecvError::TooManyDescriptors`].
    TooManyDescriptors,
}

/// Why [`Queue::recv_timeout`](super::Queue::recv_timeout), or that of a ring or a pipe, received nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
// As `RecvError`.
#[repr(u64)]
pub enum RecvTimeoutError {
    /// There was nothing for all that time.
    Timeout,
    /// The queue, or the other end, is closed, and all is received.
    Closed,
    /// All is received, and everybody else who had the queue, or the other end, has died or gone without closing it.
    Disconnected,
    /// As [`RecvError::Corrupted`].
    Corrupted,
    /// As [`RecvError::TooManyDescriptors`].
    TooManyDescriptors,
}

plain_errors! {
    RecvError {
        Closed: "the queue or the other end is closed, and all is received",
        Disconnected: "all is received, and everybody else who had the queue, or the other end, has died or gone",
        Corrupted: "the item, or the words in shared memory, hold what no code of coproc writes",
        TooManyDescriptors: "no free descriptors for what the message names (RLIMIT_NOFILE)",
    }
    TryRecvError {
        Empty: "there is nothing",
        Closed: "the queue or the other end is closed, and all is received",
        Disconnected: "all is received, and everybody else who had the queue, or the other end, has died or gone",
        Busy: "another receiver is at it",
        Corrupted: "the item, or the words in shared memory, hold what no code of coproc writes",
        TooManyDescriptors: "no free descriptors for what the message names (RLIMIT_NOFILE)",
    }
    RecvTimeoutError {
        Timeout: "timed out: there was nothing for all that time",
        Closed: "the queue or the other end is closed, and all is received",
        Disconnected: "all is received, and everybody else who had the queue, or the other end, has died or gone",
        Corrupted: "the item, or the words in shared memory, hold what no code of coproc writes",
        TooManyDescriptors: "no free descriptors for what the message names (RLIMIT_NOFILE)",
    }
}

/// `Empty` and `Busy` are answers of calls that do not wait; who waits does not get them.
impl From<TryRecvError> for RecvError {
    fn from(error: TryRecvError) -> Self {
        match error {
            TryRecvError::Disconnected => Self::Disconnected,
            TryRecvError::Corrupted => Self::Corrupted,
            TryRecvError::TooManyDescriptors => Self::TooManyDescriptors,
            TryRecvError::Closed | TryRecvError::Empty | TryRecvError::Busy => Self::Closed,
        }
    }
}
