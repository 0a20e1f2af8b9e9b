//! What a child, or a worker for a task, tells its parent at the end.

use coproc::__private::{Failure, Parcel};
use coproc::{Message, Reader, Writer};

use crate::error::Cause;

/// The end of a function in another process.
#[derive(Debug)]
pub(crate) enum Report<M> {
    Returned(M),
    Failed(Failure),
    Panicked { message: String, backtrace: Option<String> },
    Unreadable(String),
    Overflowed,
}

const RETURNED: u8 = 0;
const FAILED: u8 = 1;
const PANICKED: u8 = 2;
const UNREADABLE: u8 = 3;
/// All that is written of it: a signal handler has this ready.
pub(crate) const OVERFLOWED: u8 = 4;

impl<M: Message> Message for Report<M> {
    fn write(&self, to: &mut Writer<'_>) {
        match self {
            Self::Returned(value) => {
                RETURNED.write(to);
                value.write(to);
            }
            Self::Failed(failure) => {
                FAILED.write(to);
                failure.write(to);
            }
            Self::Panicked { message, backtrace } => {
                PANICKED.write(to);
                message.write(to);
                backtrace.write(to);
            }
            Self::Unreadable(message) => {
                UNREADABLE.write(to);
                message.write(to);
            }
            Self::Overflowed => OVERFLOWED.write(to),
        }
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(match u8::read(from)? {
            RETURNED => Self::Returned(M::read(from)?),
            FAILED => Self::Failed(Failure::read(from)?),
            PANICKED => Self::Panicked { message: String::read(from)?, backtrace: Option::read(from)? },
            UNREADABLE => Self::Unreadable(String::read(from)?),
            OVERFLOWED => Self::Overflowed,
            _ => return None,
        })
    }
}

impl<M: Message> Report<M> {
    /// The report as a parcel, or that there is no memory for it.
    pub(crate) fn pack(&self) -> Parcel {
        Parcel::try_of(self).unwrap_or_else(|error| Report::unreadable(error.to_string()))
    }
}

impl<M> Report<M> {
    /// The value, or why there is none.
    pub(crate) fn settle(self) -> Result<M, Cause> {
        match self {
            Self::Returned(value) => Ok(value),
            Self::Failed(Failure { message, chain }) => Err(Cause::Failed { message, chain }),
            Self::Panicked { message, backtrace } => Err(Cause::Panicked { message, backtrace }),
            Self::Unreadable(message) => Err(Cause::Unreadable { message }),
            Self::Overflowed => Err(Cause::StackOverflow),
        }
    }
}

impl Report<()> {
    pub(crate) fn unreadable(message: String) -> Parcel {
        Parcel::of(&Self::Unreadable(message))
    }

    /// The exit code of a child with this report: 101 for a panic, as Rust programs have it, 1 for other failures.
    pub(crate) fn exit_code(report: &Parcel) -> i32 {
        match report.bytes.first() {
            Some(&RETURNED) => 0,
            Some(&PANICKED) => 101,
            _ => 1,
        }
    }
}
