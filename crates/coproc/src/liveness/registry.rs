//! The family's registry file, this process's membership in it, and which memory belongs to which family.
//!
//! The registry is a memory file. Byte 2^62 + identity is locked by the living process of that identity, through a description that is never
//! mapped. It begins with the [names]; behind them come the family's number and its [`Board`].

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Once};

use once_cell::race::OnceBox;
use rustix::fs::OFlags;

use super::board::{self, Board};
use super::identity::{draw, forget_thread, known_identity, publish};
use super::names;
use crate::sys::{self, fork::ForkLock};

const FIRST_BYTE: u64 = 1 << 62;

/// Where the family's number and the board are.
const BOARD: u64 = names::SIZE;

/// A family's registry.
#[derive(Debug)]
pub(crate) struct Registry {
    id: u128,
    /// Never locked through, so it may be inherited, sent, and asked through.
    file: OwnedFd,
    /// Identity of the process that made it, if that is this one, or was before a fork; else 0.
    founder: u64,
    /// Mapped when it is needed first.
    board: OnceBox<Option<Board>>,
}

/// A registry in which this process is registered.
#[derive(Debug)]
struct Membership {
    registry: Arc<Registry>,
    /// The description that holds the lock: opened for that alone, never mapped, sent or exposed. A forked child closes it and never
    /// unlocks it.
    lock: Option<OwnedFd>,
    /// Whether somebody tells the family of this process's end, or there is nobody left then.
    watched: bool,
}

#[derive(Debug)]
struct Tables {
    /// The first is the family in which new segments are made.
    memberships: Vec<Membership>,
    /// Start of each mapped segment → its end and its family.
    regions: BTreeMap<usize, (usize, Arc<Registry>)>,
}

static TABLES: ForkLock<Tables> = ForkLock::new(Tables { memberships: Vec::new(), regions: BTreeMap::new() });

extern "C" fn before_fork() {
    TABLES.hold();
}

extern "C" fn after_fork_in_parent() {
    TABLES.release(|_| ());
}

extern "C" fn after_fork_in_child() {
    forget_thread();
    TABLES.release(|tables| {
        for membership in &mut tables.memberships {
            membership.lock = None;
            membership.watched = false;
        }
    });
}

/// From now on the tables are whole, and the inherited marks of life closed, in every forked child.
pub(crate) fn watch_forks() {
    static HANDLERS: Once = Once::new();
    HANDLERS.call_once(|| {
        sys::fork::watch_forks();
        sys::fork::on_fork(before_fork, after_fork_in_parent, after_fork_in_child);
    });
}

fn tables() -> std::sync::MutexGuard<'static, Tables> {
    watch_forks();
    TABLES.lock()
}

impl Registry {
    /// The registry of this process's family; makes one if it has none yet.
    pub(crate) fn home() -> io::Result<Arc<Self>> {
        let mut tables = tables();
        if let Some(home) = tables.memberships.first().map(|membership| Arc::clone(&membership.registry)) {
            tables.enter()?;
            return Ok(home);
        }
        let file = sys::file::memory("coproc-family")?;
        let id = sys::random()?;
        sys::file::set_len(file.as_fd(), BOARD + board::SIZE)?;
        sys::file::write_at(file.as_fd(), &id.to_ne_bytes(), BOARD)?;
        sys::file::seal_length(file.as_fd())?;
        let founder = tables.enter()?;
        tables.join(Self { id, file, founder, board: OnceBox::new() })
    }

