//! A mark of life that several processes hold together: it lasts until the last of them has ended.
//!
//! The lock of an identity belongs to an open file description. Whoever has a descriptor of it keeps it, so a lock that names a lease is
//! taken over as from a dead owner when all processes of the lease are dead, and not before.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::identity::draw;
use super::registry::Registry;
use crate::error::{Error, Result};
use crate::message::{Message, Reader, Writer};
use crate::sys::fork::Unforked;

/// A lease, held by this process. A forked child does not hold it.
#[derive(Debug)]
pub struct Lease {
    identity: u64,
    family: u128,
    file: Unforked,
}

impl Lease {
    /// A new lease, held by this process alone.
    ///
    /// # Errors
    /// If the system has no descriptor left.
    pub fn new() -> Result<Self> {
        let failed = Error::os("registering a lease");
        let registry = Registry::home().map_err(&failed)?;
        // Taken already is one chance in 2^40.
        for _ in 0..8 {
            let identity = draw().map_err(&failed)?;
            if let Some(lock) = registry.register(identity, None).map_err(&failed)? {
                return Ok(Self { identity, family: registry.id(), file: Unforked::new(Arc::new(lock)) });
            }
        }
        Err(failed(io::Error::from_raw_os_error(libc::EADDRINUSE)))
    }

    /// What lock words name it by.
    pub(crate) fn identity(&self) -> u64 {
        self.identity
    }

    /// Whether who asks about a lock of this family can learn of it.
    pub(crate) fn is_known_in(&self, family: u128) -> bool {
        self.family == family
    }

    /// From now on this process is the one that is named when the owner of a lock of this lease is asked for.
    pub(crate) fn blame(&self, pid: u32) {
        if let Some(registry) = Registry::find(self.family) {
            let _ = registry.note(self.identity, pid);
        }
    }
}

impl Message for Lease {
    fn write(&self, to: &mut Writer<'_>) {
        self.identity.write(to);
        self.family.write(to);
        // In a forked child there is none to give.
        if let Some(file) = self.file.get() {
            to.file(file);
        }
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let (identity, family) = (u64::read(from)?, u128::read(from)?);
        let file: Arc<OwnedFd> = from.file()?;
        Some(Self { identity, family, file: Unforked::new(file) })
    }
}
