//! What runs before `main` and turns a started copy of the program into a child.
//!
//! In a program that nobody has started as a child it sees to forks, looks at one environment variable, and whether there is a filter for system calls, and
//! that is all. In a child, or the zygote, it takes over the two descriptors that it inherited, runs the constructors of other crates that would have come
//! after it, runs the child, and exits: `main` is never reached.

#![allow(unsafe_code)]

use std::ffi::{c_char, c_int};

use coproc::__private::Segment;
use std::os::fd::BorrowedFd;

use crate::channel::Channel;
use crate::child;
use crate::image::{self, Constructor};
use crate::launch::exec::{CHANNEL_FILE, FIRST_OTHER_FILE, MARK, TICKET_FILE, Ticket};
use crate::launch::forked::watch_forks;
use crate::launch::rights;
use crate::launch::serve::serve;
use crate::sys;

/// The loader calls what this section lists, in the order of linking. The static's address also tells this copy of the crate from
/// another that is linked into the same program.
#[used]
#[unsafe(link_section = ".init_array")]
static HOOK: Constructor = hook;

/// What a ticket for this copy of this build is marked with.
pub(crate) fn fingerprint() -> u64 {
    image::fingerprint((&raw const HOOK).addr())
}

extern "C" fn hook(argc: c_int, argv: *const *const c_char, envp: *const *const c_char) {
    watch_forks();
    rights::note_filters();
    if !sys::has_env(MARK) || image::is_privileged() {
        return;
    }
    let Some(ticket) = read_ticket().filter(|ticket| ticket.fingerprint == fingerprint()) else { return };
    if sys::caps::keep_only(&ticket.capabilities).is_err() {
        sys::leave(1);
    }
    sys::remove_env(MARK);
    sys::fill_standard_files();
    if ticket.close_rest {
        sys::close_all_from(FIRST_OTHER_FILE);
    }
    // SAFETY: the ticket says that the parent handed down this number to this copy of the crate, and nobody has run since who could
    // have taken it.
    drop(unsafe { sys::inherited(TICKET_FILE) });
    // SAFETY: as above.
    let Some(channel) = (unsafe { sys::inherited(CHANNEL_FILE) }) else { return };
    let channel = Channel::from_file(channel);
    image::run_constructors_after(HOOK, argc, argv, envp);
    if ticket.zygote {
        let channel = serve(ticket.parent, channel);
        child::run(channel, child::End::Usual)
    }
    child::prepare();
    child::enter(ticket.parent, &channel);
    child::run(channel, child::End::Usual)
}

/// The ticket, if the inherited descriptor is one. Looks only: it may be anybody's file.
fn read_ticket() -> Option<Ticket> {
    /// Longer files are no tickets.
    const LONGEST: usize = 64 << 10;
    // SAFETY: if it is not open, the call below says so; if it is, nobody closes it meanwhile, since one thread runs before `main`.
    let file = unsafe { BorrowedFd::borrow_raw(TICKET_FILE) };
    let (_, bytes) = Segment::read_frozen(file, LONGEST).ok()?;
    coproc::__private::Parcel { bytes, handles: Vec::new() }.open()
}
