//! Queues of two processes: when one dies, the other learns that nobody is left.

use std::mem;

use coproc::__private::Parcel;
use coproc::{Queue, RecvError, Result, SendError, SendTimeoutError};
use coproc_tests::rig::{Check, Dead, Operation, Step, ensure, operation};

use crate::{LONG, SHORT, in_order};

/// A queue of which the survivor has a handle, and the victim takes another one out of the parcel.
struct Pair {
    queue: Queue<u64>,
    parcel: Option<Parcel>,
    /// What the survivor has sent, in order.
    sent: Vec<u64>,
    /// What the survivor has received.
    received: Vec<u64>,
}

const CAPACITY: usize = 3;

fn pair(inside: usize) -> impl Fn() -> Result<Pair> {
    move || {
        let queue = Queue::new(CAPACITY)?;
        let sent: Vec<u64> = (1..=inside as u64).collect();
        queue.send_slice(&sent)?;
        let parcel = Some(Parcel::of(&queue));
        Ok(Pair { queue, parcel, sent, received: Vec::new() })
    }
}

impl Pair {
    /// The victim's copy of the survivor's handle goes; what it has is its own, as in a process that was not forked.
    fn into_parcel(self) -> Result<Parcel> {
        self.parcel.ok_or(coproc::Error::Closed)
    }

    /// What is inside is received, with a prefix of what the victim sent, less so many of the first that it may have taken; all of it, if it had
    /// returned. Then nothing will come, and when it is full nothing more is taken: both calls say so.
    fn check_left(mut self, dead: &Dead<'_>, most_taken: usize, from_victim: &[u64]) -> Check {
        let end = loop {
            match dead.bounded("recv", || self.queue.recv()) {
                Ok(item) => self.received.push(item),
                Err(end) => break end,
            }
        };
        ensure(end == RecvError::Disconnected, || format!("empty, and {end:?}"))?;
        in_order(dead, &self.sent, &self.received, most_taken, from_victim)?;
        for n in 0..CAPACITY as u64 {
            dead.bounded("send", || self.queue.send(n)).map_err(|error| error.to_string())?;
        }
        let end = dead.bounded("send", || self.queue.send(9));
        ensure(end == Err(SendError::Disconnected(9)), || format!("full, and {end:?}"))?;
        let end = dead.bounded("send_timeout", || self.queue.send_timeout(9, LONG));
        ensure(end == Err(SendTimeoutError::Disconnected(9)), || format!("full, and {end:?}"))
    }
}

/// What the victim does with a handle that it has.
fn on_pair<R: 'static>(
    name: &str,
    inside: usize,
    run: fn(&Queue<u64>) -> R,
    most_taken: usize,
    from_victim: &'static [u64],
) -> Box<dyn Operation> {
    operation(
        format!("Queue of two: {name}"),
        pair(inside),
        move |pair, step| {
            let queue = pair.into_parcel()?.open().ok_or(coproc::Error::Corrupted)?;
            mem::forget(step.through(|| run(&queue)));
            mem::forget(queue);
            Ok(())
        },
        move |pair, dead| pair.check_left(dead, most_taken, from_victim),
    )
    .meanwhile(|pair| pair.parcel = None)
    .asleep(|pair| {
        if pair.sent.is_empty() {
            pair.sent.extend(pair.queue.try_send(1).map(|()| 1));
        } else {
            pair.received.extend(pair.queue.try_recv());
        }
    })
    .slow()
    .boxed()
}

/// What the victim does with a handle on its way to it, or with one that it gives away.
fn on_parcel(name: &str, run: fn(Parcel, &Step) -> Option<()>) -> Box<dyn Operation> {
    operation(
        format!("Queue of two: {name}"),
        pair(2),
        move |pair, step| run(pair.into_parcel()?, step).ok_or(coproc::Error::Corrupted),
        |pair, dead| pair.check_left(dead, 0, &[]),
    )
    .meanwhile(|pair| pair.parcel = None)
    .slow()
    .boxed()
}

pub(crate) fn lines() -> Vec<Box<dyn Operation>> {
    vec![
        on_pair("send", 1, |queue| queue.send(50), 0, &[50]),
        on_pair("send_slice of 2", 1, |queue| queue.send_slice(&[51, 52]), 0, &[51, 52]),
        on_pair("recv", 2, |queue| queue.recv(), 1, &[]),
        on_pair("drain", 2, |queue| queue.drain().count(), 2, &[]),
        on_pair("recv, waits", 0, |queue| queue.recv(), 1, &[]),
        on_pair("recv_timeout, in vain", 0, |queue| queue.recv_timeout(SHORT), 1, &[]),
        on_parcel("take the handle", |parcel, step| {
            mem::forget(step.through(|| parcel.open::<Queue<u64>>())?);
            mem::forget(parcel);
            Some(())
        }),
        on_parcel("give it away", |parcel, step| {
            let queue = parcel.open::<Queue<u64>>()?;
            drop(parcel);
            mem::forget(step.through(|| Parcel::of(&queue)));
            mem::forget(queue);
            Some(())
        }),
        on_parcel("clone, drop both", |parcel, step| {
            let queue = parcel.open::<Queue<u64>>()?;
            drop(parcel);
            step.through(|| drop((queue.clone(), queue)));
            Some(())
        }),
    ]
}
