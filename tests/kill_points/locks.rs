//! A value, and the locks that one has at a time.

use std::mem;

use coproc::{Event, LockError, Mutex, RecursiveMutex, Result, SharedArray, SharedValue};
use coproc_tests::rig::{Check, Dead, Operation, Other, ensure, operation};
use coproc_tests::{fork, wait_for};

use crate::{Block, CLEAN, Found, NEW, OLD, POISONED, SHORT, sound, sound_and};

/// An operation on a value that nobody else uses.
fn on_value(name: &str, finished: Found, run: fn(&SharedValue<Block>) -> Result<()>) -> Box<dyn Operation> {
    operation(
        format!("SharedValue: {name}"),
        || SharedValue::new(OLD),
        move |n, step| step.through(|| run(&n)),
        move |n, dead| sound_and(&n, dead, &[], finished),
    )
    .boxed()
}

/// A value whose lock another process has until the gate is opened; and perhaps one that waits behind the victim.
struct Held {
    n: SharedValue<Block>,
    gate: SharedValue<Event>,
    holder: Other,
    waiter: Option<Other>,
}

fn held() -> Result<Held> {
    let (n, gate, ready) = (SharedValue::new(OLD)?, SharedValue::new(Event::new())?, SharedValue::new(Event::new())?);
    let holder = Other::start(|| {
        let Ok(_guard) = n.lock() else { return 1 };
        ready.set();
        gate.wait();
        0
    });
    ready.wait();
    Ok(Held { n, gate, holder, waiter: None })
}

/// A process that sleeps until it gets the lock.
fn lock_waiter(n: &SharedValue<Block>) -> Other {
    Other::asleep(|| match n.lock() {
        Ok(_) => CLEAN,
        Err(LockError::Poisoned(_)) => POISONED,
        Err(_) => 2,
    })
}

impl Held {
    fn check_sound(self, dead: &Dead<'_>, finished: Option<Found>) -> Check {
        self.gate.set();
        let code = self.holder.ends(dead, "unlock")?;
        ensure(code == 0, || format!("the holder: {code}"))?;
        if let Some(waiter) = &self.waiter {
            let code = waiter.ends(dead, "lock in the waiter")?;
            ensure([CLEAN, POISONED].contains(&code), || format!("the waiter: {code}"))?;
        }
        match finished {
            Some(finished) => sound_and(&self.n, dead, &[], finished),
            None => sound(&self.n, dead, &[]).map(|_| ()),
        }
    }
}

/// A value whose owner has died, and who that was.
fn abandoned() -> Result<(SharedValue<Block>, u32)> {
    let n = SharedValue::new(OLD)?;
    let owner = fork(|| {
        mem::forget(n.lock());
        0
    });
    wait_for(owner);
    Ok((n, owner))
}

/// As [`abandoned`], and somebody has found out.
fn poisoned() -> Result<(SharedValue<Block>, u32)> {
    let (n, owner) = abandoned()?;
    drop(n.lock_poisoned()?);
    Ok((n, owner))
}

