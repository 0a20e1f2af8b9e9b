//! One run of a model: its words, its kernel, its threads.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::Mutex as Plain;
use std::sync::atomic::{AtomicBool, AtomicU64 as PlainU64, Ordering};
use std::time::Duration;

#[cfg(loom)]
use loom::{
    cell::UnsafeCell,
    sync::{
        Condvar, Mutex,
        atomic::{AtomicU64, fence as fence_of},
    },
    thread::{self, JoinHandle},
    thread_local as per_thread,
};
#[cfg(not(loom))]
use std::{
    cell::UnsafeCell,
    sync::{
        Condvar, Mutex,
        atomic::{AtomicU64, fence as fence_of},
    },
    thread::{self, JoinHandle},
    thread_local as per_thread,
};

/// How a SeqCst access is made of what loom knows, to which it is no more than an AcqRel one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fences {
    /// As AcqRel: weaker than it is.
    None,
    /// With a SeqCst fence before it: stronger than it is on what comes before it.
    Before,
    /// With a SeqCst fence after it: stronger than it is on what comes after it.
    After,
}

/// What a model may choose.
#[cfg_attr(not(loom), allow(dead_code))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// How many atomics, and how many places of plain bytes, a run of it touches at most.
    pub(crate) words: usize,
    /// How often a thread is stopped in favour of another where it need not be; `None` is as often as it goes.
    pub(crate) preemptions: Option<usize>,
    pub(crate) fences: Fences,
    /// The kernel has no `membarrier(2)`.
    pub(crate) barrier_refused: bool,
}

impl Options {
    pub(crate) const fn new(words: usize) -> Self {
        Self { words, preemptions: None, fences: Fences::None, barrier_refused: false }
    }

    pub(crate) const fn preemptions(self, count: usize) -> Self {
        Self { preemptions: Some(count), ..self }
    }
}

#[cfg_attr(not(loom), allow(dead_code))]
pub(crate) struct World {
    pub(crate) options: Options,
    /// Made before there is a second thread, and given to addresses as these are first used.
    words: Vec<AtomicU64>,
    bytes: Vec<Bytes>,
    /// The addresses that have got a word, or bytes.
    words_of: Plain<Vec<usize>>,
    bytes_of: Plain<Vec<usize>>,
    /// Every fence is a step in one order.
    fences: AtomicU64,
    kernel: Mutex<Kernel>,
    /// The identities of the dead, one bit each.
    dead: AtomicU64,
    /// The time, in nanoseconds.
    clock: PlainU64,
    /// Whether a thread was killed in this run.
    killed: AtomicBool,
    /// What was done, for whoever looks for the fault when the model fails.
    trace: Plain<Vec<Step>>,
}

/// One step of a thread.
struct Step {
    thread: u64,
    at: &'static Location<'static>,
    what: &'static str,
    address: usize,
    seen: Option<u64>,
    left: Option<u64>,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.at.file().rsplit('/').next().unwrap_or_default();
        write!(f, "process {} thread {}, {file}:{}: {}", self.thread >> 24, self.thread & 0xff_ffff, self.at.line(), self.what)?;
        if self.address != 0 {
            write!(f, " {:x}", self.address & 0xfff)?;
        }
        if let Some(seen) = self.seen {
            write!(f, ", was {seen:x}")?;
        }
        self.left.map_or(Ok(()), |left| write!(f, ", is {left:x}"))
    }
}

#[derive(Default)]
struct Kernel {
    /// Who sleeps on what address, in order of arrival.
    asleep: VecDeque<(usize, Arc<Condvar>)>,
    deaths: u64,
    /// Which thread's slice on which address a death has ended: each once, since that death changes nothing there any more.
    ended: Vec<(u64, usize, u64)>,
}

impl Kernel {
    /// Whether a slice of the calling thread on this address is to be ended by the last death.
    fn ends(&mut self, address: usize) -> bool {
        let end = (me().bits, address, self.deaths);
        let ends = self.deaths > 0 && !self.ended.contains(&end);
        if ends {
            self.ended.push(end);
        }
        ends
    }
}

/// What a thread is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Me {
    /// Packed as in a lock word.
    pub(crate) bits: u64,
    /// The number of slices that still end by themselves.
    impatience: u32,
    /// The number of steps until it is killed.
    left: Option<u32>,
    dead: bool,
}

