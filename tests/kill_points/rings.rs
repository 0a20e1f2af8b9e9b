//! Rings, of which the victim has an end.

use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use coproc::__private::{Handle, Parcel, socket};
use coproc::{
    Receiver, RecvError, RecvTimeoutError, Result, SendError, SendTimeoutError, Sender, SharedArray, TryRecvError, TrySendError,
    spsc,
};
use coproc_tests::rig::{Check, Dead, Fault, Operation, Other, Step, ensure, operation};

use crate::{CORRUPTED, LONG, SHORT};

/// A ring of which the victim takes one end before it is stepped, and somebody else has the other.
struct Wire<E> {
    end: Option<E>,
    /// The victim's end, on its way.
    parcel: Option<Parcel>,
    /// The survivor's end on its way to another process, which waits for the victim.
    other_parcel: Option<Parcel>,
    other: Option<Other>,
    /// What was inside.
    sent: Vec<u64>,
    /// What the survivor has received or sent while the victim slept.
    passed: Vec<u64>,
    /// What the victim says that it has received, one after the other.
    noted: SharedArray<AtomicU64>,
    /// On which the victim gives its end to the survivor.
    socket: (OwnedFd, OwnedFd),
}

fn wire<E>(ends: impl Fn(Sender<u64>, Receiver<u64>) -> (E, Parcel), capacity: usize, inside: usize) -> Result<Wire<E>> {
    let (mut sender, mut receiver) = spsc(capacity)?;
    // Around the end of the ring.
    for n in 0..2 * capacity as u64 - 1 {
        sender.send(n)?;
        receiver.recv()?;
    }
    let sent: Vec<u64> = (1..=inside as u64).collect();
    sender.send_slice(&sent)?;
    let (end, parcel) = ends(sender, receiver);
    let noted = SharedArray::zeroed(8)?;
    let socket = socket::pair()?;
    let (end, parcel) = (Some(end), Some(parcel));
    Ok(Wire { end, parcel, other_parcel: None, other: None, sent, passed: Vec::new(), noted, socket })
}

/// The victim sends.
fn to_survivor(capacity: usize, inside: usize) -> impl Fn() -> Result<Wire<Receiver<u64>>> {
    move || {
        wire(
            |sender, receiver| {
                let parcel = Parcel::of(&sender);
                (receiver, parcel)
            },
            capacity,
            inside,
        )
    }
}

/// The victim receives.
fn from_survivor(capacity: usize, inside: usize) -> impl Fn() -> Result<Wire<Sender<u64>>> {
    move || {
        wire(
            |sender, receiver| {
                let parcel = Parcel::of(&receiver);
                (sender, parcel)
            },
            capacity,
            inside,
        )
    }
}

/// Exit codes of processes that wait at a ring for the victim: what it passed was there, or it was dead, or had dropped its end.
const PASSED: i32 = 110;
const NOT_PASSED: i32 = 111;
const NOT_PASSED_BUT_CLOSED: i32 = 112;

impl<E: coproc::Message> Wire<E> {
    /// In the victim: takes its end.
    fn take<V: coproc::Message>(&mut self) -> Result<V> {
        let parcel = self.parcel.take().ok_or(coproc::Error::Closed)?;
        parcel.open().ok_or(coproc::Error::Corrupted)
    }

    /// In the survivor: puts its end into the hands of another process, which falls asleep.
    fn hand_over(&mut self, run: impl FnOnce(E) -> i32) {
        self.other_parcel = self.end.take().map(|end| Parcel::of(&end));
        let parcel = self.other_parcel.take();
        self.other = Some(Other::asleep(|| parcel.as_ref().and_then(Parcel::open).map_or(CORRUPTED, run)));
    }

    fn note(&self, index: usize, item: u64) {
        self.noted[index].store(item, SeqCst);
    }

    fn noted(&self) -> Vec<u64> {
        self.noted.iter().map(|word| word.load(SeqCst)).take_while(|&item| item != 0).collect()
    }

    /// The process that waits comes to its end, with this code if the victim had returned.
    fn other_ends(&self, dead: &Dead<'_>, finished: i32, all: &[i32]) -> Check {
        let code = self.other.as_ref().map_or(Ok(finished), |other| other.ends(dead, "the end of waiting in another process"))?;
        ensure(code == finished || !dead.finished && all.contains(&code), || format!("who waited: {code}"))
    }
}

