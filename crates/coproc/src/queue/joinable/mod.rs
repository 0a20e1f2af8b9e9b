//! A queue of tasks: somebody can wait until all of them are done.

mod error;
mod ledger;

pub use error::{JoinTimeoutError, NoTask, TasksLost};

use std::fmt;
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use super::waiting::{Turn, wait_for};
use super::{Queue, RecvError, RecvTimeoutError, SendError, SendSliceError, SendTimeoutError, TryRecvError, TrySendError};
use crate::error::Result;
use crate::liveness::{self, Thread};
use crate::message::{Arg, Item, Message, Reader, Writer};
use crate::ring::{End, Stop};
use crate::sync::{Deadline, Patience, WaitWord};
use ledger::Ledger;

/// A [`Queue`] of tasks, of which each receiver says when it has done one ([`task_done`](Self::task_done)), so that somebody can wait until all are done
/// ([`join`](Self::join)).
///
/// **When a process dies** that has taken tasks and not done them, these are lost, as with every queue; `join` then does not wait for them, and says how
/// many they were.
///
/// ```
/// let tasks = coproc::JoinableQueue::new(10)?;
/// tasks.send("sweep".len())?;
/// let task = tasks.recv()?;
/// assert_eq!(task, 5);
/// tasks.task_done()?;
/// tasks.join()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct JoinableQueue<T> {
    queue: Queue<T>,
    ledger: Ledger,
}

impl<T: Item> JoinableQueue<T> {
    /// An empty queue with room for this many tasks.
    ///
    /// # Errors
    /// As [`Queue::new`].
    pub fn new(capacity: usize) -> Result<Self> {
        let ledger = Ledger::new()?;
        Ok(Self { queue: Queue::new(capacity)?, ledger })
    }

    /// The queue itself. What is taken from it here, nobody says done.
    pub(crate) fn queue(&self) -> &Queue<T> {
        &self.queue
    }

    /// As [`Queue::send`].
    ///
    /// # Errors
    /// As there.
    #[doc(alias = "put")]
    pub fn send(&self, task: T) -> Result<(), SendError<T>> {
        self.queue.send(task)
    }

    /// As [`Queue::try_send`].
    ///
    /// # Errors
    /// As there.
    pub fn try_send(&self, task: T) -> Result<(), TrySendError<T>> {
        self.queue.try_send(task)
    }

    /// As [`Queue::send_timeout`].
    ///
    /// # Errors
    /// As there.
    pub fn send_timeout(&self, task: T, time: Duration) -> Result<(), SendTimeoutError<T>> {
        self.queue.send_timeout(task, time)
    }

    /// As [`Queue::send_slice`].
    ///
    /// # Errors
    /// As there.
    pub fn send_slice(&self, tasks: &[T]) -> Result<(), SendSliceError> {
        self.queue.send_slice(tasks)
    }