thread_local! {
    /// All threads of loom run on one thread, by turns.
    static WORLD: RefCell<Option<Arc<World>>> = const { RefCell::new(None) };
}

per_thread! {
    static ME: Cell<Me> = Cell::new(Me::default());
}

/// Eight bytes that are no atomic: loom complains of a race.
#[derive(Debug, Default)]
pub(crate) struct Bytes(UnsafeCell<u64>);

// SAFETY: in a model of loom, every race on it is found; without loom the models are run as they are by loom.
unsafe impl Sync for Bytes {}
// SAFETY: a number.
unsafe impl Send for Bytes {}

impl Bytes {
    pub(crate) fn get(&self) -> u64 {
        if !step() {
            return 0;
        }
        #[cfg(loom)]
        // SAFETY: valid as long as `self`; loom panics if it is written meanwhile.
        return self.0.with(|at| unsafe { *at });
        #[cfg(not(loom))]
        // SAFETY: as above: a model is found to have no race by loom.
        return unsafe { *self.0.get() };
    }

    pub(crate) fn set(&self, value: u64) {
        if !step() {
            return;
        }
        #[cfg(loom)]
        // SAFETY: as in `get`.
        self.0.with_mut(|at| unsafe { *at = value });
        #[cfg(not(loom))]
        // SAFETY: as in `get`.
        unsafe {
            *self.0.get() = value
        };
    }

    pub(crate) fn add(&self, more: u64) {
        self.set(self.get() + more);
    }

    /// The bytes that the world has for this address.
    pub(crate) fn at(address: *mut u8) -> &'static Self {
        let world = get();
        let index = place(&world.bytes_of, address.addr(), world.bytes.len());
        let bytes: *const Self = &raw const world.bytes[index];
        // SAFETY: a world lives until the next run begins, and no thread of this run does.
        unsafe { &*bytes }
    }
}

/// The place of this address; a new one if it has none.
fn place(places: &Plain<Vec<usize>>, address: usize, most: usize) -> usize {
    let mut places = places.lock().unwrap();
    places.iter().position(|&known| known == address).unwrap_or_else(|| {
        assert!(places.len() < most, "the model uses more than {most} words: see `Options::new`");
        places.push(address);
        places.len() - 1
    })
}

impl World {
    fn new(options: Options) -> Self {
        Self {
            options,
            words: (0..options.words).map(|_| AtomicU64::new(0)).collect(),
            bytes: (0..options.words).map(|_| Bytes::default()).collect(),
            words_of: Plain::default(),
            bytes_of: Plain::default(),
            fences: AtomicU64::new(0),
            kernel: Mutex::new(Kernel::default()),
            dead: AtomicU64::new(0),
            clock: PlainU64::new(0),
            killed: AtomicBool::new(false),
            trace: Plain::default(),
        }
    }

    /// Notes a step, for [`Report`].
    #[track_caller]
    pub(crate) fn note(&self, what: &'static str, address: usize, seen: Option<u64>, left: Option<u64>) {
        let step = Step { thread: me().bits, at: Location::caller(), what, address, seen, left };
        self.trace.lock().unwrap().push(step);
    }

    /// The word of this address, whose value is `first` when it is used for the first time.
    #[cfg(loom)]
    pub(crate) fn word(&self, address: usize, first: u64) -> &AtomicU64 {
        let known = self.words_of.lock().unwrap().len();
        let index = place(&self.words_of, address, self.words.len());
        if index == known && first != 0 {
            assert_eq!(
                me().bits,
                FIRST_BITS,
                "an atomic that does not begin with 0 is used first before there is a second thread"
            );
            self.words[index].store(first, Ordering::Relaxed);
        }
        &self.words[index]
    }

    pub(crate) fn time(&self) -> Duration {
        Duration::from_nanos(self.clock.load(Ordering::Relaxed))
    }

