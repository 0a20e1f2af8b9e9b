//! Who is alive: what the model says. A thread of a model is a process, unless the model says otherwise.

use std::fmt;

use crate::world;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Thread(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unregistered(pub(crate) i32);

impl fmt::Display for Unregistered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unregistered")
    }
}

impl std::error::Error for Unregistered {}

impl Thread {
    pub(crate) fn known() -> Option<Self> {
        Some(Self(world::me().bits))
    }

    pub(crate) fn last_known() -> u64 {
        world::me().bits
    }

    pub(crate) fn current() -> Result<Self, Unregistered> {
        Ok(Self(world::me().bits))
    }

    pub(crate) fn identity(self) -> u64 {
        self.0 >> 24
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }
}

pub(crate) fn known_identity() -> u64 {
    world::me().bits >> 24
}

/// Processes look for their slot at different places, or at the same, as their identities are.
pub(crate) fn seat() -> usize {
    known_identity() as usize
}

pub(crate) fn is_alive(_: *const (), identity: u64) -> bool {
    identity == known_identity() || world::is_alive(identity)
}

pub(crate) struct Registry;

impl Registry {
    pub(crate) fn pid_of(&self, identity: u64) -> u32 {
        identity as u32
    }
}

pub(crate) fn registry_of(_: *const ()) -> Option<Registry> {
    Some(Registry)
}
