//! Who is alive: what the model says. A thread of a model is a process, unless the model says otherwise.

use std::fmt;
use std::sync::{Arc, Mutex};

use crate::error::Result;
use crate::sys::atomic::AtomicU32;
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

pub(crate) const LARGEST: u64 = u64::MAX >> 24;

/// A socket that is never cut: a model opens both ends before it begins, so that the lives of their holders count.
#[derive(Debug)]
pub(crate) struct Socket;

#[derive(Debug)]
pub(crate) struct Lifeline(Mutex<Option<Socket>>);

impl Lifeline {
    pub(crate) fn pair() -> Result<(Self, Self)> {
        Ok((Self::adopt(Socket), Self::adopt(Socket)))
    }

    pub(crate) fn adopt(socket: Socket) -> Self {
        Self(Mutex::new(Some(socket)))
    }

    /// Pipes alone need it, which are not modelled.
    pub(crate) fn socket(&self) -> Option<Socket> {
        unreachable!("a ring sends nothing by its socket")
    }

    pub(crate) fn take(&self) -> Option<Socket> {
        self.0.lock().unwrap().take()
    }

    pub(crate) fn is_cut(&self) -> bool {
        false
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

    pub(crate) fn id(&self) -> u128 {
        0
    }

    /// No model sleeps so long that it is told of deaths.
    pub(crate) fn board(&self) -> Option<&Board> {
        None
    }
}

pub(crate) struct Board;

impl Board {
    pub(crate) fn is_complete(&self) -> bool {
        false
    }

    pub(crate) fn deaths(&self) -> u32 {
        unreachable!("there is no board")
    }

    pub(crate) fn word(&self) -> &AtomicU32 {
        unreachable!("there is no board")
    }
}

pub(crate) fn registry_of(_: *const ()) -> Option<Arc<Registry>> {
    Some(Arc::new(Registry))
}
