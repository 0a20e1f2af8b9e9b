//! The threads of a process from which its children are started, and that notice the ends for which nobody waits.
//!
//! The kernel's parent of all children is one such thread. It lives as long as the process, because the kernel ends a child that asked to die with
//! its parent when the *thread* that started it ends; it blocks all signals, and does nothing but wait. A thread's rights (its user, capabilities,
//! namespaces ...) are its own, and pass to the threads that it starts. So there is one keeper in most programs, and another one for a
//! caller whose rights are not those of any keeper by then.
//!
//! A caller starts a child by the zygote itself, and waits for its end itself. The keeper is told of a child once, when it begins, and again
//! when nobody waits for it any more.

mod child;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use coproc::__private::{ForkLock, above_standard, spawn_quiet};
use coproc::{Error, Result};
use rustix::event::{EventfdFlags, Timespec, epoll};

pub(crate) use child::Child;

use crate::launch::rights::Rights;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The key of the bell among those of the children.
const BELL: u64 = 0;

/// How long until the keeper looks again for those whose end it has seen and whose status somebody holds back.
const AGAIN: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };

type Job = Box<dyn FnOnce() + Send>;

/// What a keeper and its callers share.
pub(crate) struct Keeper {
    /// The process that it keeps: a forked child finds its parent's here, and needs one of its own.
    pid: u32,
    epoll: OwnedFd,
    /// Wakes it when there is a job.
    bell: OwnedFd,
    jobs: Mutex<VecDeque<Job>>,
    /// The children that have not ended, as far as is known.
    children: Mutex<HashMap<u64, Arc<Child>>>,
    next: AtomicU64,
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").field("pid", &self.pid).finish_non_exhaustive()
    }
}

pub(crate) static KEEPERS: ForkLock<Vec<Arc<Keeper>>> = ForkLock::new(Vec::new());

/// A descriptor that is readable while its number is not zero.
fn bell(number: u32) -> Result<OwnedFd> {
    let bell = rustix::event::eventfd(number, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
    bell.map_err(io::Error::from).and_then(above_standard).map_err(|error| Error::from_os("creating an eventfd", error))
}

/// The keeper that has these rights, which are the calling thread's; starts one if there is none.
///
/// # Errors
/// If there is no thread or descriptor for it.
pub(crate) fn with_rights(rights: &Rights) -> Result<Arc<Keeper>> {
    let mut keepers = KEEPERS.lock();
    keepers.retain(|keeper| keeper.is_ours());
    for keeper in keepers.iter().rev() {
        if rights.are(&keeper.run(Rights::now)??) {
            return Ok(Arc::clone(keeper));
        }
    }
    let keeper = Keeper::start()?;
    keepers.push(Arc::clone(&keeper));
    Ok(keeper)
}

/// Any keeper: for a child whose parent it is not, only to notice its end.
///
/// # Errors
/// As [`with_rights`].
pub(crate) fn any() -> Result<Arc<Keeper>> {
    let mut keepers = KEEPERS.lock();
    keepers.retain(|keeper| keeper.is_ours());
    if let Some(keeper) = keepers.last() {
        return Ok(Arc::clone(keeper));
    }
    let keeper = Keeper::start()?;
    keepers.push(Arc::clone(&keeper));
    Ok(keeper)
}

impl Keeper {
    /// Starts one, which has the rights of the calling thread.
    fn start() -> Result<Arc<Self>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io::Error::from).and_then(above_standard);
        let keeper = Arc::new(Self {
            pid: std::process::id(),
            epoll: epoll.map_err(|error| Error::from_os("creating an epoll instance", error))?,
            bell: bell(0)?,
            jobs: Mutex::new(VecDeque::new()),
            children: Mutex::new(HashMap::new()),
            next: AtomicU64::new(BELL + 1),
        });
        if !keeper.watch(BELL, keeper.bell.as_fd()) {
            return Err(Error::from_os("watching an eventfd", io::Error::last_os_error()));
        }
        let shared = Arc::clone(&keeper);
        spawn_quiet("coproc-keeper", move || shared.keep())?;
        Ok(keeper)
    }

    /// Whether it is this process's, and not that of the one from which this one was forked.
    pub(crate) fn is_ours(&self) -> bool {
        self.pid == std::process::id()
    }

    /// Runs this on the keeper's thread.
    ///
    /// # Errors
    /// If that thread has ended, which it does only if this panicked.
    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let (reply, answer) = mpsc::sync_channel(1);
        lock(&self.jobs).push_back(Box::new(move || {
            let _ = reply.send(job());
        }));
        match rustix::io::write(&self.bell, &1_u64.to_ne_bytes()) {
            // It has been rung more often than it can count: it will look.
            Ok(_) | Err(rustix::io::Errno::AGAIN) => {}
            Err(error) => return Err(Error::from_os("waking the keeper thread", error.into())),
        }
        answer.recv().map_err(|_| Error::other("the thread that starts child processes has ended"))
    }

    fn next_key(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn list(&self, key: u64, child: &Arc<Child>) {
        lock(&self.children).insert(key, Arc::clone(child));
    }

    /// How many children have not ended, as far as is known.
    pub(crate) fn running(&self) -> usize {
        lock(&self.children).len()
    }

    fn unlist(&self, key: u64) {
        lock(&self.children).remove(&key);
    }

    /// From now on its thread notices when this is readable. `false` for want of memory only: then the end of a child is noticed by the next who asks.
    fn watch(&self, key: u64, file: BorrowedFd<'_>) -> bool {
        // A forked child has the same instance as its parent.
        self.is_ours() && epoll::add(&self.epoll, file, epoll::EventData::new_u64(key), epoll::EventFlags::IN).is_ok()
    }

    fn unwatch(&self, file: BorrowedFd<'_>) {
        if self.is_ours() {
            let _ = epoll::delete(&self.epoll, file);
        }
    }

    /// What its thread does.
    fn keep(&self) {
        let mut held_back: Vec<Arc<Child>> = Vec::new();
        loop {
            let mut events = [const { std::mem::MaybeUninit::<epoll::Event>::uninit() }; 16];
            let time = (!held_back.is_empty()).then_some(&AGAIN);
            let Ok((ready, _)) = epoll::wait(&self.epoll, &mut events, time) else { continue };
            held_back.retain(|child| child.settle().is_none());
            for event in ready {
                let key = event.data.u64();
                if key == BELL {
                    let _ = rustix::io::read(&self.bell, &mut [0_u8; 8]);
                    while let Some(job) = self.next_job() {
                        job();
                    }
                    continue;
                }
                let child = lock(&self.children).get(&key).map(Arc::clone);
                if let Some(child) = child.filter(|child| child.settle().is_none()) {
                    // Else it would be seen again and again.
                    self.unwatch(child.pidfd.as_fd());
                    held_back.push(child);
                }
            }
        }
    }

    fn next_job(&self) -> Option<Job> {
        lock(&self.jobs).pop_front()
    }
}
