//! Many processes at one object, killed at random moments: for 2 seconds with each type, or for `COPROC_STRESS_SECONDS`.
//!
//! Each test counts what must never be (`violations`), and at the end all who are left must come to theirs. `--nocapture` shows
//! the counts. That it passes proves little about windows of a few instructions: random kills seldom meet one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex as Turn, MutexGuard as TurnGuard, PoisonError};
use std::time::{Duration, Instant};

use coproc::{
    Barrier, BarrierError, Condvar, LoanQueue, LockError, Message, Mutex, PipeReceiver, PipeSender, Plain, Queue, Receiver,
    RecvError, Result, RwLock, Semaphore, SendError, SendTimeoutError, Sender, Shareable, SharedValue, TryLockError,
    channel_with_capacity, spsc,
};
use coproc_pool::{Cause, Process};
use coproc_tests::{Random, Watchdog, resume, signal, until, watchdog};

/// How many processes there are at a time.
const COUNT: usize = 6;
const SOON: Duration = Duration::from_secs(20);

/// What the processes of a test say about themselves.
#[derive(Shareable)]
#[repr(C)]
struct Score {
    turns: AtomicU64,
    repairs: AtomicU64,
    violations: AtomicU64,
    stop: AtomicU64,
}

impl Score {
    fn goes_on(&self) -> bool {
        self.stop.load(SeqCst) == 0
    }

    fn turn(&self) {
        self.turns.fetch_add(1, SeqCst);
    }

    fn never(&self, broken: bool) {
        if broken {
            self.violations.fetch_add(1, SeqCst);
        }
    }
}

/// Equal whenever nobody is at work on them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Plain)]
#[repr(C)]
struct Twins {
    left: u64,
    right: u64,
}

fn duration() -> Duration {
    let seconds = std::env::var("COPROC_STRESS_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(2))
}

/// One storm at a time, so each has the processors; and a watch over it.
fn alone(what: &str) -> (TurnGuard<'static, ()>, Watchdog) {
    static TURN: Turn<()> = Turn::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    (turn, watchdog(duration().as_secs() + 90, what))
}

/// A process that was killed while it did its work, and had found no fault.
fn bury(process: Process<()>) {
    match process.join() {
        Err(error) if error.cause == (Cause::Killed { signal: 9 }) => {}
        other => panic!("{other:?}"),
    }
}

/// Whether a new process comes in the place of a dead one before that one is known to be dead, now and then.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Overlap {
    Never,
    Often,
}

/// Keeps so many processes at work, kills one after the other at random moments, and stops some of them for a while. Gives the
/// number of kills, and those who are left.
fn storm(
    score: &Score,
    overlap: Overlap,
    spawn: impl Fn(usize) -> Result<Process<()>>,
    before_kill: impl Fn(usize),
    after_kill: impl Fn() -> Result<()>,
) -> Result<(u64, Vec<Process<()>>)> {
    let mut random = Random(std::process::id().into());
    let mut all = (0..COUNT).map(&spawn).collect::<Result<Vec<_>>>()?;
    let (end, mut kills) = (Instant::now() + duration(), 0);
    while Instant::now() < end {
        let seen = score.turns.load(SeqCst);
        let steps = random.below(40);
        until("those who are left go on", || score.turns.load(SeqCst) > seen + steps);
        for _ in 0..random.below(2000) {
            std::hint::spin_loop();
        }
        let victim = random.below(COUNT as u64) as usize;
        let stopped = (victim + 1 + random.below(COUNT as u64 - 1) as usize) % COUNT;
        let stopped = (random.below(8) == 0).then(|| all[stopped].pid());
        if let Some(pid) = stopped {
            signal(pid, libc::SIGSTOP);
        }
        before_kill(victim);
        all[victim].kill()?;
        if let Some(pid) = stopped {
            resume(pid);
        }
        if overlap == Overlap::Often && random.below(2) == 0 {
            bury(std::mem::replace(&mut all[victim], spawn(victim)?));
        } else {
            bury(all.remove(victim));
            all.insert(victim, spawn(victim)?);
        }
        after_kill()?;
        kills += 1;
    }
    Ok((kills, all))
}