    /// Waits for a task. Say [`task_done`](Self::task_done) when it is done.
    ///
    /// # Errors
    /// As [`Queue::recv`].
    #[doc(alias = "get")]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.take_until(Deadline::NEVER)?.ok_or(RecvError::Corrupted)
    }

    /// Takes a task if there is one.
    ///
    /// # Errors
    /// As [`Queue::try_recv`].
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        match self.take(Patience::Yield) {
            Ok(task) => task.ok_or(TryRecvError::Corrupted),
            Err(Stop::Wait) => Err(self.queue.why_empty().into()),
            Err(stop) => Err(stop.into()),
        }
    }

    /// Waits for a task, at most this long (monotonic time).
    ///
    /// # Errors
    /// As [`Queue::recv_timeout`].
    pub fn recv_timeout(&self, time: Duration) -> Result<T, RecvTimeoutError> {
        self.take_until(Deadline::after(time))?.ok_or(RecvTimeoutError::Corrupted)
    }

    /// Says that a task that this process has taken is done. Any of its threads may say it.
    ///
    /// # Errors
    /// [`NoTask`] if it has taken none that is not done.
    pub fn task_done(&self) -> Result<(), NoTask> {
        self.ledger.less(liveness::known_identity()).ok_or(NoTask)
    }

    /// Waits until every task that was sent has been taken and done.
    ///
    /// # Errors
    /// [`TasksLost`] if processes died that had taken some: nobody will do these. It is said once.
    pub fn join(&self) -> Result<(), TasksLost> {
        loop {
            if let Some(end) = self.join_until(Deadline::NEVER) {
                return end;
            }
        }
    }

    /// As [`join`](Self::join), at most this long (monotonic time).
    ///
    /// # Errors
    /// [`JoinTimeoutError::Timeout`], else as [`join`](Self::join).
    pub fn join_timeout(&self, time: Duration) -> Result<(), JoinTimeoutError> {
        let end = self.join_until(Deadline::after(time)).ok_or(JoinTimeoutError::Timeout)?;
        end.map_err(JoinTimeoutError::Lost)
    }

    /// How many tasks were sent and not taken at this moment.
    #[doc(alias = "qsize")]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nothing is there to be taken at this moment.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many tasks fit.
    pub fn capacity(&self) -> usize {
        self.queue.capacity()
    }

    /// As [`Queue::close`].
    pub fn close(&self) {
        self.queue.close();
    }

    /// Whether the queue was closed.
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    fn take_until(&self, deadline: Deadline) -> Result<Option<T>, Stop> {
        let me = Thread::current().map_err(|_| Stop::Corrupted)?.identity();
        wait_for(&Task { queue: self, me }, deadline, |patience| self.take(patience))
    }

    /// `None` is a task that was taken and is no value of its type: that one is as good as done.
    fn take(&self, patience: Patience) -> Result<Option<T>, Stop> {
        if self.queue.ring.must_wait(End::Recv) {
            return Err(Stop::Wait);
        }
        let me = Thread::current().map_err(|_| Stop::Corrupted)?.identity();
        let place = self.ledger.place(me).ok_or(Stop::Wait)?;
        let next = self.queue.next_item(patience)?;
        // First, since it may panic; then nothing was taken.
        let task = Queue::item_in(&next, ()).ok();
        // Before the task is out of the queue, so that at each moment it is in the one or in the other. Who is killed here leaves a count that
        // is one too high, of the dead.
        place.fetch_add(1, Ordering::Relaxed);
        // Release: pairs with the fence in `is_all_done`, by the receivers' position, which is stored next.
        fence(Ordering::Release);
        self.queue.hand_over(next);
        if task.is_none() {
            let _ = self.ledger.less(me);
        }
        Ok(task)
    }

    /// Whether there was a moment at which nothing was in the queue and in the hands of the living.
    ///
    /// From the moment at which the queue was empty nothing is taken while nothing is sent, so each count, once seen as 0, stays 0. If something was
    /// sent meanwhile, as a task may send others before it is done, this has seen nothing.
    fn is_all_done(&self) -> bool {
        let ring = &self.queue.ring;
        let sent = ring.sent();
        if !self.queue.is_empty() {
            return false;
        }
        // Acquire: pairs with the fence in `take`; a task that is not in the queue any more is counted.
        fence(Ordering::Acquire);
        // The Acquire with which it sees a count of 0 shows too what was sent before.
        !self.ledger.is_any_at_work() && ring.sent() == sent
    }

    /// Whether tasks were lost, when all others are done; `None` if the time is over.
    fn join_until(&self, deadline: Deadline) -> Option<Result<(), TasksLost>> {
        loop {
            self.ledger.quiet.clear();
            if self.is_all_done() {
                let lost = self.ledger.bury();
                return Some(if lost == 0 { Ok(()) } else { Err(TasksLost(lost)) });
            }
            if !self.ledger.quiet.wait_a_slice(deadline) {
                return None;
            }
        }
    }
}

/// A task, and a place in the ledger to note who has it.
struct Task<'a, T> {
    queue: &'a JoinableQueue<T>,
    me: u64,
}

impl<T: Item> Turn for Task<'_, T> {
    fn word(&self) -> &WaitWord {
        &self.queue.queue.ring.signals().not_empty
    }

    fn must_wait(&self) -> bool {
        self.queue.queue.ring.must_wait(End::Recv) || self.queue.ledger.place(self.me).is_none()
    }

    fn is_over(&self) -> bool {
        self.queue.queue.ring.is_drained()
    }

    fn is_alone(&self) -> bool {
        self.queue.queue.segment.is_alone()
    }
}

impl<T: Item> Clone for JoinableQueue<T> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), ledger: self.ledger.clone() }
    }
}

impl<T: Item> Message for JoinableQueue<T> {
    fn write(&self, to: &mut Writer<'_>) {
        self.queue.write(to);
        self.ledger.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self { queue: Queue::read(from)?, ledger: Ledger::read(from)? })
    }
}

impl<T: Item> Arg<JoinableQueue<T>> for &JoinableQueue<T> {
    fn put(&self, to: &mut Writer<'_>) {
        self.write(to);
    }
}

impl<T: Item> fmt::Debug for JoinableQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinableQueue")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .field("closed", &self.is_closed())
            .finish()
    }
}
