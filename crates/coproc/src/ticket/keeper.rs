//! The thread of the family's first process that keeps what tickets stand for.
//!
//! It never waits for a caller: what has come is taken, and the rest when it comes. What a caller sends that makes no sense ends its call.

#![allow(unsafe_code)]

use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use super::door::house;
use super::request::{Answer, Request};
use crate::error::{Error, Result, Unfit};
use crate::message::packets::{self, Packed, Received};
use crate::queue::{Ring, Shape};
use crate::segment::{Kind, Segment};
use crate::sys::{self, socket};

/// How often to look whether queues are over, while something is kept.
const SWEEP: Duration = Duration::from_secs(1);

/// So long after its queue is over, a ticket is still good: who took it out last shall have the time to redeem it.
const GRACE: Duration = Duration::from_secs(5);

/// How many callers to let in before those inside are heard again.
const MOST_AT_ONCE: usize = 64;

/// What is kept, and who is asking.
#[derive(Debug)]
pub(super) struct Room {
    /// Whose tickets are kept here.
    family: u128,
    /// The receiving end. Each packet brings the socket of a caller.
    door: OwnedFd,
    callers: Vec<Caller>,
    kept: HashMap<u128, Kept>,
    /// By device and inode of their file.
    queues: BTreeMap<(u64, u64), Weak<Look>>,
    swept: Instant,
}

#[derive(Debug)]
struct Kept {
    parcel: Packed,
    queue: Arc<Look>,
}

/// A look at a queue, which has no part in it.
#[derive(Debug)]
struct Look {
    ring: Ring,
    /// Keeps the ring mapped.
    segment: Segment,
    /// When the queue was first seen to be over, which is for good.
    over: OnceLock<Instant>,
}

#[derive(Debug)]
struct Caller {
    socket: OwnedFd,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Has not asked yet.
    New,
    /// Sends a parcel, of which this has come.
    Depositing { number: u128, queue: Arc<Look>, files: Vec<OwnedFd> },
    /// Was given a parcel, and has not hung up yet.
    Redeeming { number: u128, kept: Kept },
}

/// Serves until the process ends.
pub(super) fn run() {
    loop {
        let (files, time) = match &house().room {
            Some(room) => (room.files(), room.time_to_sweep()),
            None => return,
        };
        // Without the lock. Nobody else closes these.
        sys::wait_readable(&files, time);
        // With the lock: no descriptor that comes in meanwhile is in the hands of a thread when the process forks.
        if let Some(room) = &mut house().room {
            room.serve();
        }
    }
}

impl Room {
    pub(super) fn new(family: u128, door: OwnedFd) -> Self {
        Self { family, door, callers: Vec::new(), kept: HashMap::new(), queues: BTreeMap::new(), swept: Instant::now() }
    }

    pub(super) fn family(&self) -> u128 {
        self.family
    }

    fn files(&self) -> Vec<RawFd> {
        let callers = self.callers.iter().map(|caller| &caller.socket);
        callers.chain([&self.door]).map(AsRawFd::as_raw_fd).collect()
    }

    /// How long until the next sweep; `None` if nothing is kept.
    fn time_to_sweep(&self) -> Option<Duration> {
        (!self.queues.is_empty()).then(|| SWEEP.saturating_sub(self.swept.elapsed()))
    }

    fn serve(&mut self) {
        for caller in std::mem::take(&mut self.callers) {
            let caller = self.hear(caller);
            self.callers.extend(caller);
        }
        for _ in 0..MOST_AT_ONCE {
            let Ok(Some((_, sockets))) = socket::recv(self.door.as_fd(), &mut [0], false) else { break };
            for socket in sockets {
                // Most have sent all that they ask by now.
                let caller = self.hear(Caller { socket, stage: Stage::New });
                self.callers.extend(caller);
            }
        }
        if self.time_to_sweep() == Some(Duration::ZERO) {
            self.sweep();
        }
    }

    /// Lets go of what nobody can come for any more.
    fn sweep(&mut self) {
        self.swept = Instant::now();
        self.queues.values().filter_map(Weak::upgrade).for_each(|queue| queue.look());
        self.kept.retain(|_, kept| !kept.queue.is_long_over());
        self.queues.retain(|_, queue| queue.strong_count() > 0);
    }

