//! How a process reaches the one that keeps what tickets stand for.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, MutexGuard, Once};
use std::time::Duration;

use super::TicketError;
use super::keeper::{self, Room};
use super::request::{Answer, Request};
use crate::error::{Error, Result};
use crate::liveness::Registry;
use crate::message::{Parcel, packets};
use crate::sys::{self, fork::ForkLock, socket};
use crate::{segment, sys::thread};

/// How often to knock again when nobody opened, and how long to wait before.
const KNOCKS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(1);

/// What this process has of tickets.
#[derive(Debug)]
pub(super) struct House {
    /// The sending end of each family's door that this process knows.
    doors: Vec<(u128, Arc<OwnedFd>)>,
    /// What this process keeps, if it is the first of its family.
    pub(super) room: Option<Room>,
    /// Whether the thread runs that serves the room.
    is_served: bool,
}

static HOUSE: ForkLock<House> = ForkLock::new(House { doors: Vec::new(), room: None, is_served: false });

extern "C" fn before_fork() {
    HOUSE.hold();
}

extern "C" fn after_fork_in_parent() {
    HOUSE.release(|_| ());
}

/// A forked child keeps nothing: its parent does, and who waits for what is kept must see when that one dies. Or does not yet, and nobody knows when it will: then
/// the child has no door.
extern "C" fn after_fork_in_child() {
    HOUSE.release(|house| {
        if let Some(room) = house.room.take()
            && !std::mem::take(&mut house.is_served)
        {
            house.doors.retain(|&(family, _)| family != room.family());
        }
    });
}

/// From now on no forked copy finds the table locked by a thread that it does not have.
pub(crate) fn watch_forks() {
    static HANDLERS: Once = Once::new();
    HANDLERS.call_once(|| {
        // Handlers that were registered later run earlier: this lock is taken before those of the tables below, as elsewhere.
        segment::watch_forks();
        sys::fork::on_fork(before_fork, after_fork_in_parent, after_fork_in_child);
    });
}

pub(super) fn house() -> MutexGuard<'static, House> {
    watch_forks();
    HOUSE.lock()
}

/// The door of a family; the first process makes it when it is first asked for. Whoever knocks waits until it begins [to keep](keep_tickets).
fn door(family: &Registry) -> Result<Arc<OwnedFd>, TicketError> {
    let mut house = house();
    if let Some((_, door)) = house.doors.iter().find(|&&(id, _)| id == family.id()) {
        return Ok(Arc::clone(door));
    }
    if !family.is_founded_here() {
        return Err(TicketError::KeeperGone);
    }
    let (inside, outside) = socket::pair().map_err(Error::os("creating a socket"))?;
    let door = Arc::new(outside);
    house.room = Some(Room::new(family.id(), inside));
    house.doors.push((family.id(), Arc::clone(&door)));
    Ok(door)
}

/// The family's first process begins to keep what comes through its door, if it has made that. It takes a while to start a thread: who starts a process calls
/// this when that is on its way.
///
/// # Errors
/// If there is no thread.
pub fn keep_tickets() -> Result<()> {
    let mut house = house();
    if house.room.is_some() && !house.is_served {
        thread::spawn_quiet("coproc-tickets", keeper::run)?;
        house.is_served = true;
    }
    Ok(())
}

