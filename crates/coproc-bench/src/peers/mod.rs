//! The peers that need more than a line to call.

pub(crate) mod boost;
pub(crate) mod by_hand;
pub(crate) mod compiled;
pub(crate) mod copy;
pub(crate) mod futex;
pub(crate) mod iceoryx2;
pub(crate) mod ipc_channel;
pub(crate) mod pipe;
pub(crate) mod poll;
pub(crate) mod posix;
pub(crate) mod procspawn;
pub(crate) mod pthread;
pub(crate) mod python;
pub(crate) mod raw_sync;
pub(crate) mod socket;
pub(crate) mod station;