    /// Does what the caller asks. `None` when that is done, or it makes no sense.
    fn hear(&mut self, Caller { socket, mut stage }: Caller) -> Option<Caller> {
        loop {
            if let Stage::Depositing { number, queue, files } = &mut stage {
                match packets::recv(socket.as_fd(), files, false).ok()? {
                    Received::Nothing => return Some(Caller { socket, stage }),
                    Received::End => return None,
                    Received::Parcel(parcel) => return self.keep(&socket, *number, Kept { parcel, queue: Arc::clone(queue) }),
                }
            }
            let mut packet = [0; Request::SIZE + 1];
            let Some((len, files)) = socket::recv(socket.as_fd(), &mut packet, false).ok()? else {
                return Some(Caller { socket, stage });
            };
            stage = match (Request::parse(&packet[..len])?, stage) {
                (Request::Deposit { number, item }, Stage::New) => match self.queue(files, item) {
                    Ok(queue) => Stage::Depositing { number, queue, files: Vec::new() },
                    Err(Error::TooManyDescriptors { .. }) => return last_word(&socket, Answer::Full),
                    Err(_) => return last_word(&socket, Answer::Stranger),
                },
                (Request::Redeem { number }, Stage::New) => self.give(&socket, number)?,
                (Request::PutBack, Stage::Redeeming { number, kept }) => {
                    self.kept.insert(number, kept);
                    return None;
                }
                _ => return None,
            };
        }
    }

    /// Keeps a parcel, unless there was no room for its descriptors.
    fn keep(&mut self, socket: &OwnedFd, number: u128, kept: Kept) -> Option<Caller> {
        if !kept.parcel.is_whole() {
            return last_word(socket, Answer::Full);
        }
        if self.kept.contains_key(&number) {
            return None;
        }
        self.kept.insert(number, kept);
        last_word(socket, Answer::Done)
    }

    /// Sends the parcel of this number. `None`, and it is kept, if that cannot be done.
    fn give(&mut self, socket: &OwnedFd, number: u128) -> Option<Stage> {
        let Some(kept) = self.kept.remove(&number) else { return last_word(socket, Answer::Void) };
        answer(socket, Answer::Done);
        if matches!(kept.parcel.send(socket.as_fd()), Ok(true)) {
            return Some(Stage::Redeeming { number, kept });
        }
        self.kept.insert(number, kept);
        None
    }

    /// The queue whose file came.
    fn queue(&mut self, files: Vec<OwnedFd>, item: u64) -> Result<Arc<Look>> {
        // One was sent, so there was no room for it.
        let file = files.into_iter().next().ok_or_else(Error::no_descriptors)?;
        let (id, _) = sys::file::identity(file.as_fd()).map_err(Error::os("looking at a descriptor"))?;
        if let Some(known) = self.queues.get(&id).and_then(Weak::upgrade) {
            return Ok(known);
        }
        let look = Arc::new(Look::new(Segment::look(file.as_fd())?, item as usize)?);
        self.queues.insert(id, Arc::downgrade(&look));
        Ok(look)
    }
}

impl Look {
    fn new(segment: Segment, item: usize) -> Result<Self> {
        if segment.header().kind != Kind::Queue || segment.is_frozen() {
            return Err(Unfit::NotASegment.into());
        }
        if segment.len() == 0 {
            return Err(Error::Empty);
        }
        let shape = Shape::new(segment.len(), item);
        segment.expect_body(shape.body())?;
        // SAFETY: the body has the size of this shape and can be written (it is not frozen), and the segment is kept beside the ring.
        let ring = unsafe { Ring::new(&segment, shape) };
        Ok(Self { ring, segment, over: OnceLock::new() })
    }

    /// Notes whether the queue is over: nothing can come out of it any more.
    fn look(&self) {
        if self.over.get().is_none() && (self.ring.is_drained() || self.segment.has_nobody()) {
            let _ = self.over.set(Instant::now());
        }
    }

    fn is_long_over(&self) -> bool {
        self.over.get().is_some_and(|since| since.elapsed() >= GRACE)
    }
}

fn answer(socket: &OwnedFd, answer: Answer) {
    // Who has gone does not want to know; and there is room, since it is the first thing that is sent.
    let _ = socket::send(socket.as_fd(), &[answer as u8], &[], false);
}

/// Answers, and has no more to do with the caller.
fn last_word<T>(socket: &OwnedFd, word: Answer) -> Option<T> {
    answer(socket, word);
    None
}
