//! Waiting for the first of several, and watching.

use std::mem;

use coproc::{Event, Queue, Result, SharedValue, Watch, wait_any, wait_any_timeout};
use coproc_tests::rig::{Check, Dead, Operation, Other, Step, ensure, operation};

use crate::{LONG, SHORT};

/// What is waited for, and another process that waits for it.
struct Several {
    one: Queue<u64>,
    two: Queue<u64>,
    event: SharedValue<Event>,
    other: Option<Other>,
}

fn several() -> Result<Several> {
    Ok(Several { one: Queue::new(1)?, two: Queue::new(1)?, event: SharedValue::new(Event::new())?, other: None })
}

/// The places of queue two and the event in what is waited for.
const TWO: i32 = 1;
const EVENT: i32 = 2;

impl Several {
    fn wait(&self) -> usize {
        wait_any(&[&self.one, &self.two, &*self.event])
    }

    /// A process that sleeps until one is ready; its exit code is which.
    fn waiter(&self) -> Other {
        Other::asleep(|| self.wait() as i32)
    }

    /// Who sleeps is let go by what the victim did, or else by what is done here; nothing is taken by waiting; and all wakes others as before.
    fn check_works(mut self, dead: &Dead<'_>, by: i32) -> Check {
        let ready = if by == TWO { !self.two.is_empty() } else { self.event.is_set() };
        if let Some(other) = self.other.take() {
            if !ready {
                ensure(!dead.finished, || "returned, but nothing is ready".into())?;
                self.make_ready(by)?;
            }
            let code = other.ends(dead, "wait_any in another process")?;
            ensure(code == by, || format!("{code} was ready, not {by}"))?;
        }
        self.event.clear();
        for queue in [&self.one, &self.two] {
            let inside: Vec<_> = queue.drain().collect();
            ensure(inside.is_empty() || inside == [50], || format!("{inside:?} inside"))?;
        }
        let none = dead.bounded("wait_any_timeout", || wait_any_timeout(&[&self.one, &self.two, &*self.event], SHORT / 8));
        ensure(none.is_none(), || format!("nothing is there, but {none:?} is ready"))?;
        for by in [TWO, EVENT] {
            let other = self.waiter();
            dead.bounded("making it ready", || self.make_ready(by))?;
            let code = other.ends(dead, "wait_any in a second process")?;
            ensure(code == by, || format!("{code} was ready, not {by}"))?;
            let _ = self.two.try_recv();
        }
        // Who waits for one of them in the common way, too.
        let receiver = Other::asleep(|| i32::from(self.one.recv() != Ok(3)));
        dead.bounded("send_timeout", || self.one.send_timeout(3, LONG)).map_err(|error| error.to_string())?;
        let code = receiver.ends(dead, "recv in another process")?;
        ensure(code == 0, || "received something else".into())
    }

    fn make_ready(&self, by: i32) -> Check {
        if by == TWO {
            self.two.send(50)?;
        } else {
            self.event.set();
        }
        Ok(())
    }
}

pub(crate) fn lines() -> Vec<Box<dyn Operation>> {
    let wait = |all: Several, step: &Step| {
        step.through(|| all.wait());
        Ok(())
    };
    let send = |all: Several, step: &Step| Ok(step.through(|| all.two.send(50))?);
    let set = |all: Several, step: &Step| {
        step.through(|| all.event.set());
        Ok(())
    };
    let by_two = |all: Several, dead: &Dead<'_>| all.check_works(dead, TWO);
    let by_event = |all: Several, dead: &Dead<'_>| all.check_works(dead, EVENT);
    let mut lines = vec![
        operation(
            "wait_any_timeout: in vain",
            several,
            |all, step| {
                step.through(|| wait_any_timeout(&[&all.one, &all.two, &*all.event], SHORT));
                Ok(())
            },
            by_two,
        )
        .slow()
        .boxed(),
        operation("wait_any: send, another waits", several, send, by_two)
            .meanwhile(|all| all.other = Some(all.waiter()))
            .slow()
            .boxed(),
        operation("wait_any: set, another waits", several, set, by_event)
            .meanwhile(|all| all.other = Some(all.waiter()))
            .slow()
            .boxed(),
        operation(
            "Watch: new, arm, drop, another waits",
            several,
            |all, step| step.through(|| Watch::new(all.two.observe())?.arm()),
            |all, dead| {
                all.make_ready(TWO)?;
                all.check_works(dead, TWO)
            },
        )
        .meanwhile(|all| all.other = Some(all.waiter()))
        .with_threads()
        .slow()
        .boxed(),
        operation(
            "Watch: arm again",
            several,
            |all, step| {
                let watch = Watch::new(all.two.observe())?;
                watch.arm()?;
                step.through(|| watch.arm())?;
                mem::forget(watch);
                Ok(())
            },
            by_two,
        )
        .with_threads()
        .slow()
        .boxed(),
    ];
    // The sleep ends at a point in time. Unoptimised, and in steps, the way from the clock to the call takes longer than a slice, and the victim
    // would never sleep.
    if !cfg!(debug_assertions) {
        lines.extend([
            operation("wait_any: for a queue", several, wait, by_two)
                .asleep(|all| all.make_ready(TWO).expect("room"))
                .slow()
                .boxed(),
            operation("wait_any: for an event", several, wait, by_event)
                .asleep(|all| all.make_ready(EVENT).expect("an event"))
                .slow()
                .boxed(),
            operation("wait_any: for a queue, another waits too", several, wait, by_two)
                .meanwhile(|all| all.other = Some(all.waiter()))
                .asleep(|all| {
                    let _ = all.two.try_send(50);
                })
                .slow()
                .boxed(),
        ]);
    }
    lines
}