    /// Sleeps until a wake, if `holds` under the kernel's lock.
    #[track_caller]
    pub(crate) fn sleep(&self, address: usize, holds: impl FnOnce() -> bool) {
        let mut kernel = self.kernel.lock().unwrap();
        if kernel.ends(address) {
            self.note("somebody has died: sleeps not", address, None, None);
            return;
        }
        if !holds() {
            self.note("changed: sleeps not", address, None, None);
            return;
        }
        self.note("sleeps", address, None, None);
        let bell = Arc::new(Condvar::new());
        kernel.asleep.push_back((address, Arc::clone(&bell)));
        if me().impatience > 0 {
            change_me(|me| me.impatience -= 1);
            drop(kernel);
            // Here it sleeps. A wake may come to it, or the end of the slice.
            if me().impatience > MANY {
                // In the end it sees what is there: loom gives way to the others, and then shows no old value again.
                thread::yield_now();
            }
            kernel = self.kernel.lock().unwrap();
            kernel.asleep.retain(|(_, other)| !Arc::ptr_eq(&bell, other));
            // So long that every deadline has passed.
            self.clock.fetch_add(3_600_000_000_000, Ordering::Relaxed);
        }
        while kernel.asleep.iter().any(|(_, other)| Arc::ptr_eq(&bell, other)) {
            kernel = bell.wait(kernel).unwrap();
        }
        // Whatever ended it: if there was a death, what is looked at from here on is what it left.
        kernel.ends(address);
        self.note("slept", address, None, None);
    }

    #[track_caller]
    pub(crate) fn wake(&self, address: usize, count: u32) -> u32 {
        let mut kernel = self.kernel.lock().unwrap();
        self.note("wakes", address, None, None);
        for woken in 0..count {
            let Some(index) = kernel.asleep.iter().position(|(on, _)| *on == address) else { return woken };
            if let Some((_, bell)) = kernel.asleep.remove(index) {
                bell.notify_one();
            }
        }
        count
    }

    /// The kernel takes the mark of life away after the process's last store, and then everybody's slices end.
    fn die(&self, identity: u64) {
        let mut kernel = self.kernel.lock().unwrap();
        // Release: pairs with the Acquire in `is_alive`; all that the dead process has stored.
        self.dead.fetch_or(1 << identity, Ordering::Release);
        kernel.deaths += 1;
        for (_, bell) in kernel.asleep.drain(..) {
            bell.notify_one();
        }
    }
}

pub(crate) fn get() -> Arc<World> {
    WORLD.with_borrow(|world| Arc::clone(world.as_ref().expect("within a model")))
}

pub(crate) fn me() -> Me {
    // What is dropped on the way out of a thread that was killed, or of a model that fails, is nobody's.
    if std::thread::panicking() { Me { dead: true, ..Me::default() } } else { ME.with(Cell::get) }
}

fn change_me(change: impl FnOnce(&mut Me)) {
    ME.with(|me| {
        let mut now = me.get();
        change(&mut now);
        me.set(now);
    });
}

/// Prints the steps of the run that failed.
#[cfg(loom)]
struct Report;

#[cfg(loom)]
impl Drop for Report {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for step in get().trace.lock().unwrap().iter() {
                println!("{step}");
            }
        }
    }
}

/// A SeqCst fence. It is a step of its own, so that loom tries other threads before it.
pub(crate) fn fence() {
    get().fences.fetch_add(1, Ordering::Relaxed);
    fence_of(Ordering::SeqCst);
}

pub(crate) fn is_alive(identity: u64) -> bool {
    // Acquire: pairs with the Release in `die`.
    step() && get().dead.load(Ordering::Acquire) & 1 << identity == 0
}

/// From so many slices on, a thread makes others go on while it sleeps.
const MANY: u32 = 1 << 16;

/// What a killed thread is unwound with.
struct Killed;

/// Before each step of a protocol: `false` if the thread is dead, and what its destructors want must not happen.
pub(crate) fn step() -> bool {
    let mut now = me();
    match now.left {
        _ if now.dead => return false,
        None => return true,
        Some(0) => {
            now.dead = true;
            ME.with(|me| me.set(now));
            let world = get();
            world.note("killed", 0, None, None);
            world.killed.store(true, Ordering::Relaxed);
            world.die(now.bits >> 24);
            resume_unwind(Box::new(Killed))
        }
        Some(left) => now.left = Some(left - 1),
    }
    ME.with(|me| me.set(now));
    true
}

/// The first thread of a model is thread 1 of process 1.
const FIRST_BITS: u64 = bits(1, 1);