fn finish(what: &str, score: &Score, kills: u64, left: Vec<Process<()>>) -> Result<()> {
    for process in left {
        process.join()?;
    }
    let [turns, repairs, violations] = [&score.turns, &score.repairs, &score.violations].map(|count| count.load(SeqCst));
    println!("{what}: {kills} kills, {turns} turns, {repairs} repairs, {violations} violations");
    assert_eq!(violations, 0);
    assert!(kills > 0);
    Ok(())
}

#[derive(Shareable)]
#[repr(C)]
struct Locked {
    score: Score,
    twins: Mutex<Twins>,
    /// Who is inside. Not 0 in a lock that one gets without a repair is an owner too many, or a death that nobody was told of.
    inside: AtomicU64,
}

#[test]
fn mutex() -> Result<()> {
    fn work(state: SharedValue<Locked>) -> Result<()> {
        while state.score.goes_on() {
            let mut twins = state.twins.lock_or_repair(|twins, _| {
                twins.right = twins.left;
                state.inside.store(0, SeqCst);
                state.score.repairs.fetch_add(1, SeqCst);
            })?;
            state.score.never(state.inside.swap(1, SeqCst) != 0 || twins.left != twins.right);
            twins.left += 1;
            state.score.turn();
            twins.right += 1;
            state.inside.store(0, SeqCst);
        }
        Ok(())
    }
    let _alone = alone("Mutex");
    let state = SharedValue::<Locked>::zeroed()?;
    let (kills, left) = storm(&state.score, Overlap::Often, |_| Process::spawn(work, (&state,)), |_| (), || Ok(()))?;
    state.score.stop.store(1, SeqCst);
    finish("Mutex", &state.score, kills, left)?;
    drop(state.twins.lock_or_repair(|twins, _| twins.right = twins.left)?);
    assert!(state.twins.try_lock().is_ok());
    Ok(())
}

/// Where a writer's pid is noted.
const WRITERS: usize = 1 << 16;

#[derive(Shareable)]
#[repr(C)]
struct Read {
    score: Score,
    twins: RwLock<Twins>,
    writing: AtomicU64,
    writers: [AtomicU64; WRITERS],
}