impl Wire<Receiver<u64>> {
    /// What was sent arrives, in order, once, and a prefix of what the victim sent, all of it if it had returned; then it is known to be dead, or
    /// done if it may have come so far.
    fn check_received(mut self, dead: &Dead<'_>, from_victim: &[u64], may_close: bool) -> Check {
        drop(self.parcel.take());
        let mut receiver = self.end.take().ok_or("no end")?;
        let end = loop {
            match dead.bounded("try_recv", || receiver.try_recv()) {
                Ok(item) => self.passed.push(item),
                Err(TryRecvError::Empty) => match dead.bounded("recv_timeout", || receiver.recv_timeout(LONG)) {
                    Ok(item) => self.passed.push(item),
                    Err(error) => break error,
                },
                Err(TryRecvError::Closed) => break RecvTimeoutError::Closed,
                Err(TryRecvError::Disconnected) => break RecvTimeoutError::Disconnected,
                Err(error) => return Err(error.into()),
            }
        };
        let told = match end {
            RecvTimeoutError::Closed => may_close,
            RecvTimeoutError::Disconnected => !(may_close && dead.finished),
            _ => false,
        };
        ensure(told, || format!("at the end: {end:?}"))?;
        let all = [&self.sent[..], from_victim].concat();
        let least = if dead.finished { all.len() } else { self.sent.len() };
        let good = self.passed.len() >= least && all.starts_with(&self.passed);
        ensure(good, || format!("{:?} sent, then {from_victim:?} by the victim; received {:?}", self.sent, self.passed))
    }
}

impl Wire<Sender<u64>> {
    /// The victim has received at most so many, all of them if it had returned, and those that it notes in order; what is not taken is inside. Then
    /// there is room for so many more, and then it is known to be dead, or done if it may have come so far.
    fn check_taken(mut self, dead: &Dead<'_>, most: usize, may_close: bool) -> Check {
        drop(self.parcel.take());
        let mut sender = self.end.take().ok_or("no end")?;
        let sent = [&self.sent[..], &self.passed].concat();
        let taken = sent.len() - sender.len();
        let most = most.min(sent.len());
        ensure(taken <= most && (taken == most || !dead.finished), || format!("{taken} taken of {sent:?}"))?;
        let noted = self.noted();
        let in_order = sent.starts_with(&noted) && (noted.len() <= taken || may_close);
        ensure(in_order, || format!("the victim received {noted:?} of {sent:?}, and took {taken}"))?;
        let room = sender.capacity() - sender.len();
        let mut fit = 0;
        let end = loop {
            match dead.bounded("try_send", || sender.try_send(9)) {
                Ok(()) => fit += 1,
                Err(TrySendError::Full(_)) => match dead.bounded("send_timeout", || sender.send_timeout(9, LONG)) {
                    Ok(()) => fit += 1,
                    Err(error) => break error,
                },
                Err(TrySendError::Closed(_)) => break SendTimeoutError::Closed(9),
                Err(TrySendError::Disconnected(_)) => break SendTimeoutError::Disconnected(9),
                Err(error) => return Err(error.to_string().into()),
            }
        };
        match end {
            SendTimeoutError::Closed(_) => ensure(may_close && fit == 0, || format!("closed, after {fit}")),
            SendTimeoutError::Disconnected(_) => {
                ensure(fit == room && !(may_close && dead.finished), || format!("disconnected, after {fit} of {room}"))
            }
            error => Err(format!("{error:?}").into()),
        }
    }
}

/// What a process that waits for an item exits with.
fn wait_for_item(mut receiver: Receiver<u64>) -> i32 {
    match receiver.recv() {
        Ok(50) => PASSED,
        Err(RecvError::Disconnected) => NOT_PASSED,
        Err(RecvError::Closed) => NOT_PASSED_BUT_CLOSED,
        _ => CORRUPTED,
    }
}

/// What a process that waits for room exits with.
fn wait_for_room(mut sender: Sender<u64>) -> i32 {
    match sender.send(60) {
        Ok(()) => PASSED,
        Err(SendError::Disconnected(60)) => NOT_PASSED,
        Err(SendError::Closed(60)) => NOT_PASSED_BUT_CLOSED,
        Err(_) => CORRUPTED,
    }
}

