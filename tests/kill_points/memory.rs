//! Objects that are made and dropped.

use std::mem;

use coproc::{LoanQueue, Pipe, Queue, SharedArray, SharedValue};
use coproc_tests::rig::{Operation, ensure, operation};

use crate::{Found, OLD, sound_and};

const LARGE: usize = 32 << 10;

/// An operation that makes or drops an object, while the survivor keeps its own.
fn on_memory<R: 'static>(name: &str, run: fn(&SharedArray<u64>) -> R) -> Box<dyn Operation> {
    operation(
        name,
        || SharedArray::<u64>::zeroed(LARGE),
        move |a, step| {
            mem::forget(step.through(|| run(&a)));
            Ok(())
        },
        |a, dead| {
            let found = dead.bounded("lock_or_repair", || a.lock_or_repair(|_, _| ()).map(|a| a[7]))?;
            ensure(found == 0, || format!("{found}"))?;
            let n = dead.bounded("SharedValue::new", || SharedValue::new(OLD))?;
            ensure(dead.bounded("get", || n.get())? == OLD, || "a value that is not what it was made with".into())
        },
    )
    .boxed()
}

pub(crate) fn lines() -> Vec<Box<dyn Operation>> {
    vec![
        on_memory("SharedValue::new", |_| SharedValue::new(OLD)),
        on_memory("SharedArray::zeroed", |_| SharedArray::<u64>::zeroed(LARGE)),
        on_memory("SharedArray::from_slice", |_| SharedArray::from_slice(&OLD)),
        on_memory("SharedArray::freeze", |_| SharedArray::from_slice(&OLD).and_then(|a| a.freeze())),
        on_memory("Queue::new", |_| Queue::<u64>::new(3)),
        on_memory("LoanQueue::new", |_| LoanQueue::new(3, 5000)),
        on_memory("Pipe::pair", |_| Pipe::pair()),
        on_memory("SharedArray: clone, drop the clone", |a| drop(a.clone())),
        on_memory("SharedValue: new, drop", |_| SharedValue::new(OLD).map(drop)),
        operation(
            "SharedValue: drop",
            || SharedValue::new(OLD),
            |n, step| {
                step.through(|| drop(n));
                Ok(())
            },
            |n, dead| sound_and(&n, dead, &[], Found::Clean(OLD)),
        )
        .boxed(),
    ]
}
