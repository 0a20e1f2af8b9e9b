//! A queue of tasks: somebody can wait until all of them are done.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::Duration;

use super::waiting::wait_for;
use super::{Queue, RecvError, RecvTimeoutError, SendError, SendSliceError, SendTimeoutError, TryRecvError, TrySendError};
use crate::error::Result;
use crate::liveness::{self, Thread};
use crate::message::{Arg, Item, Landing, Message, Reader, Writer};
use crate::ring::{End, Stop};
use crate::sync::{Deadline, Event, Patience, Tally};
use crate::{SharedArray, SharedValue};

/// How many processes can have taken tasks at the same time: as many as a family has.
const WORKERS: usize = 1024;

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

/// Who has taken how many tasks that are not done.
#[derive(Clone, Debug)]
struct Ledger {
    /// A [`Tally`] each. A process keeps its place at a count of 0. What is in the queue is counted nowhere, so
    /// no count can be wrong after a death: the dead one's is the only one that it could have left half made.
    taken: SharedArray<AtomicU64>,
    /// Set when a process has done all that it had taken.
    quiet: SharedValue<Event>,
}

/// This process has taken no task that is not done yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoTask;

/// Processes died that had taken tasks, at most this many, and not said that they were done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TasksLost(pub u64);

/// Why [`JoinableQueue::join_timeout`] has not seen all tasks done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinTimeoutError {
    /// Not all were done in that time.
    Timeout,
    /// As for [`JoinableQueue::join`].
    Lost(TasksLost),
}

impl<T: Item> JoinableQueue<T> {
    /// An empty queue with room for this many tasks.
    ///
    /// # Errors
    /// As [`Queue::new`].
    pub fn new(capacity: usize) -> Result<Self> {
        let ledger = Ledger { taken: SharedArray::zeroed(WORKERS)?, quiet: SharedValue::new(Event::new())? };
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
            match self.join_until(Deadline::NEVER) {
                Some(0) => return Ok(()),
                Some(lost) => return Err(TasksLost(lost)),
                None => {}
            }
        }
    }

    /// As [`join`](Self::join), at most this long (monotonic time).
    ///
    /// # Errors
    /// [`JoinTimeoutError::Timeout`], else as [`join`](Self::join).
    pub fn join_timeout(&self, time: Duration) -> Result<(), JoinTimeoutError> {
        match self.join_until(Deadline::after(time)) {
            Some(0) => Ok(()),
            Some(lost) => Err(JoinTimeoutError::Lost(TasksLost(lost))),
            None => Err(JoinTimeoutError::Timeout),
        }
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
        let ring = &self.queue.ring;
        let me = Thread::current().map_err(|_| Stop::Corrupted)?.identity();
        let must_wait = || ring.must_wait(End::Recv) || self.ledger.place(me).is_none();
        let is_alone = || self.queue.segment.is_alone();
        wait_for(&ring.signals().not_empty, deadline, must_wait, || ring.is_drained(), is_alone, |patience| self.take(patience))
    }

    /// `None` is a task that was taken and is no value of its type: that one is as good as done.
    fn take(&self, patience: Patience) -> Result<Option<T>, Stop> {
        if self.queue.ring.must_wait(End::Recv) {
            return Err(Stop::Wait);
        }
        let me = Thread::current().map_err(|_| Stop::Corrupted)?.identity();
        let place = self.ledger.place(me).ok_or(Stop::Wait)?;
        let mut task = Landing::new();
        self.queue.pass_out(1, patience, |_, reader| {
            // First, since it may panic; then nothing was taken.
            task.read(reader);
            // Before the task is out of the queue, so that at each moment it is in the one or in the other. Who is killed here leaves a count that
            // is one too high, of the dead.
            place.fetch_add(1, Ordering::Relaxed);
            // Release: pairs with the fence in `is_all_done`, by the receivers' position, which is stored next.
            fence(Ordering::Release);
        })?;
        let task = task.into_item();
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

    /// How many tasks were lost, when all others are done; `None` if the time is over.
    fn join_until(&self, deadline: Deadline) -> Option<u64> {
        loop {
            self.ledger.quiet.clear();
            if self.is_all_done() {
                return Some(self.ledger.bury());
            }
            let slice = deadline.slice(crate::sync::SLICE)?;
            self.ledger.quiet.wait_timeout(slice);
        }
    }
}

impl Ledger {
    fn is_alive(&self, identity: u64) -> bool {
        liveness::is_alive(self.taken.as_ptr().cast(), identity)
    }

    /// The word of this process; makes it one if it has none. `None` if there is no place.
    fn place(&self, me: u64) -> Option<&AtomicU64> {
        let of = |who: u64| self.taken.iter().find(|word| Tally(word.load(Ordering::Relaxed)).owner() == who);
        let take = |word: &AtomicU64, old: Tally| {
            word.compare_exchange(old.0, Tally::of(me, 0).0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        if me == 0 {
            return None;
        }
        if let Some(mine) = of(me) {
            return Some(mine);
        }
        // One that nobody has; else of one who has died and lost nothing.
        let idle = |word: &&AtomicU64| {
            let seen = Tally(word.load(Ordering::Relaxed));
            seen.count() == 0 && (seen.0 == 0 || !self.is_alive(seen.owner())) && take(word, seen)
        };
        self.taken.iter().find(idle)
    }

    /// One task less of this process. It may have two words, if two of its threads took their first task at once.
    fn less(&self, me: u64) -> Option<()> {
        let less = |word: u64| (me != 0 && Tally(word).count_of(me) > 0).then(|| word - 1);
        // Release: pairs with the Acquire in `is_any_at_work`; what was done.
        let before = self.taken.iter().find_map(|word| word.fetch_update(Ordering::Release, Ordering::Relaxed, less).ok())?;
        if Tally(before).count() == 1 {
            self.quiet.set();
        }
        Some(())
    }

    /// Whether a living process has taken tasks that are not done.
    fn is_any_at_work(&self) -> bool {
        self.taken.iter().any(|word| {
            // Acquire: pairs with the Release in `less`; what was done.
            let seen = Tally(word.load(Ordering::Acquire));
            seen.count() > 0 && self.is_alive(seen.owner())
        })
    }

    /// Strikes out what the dead had taken; how much it was.
    fn bury(&self) -> u64 {
        let mut lost = 0;
        for word in self.taken.iter() {
            let seen = Tally(word.load(Ordering::Relaxed));
            // Exactly the word that was looked at: another joiner may be quicker.
            if seen.count() > 0
                && !self.is_alive(seen.owner())
                && word.compare_exchange(seen.0, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
            {
                lost += seen.count();
            }
        }
        lost
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
        self.ledger.taken.write(to);
        self.ledger.quiet.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let queue = Queue::read(from)?;
        let ledger = Ledger { taken: Message::read(from)?, quiet: Message::read(from)? };
        (ledger.taken.len() == WORKERS).then_some(Self { queue, ledger })
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

impl fmt::Display for NoTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this process has taken no task that is not done: task_done was called once too often")
    }
}

impl fmt::Display for TasksLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tasks were lost with the processes that had taken them", self.0)
    }
}

impl fmt::Display for JoinTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("timed out: not all tasks were done in that time"),
            Self::Lost(lost) => lost.fmt(f),
        }
    }
}

impl std::error::Error for NoTask {}
impl std::error::Error for TasksLost {}
impl std::error::Error for JoinTimeoutError {}
