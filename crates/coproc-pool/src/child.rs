//! What a child does between the hook and its end.

#![allow(unsafe_code)]

use std::any::Any;
use std::cell::RefCell;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};

use coproc::__private::{Failure, Parcel, adopt_family, packets};
use coproc::{Error, Message};

use crate::channel::{Channel, Received};
use crate::context::{Context, Word};
use crate::image;
use crate::launch::{Entry, Opening, lifeline};
use crate::me::{self, Me, me};
use crate::overflow;
use crate::process;
use crate::report::Report;
use crate::sys;

thread_local! {
    /// The last panic of this thread, as the hook saw it: what it said and where, and the backtrace.
    static LAST_PANIC: RefCell<Option<(String, Option<String>)>> = const { RefCell::new(None) };
}

/// How a child ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By `exit`, as programs do.
    Usual,
    /// Without what its parent has registered for its own end, which it is a fork of.
    Forked,
}

/// What is the same for all children, and done before one begins: in the zygote, once.
pub(crate) fn prepare() {
    packets::prepare();
    sys::leave_interrupts_to_parent();
    panic::set_hook(Box::new(panicked));
}

/// In a child that was executed: dies with its parent, and joins its family. What it needs for that comes first on the channel.
pub(crate) fn enter(parent: u32, channel: &Channel) {
    let files = channel.recv_files(&mut [0], true).ok().flatten().map(|(_, files)| files).unwrap_or_default();
    let mut files = files.into_iter();
    let deadly = files.next().and_then(|life| sys::life::deadly(None, life.as_fd()).ok());
    if !lifeline::hold(parent, deadly) {
        std::process::exit(1);
    }
    if let Err(error) = adopt_family(files.collect()) {
        let _ = channel.send(&Report::unreadable(error.to_string()));
        std::process::exit(1);
    }
}

/// Runs the child and exits.
pub(crate) fn run(channel: Channel, end: End) -> ! {
    // For good: a panic of any thread may want to say something.
    let channel: &'static Channel = Box::leak(Box::new(channel));
    let mut report = match open(channel) {
        Ok(Some((entry, arguments))) => entry(arguments, channel),
        // The parent has gone, or thought better of it.
        Ok(None) => sys::leave(1),
        Err(error) => Report::unreadable(error.to_string()),
    };
    if let Err(error @ Error::NoSpace { .. }) = channel.send(&report) {
        report = Report::unreadable(error.to_string());
        let _ = channel.send(&report);
    }
    // Else, if it cannot be sent, the parent has gone, and nobody wants to know.
    let code = Report::exit_code(&report);
    match end {
        End::Usual => std::process::exit(code),
        End::Forked => {
            let _ = io::stdout().flush();
            process::see_children_off();
            sys::leave(code)
        }
    }
}

/// Receives what this child shall be and run, and becomes that. `None` if nothing comes.
fn open(channel: &'static Channel) -> coproc::Result<Option<(Entry, Parcel)>> {
    let Received::Parcel(mut arguments) = channel.recv(true)? else { return Ok(None) };
    let opening = Opening::take_from(&mut arguments).ok_or(Error::Corrupted)?;
    sys::set_thread_name(&opening.name);
    overflow::watch(me::be(Me { name: opening.name, parent: opening.context.parent().clone(), channel }));
    set_up(&opening.context, channel)?;
    let entry = image::address_of(opening.entry);
    let entry = entry.ok_or_else(|| Error::other("the function to call is not in this executable"))?;
    // SAFETY: the opening comes from a parent of the same build and copy of this crate (its fingerprint), which computed the offset from
    // an `Entry`, and there is code.
    let entry = unsafe { std::mem::transmute::<usize, Entry>(entry) };
    Ok(Some((entry, arguments)))
}

/// Sets the context up, and tells a parent who waits for that.
fn set_up(context: &Context, channel: &Channel) -> coproc::Result<()> {
    // SAFETY: nobody but this crate has run in this process since it was made, before `main`, but constructors, which know that
    // others follow; it has one thread.
    let result = unsafe { context.apply() };
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
        Err(payload) => last_panic(payload),
    }
}

/// The report of a panic of this thread that was caught just now.
pub(crate) fn last_panic<M>(payload: Box<dyn Any + Send>) -> Report<M> {
    let (message, backtrace) = LAST_PANIC.take().unwrap_or_else(|| (said(&*payload).to_owned(), None));
    // A payload whose own drop panics must not get past here.
    std::mem::forget(payload);
    Report::Panicked { message, backtrace }
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
    eprintln!("process '{}' (pid {}{thread}) panicked: {message}", me().map_or("?", |me| &me.name), std::process::id());
    if let Some(backtrace) = &backtrace {
        eprintln!("{backtrace}");
    }
    if cfg!(panic = "abort") {
        let last_words = Report::<()>::Panicked { message, backtrace };
        let _ = me().map(|me| me.channel.send(&Parcel::of(&last_words)));
    } else {
        LAST_PANIC.set(Some((message, backtrace)));
    }
}
