//! What a function of another process may return.

use std::error::Error as StdError;

use crate::loan::{LoanError, TryLoanError};
use crate::pipe::RecvIntoError;
use crate::queue::{
    JoinTimeoutError, NoTask, RecvError, RecvTimeoutError, SendError, SendSliceError, SendTimeoutError, TasksLost, TryRecvError,
    TrySendError,
};
use crate::sync::{BarrierError, TryLockError};
use crate::ticket::TicketError;
use crate::{Error, LockError, Message, ReleaseError};

/// What a function that runs in another process may return: any [`Message`], or a `Result` of one with a usual error type.
///
/// An `Err` of an error type of this crate ([`Error`](enum@Error), [`LockError`], [`RecvError`] ...), of [`std::io::Error`] or of `Box<dyn Error>` does not cross as it is: it
/// arrives as the texts of the error and its sources; the item in a [`SendError`] is dropped. A `Result<M, E>` whose `E` is a message is a message itself, and arrives as it is.
#[diagnostic::on_unimplemented(
    message = "a function of another process cannot return `{Self}`",
    label = "not an outcome",
    note = "it may return any message, or `Result<M, E>` of a message with `coproc::Error`, `LockError`, `Box<dyn Error>` or `Box<dyn Error + Send + Sync>`"
)]
pub trait Outcome: Sized + 'static {
    /// What the caller gets if all went well.
    type Output: Message;

    /// Splits the outcome into the output and the failure.
    #[doc(hidden)]
    fn settle(self) -> Result<Self::Output, Failure>;
}

/// An error in the form in which it crosses: its text and the texts of its sources.
#[derive(Clone, Debug, PartialEq, Eq, Message)]
pub struct Failure {
    /// The error's text.
    pub message: String,
    /// The texts of its sources, outermost first.
    pub chain: Vec<String>,
}

impl Failure {
    /// The texts of this error and its sources.
    pub fn of(error: &(dyn StdError + 'static)) -> Self {
        let chain = std::iter::successors(error.source(), |&source| source.source());
        Self { message: error.to_string(), chain: chain.map(ToString::to_string).collect() }
    }
}

impl<T: Message> Outcome for T {
    type Output = T;

    fn settle(self) -> Result<T, Failure> {
        Ok(self)
    }
}

macro_rules! errors {
    ($($error:ty: |$e:ident| $as_dyn:expr $(, of any $item:ident)?;)*) => {$(
        // `$error` must never become a `Message`, or this would overlap with the blanket above.
        impl<T: Message $(, $item: 'static)?> Outcome for Result<T, $error> {
            type Output = T;

            fn settle(self) -> Result<T, Failure> {
                self.map_err(|$e| Failure::of($as_dyn))
            }
        }
    )*};
}

errors! {
    Error: |e| &e;
    LockError: |e| &e;
    TryLockError: |e| &e;
    ReleaseError: |e| &e;
    BarrierError: |e| &e;
    SendError<I>: |e| &e, of any I;
    TrySendError<I>: |e| &e, of any I;
    SendTimeoutError<I>: |e| &e, of any I;
    SendSliceError: |e| &e;
    RecvError: |e| &e;
    TryRecvError: |e| &e;
    RecvTimeoutError: |e| &e;
    RecvIntoError: |e| &e;
    NoTask: |e| &e;
    TasksLost: |e| &e;
    JoinTimeoutError: |e| &e;
    LoanError: |e| &e;
    TryLoanError: |e| &e;
    TicketError: |e| &e;
    std::io::Error: |e| &e;
    Box<dyn StdError>: |e| &*e;
    Box<dyn StdError + Send + Sync>: |e| &*e;
}