const fn bits(identity: u64, thread: u64) -> u64 {
    identity << 24 | thread
}

/// A thread of a model.
pub(crate) struct Running(JoinHandle<bool>);

impl Running {
    /// Waits for it; `false` if it was killed.
    pub(crate) fn join(self) -> bool {
        self.0.join().unwrap()
    }
}

/// How a thread of a model is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start(Me);

/// A thread of the process of this identity, 2 to 63.
pub(crate) fn process(identity: u64) -> Start {
    Start(Me { bits: bits(identity, identity), ..Me::default() })
}

impl Start {
    /// Another thread of the same process.
    pub(crate) fn thread(mut self, thread: u64) -> Self {
        self.0.bits = bits(self.0.bits >> 24, thread);
        self
    }

    /// Sleeps this many slices that end at any moment, and then its deadlines have passed.
    pub(crate) fn impatient(mut self, slices: u32) -> Self {
        self.0.impatience = slices;
        self
    }

    /// Sleeps no slice that does not end by itself.
    pub(crate) fn restless(self) -> Self {
        self.impatient(u32::MAX)
    }

    /// Is killed after this many steps.
    pub(crate) fn killed_after(mut self, steps: u32) -> Self {
        self.0.left = Some(steps);
        self
    }

    pub(crate) fn run(self, work: impl FnOnce() + Send + 'static) -> Running {
        let world = get();
        Running(thread::spawn(move || {
            WORLD.set(Some(world));
            ME.with(|me| me.set(self.0));
            match catch_unwind(AssertUnwindSafe(work)) {
                Ok(()) => {
                    // Else loom would take a step that was never made for one that makes no difference.
                    change_me(|me| me.left = None);
                    true
                }
                Err(why) if why.is::<Killed>() => false,
                Err(why) => resume_unwind(why),
            }
        }))
    }
}

/// The process of this identity dies, between two steps of its only thread, which makes no more.
pub(crate) fn kill(identity: u64) {
    get().die(identity);
}

/// The first thread of the model is this process from now on.
pub(crate) fn become_process(identity: u64) {
    change_me(|me| me.bits = bits(identity, identity));
}

/// Whether a thread sleeps, on whatever.
pub(crate) fn somebody_sleeps() -> bool {
    !get().kernel.lock().unwrap().asleep.is_empty()
}

/// Runs the model in all interleavings, or without loom a hundred times. Returns whether a thread was killed in any.
pub(crate) fn model(options: Options, run: impl Fn() + Send + Sync + 'static) -> bool {
    let killed = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&killed);
    let runs = Arc::new(PlainU64::new(0));
    let counted = Arc::clone(&runs);
    let once = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        WORLD.set(Some(Arc::new(World::new(options))));
        ME.with(|me| me.set(Me { bits: FIRST_BITS, ..Me::default() }));
        run();
        seen.fetch_or(get().killed.load(Ordering::Relaxed), Ordering::Relaxed);
    };
    #[cfg(loom)]
    {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = builder.preemption_bound.or(options.preemptions);
        builder.max_branches = 20_000;
        let _report = Report;
        builder.check(once);
    }
    #[cfg(not(loom))]
    for _ in 0..100 {
        once();
    }
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    println!("{name}: {} runs", runs.load(Ordering::Relaxed));
    killed.load(Ordering::Relaxed)
}

/// The model of a protocol that is right only because accesses are SeqCst, with both ways to make such an access.
pub(crate) fn model_both(options: Options, run: impl Fn() + Send + Sync + Clone + 'static) {
    for fences in [Fences::Before, Fences::After] {
        model(Options { fences, ..options }, run.clone());
    }
}

/// The model with a thread that is killed before its first step, before its second, and so on, until it comes to its end in all
/// interleavings.
pub(crate) fn model_kills(options: Options, run: impl Fn(u32) + Send + Sync + Clone + 'static) {
    for steps in 0.. {
        let run = run.clone();
        let killed = model(options, move || run(steps));
        if cfg!(not(loom)) && steps < 30 {
            // One interleaving that happens to be says nothing about the others.
            continue;
        }
        if !killed {
            assert!(cfg!(not(loom)) || steps > 2, "nobody was killed");
            return;
        }
    }
}
