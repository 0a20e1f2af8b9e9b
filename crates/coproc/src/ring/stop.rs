//! Why an end of a ring, or of a queue, did nothing, and how it says so.

use super::track::Impossible;
use crate::queue::{RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError};

/// Why nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Full, or empty.
    Wait,
    /// Somebody else is at this end, and alive.
    Busy,
    /// The queue or the other end was closed, or this end is not this process's any more.
    Closed,
    /// The other end died, or nobody else is left.
    Disconnected,
    Corrupted,
    /// This process has no descriptor for what a message names.
    TooManyDescriptors,
}

impl From<Impossible> for Stop {
    fn from(_: Impossible) -> Self {
        Self::Corrupted
    }
}

impl Stop {
    pub(crate) fn of_send<T>(self, item: T) -> SendError<T> {
        match self {
            Self::Disconnected => SendError::Disconnected(item),
            Self::Corrupted => SendError::Corrupted(item),
            _ => SendError::Closed(item),
        }
    }

    pub(crate) fn of_try_send<T>(self, item: T) -> TrySendError<T> {
        match self {
            Self::Wait => TrySendError::Full(item),
            Self::Busy => TrySendError::Busy(item),
            Self::Disconnected => TrySendError::Disconnected(item),
            Self::Corrupted => TrySendError::Corrupted(item),
            _ => TrySendError::Closed(item),
        }
    }

    pub(crate) fn of_send_timeout<T>(self, item: T) -> SendTimeoutError<T> {
        match self {
            Self::Wait | Self::Busy => SendTimeoutError::Timeout(item),
            Self::Disconnected => SendTimeoutError::Disconnected(item),
            Self::Corrupted => SendTimeoutError::Corrupted(item),
            _ => SendTimeoutError::Closed(item),
        }
    }
}

impl From<Stop> for RecvError {
    // Never inlined: who has received would go on by the same table of jumps.
    #[cold]
    #[inline(never)]
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Disconnected => Self::Disconnected,
            Stop::Corrupted => Self::Corrupted,
            Stop::TooManyDescriptors => Self::TooManyDescriptors,
            Stop::Closed | Stop::Wait | Stop::Busy => Self::Closed,
        }
    }
}

impl From<Stop> for TryRecvError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Wait => Self::Empty,
            Stop::Busy => Self::Busy,
            Stop::Closed => Self::Closed,
            Stop::Disconnected => Self::Disconnected,
            Stop::Corrupted => Self::Corrupted,
            Stop::TooManyDescriptors => Self::TooManyDescriptors,
        }
    }
}

impl From<Stop> for RecvTimeoutError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Wait | Stop::Busy => Self::Timeout,
            Stop::Closed => Self::Closed,
            Stop::Disconnected => Self::Disconnected,
            Stop::Corrupted => Self::Corrupted,
            Stop::TooManyDescriptors => Self::TooManyDescriptors,
        }
    }
}
