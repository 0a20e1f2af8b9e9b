//! Semaphores, with a place for each permit and without.

use std::mem;

use coproc::{Result, Semaphore, SharedValue};
use coproc_tests::rig::{Check, Dead, Operation, Other, Step, ensure, operation};
use coproc_tests::{fork, wait_for};

use crate::{LONG, SHORT};

type Slots = (SharedValue<Semaphore>, Option<Other>);

fn slots(permits: u32) -> impl Fn() -> Result<Slots> {
    move || Ok((SharedValue::new(Semaphore::new(permits))?, None))
}

/// So many permits that have no place of their own: the survivor holds those that have one.
fn without_places(permits: u32) -> impl Fn() -> Result<Slots> {
    move || {
        let slots = slots(32 + permits)()?;
        (0..32).try_for_each(|_| slots.0.acquire().map(mem::forget))?;
        Ok(slots)
    }
}

fn bounded() -> Result<Slots> {
    Ok((SharedValue::new(Semaphore::bounded(2))?, None))
}

/// A semaphore of which another process held all permits when it died.
fn spent() -> Result<Slots> {
    let slots = slots(2)()?;
    let holder = fork(|| {
        mem::forget((slots.0.acquire(), slots.0.acquire()));
        0
    });
    wait_for(holder);
    Ok(slots)
}

fn permit_waiter(slots: &SharedValue<Semaphore>) -> Other {
    Other::asleep(|| i32::from(slots.acquire().is_err()))
}

/// All permits can be had, as many as one of these; the last, if the victim had returned.
fn permits((slots, waiter): Slots, dead: &Dead<'_>, totals: &[usize]) -> Check {
    if let Some(waiter) = waiter {
        let code = waiter.ends(dead, "acquire in the waiter")?;
        ensure(code == 0, || format!("the waiter: {code}"))?;
    }
    let mut all = Vec::new();
    let least = totals.iter().copied().min().unwrap_or(0);
    while all.len() < least {
        let permit = dead.bounded("acquire_timeout", || slots.acquire_timeout(LONG));
        all.push(permit.map_err(|error| format!("{} of {least} permits, then: {error}", all.len()))?);
    }
    while let Ok(permit) = dead.bounded("try_acquire", || slots.try_acquire()) {
        all.push(permit);
    }
    let total = all.len();
    ensure(totals.contains(&total), || format!("{total} permits, not {totals:?}"))?;
    ensure(!dead.finished || Some(&total) == totals.last(), || format!("returned, but {total} permits, not {totals:?}"))?;
    drop(all);
    let free = slots.available();
    ensure(free == total as u64, || format!("{free} free of {total}"))
}

