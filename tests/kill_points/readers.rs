//! A lock that many may read.

use std::mem;

use coproc::{Event, LockError, Result, RwLock, SharedValue};
use coproc_tests::rig::{Check, Dead, Operation, Other, Step, ensure, operation};
use coproc_tests::{fork, wait_for};

use crate::{Block, CLEAN, LAST, NEW, OLD, POISONED};

/// A lock that many may read, and a process that holds it until the gate is opened, or waits for it.
struct Shelf {
    data: SharedValue<RwLock<Block>>,
    gate: SharedValue<Event>,
    other: Option<Other>,
}

fn shelf() -> Result<Shelf> {
    Ok(Shelf { data: SharedValue::new(RwLock::new(OLD))?, gate: SharedValue::new(Event::new())?, other: None })
}

/// As [`shelf`], and another process reads, or writes.
fn busy_shelf(reads: bool) -> impl Fn() -> Result<Shelf> {
    move || {
        let (shelf, ready) = (shelf()?, SharedValue::new(Event::new())?);
        let other = Other::start(|| {
            let (reader, writer) = if reads { (shelf.data.read().ok(), None) } else { (None, shelf.data.write().ok()) };
            ready.set();
            shelf.gate.wait();
            drop((reader, writer));
            CLEAN
        });
        ready.wait();
        Ok(Shelf { other: Some(other), ..shelf })
    }
}

/// As [`shelf`], and a process has died that read it.
fn shelf_of_the_dead() -> Result<Shelf> {
    let shelf = shelf()?;
    let reader = fork(|| {
        mem::forget(shelf.data.read());
        0
    });
    wait_for(reader);
    Ok(shelf)
}

fn shelf_waiter(shelf: &Shelf, reads: bool) -> Other {
    Other::asleep(|| match if reads { shelf.data.read().map(drop) } else { shelf.data.write().map(drop) } {
        Ok(()) => CLEAN,
        Err(LockError::Poisoned(_)) => POISONED,
        Err(_) => 2,
    })
}

impl Shelf {
    /// Others get the lock in time, and the data is old or new, or poisoned by the victim, if that was writing.
    fn check_sound(self, dead: &Dead<'_>, writes: bool) -> Check {
        self.gate.set();
        let poisoned_is_fine = writes && !dead.finished;
        if let Some(other) = &self.other {
            let code = other.ends(dead, "the lock in another process")?;
            ensure(code == CLEAN || code == POISONED && poisoned_is_fine, || format!("the other: {code}"))?;
        }
        match dead.bounded("read", || self.data.read().map(|data| *data)) {
            Ok(data) => {
                let good = data == OLD && !(writes && dead.finished) || data == NEW && writes;
                ensure(good, || format!("torn, or lost: {data:?}"))?;
            }
            Err(LockError::Poisoned(owner)) => {
                ensure(owner.pid == dead.pid && poisoned_is_fine, || format!("{owner:?}, not {}", dead.pid))?;
            }
            Err(error) => return Err(error.into()),
        }
        *dead.bounded("write_or_repair", || self.data.write_or_repair(|data, _| *data = OLD))? = LAST;
        let last = dead.bounded("read", || self.data.read().map(|data| *data))?;
        ensure(last == LAST, || format!("written, but {last:?}"))
    }
}

pub(crate) fn lines() -> Vec<Box<dyn Operation>> {
    let read = |shelf: Shelf, step: &Step| Ok(step.through(|| shelf.data.read().map(drop))?);
    let write = |shelf: Shelf, step: &Step| Ok(step.through(|| shelf.data.write().map(|mut data| *data = NEW))?);
    let read_check = |shelf: Shelf, dead: &Dead<'_>| shelf.check_sound(dead, false);
    let write_check = |shelf: Shelf, dead: &Dead<'_>| shelf.check_sound(dead, true);
    vec![
        operation("RwLock: read", shelf, read, read_check).boxed(),
        operation("RwLock: write", shelf, write, write_check).boxed(),
        operation("RwLock: read, another reads", busy_shelf(true), read, read_check).boxed(),
        operation("RwLock: read, another writes", busy_shelf(false), read, read_check).asleep(|shelf| shelf.gate.set()).boxed(),
        operation("RwLock: write, another reads", busy_shelf(true), write, write_check).asleep(|shelf| shelf.gate.set()).boxed(),
        operation("RwLock: write, another writes", busy_shelf(false), write, write_check)
            .asleep(|shelf| shelf.gate.set())
            .boxed(),
        operation("RwLock: write, a reader is dead", shelf_of_the_dead, write, write_check).slow().boxed(),
        operation(
            "RwLock: end of reading, a writer waits",
            shelf,
            |shelf, step| {
                let guard = shelf.data.read()?;
                step.through(|| drop(guard));
                Ok(())
            },
            read_check,
        )
        .meanwhile(|shelf| shelf.other = Some(shelf_waiter(shelf, false)))
        .boxed(),
        operation(
            "RwLock: end of writing, a reader waits",
            shelf,
            |shelf, step| {
                let mut guard = shelf.data.write()?;
                *guard = NEW;
                step.through(|| drop(guard));
                Ok(())
            },
            write_check,
        )
        .meanwhile(|shelf| shelf.other = Some(shelf_waiter(shelf, true)))
        .boxed(),
    ]
}