    /// Belongs to the family whose registry this is, without being registered in it: this process, and each child that it forks, draws an
    /// identity and registers itself before its first operation, as forked processes do.
    ///
    /// # Errors
    /// If the file is no registry.
    pub(crate) fn adopt(file: OwnedFd) -> io::Result<Arc<Self>> {
        let mut id = [0; 16];
        if sys::file::read_at(file.as_fd(), &mut id, BOARD)? != id.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "this file is no registry of a coproc family"));
        }
        let registry = Arc::new(Self { id: u128::from_ne_bytes(id), file, founder: 0, board: OnceBox::new() });
        let mut tables = tables();
        if known_identity() != 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "this process is registered in a coproc family already"));
        }
        tables.memberships.push(Membership { registry: Arc::clone(&registry), lock: None, watched: true });
        Ok(registry)
    }

    /// The registry of this number, if this process is a member.
    pub(crate) fn find(id: u128) -> Option<Arc<Self>> {
        tables()
            .memberships
            .iter()
            .find(|membership| membership.registry.id == id)
            .map(|membership| Arc::clone(&membership.registry))
    }

    /// The number that the segments of this family name.
    pub(crate) fn id(&self) -> u128 {
        self.id
    }

    /// Whether this process is the first of the family.
    pub(crate) fn is_founded_here(&self) -> bool {
        self.founder != 0 && self.founder == known_identity()
    }

    /// The file, to give to another process.
    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Whether the process of this identity, another than this, still runs. If the kernel will not say, it does.
    pub(crate) fn is_alive(&self, identity: u64) -> bool {
        sys::ofd::is_locked(self.file(), FIRST_BYTE + identity).unwrap_or(true)
    }

    /// The pid that the process of this identity noted, also after its death; 0 if it is not known (any more).
    pub(crate) fn pid_of(&self, identity: u64) -> u32 {
        names::pid_of(self.file(), identity)
    }

    /// Where deaths are told; `None` if it cannot be mapped.
    pub(crate) fn board(&self) -> Option<&Board> {
        self.board.get_or_init(|| Box::new(Board::map(self.file(), BOARD))).as_ref()
    }

    /// Has who sleeps long look: something has happened that no other word says.
    pub(crate) fn tell(&self) {
        self.board().iter().for_each(|board| board.tell());
    }

    /// Locks the byte of this identity through a description of its own; `None` if another process has it. `files`: see [`reopen_by`](sys::file::reopen_by).
    pub(super) fn register(&self, identity: u64, files: Option<BorrowedFd<'_>>) -> io::Result<Option<OwnedFd>> {
        let lock = sys::file::reopen_by(files, self.file(), OFlags::RDWR)?;
        if !sys::ofd::lock(lock.as_fd(), FIRST_BYTE + identity)? {
            return Ok(None);
        }
        self.note(identity, std::process::id())?;
        Ok(Some(lock))
    }

    /// Notes the pid that goes with an identity.
    pub(super) fn note(&self, identity: u64, pid: u32) -> io::Result<()> {
        names::note(self.file(), identity, pid)
    }
}

impl Tables {
    /// The identity of this process; draws one and registers it with every family if there is none, first of all or since a fork.
    fn enter(&mut self) -> io::Result<u64> {
        self.enter_by(None)
    }

    fn enter_by(&mut self, files: Option<BorrowedFd<'_>>) -> io::Result<u64> {
        let identity = known_identity();
        if identity != 0 {
            return Ok(identity);
        }
        // Taken already is one chance in 2^40. More than a few in a row is a hostile peer that has locked them all.
        'draw: for _ in 0..8 {
            let identity = draw()?;
            for membership in &mut self.memberships {
                // Whatever is there now belongs to the parent of a raw clone: closed, not unlocked.
                membership.lock = membership.registry.register(identity, files)?;
                if membership.lock.is_none() {
                    continue 'draw;
                }
                if !membership.watched {
                    membership.registry.board().iter().for_each(|board| board.admit_stranger());
                }
            }
            publish(identity)?;
            return Ok(identity);
        }
        Err(io::Error::from_raw_os_error(libc::EADDRINUSE))
    }

    fn join(&mut self, registry: Registry) -> io::Result<Arc<Registry>> {
        let identity = self.enter()?;
        if let Some(known) = self.memberships.iter().find(|membership| membership.registry.id == registry.id) {
            return Ok(Arc::clone(&known.registry));
        }
        let lock = registry.register(identity, None)?;
        if lock.is_none() {
            return Err(io::Error::from_raw_os_error(libc::EADDRINUSE));
        }
        let registry = Arc::new(registry);
        self.memberships.push(Membership { registry: Arc::clone(&registry), lock, watched: true });
        Ok(registry)
    }
}

/// Tells all families that a child of this process has ended.
pub fn tell_of_a_death() {
    tables().memberships.iter().for_each(|membership| membership.registry.tell());
}

/// The identity of this process, drawn and registered if need be.
pub(super) fn enter() -> io::Result<u64> {
    tables().enter()
}

/// Registers this process before its first operation: a copy of the process with this folder of descriptors, from which it has inherited its families, has time for it.
///
/// # Errors
/// What the system says. Then it is tried again before the first operation.
pub fn register(files: BorrowedFd<'_>) -> io::Result<()> {
    tables().enter_by(Some(files)).map(drop)
}

/// Notes that this memory belongs to a segment of this family.
pub(crate) fn note_region(start: usize, end: usize, registry: &Arc<Registry>) {
    tables().regions.insert(start, (end, Arc::clone(registry)));
}

/// Notes that the segment that was mapped here is gone.
pub(crate) fn forget_region(start: usize) {
    tables().regions.remove(&start);
}

/// The family of the segment in which this word lies, if it lies in one.
pub(crate) fn registry_of(word: *const ()) -> Option<Arc<Registry>> {
    let tables = tables();
    let (_, (end, registry)) = tables.regions.range(..=word.addr()).next_back()?;
    (word.addr() < *end).then(|| Arc::clone(registry))
}
