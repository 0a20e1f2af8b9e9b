//! Queues.

use std::mem;

use coproc::{Queue, RecvError, Result, TryRecvError, TrySendError};
use coproc_tests::rig::{Check, Dead, Operation, Other, Step, ensure, operation};

use crate::{CLOSED, CORRUPTED, LONG, SENT, SHORT, in_order};

/// A queue, and what became of its items outside of the victim.
struct Line {
    queue: Queue<u64>,
    /// What others have sent, in order.
    sent: Vec<u64>,
    /// What others have received, in order.
    received: Vec<u64>,
    other: Option<Other>,
}

/// A queue with so many items, which it has gone round to.
fn line(capacity: usize, inside: usize) -> impl Fn() -> Result<Line> {
    move || {
        let queue = Queue::new(capacity)?;
        for n in 0..2 * capacity as u64 - 1 {
            queue.send(n)?;
            queue.recv()?;
        }
        let sent: Vec<u64> = (1..=inside as u64).collect();
        queue.send_slice(&sent)?;
        Ok(Line { queue, sent, received: Vec::new(), other: None })
    }
}

fn receiver(queue: &Queue<u64>) -> Other {
    Other::asleep(|| match queue.recv() {
        Ok(item) => i32::try_from(item).unwrap_or(CORRUPTED),
        Err(RecvError::Closed) => CLOSED,
        Err(_) => CORRUPTED,
    })
}

fn sender(queue: &Queue<u64>, item: u64) -> Other {
    Other::asleep(|| match queue.send(item) {
        Ok(()) => SENT,
        Err(_) => CLOSED,
    })
}

