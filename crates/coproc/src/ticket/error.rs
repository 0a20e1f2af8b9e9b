//! Why a ticket was not made, or not redeemed.

use std::fmt;

use crate::error::Error;

/// Why a [`Ticket`](crate::Ticket) was not made, or not redeemed.
#[derive(Debug)]
#[non_exhaustive]
pub enum TicketError {
    /// It has been redeemed, or nobody did before its queue was over.
    Void,
    /// The first process of the family, which keeps what tickets stand for, has ended; or it had neither started a child nor made a ticket before
    /// this process was forked.
    KeeperGone,
    /// The first process of the family has no free descriptor left to keep it with (`RLIMIT_NOFILE`).
    KeeperFull,
    /// It, or its queue, belongs to a family of processes of which this one is no member.
    Stranger,
    /// This process has no free descriptors for what the ticket stands for (`RLIMIT_NOFILE`). The ticket is still good.
    TooManyDescriptors,
    /// What was kept is no value of the ticket's type. It is dropped.
    Corrupted,
    /// The system refused.
    Failed(Error),
}

impl fmt::Display for TicketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Void => "the ticket has been redeemed, or nobody did before its queue was over",
            Self::KeeperGone => "the family's first process, which keeps what tickets stand for, has ended",
            Self::KeeperFull => "the family's first process has no free descriptor to keep it with (RLIMIT_NOFILE)",
            Self::Stranger => "the ticket belongs to processes that are no relatives of this one",
            Self::TooManyDescriptors => "no free descriptors for what the ticket stands for (RLIMIT_NOFILE)",
            Self::Corrupted => "what was kept is no value of the ticket's type",
            Self::Failed(error) => return error.fmt(f),
        })
    }
}

impl std::error::Error for TicketError {}

impl From<Error> for TicketError {
    fn from(error: Error) -> Self {
        match error {
            Error::TooManyDescriptors { .. } => Self::TooManyDescriptors,
            error => Self::Failed(error),
        }
    }
}

impl From<TicketError> for Error {
    fn from(error: TicketError) -> Self {
        match error {
            TicketError::TooManyDescriptors => Self::no_descriptors(),
            TicketError::Corrupted => Self::Corrupted,
            TicketError::Failed(error) => error,
            error => Self::other(error),
        }
    }
}