#[test]
fn rwlock() -> Result<()> {
    fn write(state: SharedValue<Read>) -> Result<()> {
        let pid = u64::from(std::process::id());
        state.writers[pid as usize % WRITERS].store(pid, SeqCst);
        while state.score.goes_on() {
            let mut twins = state.twins.write_or_repair(|twins, dead| {
                // Only a writer poisons.
                let noted = state.writers[dead.pid as usize % WRITERS].load(SeqCst);
                state.score.never(dead.pid != 0 && noted != u64::from(dead.pid));
                twins.right = twins.left;
                state.writing.store(0, SeqCst);
                state.score.repairs.fetch_add(1, SeqCst);
            })?;
            state.score.never(state.writing.swap(1, SeqCst) != 0 || twins.left != twins.right);
            twins.left += 1;
            state.score.turn();
            twins.right += 1;
            state.writing.store(0, SeqCst);
        }
        Ok(())
    }
    fn read(state: SharedValue<Read>) -> Result<()> {
        while state.score.goes_on() {
            match state.twins.read() {
                Ok(twins) => {
                    let before = *twins;
                    state.score.never(state.writing.load(SeqCst) != 0 || before.left != before.right);
                    state.score.turn();
                    state.score.never(state.writing.load(SeqCst) != 0 || std::hint::black_box(*twins) != before);
                }
                // A writer is to repair it.
                Err(LockError::Poisoned(_)) => std::thread::yield_now(),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
    let _alone = alone("RwLock");
    let state = SharedValue::<Read>::zeroed()?;
    let spawn = |n| if n < 2 { Process::spawn(write, (&state,)) } else { Process::spawn(read, (&state,)) };
    let (kills, left) = storm(&state.score, Overlap::Often, spawn, |_| (), || Ok(()))?;
    state.score.stop.store(1, SeqCst);
    finish("RwLock", &state.score, kills, left)?;
    drop(state.twins.write_or_repair(|twins, _| twins.right = twins.left)?);
    assert!(state.twins.try_read().is_ok());
    assert!(state.twins.try_write().is_ok());
    Ok(())
}

const PERMITS: usize = 3;

#[derive(Shareable)]
#[repr(C)]
struct Permits {
    score: Score,
    permits: Semaphore,
    /// Odd while the process of that number has a permit.
    holding: [AtomicU64; COUNT],
    /// Not 0 from before a process is killed until another one has its number.
    dying: [AtomicU64; COUNT],
}

impl Permits {
    fn holding(&self) -> [u64; COUNT] {
        std::array::from_fn(|n| self.holding[n].load(SeqCst))
    }

    /// How many certainly had a permit at one moment.
    fn at_once(&self) -> usize {
        let once = self.holding();
        if once != self.holding() {
            return 0;
        }
        once.iter().zip(&self.dying).filter(|(holding, dying)| *holding % 2 == 1 && dying.load(SeqCst) == 0).count()
    }
}

#[test]
fn semaphore() -> Result<()> {
    storm_of_permits("Semaphore", 0)
}

/// This process keeps those that have a place of their own.
#[test]
fn semaphore_without_places() -> Result<()> {
    storm_of_permits("Semaphore without places", 32)
}

fn storm_of_permits(name: &str, kept: u32) -> Result<()> {
    fn work(state: SharedValue<Permits>, me: u64) -> Result<()> {
        let mine = &state.holding[me as usize];
        while state.score.goes_on() {
            let permit = match state.permits.try_acquire() {
                Ok(permit) => permit,
                Err(TryLockError::WouldBlock) => state.permits.acquire()?,
                Err(error) => return Err(error.into()),
            };
            mine.fetch_add(1, SeqCst);
            state.score.never(state.at_once() > PERMITS);
            state.score.turn();
            mine.fetch_add(1, SeqCst);
            drop(permit);
        }
        Ok(())
    }
    let _alone = alone(name);
    let state = SharedValue::<Permits>::zeroed()?;
    state.permits.release(kept + PERMITS as u32)?;
    let kept = (0..kept).map(|_| state.permits.acquire()).collect::<Result<Vec<_>, _>>()?;
    // A number is given to the next process when the one before is dead, and its permit with it.
    let spawn = |n: usize| {
        state.holding[n].fetch_and(!1, SeqCst);
        state.dying[n].store(0, SeqCst);
        Process::spawn(work, (&state, n as u64))
    };
    let dies = |n: usize| state.dying[n].store(1, SeqCst);
    let (kills, left) = storm(&state.score, Overlap::Never, spawn, dies, || Ok(()))?;
    state.score.stop.store(1, SeqCst);
    finish(name, &state.score, kills, left)?;
    let permits = (0..PERMITS).map(|_| state.permits.acquire_timeout(SOON)).collect::<Result<Vec<_>, _>>()?;
    assert_eq!(state.permits.try_acquire().map(drop), Err(TryLockError::WouldBlock));
    drop(permits);
    assert_eq!(state.permits.available(), PERMITS as u64);
    drop(kept);
    Ok(())
}

/// So many items can be told apart at a time; many more than can be on their way.
const ITEMS: u64 = 1 << 16;
const DRAWN: u64 = 1;
const SENT: u64 = 2;
const SEEN: u64 = 3;

#[derive(Shareable)]
#[repr(C)]
struct Items {
    score: Score,
    next: AtomicU64,
    lost: AtomicU64,
    /// Number of the item, times four, and what has become of it.
    fate: [AtomicU64; ITEMS as usize],
}

impl Items {
    fn fate(&self, item: u64) -> &AtomicU64 {
        &self.fate[(item % ITEMS) as usize]
    }

    /// The next item, that nobody has sent.
    fn draw(&self) -> u64 {
        let item = self.next.fetch_add(1, SeqCst);
        let before = self.fate(item).swap(item * 4 + DRAWN, SeqCst);
        self.lost.fetch_add(u64::from(before % 4 == SENT), SeqCst);
        item
    }

    fn note_sent(&self, item: u64) {
        let _ = self.fate(item).compare_exchange(item * 4 + DRAWN, item * 4 + SENT, SeqCst, SeqCst);
    }

    fn note_seen(&self, item: u64) {
        let before = self.fate(item).swap(item * 4 + SEEN, SeqCst);
        // Seen already, or never sent.
        self.score.never(before != item * 4 + DRAWN && before != item * 4 + SENT);
    }

    fn lost_at_most(&self, what: &str, dead: u64) {
        let lost = self.lost.load(SeqCst) + self.fate.iter().filter(|fate| fate.load(SeqCst) % 4 == SENT).count() as u64;
        println!("{what}: {lost} items lost with {dead} dead receivers");
        assert!(lost <= dead);
    }
}

#[test]
fn queue() -> Result<()> {
    fn send(state: SharedValue<Items>, queue: Queue<(u64, u64)>) -> Result<()> {
        let me = u64::from(std::process::id());
        while state.score.goes_on() {
            let item = state.draw();
            if queue.send((me, item)).is_err() {
                state.score.never(true);
            }
            state.note_sent(item);
        }
        Ok(())
    }
    fn receive(state: SharedValue<Items>, queue: Queue<(u64, u64)>) -> Result<()> {
        let mut last = HashMap::new();
        while let Ok((sender, item)) = queue.recv() {
            state.note_seen(item);
            // What one sender sends comes in its order.
            state.score.never(last.insert(sender, item).is_some_and(|last| last > item));
            state.score.turn();
        }
        Ok(())
    }
    let _alone = alone("Queue");
    let state = SharedValue::<Items>::zeroed()?;
    let queue = Queue::new(16)?;
    let dead_receivers = AtomicU64::new(0);
    let spawn = |n| {
        if n % 2 == 0 { Process::spawn(send, (&state, &queue)) } else { Process::spawn(receive, (&state, &queue)) }
    };
    let note = |n: usize| {
        dead_receivers.fetch_add(n as u64 % 2, SeqCst);
    };
    let (kills, mut left) = storm(&state.score, Overlap::Often, spawn, note, || Ok(()))?;
    state.score.stop.store(1, SeqCst);
    let (mut senders, mut receivers) = (Vec::new(), Vec::new());
    for (n, process) in left.drain(..).enumerate() {
        if n % 2 == 0 { senders.push(process) } else { receivers.push(process) }
    }
    for sender in senders {
        sender.join()?;
    }
    queue.close();
    finish("Queue", &state.score, kills, receivers)?;
    assert!(queue.is_empty());
    state.lost_at_most("Queue", dead_receivers.load(SeqCst));
    Ok(())
}

/// Fewer than there are processes, so that some wait.
const BUFFERS: usize = 4;
/// Size of a buffer, in bytes.
const FRAME: usize = 1024;

#[test]
fn loan_queue() -> Result<()> {
    fn send(state: SharedValue<Items>, frames: LoanQueue) -> Result<()> {
        while state.score.goes_on() {
            let item = state.draw();
            let mut frame = frames.loan(FRAME)?;
            frame.as_plain_mut::<u64>().unwrap().fill(item);
            if frames.send(frame).is_err() {
                state.score.never(true);
            }
            state.note_sent(item);
        }
        Ok(())
    }
    fn receive(state: SharedValue<Items>, frames: LoanQueue) -> Result<()> {
        let me = u64::MAX - u64::from(std::process::id());
        while let Ok(mut frame) = frames.recv() {
            let words = frame.as_plain_mut::<u64>().unwrap();
            let item = words[0];
            state.score.never(words.iter().any(|&word| word != item));
            state.note_seen(item);
            // It is this process's alone, to write too.
            words.fill(me);
            state.score.turn();
            state.score.never(std::hint::black_box(words).iter().any(|&word| word != me));
        }
        Ok(())
    }
    let _alone = alone("LoanQueue");
    let state = SharedValue::<Items>::zeroed()?;
    let frames = LoanQueue::new(BUFFERS, FRAME)?;
    let dead_receivers = AtomicU64::new(0);
    let spawn = |n| {
        if n % 2 == 0 { Process::spawn(send, (&state, &frames)) } else { Process::spawn(receive, (&state, &frames)) }
    };
    let note = |n: usize| {
        dead_receivers.fetch_add(n as u64 % 2, SeqCst);
    };
    let (kills, mut left) = storm(&state.score, Overlap::Often, spawn, note, || Ok(()))?;
    state.score.stop.store(1, SeqCst);
    let mut receivers = Vec::new();
    for (n, process) in left.drain(..).enumerate() {
        if n % 2 == 0 {
            process.join()?;
        } else {
            receivers.push(process);
        }
    }
    // Whoever has died with whatever: all buffers come back.
    let all = (0..BUFFERS).map(|_| frames.loan_timeout(FRAME, SOON)).collect::<Result<Vec<_>, _>>()?;
    assert_eq!((frames.available(), frames.len()), (0, 0));
    drop(all);
    frames.close();
    finish("LoanQueue", &state.score, kills, receivers)?;
    assert_eq!(frames.available(), BUFFERS);
    state.lost_at_most("LoanQueue", dead_receivers.load(SeqCst));
    Ok(())
}

/// A message that shows whether it is whole.
#[derive(Message)]
struct Letter {
    number: u64,
    body: Vec<u8>,
    /// Holds the number too.
    with: Option<SharedValue<u64>>,
}

impl Letter {
    fn new(number: u64) -> Result<Self> {
        let with = if number % 8 == 3 { Some(SharedValue::new(number)?) } else { None };
        Ok(Self { number, body: Self::body(number), with })
    }

    /// Many are longer than the pipe.
    fn body(number: u64) -> Vec<u8> {
        let mut random = Random(number);
        (0..random.below(2500)).map(|n| (n * number) as u8).collect()
    }

    fn is_whole(&self) -> bool {
        let with = self.with.as_ref().map(|with| with.get().ok());
        self.body == Self::body(self.number) && with == (self.number % 8 == 3).then_some(Some(self.number))
    }
}

#[test]
fn pipe() -> Result<()> {
    fn send(score: SharedValue<Score>, sender: PipeSender) -> Result<()> {
        let mut random = Random(std::process::id().into());
        let mut number = 0;
        while score.goes_on() {
            match sender.send_value_timeout(&Letter::new(number)?, Duration::from_micros(random.below(2000))) {
                Ok(()) => number += 1,
                // Nothing of it is to be seen.
                Err(SendTimeoutError::Timeout(())) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
    /// Each in its place, up to the sender's end, or its death.
    fn receive(score: &Score, receiver: &PipeReceiver) {
        for number in 0.. {
            match receiver.recv_value::<Letter>() {
                Ok(letter) => score.never(letter.number != number || !letter.is_whole()),
                Err(end) => return score.never(!matches!(end, RecvError::Closed | RecvError::Disconnected)),
            }
            score.turn();
        }
    }
    let _alone = alone("Pipe");
    let score = SharedValue::<Score>::zeroed()?;
    let receivers = Turn::new(Vec::new());
    let spawn = |_| {
        let (sender, receiver) = channel_with_capacity(1000)?;
        let process = Process::spawn(send, (&score, sender))?;
        let score = score.clone();
        let thread = std::thread::spawn(move || receive(&score, &receiver));
        receivers.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(process)
    };
    let (kills, left) = storm(&score, Overlap::Often, spawn, |_| (), || Ok(()))?;
    score.stop.store(1, SeqCst);
    let joined = receivers.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().map(|thread| thread.join());
    assert!(joined.into_iter().all(|thread| thread.is_ok()));
    finish("Pipe", &score, kills, left)
}

/// What the ends of a ring say about themselves.
#[derive(Shareable)]
#[repr(C)]
struct Ends {
    score: Score,
    /// How many items were certainly sent, and received: noted after the call.
    sent: AtomicU64,
    received: AtomicU64,
}

/// How many items a bulk call takes.
const BULK: u64 = 5;

impl Ends {
    /// Sends 0, 1, 2, ... until there is nobody to send to.
    fn send_all(&self, sender: &mut Sender<u64>, bulk: bool) -> SendError<()> {
        for n in (0..).step_by(if bulk { BULK as usize } else { 1 }) {
            let items: [u64; BULK as usize] = std::array::from_fn(|i| n + i as u64);
            let sent = if bulk { sender.send_slice(&items) } else { sender.send_slice(&items[..1]) };
            match sent {
                Ok(()) => self.sent.store(n + if bulk { BULK } else { 1 }, SeqCst),
                Err(error) => {
                    self.sent.store(n + error.sent as u64, SeqCst);
                    return error.reason;
                }
            }
            self.score.turn();
        }
        unreachable!("the numbers do not end")
    }

    /// Receives 0, 1, 2, ... until nothing can come any more.
    fn receive_all(&self, receiver: &mut Receiver<u64>, bulk: bool) -> RecvError {
        let (mut next, mut room) = (0, [0; BULK as usize]);
        loop {
            match receiver.recv_into(if bulk { &mut room } else { &mut room[..1] }) {
                Ok(count) => {
                    self.score.never(!room[..count].iter().copied().eq(next..next + count as u64));
                    next += count as u64;
                    self.received.store(next, SeqCst);
                    self.score.turn();
                }
                Err(error) => return error,
            }
        }
    }
}

/// One ring after the other, with its ends in two children, of which one is killed at a random moment; the other says how it ended.
#[test]
fn ring() -> Result<()> {
    fn send(ends: SharedValue<Ends>, mut sender: Sender<u64>, bulk: bool) -> bool {
        ends.send_all(&mut sender, bulk) == SendError::Disconnected(())
    }
    fn receive(ends: SharedValue<Ends>, mut receiver: Receiver<u64>, bulk: bool) -> bool {
        ends.receive_all(&mut receiver, bulk) == RecvError::Disconnected
    }
    let _alone = alone("spsc");
    let mut random = Random(std::process::id().into());
    let (end, mut kills, mut turns, mut lost) = (Instant::now() + duration(), 0, 0, 0);
    while Instant::now() < end {
        let ends = SharedValue::<Ends>::zeroed()?;
        let capacity = 1 + random.below(9);
        let (sender, receiver) = spsc(capacity as usize)?;
        let (bulk_send, bulk_recv) = (random.below(2) == 0, random.below(2) == 0);
        let sends = Process::spawn(send, (&ends, sender, bulk_send))?;
        let receives = Process::spawn(receive, (&ends, receiver, bulk_recv))?;
        let steps = random.below(200);
        until("items pass", || ends.score.turns.load(SeqCst) > steps);
        for _ in 0..random.below(2000) {
            std::hint::spin_loop();
        }
        // Who is stopped for a while is not dead.
        if random.below(4) == 0 {
            let pid = if random.below(2) == 0 { sends.pid() } else { receives.pid() };
            signal(pid, libc::SIGSTOP);
            resume(pid);
        }
        let kills_sender = random.below(2) == 0;
        let (dies, lives) = if kills_sender { (sends, receives) } else { (receives, sends) };
        dies.kill()?;
        assert!(matches!(dies.join(), Err(error) if error.cause == (Cause::Killed { signal: 9 })));
        ends.score.never(!lives.join()?);
        let (sent, received) = (ends.sent.load(SeqCst), ends.received.load(SeqCst));
        if kills_sender {
            // All that was sent for sure, and at most one call more.
            assert!((sent..=sent + if bulk_send { BULK } else { 1 }).contains(&received), "{received} of {sent}");
        } else {
            // What is neither noted nor inside was in one call of the dead receiver.
            let most = if bulk_recv { BULK.min(capacity) } else { 1 };
            assert!(
                (received + capacity..=received + capacity + most).contains(&sent),
                "{sent} sent, {received} received, {capacity}"
            );
            lost += sent - received - capacity;
        }
        assert_eq!(ends.score.violations.load(SeqCst), 0);
        turns += ends.score.turns.load(SeqCst);
        kills += 1;
    }
    println!("spsc: {kills} kills, {turns} turns, 0 violations, {lost} items lost with dead receivers");
    assert!(kills > 0);
    Ok(())
}

#[derive(Shareable)]
#[repr(C)]
struct Meeting {
    score: Score,
    barrier: Barrier,
    /// How often each index was given, and how often a leader was named.
    indices: [AtomicU64; COUNT],
    leaders: AtomicU64,
    breaks: AtomicU64,
}

#[test]
fn barrier() -> Result<()> {
    fn work(state: SharedValue<Meeting>, announced: bool) -> Result<()> {
        let _party = if announced { Some(state.barrier.party()?) } else { None };
        while state.score.goes_on() {
            match state.barrier.wait_timeout(SOON) {
                Ok(place) => {
                    state.indices[place.index() as usize].fetch_add(1, SeqCst);
                    state.leaders.fetch_add(u64::from(place.is_leader()), SeqCst);
                    state.score.never(place.is_leader() != (place.index() as usize == COUNT - 1));
                    state.score.turn();
                }
                Err(BarrierError::Broken) => {
                    state.breaks.fetch_add(1, SeqCst);
                    until("the barrier is mended", || !state.barrier.is_broken() || !state.score.goes_on());
                }
                Err(error) => {
                    // Nobody waits for the dead.
                    state.score.never(true);
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }
    let _alone = alone("Barrier");
    let state = SharedValue::new(Meeting {
        score: Score { turns: 0.into(), repairs: 0.into(), violations: 0.into(), stop: 0.into() },
        barrier: Barrier::new(COUNT as u32),
        indices: [const { AtomicU64::new(0) }; COUNT],
        leaders: 0.into(),
        breaks: 0.into(),
    })?;
    let mend = || {
        state.score.repairs.fetch_add(1, SeqCst);
        Ok(state.barrier.reset()?)
    };
    // Nobody has died since the last reset.
    let whole = |_| state.score.never(state.barrier.is_broken());
    let (kills, left) = storm(&state.score, Overlap::Often, |n| Process::spawn(work, (&state, n % 2 == 0)), whole, mend)?;
    state.score.stop.store(1, SeqCst);
    // Who is through its last round leaves the others waiting.
    state.barrier.abort()?;
    finish("Barrier", &state.score, kills, left)?;
    let indices = state.indices.each_ref().map(|count| count.load(SeqCst));
    let (most, least) = (indices.iter().max().copied().unwrap_or(0), indices.iter().min().copied().unwrap_or(0));
    let leaders = state.leaders.load(SeqCst);
    println!("Barrier: indices {indices:?}, {leaders} leaders, {} broken waits", state.breaks.load(SeqCst));
    // In each round each index is given once; a killed process may not have noted its own.
    assert!(most - least <= kills, "{indices:?}");
    assert!(leaders.abs_diff(indices[COUNT - 1]) <= kills, "{leaders} {indices:?}");
    Ok(())
}

#[derive(Clone, Copy, Debug, Default, Plain)]
#[repr(C)]
struct Stock {
    items: u64,
    produced: u64,
    consumed: u64,
}

const ROOM: u64 = 3;

#[derive(Shareable)]
#[repr(C)]
struct Shop {
    score: Score,
    stock: Mutex<Stock>,
    arrived: Condvar,
    room: Condvar,
}

impl Shop {
    /// Waits until this is so no more, with a look now and then: who died before it notified has notified nobody.
    fn change(&self, on: &Condvar, wait: impl Fn(&Stock) -> bool, change: impl FnOnce(&mut Stock)) -> Result<(), LockError> {
        let mend = |stock: &mut Stock, _| {
            stock.items = stock.produced - stock.consumed;
            self.score.repairs.fetch_add(1, SeqCst);
        };
        loop {
            let guard = self.stock.lock_or_repair(mend)?;
            let waited = on.wait_timeout_while(guard, Duration::from_millis(50), |stock| self.score.goes_on() && wait(stock));
            match waited {
                Ok((mut stock, true)) => {
                    self.score.never(stock.items != stock.produced - stock.consumed || stock.items > ROOM);
                    if !wait(&stock) {
                        change(&mut stock);
                        self.score.turn();
                    }
                    return Ok(());
                }
                Ok((_, false)) | Err(LockError::Poisoned(_)) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[test]
fn condvar() -> Result<()> {
    fn produce(shop: SharedValue<Shop>) -> Result<()> {
        while shop.score.goes_on() {
            shop.change(
                &shop.room,
                |stock| stock.items == ROOM,
                |stock| {
                    stock.produced += 1;
                    stock.items += 1;
                },
            )?;
            shop.arrived.notify_one();
        }
        Ok(())
    }
    fn consume(shop: SharedValue<Shop>) -> Result<()> {
        while shop.score.goes_on() {
            shop.change(
                &shop.arrived,
                |stock| stock.items == 0,
                |stock| {
                    stock.consumed += 1;
                    stock.items -= 1;
                },
            )?;
            shop.room.notify_one();
        }
        Ok(())
    }
    /// With no look now and then: where nobody dies no wake is lost.
    fn trade(shop: SharedValue<Shop>, produces: bool) -> Result<()> {
        for _ in 0..500 {
            let (on, other) = if produces { (&shop.room, &shop.arrived) } else { (&shop.arrived, &shop.room) };
            let wait = |stock: &mut Stock| if produces { stock.items == ROOM } else { stock.items == 0 };
            let mut stock = on.wait_while(shop.stock.lock()?, wait)?;
            if produces {
                stock.items += 1
            } else {
                stock.items -= 1
            }
            drop(stock);
            other.notify_one();
        }
        Ok(())
    }
    let _alone = alone("Condvar");
    let shop = SharedValue::<Shop>::zeroed()?;
    let spawn = |n| if n % 2 == 0 { Process::spawn(produce, (&shop,)) } else { Process::spawn(consume, (&shop,)) };
    let (kills, left) = storm(&shop.score, Overlap::Often, spawn, |_| (), || Ok(()))?;
    shop.score.stop.store(1, SeqCst);
    shop.arrived.notify_all();
    shop.room.notify_all();
    finish("Condvar", &shop.score, kills, left)?;
    drop(shop.stock.lock_or_repair(|stock, _| stock.items = stock.produced - stock.consumed)?);
    let all = (0..4).map(|n| Process::spawn(trade, (&shop, n % 2 == 0))).collect::<Result<Vec<_>>>()?;
    for process in all {
        process.join()?;
    }
    Ok(())
}
