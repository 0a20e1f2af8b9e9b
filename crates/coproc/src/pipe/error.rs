//! Why a message was not received into a buffer.

use std::error::Error;
use std::fmt;

use crate::queue::RecvError;
use crate::ring::Stop;

/// Why [`Pipe::recv_into`](super::Pipe::recv_into) received nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvIntoError {
    /// The message is longer than the buffer. It is kept for the next call.
    TooSmall {
        /// Its length, in bytes.
        needed: usize,
    },
    /// As [`RecvError::Closed`].
    Closed,
    /// As [`RecvError::Disconnected`].
    Disconnected,
    /// The pipe's words in shared memory hold what no code of this crate writes.
    Corrupted,
}

impl From<Stop> for RecvIntoError {
    fn from(stop: Stop) -> Self {
        match stop.into() {
            RecvError::Disconnected => Self::Disconnected,
            RecvError::Corrupted => Self::Corrupted,
            _ => Self::Closed,
        }
    }
}

impl fmt::Display for RecvIntoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSmall { needed } => write!(f, "the next message has {needed} bytes, which is more than the buffer"),
            Self::Closed => RecvError::Closed.fmt(f),
            Self::Disconnected => RecvError::Disconnected.fmt(f),
            Self::Corrupted => RecvError::Corrupted.fmt(f),
        }
    }
}

impl Error for RecvIntoError {}

impl From<RecvIntoError> for crate::Error {
    fn from(error: RecvIntoError) -> Self {
        match error {
            RecvIntoError::Closed => Self::Closed,
            RecvIntoError::Disconnected => Self::Disconnected,
            RecvIntoError::Corrupted => Self::Corrupted,
            error @ RecvIntoError::TooSmall { .. } => Self::other(error),
        }
    }
}