pub(crate) fn lines() -> Vec<Box<dyn Operation>> {
    const FIVE: [u64; 5] = [51, 52, 53, 54, 55];
    type In = Wire<Receiver<u64>>;
    type Out = Wire<Sender<u64>>;
    /// Run by the victim with its end.
    fn sends(run: impl Fn(&mut Sender<u64>) -> Result<()>) -> impl Fn(In, &Step) -> Result<()> {
        move |mut wire, step| {
            let mut sender = wire.take()?;
            step.through(|| run(&mut sender))
        }
    }
    fn receives(run: impl Fn(&mut Receiver<u64>, &Out) -> Result<()>) -> impl Fn(Out, &Step) -> Result<()> {
        move |mut wire, step| {
            let mut receiver = wire.take()?;
            step.through(|| run(&mut receiver, &wire))
        }
    }
    let receive_one = |wire: &mut In| {
        let item = wire.end.as_mut().and_then(|receiver| receiver.try_recv().ok());
        wire.passed.extend(item);
    };
    let send_one = |wire: &mut Out| {
        let item = 70 + wire.passed.len() as u64;
        if wire.end.as_mut().is_some_and(|sender| sender.try_send(item).is_ok()) {
            wire.passed.push(item);
        }
    };
    let send = || sends(|sender| Ok(sender.send(50)?));
    let recv = || {
        receives(|receiver, wire| {
            wire.note(0, receiver.recv()?);
            Ok(())
        })
    };
    let mut all = Vec::new();
    for (capacity, inside) in [(3, 0), (3, 2), (1, 0)] {
        let name = format!("spsc: send, {inside} of {capacity} inside");
        let setup = to_survivor(capacity, inside);
        all.push(operation(name, setup, send(), |wire, dead| wire.check_received(dead, &[50], false)).boxed());
    }
    for (capacity, inside) in [(3, 3), (3, 1), (1, 1)] {
        let name = format!("spsc: recv, {inside} of {capacity} inside");
        let setup = from_survivor(capacity, inside);
        all.push(operation(name, setup, recv(), |wire, dead| wire.check_taken(dead, 1, false)).boxed());
        let name = format!("spsc: recv_into 5, {inside} of {capacity} inside");
        let run = receives(|receiver, wire| {
            let mut items = [0; 5];
            let count = receiver.recv_into(&mut items)?;
            (0..count).for_each(|index| wire.note(index, items[index]));
            Ok(())
        });
        let setup = from_survivor(capacity, inside);
        all.push(operation(name, setup, run, |wire, dead| wire.check_taken(dead, 5, false)).boxed());
        let name = format!("spsc: peek, release, {inside} of {capacity} inside");
        let run = receives(|receiver, wire| {
            let peek = receiver.peek()?;
            let (front, back) = peek.as_slices();
            front.iter().chain(back).enumerate().for_each(|(index, &item)| wire.note(index, item));
            let count = peek.len();
            peek.release(count);
            Ok(())
        });
        let setup = from_survivor(capacity, inside);
        // What it peeked at it need not have taken.
        let check = |wire: Out, dead: &Dead<'_>| {
            if !dead.finished {
                wire.noted.iter().for_each(|word| word.store(0, SeqCst));
            }
            wire.check_taken(dead, 5, false)
        };
        all.push(operation(name, setup, run, check).boxed());
    }
    // Who waits looks again some hundred times before it sleeps, and each look is stepped through: few lines, of few points.
    let waits = [
        operation("spsc: send, waits, full of 1", to_survivor(1, 1), send(), |wire, dead| {
            wire.check_received(dead, &[50], false)
        })
        .asleep(receive_one)
        .slow()
        .boxed(),
        operation(
            "spsc: send_slice of 5, 2 of 3 inside",
            to_survivor(3, 2),
            sends(|sender| Ok(sender.send_slice(&FIVE)?)),
            |wire, dead| wire.check_received(dead, &FIVE, false),
        )
        .asleep(move |wire| (0..3).for_each(|_| receive_one(wire)))
        .slow()
        .boxed(),
        operation(
            "spsc: claim of 3, commit, 1 of 3 inside",
            to_survivor(3, 1),
            sends(|sender| {
                let mut claim = sender.claim(3)?;
                let (front, back) = claim.as_mut_slices();
                front.iter_mut().chain(back).zip(FIVE).for_each(|(slot, item)| *slot = item);
                claim.commit(3);
                Ok(())
            }),
            |wire, dead| wire.check_received(dead, &FIVE[..3], false),
        )
        .asleep(receive_one)
        .slow()
        .boxed(),
        operation("spsc: recv, waits, empty of 1", from_survivor(1, 0), recv(), |wire, dead| wire.check_taken(dead, 1, false))
            .asleep(send_one)
            .slow()
            .boxed(),
        operation(
            "spsc: send_timeout, full of 1",
            to_survivor(1, 1),
            sends(|sender| {
                let _ = sender.send_timeout(50, SHORT);
                Ok(())
            }),
            |wire, dead| wire.check_received(dead, &[], false),
        )
        .slow()
        .boxed(),
        operation(
            "spsc: recv_timeout, empty of 1",
            from_survivor(1, 0),
            receives(|receiver, _| {
                let _ = receiver.recv_timeout(SHORT);
                Ok(())
            }),
            |wire, dead| wire.check_taken(dead, 0, false),
        )
        .slow()
        .boxed(),
    ];
    all.extend(waits);
    for capacity in [3, 1] {
        let name = format!("spsc: send_slice of {capacity}, empty of {capacity}");
        let run = sends(move |sender| Ok(sender.send_slice(&FIVE[..capacity])?));
        let check = move |wire: In, dead: &Dead<'_>| wire.check_received(dead, &FIVE[..capacity], false);
        all.push(operation(name, to_survivor(capacity, 0), run, check).boxed());
        let name = format!("spsc: send, a receiver sleeps, empty of {capacity}");
        all.push(
            operation(name, to_survivor(capacity, 0), send(), |wire, dead| wire.other_ends(dead, PASSED, &[NOT_PASSED]))
                .meanwhile(|wire| wire.hand_over(wait_for_item))
                .slow()
                .boxed(),
        );
        let name = format!("spsc: recv, a sender sleeps, full of {capacity}");
        let setup = from_survivor(capacity, capacity);
        all.push(
            operation(name, setup, recv(), |wire, dead| wire.other_ends(dead, PASSED, &[NOT_PASSED]))
                .meanwhile(|wire| wire.hand_over(wait_for_room))
                .slow()
                .boxed(),
        );
    }

    fn drops_sender(mut wire: In, step: &Step) -> Result<()> {
        let sender = wire.take::<Sender<u64>>()?;
        step.through(|| drop(sender));
        Ok(())
    }
    fn drops_receiver(mut wire: Out, step: &Step) -> Result<()> {
        let receiver = wire.take::<Receiver<u64>>()?;
        step.through(|| drop(receiver));
        Ok(())
    }
    let name = "spsc: drop the sender, 2 of 3 inside";
    all.push(operation(name, to_survivor(3, 2), drops_sender, |wire, dead| wire.check_received(dead, &[], true)).boxed());
    let name = "spsc: drop the sender, a receiver sleeps";
    all.push(
        operation(name, to_survivor(3, 0), drops_sender, |wire, dead| {
            wire.other_ends(dead, NOT_PASSED_BUT_CLOSED, &[NOT_PASSED])
        })
        .meanwhile(|wire| wire.hand_over(wait_for_item))
        .slow()
        .boxed(),
    );
    let name = "spsc: drop the receiver, 2 of 3 inside";
    all.push(operation(name, from_survivor(3, 2), drops_receiver, |wire, dead| wire.check_taken(dead, 0, true)).boxed());
    let name = "spsc: drop the receiver, a sender sleeps";
    all.push(
        operation(name, from_survivor(3, 3), drops_receiver, |wire, dead| {
            wire.other_ends(dead, NOT_PASSED_BUT_CLOSED, &[NOT_PASSED])
        })
        .meanwhile(|wire| wire.hand_over(wait_for_room))
        .slow()
        .boxed(),
    );

    // What was sent to the survivor it has, though the giver is dead; the sender goes on there.
    let run = |mut wire: In, step: &Step| {
        let sender = wire.take::<Sender<u64>>()?;
        step.through(|| -> Result<()> {
            let parcel = Parcel::of(&sender);
            drop(sender);
            let files: Vec<_> = parcel.handles.iter().map(AsFd::as_fd).collect();
            let kinds: Vec<u8> = parcel.handles.iter().map(Handle::kind).collect();
            socket::send(wire.socket.0.as_fd(), &kinds, &files, false)?;
            Ok(())
        })
    };
    let check = |wire: In, dead: &Dead<'_>| {
        let mut kinds = [0; 8];
        let packet = socket::recv(wire.socket.1.as_fd(), &mut kinds, false)?;
        let arrived = packet.map(|(_, files)| {
            let handles = kinds.into_iter().zip(files).map(|(kind, file)| Handle::of(kind, file)).collect::<Result<_>>()?;
            let parcel = Parcel { bytes: Vec::new(), handles };
            let sender = dead.bounded("taking the end", || parcel.open::<Sender<u64>>());
            sender.ok_or_else(|| Fault::from("what arrived is no end"))
        });
        ensure(arrived.is_some() || !dead.finished, || "given away, but it did not arrive".into())?;
        let Some(sender) = arrived else { return wire.check_received(dead, &[], false) };
        let mut sender = sender?;
        dead.bounded("send_timeout", || sender.send_timeout(50, LONG)).map_err(|error| error.to_string())?;
        drop(sender);
        let mut receiver = wire.end.ok_or("no end")?;
        let all: Vec<u64> = dead.bounded("iter", || receiver.iter().collect());
        ensure(all == [1, 2, 50], || format!("received {all:?}"))?;
        let end = receiver.recv();
        ensure(end == Err(RecvError::Closed), || format!("at the end: {end:?}"))
    };
    all.push(operation("spsc: give the sender away, 2 of 3 inside", to_survivor(3, 2), run, check).boxed());
    let run = |wire: In, step: &Step| {
        let sender = step.through(|| wire.parcel.as_ref().and_then(Parcel::open::<Sender<u64>>));
        mem::forget(sender);
        Ok(())
    };
    all.push(
        operation("spsc: take the sender, 2 of 3 inside", to_survivor(3, 2), run, |wire, dead| {
            wire.check_received(dead, &[], false)
        })
        .boxed(),
    );
    all
}