pub(crate) fn lines() -> Vec<Box<dyn Operation>> {
    let acquire = |(slots, _): Slots, step: &Step| {
        mem::forget(step.through(|| slots.acquire())?);
        Ok(())
    };
    let give = |(slots, _): Slots, step: &Step| {
        let permit = slots.acquire()?;
        step.through(|| drop(permit));
        Ok(())
    };
    let forget = |(slots, _): Slots, step: &Step| {
        let permit = slots.acquire()?;
        step.through(|| permit.forget());
        Ok(())
    };
    let release = |(slots, _): Slots, step: &Step| Ok(step.through(|| slots.release(1))?);
    vec![
        operation("Semaphore: acquire", slots(2), acquire, |slots, dead| permits(slots, dead, &[2])).boxed(),
        operation("Semaphore: acquire, no place", without_places(2), acquire, |slots, dead| permits(slots, dead, &[2])).boxed(),
        operation("Semaphore: acquire, no place, waits", without_places(0), acquire, |slots, dead| {
            slots.0.release(1)?;
            permits(slots, dead, &[1, 2])
        })
        .asleep(|(slots, _)| slots.release(1).expect("a permit more"))
        .boxed(),
        operation("Semaphore: acquire the last", slots(1), acquire, |slots, dead| permits(slots, dead, &[1])).boxed(),
        operation("Semaphore: acquire, waits", slots(0), acquire, |slots, dead| {
            // As many as `asleep` made, if it came to that, and one more.
            slots.0.release(1)?;
            permits(slots, dead, &[1, 2])
        })
        .asleep(|(slots, _)| slots.release(1).expect("a permit more"))
        .boxed(),
        operation("Semaphore: acquire, the holder is dead", spent, acquire, |slots, dead| permits(slots, dead, &[2]))
            .slow()
            .boxed(),
        operation(
            "Semaphore: acquire_timeout, in vain",
            slots(0),
            |(slots, _), step| {
                step.through(|| drop(slots.acquire_timeout(SHORT)));
                Ok(())
            },
            |slots, dead| {
                slots.0.release(1)?;
                permits(slots, dead, &[1])
            },
        )
        .boxed(),
        operation("Semaphore: drop a permit", slots(2), give, |slots, dead| permits(slots, dead, &[2])).boxed(),
        operation("Semaphore: drop the last permit", slots(1), give, |slots, dead| permits(slots, dead, &[1])).boxed(),
        operation("Semaphore: drop a permit, another waits", slots(1), give, |slots, dead| permits(slots, dead, &[1]))
            .meanwhile(|(slots, waiter)| *waiter = Some(permit_waiter(slots)))
            .boxed(),
        operation("Semaphore: drop a permit, no place", without_places(2), give, |slots, dead| permits(slots, dead, &[2]))
            .boxed(),
        operation("Semaphore: drop a permit, no place, another waits", without_places(1), give, |slots, dead| {
            permits(slots, dead, &[1])
        })
        .meanwhile(|(slots, waiter)| *waiter = Some(permit_waiter(slots)))
        .boxed(),
        operation("Semaphore: forget a permit", slots(2), forget, |slots, dead| permits(slots, dead, &[2, 1])).boxed(),
        operation("Semaphore: forget a permit, no place", without_places(2), forget, |slots, dead| permits(slots, dead, &[2, 1]))
            .boxed(),
        operation("Semaphore: forget a permit, bounded", bounded, forget, |slots, dead| {
            // One more can be made if it was forgotten.
            let free = slots.0.available();
            let more = u64::from(slots.0.release(1).is_ok());
            ensure(!dead.finished || (free, more) == (1, 1), || format!("returned, but {free} free, {more} more"))?;
            permits(slots, dead, &[2])
        })
        .boxed(),
        operation("Semaphore: release", slots(2), release, |slots, dead| permits(slots, dead, &[2, 3])).boxed(),
        operation("Semaphore: release, no place", without_places(2), release, |slots, dead| permits(slots, dead, &[2, 3]))
            .boxed(),
        operation(
            "Semaphore: release two",
            slots(1),
            |(slots, _), step| Ok(step.through(|| slots.release(2))?),
            |slots, dead| permits(slots, dead, &[1, 3]),
        )
        .boxed(),
        operation(
            "Semaphore: release two, a place for one",
            // Of those with a place, one does not exist.
            || {
                let slots = slots(33)()?;
                (0..31).try_for_each(|_| slots.0.acquire().map(mem::forget))?;
                slots.0.acquire()?.forget();
                Ok(slots)
            },
            |(slots, _), step| Ok(step.through(|| slots.release(2))?),
            |slots, dead| permits(slots, dead, &[1, 3]),
        )
        .boxed(),
        operation(
            "Semaphore: release, bounded, in vain",
            bounded,
            |(slots, _), step| {
                assert!(step.through(|| slots.release(1)).is_err());
                Ok(())
            },
            |slots, dead| permits(slots, dead, &[2]),
        )
        .boxed(),
        operation("Semaphore: release, another waits", slots(0), release, |slots, dead| {
            // If the victim came too late, this one lets the waiter go.
            if !dead.finished {
                dead.bounded("release", || slots.0.release(1))?;
            }
            permits(slots, dead, if dead.finished { &[1] } else { &[1, 2] })
        })
        .meanwhile(|(slots, waiter)| *waiter = Some(permit_waiter(slots)))
        .boxed(),
        operation(
            "Semaphore: drop it, with a forgotten permit",
            slots(2),
            |(slots, _), step| {
                mem::forget(slots.acquire()?);
                step.through(|| drop(slots));
                Ok(())
            },
            |slots, dead| permits(slots, dead, &[2]),
        )
        .slow()
        .boxed(),
    ]
}