/// What a child process joins this one's family with: the registry, and the door if there is one. Who gives it to one calls [`keep_tickets`] then.
///
/// # Errors
/// If this process cannot register itself, or has no free descriptor.
pub fn family() -> Result<Vec<OwnedFd>> {
    let home = Registry::home().map_err(Error::os("registering this process as alive"))?;
    let duplicate = |file: BorrowedFd<'_>| sys::file::duplicate(&file).map_err(Error::os("duplicating a descriptor"));
    let mut files = vec![duplicate(home.file())?];
    match door(&home) {
        Ok(door) => files.push(duplicate(door.as_fd())?),
        Err(TicketError::KeeperGone) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(files)
}

/// Belongs to the family that another process gave with [`family`], in which this process then makes new objects. It registers itself as alive before
/// its first operation, and so does each child that is made of it, by a raw `clone` too, before it has done one itself.
///
/// # Errors
/// If the file is no registry, or this process is registered in a family already.
pub fn adopt_family(files: Vec<OwnedFd>) -> Result<()> {
    let mut files = files.into_iter();
    let registry = files.next().ok_or_else(|| Error::other("the parent sent no registry"))?;
    let registry = Registry::adopt(registry).map_err(Error::os("joining a family"))?;
    let mut house = house();
    house.doors.extend(files.next().map(|door| (registry.id(), Arc::new(door))));
    Ok(())
}

/// Has a parcel kept under this number, for the queue of this file, whose items have so many bytes. When this returns, it is kept.
pub(super) fn deposit(
    family: u128,
    number: u128,
    queue: BorrowedFd<'_>,
    item: usize,
    parcel: &Parcel,
) -> Result<(), TicketError> {
    Call::new(family, Request::Deposit { number, item: item as u64 }, &[queue], Some(parcel)).map(drop)
}

/// Takes the parcel of this number.
pub(super) fn redeem(family: u128, number: u128) -> Result<Parcel, TicketError> {
    for _ in 0..KNOCKS {
        let call = Call::new(family, Request::Redeem { number }, &[], None)?;
        if let packets::Received::Parcel(packed) = packets::recv(call.0.as_fd(), &mut Vec::new(), true)? {
            return packed.open().map_err(|error| {
                let _ = socket::send(call.0.as_fd(), &Request::PutBack.to_bytes(), &[], true);
                error.into()
            });
        }
        // The keeper has ended, and the next knock tells; or as many descriptors as its limit allows are on their way already.
        std::thread::sleep(PAUSE);
    }
    Err(TicketError::KeeperFull)
}

/// A socket to the keeper, which has said yes.
struct Call(OwnedFd);

impl Call {
    fn new(family: u128, request: Request, files: &[BorrowedFd<'_>], parcel: Option<&Parcel>) -> Result<Self, TicketError> {
        let family = Registry::find(family).ok_or(TicketError::Stranger)?;
        for _ in 0..KNOCKS {
            let door = door(&family)?;
            keep_tickets()?;
            let (ours, theirs) = socket::pair().map_err(Error::os("creating a socket"))?;
            match socket::send(door.as_fd(), &[0], &[theirs.as_fd()], true) {
                Ok(_) => drop(theirs),
                // Nobody has the other end.
                Err(error) if matches!(error.raw_os_error(), Some(libc::EPIPE | libc::ECONNRESET | libc::ENOTCONN)) => {
                    return Err(TicketError::KeeperGone);
                }
                Err(error) => return Err(Error::from_os("sending to another process", error).into()),
            }
            let call = Self(ours);
            match call.ask(request, files, parcel)? {
                Some(Answer::Done) => return Ok(call),
                Some(Answer::Void) => return Err(TicketError::Void),
                Some(Answer::Full) => return Err(TicketError::KeeperFull),
                Some(Answer::Stranger) => return Err(TicketError::Stranger),
                // Cut off. Either the keeper has ended, and the next knock tells; or it had no descriptor for this socket.
                None => std::thread::sleep(PAUSE),
            }
        }
        Err(TicketError::KeeperFull)
    }

    /// The answer; `None` if the keeper has let go of the socket.
    fn ask(&self, request: Request, files: &[BorrowedFd<'_>], parcel: Option<&Parcel>) -> Result<Option<Answer>> {
        let socket = self.0.as_fd();
        if socket::send(socket, &request.to_bytes(), files, true).is_ok() {
            match parcel.map(|parcel| packets::send(socket, parcel, true)) {
                // The keeper has closed its end before all was sent: it may have said why.
                None | Some(Ok(_) | Err(Error::Os(..))) => {}
                Some(Err(error)) => return Err(error),
            }
        }
        let mut answer = [0; 2];
        match socket::recv(socket, &mut answer, true) {
            Ok(Some((len @ 1.., _))) => Answer::parse(&answer[..len]).map(Some).ok_or(Error::Corrupted),
            _ => Ok(None),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // For the keeper it is over, though a child that was forked meanwhile has a copy of the socket.
        let _ = socket::shut(self.0.as_fd());
    }
}
