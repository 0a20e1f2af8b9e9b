//! What is done before `main`, while there is one thread and it costs nothing.

#![allow(unsafe_code)]

/// The loader calls what this section lists. What it does is done later, and dearer, where a loader does not.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

extern "C" fn before_main() {
    crate::sys::take_part_in_barriers();
    crate::segment::watch_forks();
}
