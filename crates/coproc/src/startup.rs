//! What is done before `main`, while there is one thread and it costs nothing.
//!
//! Fork handlers must be: the C library has a lock of its own while it runs them, so who registers one under a lock that another one takes waits for the forking
//! thread, which waits for that lock. And a copy that is forked in the middle of a first call finds it unfinished for good.

#![allow(unsafe_code)]

use crate::{ready, ticket};

/// The loader calls what this section lists. What it does is done later, and dearer, where a loader does not.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

extern "C" fn before_main() {
    crate::sys::take_part_in_barriers();
    watch_forks();
}

/// From now on all tables of this crate are whole in every forked copy. Whoever has tables above these registers its handlers after this.
pub fn watch_forks() {
    // Both see to those of the segments, which are below them.
    ready::watch_forks();
    ticket::watch_forks();
}
