//! Why no buffer was lent.

use std::error::Error;
use std::fmt;

use crate::liveness::Unregistered;

/// Why [`LoanQueue::loan`](super::LoanQueue::loan) lent nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoanError {
    /// The queue is closed.
    Closed,
    /// A buffer has not as many bytes.
    TooLong {
        /// How many were asked for.
        len: usize,
        /// How many a buffer has.
        size: usize,
    },
    /// This process has forked and cannot register itself as alive.
    Unregistered(Unregistered),
}

/// Why [`LoanQueue::try_loan`](super::LoanQueue::try_loan) or [`LoanQueue::loan_timeout`](super::LoanQueue::loan_timeout) lent
/// nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TryLoanError {
    /// No buffer is free.
    WouldBlock,
    /// No buffer came free in that time.
    TimedOut,
    /// There is none for this caller, however long it waits.
    Loan(LoanError),
}

impl fmt::Display for LoanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the queue is closed"),
            Self::TooLong { len, size } => write!(f, "a loan of {len} bytes was asked for, but a buffer has {size}"),
            Self::Unregistered(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for TryLoanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WouldBlock => f.write_str("no buffer is free"),
            Self::TimedOut => f.write_str("timed out: no buffer came free in that time"),
            Self::Loan(error) => error.fmt(f),
        }
    }
}

impl Error for LoanError {}
impl Error for TryLoanError {}

impl From<LoanError> for TryLoanError {
    fn from(error: LoanError) -> Self {
        Self::Loan(error)
    }
}
