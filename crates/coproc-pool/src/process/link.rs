//! What a parent has of a child: who it is, and the channel on which it gives its result.

use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};

use coproc::__private::Parcel;
use coproc::{Message, Result};

use super::{Child, exit};
use crate::call::{Call, function};
use crate::channel::{Channel, Received};
use crate::child::guarded;
use crate::context::{Settings, Word};
use crate::error::{Cause, ProcessError};
use crate::launch::{self, Entry};
use crate::log;
use crate::report::Report;

/// A child and its result, whose type others know.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) child: Child,
    channel: Channel,
    /// Why it gives no result, or no more; once that is known.
    settled: Mutex<Option<Cause>>,
}

impl Link {
    /// Starts a child that calls this function.
    pub(super) fn start<F, Args, Sig>(settings: &Settings, args: &Args) -> Result<Self>
    where
        F: Call<Args, Sig>,
    {
        let mut arguments = Parcel::default();
        arguments.fill(|to| F::pack(args, to))?;
        let entry: Entry = |arguments, _| guarded(|| function::<F>().call(arguments)).pack();
        let (child, channel) = launch::start(entry, settings, arguments)?;
        let child = Child::new(settings.name.clone(), settings.daemon, child);
        if settings.context.wants_answer() {
            // If there is none, it has died, and who joins it will learn how.
            if let Received::Parcel(word) = channel.recv_from(child.as_fd(), true)? {
                word.open::<Word>().ok_or(coproc::Error::Corrupted)?.settle()?;
            }
        }
        exit::enter(&child);
        log::started(&child);
        Ok(Self { child, channel, settled: Mutex::default() })
    }

    /// The result of a child that has ended; it can be taken once.
    pub(super) fn take<T: Message>(&self) -> Result<T, ProcessError> {
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        let result = match &*settled {
            Some(cause) => Err(cause.clone()),
            None => {
                let result = self.report::<T>();
                log::ended(&self.child, result.as_ref().err());
                *settled = Some(result.as_ref().map_or_else(Cause::clone, |_| Cause::Taken));
                result
            }
        };
        result.map_err(|cause| ProcessError { pid: self.child.pid(), name: self.child.name().to_owned(), cause })
    }

    /// Why a child that has ended has failed, if it has, and nobody has asked for its result. That is dropped.
    pub(super) fn failure(&self) -> Option<ProcessError> {
        let is_settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if is_settled { None } else { self.take::<Anything>().err() }
    }

    fn report<T: Message>(&self) -> Result<T, Cause> {
        // What it sent before its end is there, whole. Of several parcels the last counts: the others were words of panics that
        // did not end it.
        let mut last = None;
        loop {
            match self.channel.recv_from(self.child.as_fd(), false) {
                Ok(Received::Parcel(parcel)) => last = Some(parcel),
                Ok(Received::Nothing | Received::End) => break,
                Err(failed) => return Err(Cause::Unreadable { message: failed.to_string() }),
            }
        }
        match last.map(|parcel| parcel.open::<Report<T>>()) {
            Some(Some(report)) => report.settle(),
            Some(None) => Err(Cause::Unreadable { message: "its result is no value of the function's type".into() }),
            None => Err(Cause::of(self.child.wait().0)),
        }
    }
}

/// A result that nobody wants: reads whatever bytes there are.
struct Anything;

impl Message for Anything {
    fn write(&self, _: &mut coproc::Writer<'_>) {}

    fn read(from: &mut coproc::Reader<'_>) -> Option<Self> {
        (0..from.remaining()).try_for_each(|_| u8::read(from).map(drop))?;
        Some(Self)
    }
}
