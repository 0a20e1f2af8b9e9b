//! Waiting for the first of several: in a call ([`wait_any`]), by a descriptor ([`Watch`]), or in a task ([`ready`]).
//!
//! Who waits for several announces itself to each, as any sleeper does, looks at each once more, and sleeps on all their words at once
//! (`futex_waitv(2)`). So those who send or set pay nothing for it, and a death leaves nothing. For descriptors and tasks a thread of this
//! process waits in their place, started at first use.

mod task;
mod watch;
mod watcher;

pub use task::{Ready, ready};
pub(crate) use task::{give_way, wait};
pub use watch::Watch;
pub(crate) use watcher::watch_forks;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::time::Duration;

use crate::sync::{Deadline, SLICE, nap_any};
use crate::sys::{self, futex};

/// How many words the kernel waits on at once. What is more is looked at in short slices.
const MOST_WORDS: usize = futex::MOST_WORDS;
const SHORT_SLICE: Duration = Duration::from_millis(1);

/// What one can wait for together with others: a queue or the receiving end of a ring or pipe (that something is there to receive, or nothing will
/// come any more), an [`Event`](crate::Event) (that it is set), a child process (that it has ended).
///
/// Not to be implemented elsewhere.
pub trait Waitable {
    /// Whether the call that waits for it would return at once.
    fn is_ready(&self) -> bool;

    /// Announces a sleeper: where it sleeps, and on which value. After a fence and a barrier, it looks at `is_ready` once more.
    #[doc(hidden)]
    fn announce(&self) -> (&AtomicU32, u32);

    /// Who has slept waits no more. The wake that ended its sleep may be the one that another sleeper needs.
    #[doc(hidden)]
    fn pass_on(&self) {}

    /// Nobody has woken the sleeper for a slice: is there anybody who could?
    #[doc(hidden)]
    fn ask_kernel(&self) {}
}

impl<W: Waitable + ?Sized> Waitable for &W {
    fn is_ready(&self) -> bool {
        (**self).is_ready()
    }

    fn announce(&self) -> (&AtomicU32, u32) {
        (**self).announce()
    }

    fn pass_on(&self) {
        (**self).pass_on();
    }

    fn ask_kernel(&self) {
        (**self).ask_kernel();
    }
}

/// Something that can be waited for, without having a part in it: for a [`Watch`] or [`ready`] in the place of an end that is used elsewhere. Made by
/// `observe`.
#[derive(Clone)]
pub struct Observer(Arc<dyn Waitable + Send + Sync>);

impl Observer {
    pub(crate) fn new(object: impl Waitable + Send + Sync + 'static) -> Self {
        Self(Arc::new(object))
    }
}

impl Waitable for Observer {
    fn is_ready(&self) -> bool {
        self.0.is_ready()
    }

    fn announce(&self) -> (&AtomicU32, u32) {
        self.0.announce()
    }

    fn pass_on(&self) {
        self.0.pass_on();
    }

    fn ask_kernel(&self) {
        self.0.ask_kernel();
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").field("ready", &self.is_ready()).finish()
    }
}

/// Waits until one of these is ready, and returns which: the first in their order, if there are several. Nothing is taken: another
/// process may be quicker, so take it by a call that does not wait (`try_recv`).
///
/// **When a process dies**, what it leaves behind is ready when the call that waits for it would return an error: at most 20 ms later.
///
/// ```
/// use coproc::{Event, Queue, SharedValue, wait_any};
///
/// let (jobs, results, stop) = (Queue::<u32>::new(4)?, Queue::<u32>::new(4)?, SharedValue::new(Event::new())?);
/// results.send(7)?;
/// match wait_any(&[&jobs, &results, &*stop]) {
///     1 => assert_eq!(results.try_recv()?, 7),
///     _ => unreachable!(),
/// }
/// # Ok::<(), coproc::Error>(())
/// ```
///
/// # Panics
/// If there are none: that would wait for ever.
#[doc(alias("select", "poll", "connection.wait"))]
pub fn wait_any(objects: &[&dyn Waitable]) -> usize {
    assert!(!objects.is_empty(), "waiting for none of none");
    loop {
        if let Some(index) = wait_until(objects, Deadline::NEVER) {
            return index;
        }
    }
}

/// As [`wait_any`], at most this long (monotonic time); `None` if none was ready in that time.
pub fn wait_any_timeout(objects: &[&dyn Waitable], time: Duration) -> Option<usize> {
    wait_until(objects, Deadline::after(time))
}

fn wait_until(objects: &[&dyn Waitable], deadline: Deadline) -> Option<usize> {
    let first = || objects.iter().position(|object| object.is_ready());
    if let Some(index) = first() {
        return Some(index);
    }
    let found = loop {
        let words = announce_all(objects.iter().copied());
        if let Some(index) = first() {
            break Some(index);
        }
        match nap_any(&words, deadline, slice_for(words.len())) {
            None => break None,
            Some(false) => objects.iter().for_each(|object| object.ask_kernel()),
            Some(true) => {}
        }
    };
    objects.iter().for_each(|object| object.pass_on());
    found
}

/// Announces a sleeper to each of these. Whoever makes one of them ready from now on wakes it, or is seen by a look after this.
fn announce_all<'a>(objects: impl Iterator<Item = &'a dyn Waitable>) -> Vec<(&'a AtomicU32, u32)> {
    let words = objects.map(Waitable::announce).collect();
    // SeqCst: pairs with the fence in `WaitWord::notify`; the barrier with the look in `notify_one_cheaply`: see there.
    fence(Ordering::SeqCst);
    sys::barrier_everywhere();
    words
}

/// How long to sleep on so many words.
fn slice_for(words: usize) -> Duration {
    if words <= MOST_WORDS { SLICE } else { SHORT_SLICE }
}

/// Something that happens once, in this process.
#[derive(Default)]
#[doc(hidden)]
pub struct Latch(AtomicU32);

impl Latch {
    /// One that is open already, or not yet.
    pub fn new(open: bool) -> Self {
        Self(AtomicU32::new(open.into()))
    }

    /// It has happened.
    pub fn open(&self) {
        // Release: pairs with the Acquire in `is_ready`; what led to it.
        self.0.store(1, Ordering::Release);
        futex::wake_all(&self.0);
    }
}

impl Waitable for Latch {
    fn is_ready(&self) -> bool {
        // Acquire: pairs with the Release in `open`.
        self.0.load(Ordering::Acquire) != 0
    }

    fn announce(&self) -> (&AtomicU32, u32) {
        (&self.0, 0)
    }
}

impl fmt::Debug for Latch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Latch({})", self.is_ready())
    }
}