impl Line {
    /// Receives all that is there.
    fn drain(&mut self, dead: &Dead<'_>) -> Check {
        loop {
            match dead.bounded("try_recv", || self.queue.try_recv()) {
                Ok(item) => self.received.push(item),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Of the items, in order, the victim has received at most so many of the first, and sent a prefix of these, both wholly if it had
    /// returned; nothing else is gone, or there twice. Then the queue passes items as before.
    fn check_whole(mut self, dead: &Dead<'_>, most_taken: usize, from_victim: &[u64]) -> Check {
        self.drain(dead)?;
        in_order(dead, &self.sent, &self.received, most_taken, from_victim)?;
        self.passes(dead)
    }

    fn passes(&self, dead: &Dead<'_>) -> Check {
        let queue = &self.queue;
        let capacity = queue.capacity() as u64;
        for n in 0..3 * capacity {
            dead.bounded("send_timeout", || queue.send_timeout(n, LONG)).map_err(|error| format!("item {n}: {error}"))?;
            let item = dead.bounded("recv_timeout", || queue.recv_timeout(LONG)).map_err(|error| format!("item {n}: {error}"))?;
            ensure(item == n, || format!("{item} instead of {n}"))?;
        }
        for n in 0..capacity {
            dead.bounded("try_send", || queue.try_send(n)).map_err(|error| format!("filling, item {n}: {error}"))?;
        }
        let (full, len) = (queue.try_send(0), queue.len());
        ensure(full == Err(TrySendError::Full(0)) && len as u64 == capacity, || format!("full, but {full:?}, {len} items"))?;
        for n in 0..capacity {
            let item = dead.bounded("try_recv", || queue.try_recv())?;
            ensure(item == n, || format!("emptying: {item} instead of {n}"))?;
        }
        let (empty, len) = (queue.try_recv(), queue.len());
        ensure(empty == Err(TryRecvError::Empty) && len == 0, || format!("empty, but {empty:?}, {len} items"))
    }

    /// The receiver that sleeps gets the victim's item, if there is one, or else the next; what it gets counts as received.
    fn settle_receiver(&mut self, dead: &Dead<'_>) -> Check {
        let Some(other) = self.other.take() else { return Ok(()) };
        if self.queue.is_empty() && !dead.finished {
            self.sent.push(7);
            // Behind what the victim may have sent meanwhile, and the receiver taken.
            dead.bounded("send_timeout", || self.queue.send_timeout(7, LONG)).map_err(|error| error.to_string())?;
        }
        let code = other.ends(dead, "recv in the receiver")?;
        ensure(code < SENT, || format!("the receiver: {code}"))?;
        self.received.push(code as u64);
        Ok(())
    }

    /// The sender that sleeps sends, once there is room.
    fn settle_sender(&mut self, dead: &Dead<'_>) -> Check {
        let Some(other) = self.other.take() else { return Ok(()) };
        if self.queue.is_full() && !dead.finished {
            self.drain(dead)?;
        }
        let code = other.ends(dead, "send in the sender")?;
        ensure(code == SENT, || format!("the sender: {code}"))
    }

    /// Nothing is lost, nothing more is sent, and who sleeps is let go.
    fn check_closed(mut self, dead: &Dead<'_>) -> Check {
        ensure(self.queue.is_closed() || !dead.finished, || "close had returned, but it is not closed".into())?;
        if !self.queue.is_closed() {
            dead.bounded("close", || self.queue.close());
        }
        if let Some(other) = self.other.take() {
            let code = other.ends(dead, "the end of waiting in another process")?;
            ensure(code == CLOSED, || format!("who waited: {code}"))?;
        }
        let send = dead.bounded("send", || self.queue.send(9));
        ensure(send.is_err(), || "closed, but sent".into())?;
        self.drain(dead)?;
        ensure(self.received == self.sent, || format!("sent {:?}, received {:?}", self.sent, self.received))?;
        let end = dead.bounded("recv", || self.queue.recv());
        ensure(end == Err(RecvError::Closed), || format!("closed and empty, but {end:?}"))
    }
}

pub(crate) fn lines() -> Vec<Box<dyn Operation>> {
    let send = |line: Line, step: &Step| Ok(step.through(|| line.queue.send(50))?);
    let recv = |line: Line, step: &Step| Ok(step.through(|| line.queue.recv()).map(drop)?);
    let close = |line: Line, step: &Step| {
        step.through(|| line.queue.close());
        Ok(())
    };
    let mut all = Vec::new();
    for (capacity, inside) in [(3, 0), (3, 1), (3, 2), (1, 0)] {
        let name = format!("Queue: send, {inside} of {capacity} inside");
        all.push(operation(name, line(capacity, inside), send, |line, dead| line.check_whole(dead, 0, &[50])).boxed());
    }
    for (capacity, inside) in [(3, 3), (3, 2), (3, 1), (1, 1)] {
        let name = format!("Queue: recv, {inside} of {capacity} inside");
        all.push(operation(name, line(capacity, inside), recv, |line, dead| line.check_whole(dead, 1, &[])).boxed());
        let name = format!("Queue: recv_into 5, {inside} of {capacity} inside");
        let run = |line: Line, step: &Step| {
            let mut items = [0; 5];
            step.through(|| line.queue.recv_into(&mut items))?;
            Ok(())
        };
        all.push(operation(name, line(capacity, inside), run, move |line, dead| line.check_whole(dead, inside, &[])).boxed());
        let name = format!("Queue: drain, {inside} of {capacity} inside");
        let run = |line: Line, step: &Step| {
            step.through(|| line.queue.drain().for_each(drop));
            Ok(())
        };
        all.push(operation(name, line(capacity, inside), run, move |line, dead| line.check_whole(dead, inside, &[])).boxed());
    }
    for capacity in [3, 1] {
        let full = line(capacity, capacity);
        let run = |line: Line, step: &Step| {
            let _ = step.through(|| line.queue.send_timeout(50, SHORT));
            Ok(())
        };
        let name = format!("Queue: send_timeout, full of {capacity}");
        all.push(operation(name, full, run, |line, dead| line.check_whole(dead, 0, &[])).boxed());
        let run = |line: Line, step: &Step| {
            let _ = step.through(|| line.queue.recv_timeout(SHORT));
            Ok(())
        };
        let name = format!("Queue: recv_timeout, empty of {capacity}");
        all.push(operation(name, line(capacity, 0), run, |line, dead| line.check_whole(dead, 0, &[])).boxed());
        let name = format!("Queue: send, waits, full of {capacity}");
        all.push(
            operation(name, line(capacity, capacity), send, |line, dead| line.check_whole(dead, 0, &[50]))
                .asleep(|line| line.received.extend(line.queue.try_recv()))
                .boxed(),
        );
        let name = format!("Queue: recv, waits, empty of {capacity}");
        all.push(
            operation(name, line(capacity, 0), recv, |line, dead| {
                // If the victim never slept, nothing was sent, and it cannot have returned.
                let most = line.sent.len();
                line.check_whole(dead, most, &[])
            })
            .asleep(|line| {
                if line.queue.try_send(9).is_ok() {
                    line.sent.push(9);
                }
            })
            .boxed(),
        );
        let name = format!("Queue: send, a receiver sleeps, empty of {capacity}");
        all.push(
            operation(name, line(capacity, 0), send, |mut line, dead| {
                line.settle_receiver(dead)?;
                line.drain(dead)?;
                // What the survivor sent comes after what the victim sent, if that was sent.
                let tail = mem::take(&mut line.sent);
                let good = line.received == [&[50], &tail[..]].concat() || line.received == tail && !dead.finished;
                ensure(good, || format!("50 sent by the victim, then {tail:?}; received {:?}", line.received))?;
                line.passes(dead)
            })
            .meanwhile(|line| line.other = Some(receiver(&line.queue)))
            .boxed(),
        );
        let name = format!("Queue: recv, a sender sleeps, full of {capacity}");
        all.push(
            operation(name, line(capacity, capacity), recv, |mut line, dead| {
                line.settle_sender(dead)?;
                line.sent.push(60);
                line.check_whole(dead, 1, &[])
            })
            .meanwhile(|line| line.other = Some(sender(&line.queue, 60)))
            .boxed(),
        );
        let name = format!("Queue: close, {} of {capacity} inside", capacity - 1);
        all.push(operation(name, line(capacity, capacity - 1), close, |line, dead| line.check_closed(dead)).boxed());
        let name = format!("Queue: close, a receiver sleeps, empty of {capacity}");
        all.push(
            operation(name, line(capacity, 0), close, |line, dead| line.check_closed(dead))
                .meanwhile(|line| line.other = Some(receiver(&line.queue)))
                .boxed(),
        );
        let name = format!("Queue: close, a sender sleeps, full of {capacity}");
        all.push(
            operation(name, line(capacity, capacity), close, |line, dead| line.check_closed(dead))
                .meanwhile(|line| line.other = Some(sender(&line.queue, 60)))
                .boxed(),
        );
        let name = format!("Queue: send_slice of 5, 0 of {capacity} inside");
        const FIVE: [u64; 5] = [51, 52, 53, 54, 55];
        let run = |line: Line, step: &Step| Ok(step.through(|| line.queue.send_slice(&FIVE))?);
        all.push(
            operation(name, line(capacity, 0), run, |line, dead| line.check_whole(dead, 0, &FIVE))
                .asleep(|line| line.received.extend(line.queue.try_recv()))
                .boxed(),
        );
    }
    all
}
