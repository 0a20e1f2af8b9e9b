//! Who is alive: the kernel's lock table is the only registry.
//!
//! Each process draws a random identity and holds a lock on the byte of that number in its family's registry file, through an
//! open file description of its own. The kernel drops the lock when the process ends, in whatever way. So "is the owner of
//! this lock word alive" is one question to the kernel, and never a guess.
//!
//! - An owner killed anywhere: its byte is free as soon as the kernel has closed its descriptors, after its last store.
//! - A forked child: another process, so another identity. The identity lies in a page that a fork wipes, and a fork handler
//!   closes the inherited description, which would keep the dead parent alive. The child joins anew before its first operation.
//! - A child made by a raw `clone` that neither execs nor uses this crate keeps the description open, and so keeps its dead
//!   parent alive: the only such case.

mod board;
mod identity;
mod lease;
mod lifeline;
mod names;
mod registry;

pub use identity::known_identity;
pub(crate) use identity::{LARGEST, Thread, seat};
pub use lease::Lease;

pub use identity::Unregistered;
pub(crate) use lifeline::{Lifeline, Socket};
pub(crate) use registry::{Registry, forget_region, note_region, registry_of, watch_forks};
pub use registry::{register, tell_of_a_death};

/// Whether the process of this identity still runs, asked about a word at this address.
///
/// Words outside of every segment are shared by the threads of one process at most, as far as this crate can know: another
/// identity there is one that it knows nothing of, so it counts as alive, and who waits for it waits until its deadline.
pub(crate) fn is_alive(word: *const (), identity: u64) -> bool {
    if identity == known_identity() {
        return true;
    }
    registry_of(word).is_none_or(|registry| registry.is_alive(identity))
}