pub(crate) fn lines() -> Vec<Box<dyn Operation>> {
    let after_a_death = |name: &str, setup: fn() -> Result<(SharedValue<Block>, u32)>, finished, run: fn(&SharedValue<Block>)| {
        operation(
            format!("SharedValue: {name}"),
            setup,
            move |(n, _), step| {
                step.through(|| run(&n));
                Ok(())
            },
            move |(n, owner), dead| sound_and(&n, dead, &[owner], finished),
        )
        .boxed()
    };
    vec![
        on_value("set", Found::Clean(NEW), |n| Ok(n.set(NEW)?)),
        on_value("get", Found::Clean(OLD), |n| n.get().map(drop).map_err(Into::into)),
        on_value("update", Found::Clean(NEW), |n| n.update(|_| NEW).map(drop).map_err(Into::into)),
        on_value("try_lock, unlock", Found::Clean(OLD), |n| n.try_lock().map(drop).map_err(Into::into)),
        on_value("lock, forget the guard", Found::Poisoned, |n| Ok(n.lock().map(mem::forget)?)),
        on_value("lock, clone, drop the clone, unlock", Found::Clean(OLD), |n| {
            let guard = n.lock()?;
            drop(n.clone());
            drop(guard);
            Ok(())
        }),
        operation(
            "SharedValue: set, first thing after a fork",
            || SharedValue::new(OLD),
            |n, step| Ok(step.through(|| n.set(NEW))?),
            |n, dead| sound_and(&n, dead, &[], Found::Clean(NEW)),
        )
        .cold()
        .boxed(),
        operation(
            "SharedValue: drop, with a forgotten guard",
            || SharedValue::new(OLD),
            |n, step| {
                mem::forget(n.lock()?);
                step.through(|| drop(n));
                Ok(())
            },
            |n, dead| sound_and(&n, dead, &[], Found::Poisoned),
        )
        .boxed(),
        operation(
            "SharedValue: unlock, another waits",
            || Ok((SharedValue::new(OLD)?, None)),
            |(n, _), step| {
                let mut guard = n.lock()?;
                *guard = NEW;
                step.through(|| drop(guard));
                Ok(())
            },
            |(n, waiter): (_, Option<Other>), dead| {
                let code = waiter.as_ref().map_or(Ok(CLEAN), |waiter| waiter.ends(dead, "lock in the waiter"))?;
                ensure(code == CLEAN || code == POISONED && !dead.finished, || format!("the waiter: {code}"))?;
                sound_and(&n, dead, &[], Found::Clean(NEW))
            },
        )
        .meanwhile(|(n, waiter)| *waiter = Some(lock_waiter(n)))
        .boxed(),
        operation(
            "SharedValue: lock_timeout, it is held",
            held,
            |held, step| {
                step.through(|| drop(held.n.lock_timeout(SHORT)));
                Ok(())
            },
            |held, dead| held.check_sound(dead, Some(Found::Clean(OLD))),
        )
        .boxed(),
        operation(
            "SharedValue: set, waits",
            held,
            |held, step| Ok(step.through(|| held.n.set(NEW))?),
            |held, dead| held.check_sound(dead, Some(Found::Clean(NEW))),
        )
        .asleep(|held| held.gate.set())
        .boxed(),
        operation(
            "SharedValue: set, another waits too",
            held,
            |held, step| Ok(step.through(|| held.n.set(NEW))?),
            |held, dead| held.check_sound(dead, Some(Found::Clean(NEW))),
        )
        .meanwhile(|held| held.waiter = Some(lock_waiter(&held.n)))
        .asleep(|held| held.gate.set())
        .boxed(),
        operation(
            "SharedValue: unlock, with poison",
            poisoned,
            |(n, _), step| {
                let guard = n.lock_poisoned()?;
                step.through(|| drop(guard));
                Ok(())
            },
            |(n, owner), dead| sound_and(&n, dead, &[owner], Found::Poisoned),
        )
        .boxed(),
        after_a_death("lock, the owner is dead", abandoned, Found::Poisoned, |n| drop(n.lock())),
        after_a_death("try_lock, the owner is dead", abandoned, Found::Poisoned, |n| drop(n.try_lock())),
        after_a_death("lock_or_repair, the owner is dead", abandoned, Found::Clean(NEW), |n| {
            drop(n.lock_or_repair(|n, _| *n = NEW))
        }),
        after_a_death("lock, poisoned", poisoned, Found::Poisoned, |n| drop(n.lock())),
        after_a_death("lock_or_repair, poisoned", poisoned, Found::Clean(NEW), |n| drop(n.lock_or_repair(|n, _| *n = NEW))),
        operation(
            "Mutex in an array: lock, write, unlock",
            || SharedArray::<Mutex<u64>>::zeroed(3),
            |a, step| {
                step.through(|| a[1].lock().map(|mut n| *n = 1))?;
                Ok(())
            },
            |a, dead| {
                let mut guard = dead.bounded("lock_or_repair", || a[1].lock_or_repair(|_, _| ()))?;
                ensure(*guard == 1 || *guard == 0 && !dead.finished, || format!("{guard:?}"))?;
                *guard = 2;
                drop(guard);
                Ok(dead.bounded("lock", || a[1].lock().map(drop))?)
            },
        )
        .boxed(),
        operation(
            "SharedArray: set",
            || SharedArray::from_slice(&[1_u64; 5]),
            |a, step| step.through(|| a.set(3, 2)),
            |a, dead| {
                let found = dead.bounded("lock_or_repair", || a.lock_or_repair(|_, _| ()).map(|a| a.to_vec()))?;
                let good = found == [1, 1, 1, 2, 1] || found == [1; 5] && !dead.finished;
                ensure(good, || format!("{found:?}"))?;
                Ok(dead.bounded("lock", || a.lock().map(drop))?)
            },
        )
        .boxed(),
        operation(
            "RecursiveMutex: lock twice, change, unlock twice",
            || SharedValue::new(RecursiveMutex::new(1_u64)),
            |n, step| {
                step.through(|| -> Result<()> {
                    let outer = n.lock()?;
                    n.lock()?.set(2);
                    drop(outer);
                    Ok(())
                })
            },
            |n, dead| {
                let first = dead.bounded("lock", || n.lock().map(drop));
                let poisoned = matches!(first, Err(LockError::Poisoned(owner)) if owner.pid == dead.pid);
                ensure(first.is_ok() || poisoned, || format!("{first:?}"))?;
                let found = dead.bounded("lock_or_repair", || n.lock_or_repair(|_, _| ()).map(|n| n.get()))?;
                ensure([1, 2].contains(&found), || format!("from nowhere: {found}"))?;
                ensure(found == 2 && !poisoned || !dead.finished, || format!("returned, but {found}, {first:?}"))?;
                Ok(dead.bounded("lock", || n.lock().map(drop))?)
            },
        )
        .boxed(),
    ]
}
