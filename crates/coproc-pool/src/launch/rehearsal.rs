//! What every child does, done before it counts: in the zygote, so that its copies have the code; in a copy, so that it has the memory.

#![allow(unsafe_code)]

use std::hint::black_box;

use coproc::__private::{Failure, Parcel};

use super::Opening;
use crate::child::guarded;
use crate::context::Context;
use crate::report::Report;
use crate::{image, overflow, sys};

/// Takes the steps of a child of this name that returns nothing, but for what can be seen of them. The calling thread holds back all signals, and still does then.
pub(super) fn rehearse(name: &str) {
    let opening = Opening { entry: 0, name: name.to_owned(), context: Context::default().holding_back(u64::MAX) };
    let mut parcel = Parcel::default();
    opening.append_to(&mut parcel);
    if let Some(opening) = Opening::take_from(&mut parcel) {
        sys::set_thread_name(&opening.name);
        black_box(overflow::last_words(&opening.name));
        // SAFETY: a zygote or a copy of it has one thread.
        let _ = unsafe { opening.context.apply() };
        black_box(image::address_of(opening.entry));
    }
    let report = Parcel::of(&guarded(|| Some(Ok::<(), Failure>(()))));
    black_box(Report::exit_code(&report));
    // It is flushed at every end.
    black_box(std::io::stdout());
}
