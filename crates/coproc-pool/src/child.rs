//! What a child does between the hook and its end.

#![allow(unsafe_code)]

use std::any::Any;
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::OnceLock;

use coproc::__private::{Failure, Parcel, join_family};
use coproc::{Error, Message};

use crate::channel::{Channel, Received};
use crate::context::{Context, Word};
use crate::image;
use crate::launch::{Entry, GO, Ticket};
use crate::report::Report;
use crate::sys;

/// The name of this process, if it is a child.
static NAME: OnceLock<String> = OnceLock::new();

/// The channel of this process, if it is a child: for the last words of a panic that aborts.
static CHANNEL: OnceLock<Channel> = OnceLock::new();

thread_local! {
    /// The last panic of this thread, as the hook saw it: what it said and where, and the backtrace.
    static LAST_PANIC: RefCell<Option<(String, Option<String>)>> = const { RefCell::new(None) };
}

/// The name of this process, if it is a child.
pub(crate) fn name() -> Option<&'static str> {
    NAME.get().map(String::as_str)
}

/// Runs the child and exits.
pub(crate) fn run(ticket: &Ticket, channel: Channel) -> ! {
    sys::die_with_parent();
    if std::os::unix::process::parent_id() != ticket.parent && std::os::unix::process::parent_id() != 0 {
        // The parent died before this one could ask to die with it. (0: it lives in another pid namespace.)
        std::process::exit(1);
    }
    sys::leave_interrupts_to_parent();
    sys::set_thread_name(&ticket.name);
    let _ = NAME.set(ticket.name.clone());
    let channel = CHANNEL.get_or_init(|| channel);
    panic::set_hook(Box::new(panicked));

    let report = match prepare(ticket, channel) {
        Ok((entry, arguments)) => entry(arguments, channel),
        Err(error) => Report::unreadable(error.to_string()),
    };
    // If the parent has gone meanwhile nobody wants to know.
    let _ = channel.send(&report);
    std::process::exit(Report::exit_code(&report))
}

/// Joins the family, takes the context and the arguments, finds the function.
fn prepare(ticket: &Ticket, channel: &Channel) -> coproc::Result<(Entry, Parcel)> {
    let parcel = || match channel.recv(true)? {
        Received::Parcel(parcel) => Ok(parcel),
        Received::Nothing | Received::End => Err(Error::other("the parent sent no arguments")),
    };
    let mut first = [0];
    join_family(channel.recv_files(&mut first, true)?.map(|(_, files)| files).unwrap_or_default())?;
    let context = if first == [0] { Context::default() } else { parcel()?.open::<Context>().ok_or(Error::Corrupted)? };
    let arguments = parcel()?;
    let mut word = [0; GO.len()];
    let len = channel.recv_files(&mut word, true)?.map_or(0, |(len, _)| len);
    if word[..len] != *GO {
        return Err(Error::other("the parent has gone"));
    }
    set_up(&context, channel)?;
    let entry = image::address_of(ticket.entry);
    let entry = entry.ok_or_else(|| Error::other("the function to call is not in this executable"))?;
    // SAFETY: the ticket comes from a parent of the same build and copy of this crate (its fingerprint), which computed the offset from
    // an `Entry`, and there is code.
    let entry = unsafe { std::mem::transmute::<usize, Entry>(entry) };
    Ok((entry, arguments))
}

/// Sets the context up, and tells a parent who waits for that.
fn set_up(context: &Context, channel: &Channel) -> coproc::Result<()> {
    // SAFETY: nobody but this crate has run in this process since it was made, before `main`, but constructors, which know that
    // others follow; it has one thread.
    let result = unsafe { context.apply() };
    // What was ignored may be so no more.
    sys::leave_interrupts_to_parent();
    if context.wants_answer() {
        channel.send(&Parcel::of(&Word::of(&result)))?;
    }
    result.map_err(Error::from)
}

/// Runs this, turning a panic into a report; otherwise its result is the report.
pub(crate) fn guarded<M: Message>(run: impl FnOnce() -> Option<Result<M, Failure>>) -> Report<M> {
    match panic::catch_unwind(AssertUnwindSafe(run)) {
        Ok(Some(Ok(value))) => Report::Returned(value),
        Ok(Some(Err(failure))) => Report::Failed(failure),
        Ok(None) => Report::Unreadable("the arguments are no values of the parameters' types".into()),
        Err(payload) => {
            let (message, backtrace) = LAST_PANIC.take().unwrap_or_else(|| (said(&*payload).to_owned(), None));
            // A payload whose own drop panics must not get past here.
            std::mem::forget(payload);
            Report::Panicked { message, backtrace }
        }
    }
}

fn said(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("(a value that is no text)")
}

/// The panic hook of a child: says who it is, and keeps what it says for the report.
fn panicked(info: &PanicHookInfo<'_>) {
    use std::backtrace::{Backtrace, BacktraceStatus};
    let at = info.location().map_or_else(String::new, |location| format!(", {location}"));
    let message = format!("{}{at}", said(info.payload()));
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    let thread = std::thread::current();
    let thread = thread.name().map_or_else(String::new, |name| format!(", thread '{name}'"));
    eprintln!("process '{}' (pid {}{thread}) panicked: {message}", name().unwrap_or("?"), std::process::id());
    if let Some(backtrace) = &backtrace {
        eprintln!("{backtrace}");
    }
    if cfg!(panic = "abort") {
        let last_words = Report::<()>::Panicked { message, backtrace };
        let _ = CHANNEL.get().map(|channel| channel.send(&Parcel::of(&last_words)));
    } else {
        LAST_PANIC.set(Some((message, backtrace)));
    }
}
