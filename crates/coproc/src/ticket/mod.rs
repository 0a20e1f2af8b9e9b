//! Handles through a queue: a ticket crosses by value, and what it stands for waits in the family's first process.
//!
//! - `door` is how any process reaches that one: a socket whose sending end each child gets when it is started.
//! - `request` is what is asked there, each time through a socket of its own: several packets of several processes never mix, and
//!   either side sees when the other has gone.
//! - `keeper` is the thread of the first process that keeps what is deposited.

mod door;
mod error;
mod keeper;
mod request;

pub(crate) use door::watch_forks;
pub use door::{adopt_family, family, keep_tickets};
pub use error::TicketError;

use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;

use crate::layout::Layout;
use crate::message::{Arg, Item, Message, Parcel, Reader, Writer};
use crate::queue::{JoinableQueue, Queue};
use crate::{error::Error, sys};

/// A [`Message`] with handles, as an [`Item`]: what goes through a [`Queue`] in its place. Made by [`Queue::ticket`].
///
/// What it stands for, be it the handle of a shared object, an end of a ring or a pipe, or a struct of these, is kept by the **first process of the
/// family**, the one that all others descend from, until a receiver [redeems](Self::redeem) it. So it arrives though the sender drops its own, or
/// dies. A ticket is a number: copies of it are the same ticket, and one of them is redeemed.
///
/// A ticket that nobody redeems, because it was never sent or its receiver died, is void five seconds after its queue is over: closed and empty,
/// or no process has it any more. Only then does the first process let go of what it keeps.
///
/// **When the first process dies**, all tickets are void: [`TicketError::KeeperGone`]. While it is stopped, who makes or redeems one waits.
///
/// **Limits.** What is kept takes a descriptor of the first process for each handle, one more if it has more than 32 KiB of bytes, and one for
/// each queue. When these are used up (`RLIMIT_NOFILE`), no further ticket is made: [`TicketError::KeeperFull`].
/// A ticket costs some system calls at each end, so many small values are better sent as they are, or as a [`Pipe`](crate::Pipe)'s.
/// A ticket of a handle of the queue itself keeps that queue from being over until it is closed.
///
/// ```
/// use coproc::{Queue, SharedValue};
///
/// let queue = Queue::new(8)?;
/// let n = SharedValue::new(7_u64)?;
/// queue.send(queue.ticket(&n)?)?;
/// drop(n);
/// let n: SharedValue<u64> = queue.recv()?.redeem()?; // in any process
/// assert_eq!(n.get()?, 7);
/// # Ok::<(), coproc::Error>(())
/// ```
pub struct Ticket<T> {
    /// The family whose first process keeps it.
    family: u128,
    number: u128,
    of: PhantomData<fn() -> T>,
}

impl<Q: Item> Queue<Q> {
    /// Leaves a message with the family's first process, and makes the ticket with which a receiver of this queue gets it. Handles may be given by reference.
    ///
    /// The end of a ring or a pipe is given away by this, also if it fails.
    ///
    /// # Errors
    /// [`TicketError::KeeperGone`], [`TicketError::KeeperFull`], [`TicketError::TooManyDescriptors`] if this process has not two descriptors to ask
    /// with, or what the system says.
    pub fn ticket<T: Message>(&self, message: impl Arg<T>) -> Result<Ticket<T>, TicketError> {
        let family = self.segment().header().family;
        let number = sys::random().map_err(Error::os("drawing a random number"))?;
        let mut parcel = Parcel::default();
        message.put(&mut parcel.writer());
        door::deposit(family, number, self.segment().file(), Q::SIZE, &parcel)?;
        Ok(Ticket { family, number, of: PhantomData })
    }
}

impl<Q: Item> JoinableQueue<Q> {
    /// As [`Queue::ticket`].
    ///
    /// # Errors
    /// As there.
    pub fn ticket<T: Message>(&self, message: impl Arg<T>) -> Result<Ticket<T>, TicketError> {
        self.queue().ticket(message)
    }
}

impl<T: Message> Ticket<T> {
    /// Gets what it stands for, once. If this process is killed meanwhile, the message is lost with it.
    ///
    /// # Errors
    /// [`TicketError`]. After [`TicketError::TooManyDescriptors`] the ticket is still good.
    pub fn redeem(self) -> Result<T, TicketError> {
        door::redeem(self.family, self.number)?.open().ok_or(TicketError::Corrupted)
    }

    /// Tells tickets of different types apart where their receiver trusts nobody: by the type's name.
    fn of_what() -> u64 {
        Layout::of::<T>(type_name::<T>()).hash()
    }
}

impl<T: Message> Message for Ticket<T> {
    const BOUND: Option<usize> = Some(2 * size_of::<u128>() + size_of::<u64>());

    fn write(&self, to: &mut Writer<'_>) {
        to.plain(&self.family);
        to.plain(&self.number);
        to.plain(&Self::of_what());
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let ticket = Self { family: from.plain()?, number: from.plain()?, of: PhantomData };
        (from.plain::<u64>()? == Self::of_what()).then_some(ticket)
    }
}

impl<T: Message> Item for Ticket<T> {
    const LAYOUT: u64 = Layout::of::<T>("Ticket").hash();
}

impl<T> Clone for Ticket<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Ticket<T> {}

impl<T> fmt::Debug for Ticket<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket<{}>({:032x})", type_name::<T>(), self.number)
    }
}
