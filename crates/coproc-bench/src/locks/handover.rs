//! Two processes that take turns, each asleep while it is the other's: what a blocking hand-over costs beside a bare futex.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use coproc::{Event, Message, Semaphore, SharedValue};
use coproc_pool::Process;
use rustix::thread::futex;

use crate::measure::{Contest, Goal, Pinned, Result, Sample, Table, median};

/// Round trips of a run.
const TRIPS: u32 = 1000;

/// What one process gives and the other takes, again and again. Who takes sleeps until it was given.
trait Token: Message + Clone {
    fn give(&self);
    fn take(&self);
}

impl Token for SharedValue<Event> {
    fn give(&self) {
        self.set();
    }

    fn take(&self) {
        self.wait();
        self.clear();
    }
}

impl Token for SharedValue<Semaphore> {
    fn give(&self) {
        self.release(1).expect("the words are ours");
    }

    fn take(&self) {
        self.acquire().expect("the words are ours").forget();
    }
}

/// The bare futex: 1 is given, 0 is taken.
impl Token for SharedValue<AtomicU32> {
    fn give(&self) {
        // Release: pairs with the Acquire in `take`, as in any token that is worth something.
        self.store(1, Ordering::Release);
        // Nobody asleep is no error.
        let _ = futex::wake(self, futex::Flags::empty(), 1);
    }

    fn take(&self) {
        // Acquire: pairs with the Release in `give`.
        while self.load(Ordering::Acquire) == 0 {
            // Not asleep, or woken for no reason: the loop looks.
            let _ = futex::wait(self, futex::Flags::empty(), 0, None);
        }
        self.store(0, Ordering::Relaxed);
    }
}

pub(super) fn run(table: &mut Table, cpus: &[usize]) -> Result<()> {
    const EVENTS: &str = "round trip of two sleeping processes, two Events";
    const FUTEX: &str = "bare futex";

    let events = (SharedValue::new(Event::new())?, SharedValue::new(Event::new())?);
    let semaphores = (SharedValue::new(Semaphore::new(0))?, SharedValue::new(Semaphore::new(0))?);
    let words = (SharedValue::new(AtomicU32::new(0))?, SharedValue::new(AtomicU32::new(0))?);
    let slept = RefCell::new(Vec::new());
    let noted = |(sample, sleeps)| {
        slept.borrow_mut().push(sleeps);
        sample
    };
    let mut contest = Contest::default();
    contest.ours(EVENTS, || round_trips(&events, cpus).map(noted));
    contest.ours("round trip of two sleeping processes, two Semaphores", || round_trips(&semaphores, cpus).map(noted));
    contest.peer(FUTEX, || round_trips(&words, cpus).map(noted));
    contest.goal(EVENTS, FUTEX, 1.1);
    table.hold(contest)?;
    // Who finds its token there already does not sleep: that is no hand-over, and happens where the machine is busy.
    table.figure("sleeps in each of these round trips", median(slept.into_inner()), "of 2", Goal::AtLeast(1.5));
    Ok(())
}

/// The time of one round trip between this thread and a child, each on its CPU; and how often they slept in each.
fn round_trips<T: Token>(tokens: &(T, T), cpus: &[usize]) -> Result<(Sample, f64)> {
    let (there, back) = tokens;
    let child = Process::spawn(answer::<T>, (there.clone(), back.clone(), *cpus.last().ok_or("no CPU")?))?;
    let _pinned = Pinned::to(&cpus[..1])?;
    // The first one waits for the child's start.
    trip(there, back);
    let (start, slept) = (Instant::now(), sleeps()?);
    (0..TRIPS).for_each(|_| trip(there, back));
    let time = start.elapsed();
    let slept = sleeps()? - slept + child.join()?;
    let sample = Sample { ns: time.as_nanos() as f64 / f64::from(TRIPS), fairness: None };
    Ok((sample, slept as f64 / f64::from(TRIPS)))
}

fn trip<T: Token>(there: &T, back: &T) {
    there.give();
    back.take();
}

/// The child: gives back what it takes, and tells how often it slept.
fn answer<T: Token>(there: T, back: T, cpu: usize) -> std::io::Result<u64> {
    let _pinned = Pinned::to(&[cpu])?;
    let slept = sleeps()?;
    for _ in 0..=TRIPS {
        there.take();
        back.give();
    }
    Ok(sleeps()? - slept)
}

/// How often this thread has given up its CPU of its own will.
fn sleeps() -> std::io::Result<u64> {
    let status = std::fs::read_to_string("/proc/thread-self/status")?;
    let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    count.and_then(|count| count.trim().parse().ok()).ok_or_else(|| std::io::Error::other("no count of context switches"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::cpus;

    #[test]
    fn each_kind_of_token_makes_the_trips() {
        fn check<T: Token>(tokens: (T, T)) {
            let (sample, slept) = round_trips(&tokens, &cpus().unwrap()).unwrap();
            // How often they find their token there is the machine's affair, but never to sleep is not to wait.
            assert!(sample.ns > 0.0 && slept > 0.0, "{sample:?}, {slept} sleeps");
        }
        check((SharedValue::new(Event::new()).unwrap(), SharedValue::new(Event::new()).unwrap()));
        check((SharedValue::new(Semaphore::new(0)).unwrap(), SharedValue::new(Semaphore::new(0)).unwrap()));
        check((SharedValue::new(AtomicU32::new(0)).unwrap(), SharedValue::new(AtomicU32::new(0)).unwrap()));
    }
}
