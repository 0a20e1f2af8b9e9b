//! Events.

use std::time::Duration;

use coproc::{Event, Result, SharedValue};
use coproc_tests::rig::{Check, Dead, Operation, Other, Step, ensure, operation};

use crate::SHORT;

type Waiting = (SharedValue<Event>, Option<Other>);

fn event() -> Result<Waiting> {
    Ok((SharedValue::new(Event::new())?, None))
}

fn waits_for(event: &SharedValue<Event>) -> Other {
    Other::asleep(|| {
        event.wait();
        0
    })
}

/// Who sleeps is let go, by the victim or else by this `set`; and the event works.
fn event_works((event, waiter): Waiting, dead: &Dead<'_>) -> Check {
    if !event.is_set() {
        dead.bounded("set", || event.set());
    }
    if let Some(waiter) = waiter {
        waiter.ends(dead, "wait in the waiter")?;
    }
    event.clear();
    ensure(!event.is_set(), || "cleared, and still set".into())?;
    ensure(!event.wait_timeout(Duration::ZERO), || "cleared, and still waited for".into())?;
    let waiter = waits_for(&event);
    dead.bounded("set", || event.set());
    waiter.ends(dead, "wait in a second waiter")?;
    dead.bounded("wait", || event.wait());
    Ok(())
}

pub(crate) fn lines() -> Vec<Box<dyn Operation>> {
    let set = |(event, _): Waiting, step: &Step| {
        step.through(|| event.set());
        Ok(())
    };
    let was_set = |world: Waiting, dead: &Dead<'_>| {
        ensure(world.0.is_set() || !dead.finished, || "set had returned, but it is not set".into())?;
        event_works(world, dead)
    };
    vec![
        operation("Event: set", event, set, was_set).boxed(),
        operation("Event: set, another waits", event, set, was_set)
            .meanwhile(|(event, waiter)| *waiter = Some(waits_for(event)))
            .boxed(),
        operation(
            "Event: wait",
            event,
            |(event, _), step| {
                step.through(|| event.wait());
                Ok(())
            },
            event_works,
        )
        .asleep(|(event, _)| event.set())
        .boxed(),
        operation(
            "Event: wait, another waits too",
            event,
            |(event, _), step| {
                step.through(|| event.wait());
                Ok(())
            },
            event_works,
        )
        .meanwhile(|(event, waiter)| *waiter = Some(waits_for(event)))
        .asleep(|(event, _)| event.set())
        .boxed(),
        operation(
            "Event: wait_timeout, in vain",
            event,
            |(event, _), step| {
                step.through(|| event.wait_timeout(SHORT));
                Ok(())
            },
            |world, dead| {
                ensure(!world.0.is_set(), || "nobody has set it".into())?;
                event_works(world, dead)
            },
        )
        .boxed(),
        operation(
            "Event: clear",
            || event().inspect(|(event, _)| event.set()),
            |(event, _), step| {
                step.through(|| event.clear());
                Ok(())
            },
            |world, dead| {
                ensure(!(world.0.is_set() && dead.finished), || "clear had returned, but it is set".into())?;
                event_works(world, dead)
            },
        )
        .boxed(),
    ]
}
