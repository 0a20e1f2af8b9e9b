//! Queues of buffers on loan.

use std::mem;

use coproc::{Loan, LoanQueue, RecvError, Result, TryLoanError, TryRecvError};
use coproc_tests::rig::{Check, Dead, Operation, Other, Step, ensure, operation};
use coproc_tests::{fork, wait_for};

use crate::{CLOSED, CORRUPTED, LONG, SENT, SHORT, in_order};

/// Size of a buffer, in bytes.
const FRAME: usize = 64;

/// A queue of buffers, each filled with one byte that tells them apart, and what became of them outside of the victim.
struct Frames {
    frames: LoanQueue,
    /// What others have sent, in order.
    sent: Vec<u8>,
    /// What others have received, in order.
    received: Vec<u8>,
    /// What the survivor has on loan.
    held: Vec<Loan>,
    other: Option<Other>,
}

fn send_frame(frames: &LoanQueue, byte: u8) -> Result<()> {
    let mut frame = frames.loan(FRAME)?;
    frame.fill(byte);
    Ok(frames.send(frame)?)
}

/// So many buffers, of which so many are inside; it has gone round to there.
fn frames(buffers: usize, inside: usize) -> impl Fn() -> Result<Frames> {
    move || {
        let frames = LoanQueue::new(buffers, FRAME)?;
        for _ in 0..2 * buffers - 1 {
            send_frame(&frames, 0)?;
            drop(frames.recv()?);
        }
        let sent: Vec<u8> = (1..=inside as u8).collect();
        sent.iter().try_for_each(|&byte| send_frame(&frames, byte))?;
        Ok(Frames { frames, sent, received: Vec::new(), held: Vec::new(), other: None })
    }
}

/// As [`frames`], and the survivor has all that is free.
fn all_held(buffers: usize) -> impl Fn() -> Result<Frames> {
    move || {
        let mut all = frames(buffers, 0)()?;
        for _ in 0..buffers {
            all.held.push(all.frames.loan(FRAME)?);
        }
        Ok(all)
    }
}

/// Three buffers: one sent by a process that has died, the others on loan to it.
fn frames_of_the_dead() -> Result<Frames> {
    let mut all = frames(3, 0)()?;
    let owner = fork(|| {
        let sent = send_frame(&all.frames, 1);
        mem::forget((all.frames.loan(FRAME), all.frames.loan(FRAME)));
        i32::from(sent.is_err())
    });
    ensure(wait_for(owner) == 0, || "it did not send".into()).map_err(coproc::Error::other)?;
    all.sent.push(1);
    Ok(all)
}

/// A process that sleeps until it has a buffer, and gives it back.
fn borrower(frames: &LoanQueue) -> Other {
    Other::asleep(|| match frames.loan(FRAME) {
        Ok(_) => SENT,
        Err(_) => CLOSED,
    })
}

/// A process that sleeps until it receives a buffer; its exit code is the byte.
fn frame_receiver(frames: &LoanQueue) -> Other {
    Other::asleep(|| match frames.recv() {
        Ok(frame) => i32::from(frame[0]),
        Err(RecvError::Closed) => CLOSED,
        Err(_) => CORRUPTED,
    })
}

impl Frames {
    /// As [`Line::check_whole`]; then every buffer can be had again, by one only.
    fn check_whole(mut self, dead: &Dead<'_>, most_taken: usize, from_victim: &[u8]) -> Check {
        self.held.clear();
        loop {
            match dead.bounded("try_recv", || self.frames.try_recv()) {
                Ok(frame) => {
                    ensure(frame.len() == FRAME && frame.iter().all(|&byte| byte == frame[0]), || format!("torn: {frame:?}"))?;
                    self.received.push(frame[0]);
                }
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                Err(error) => return Err(error.into()),
            }
        }
        in_order(dead, &self.sent, &self.received, most_taken, from_victim)?;
        self.lends_all(dead)
    }

    fn lends_all(&self, dead: &Dead<'_>) -> Check {
        let frames = &self.frames;
        let mut all = Vec::new();
        for n in 0..frames.buffers() as u8 {
            let mut frame = dead.bounded("loan_timeout", || frames.loan_timeout(FRAME, LONG))?;
            frame.fill(n);
            all.push(frame);
        }
        let more = frames.try_loan(FRAME).map(drop);
        ensure(more == Err(TryLoanError::WouldBlock), || format!("all lent, but {more:?}"))?;
        for (n, frame) in (0..).zip(all) {
            ensure(frame.iter().all(|&byte| byte == n), || format!("buffer {n} is another's too"))?;
            dead.bounded("send", || frames.send(frame))?;
        }
        for n in 0..frames.buffers() as u8 {
            let frame = dead.bounded("recv_timeout", || frames.recv_timeout(LONG))?;
            ensure(frame.iter().all(|&byte| byte == n), || format!("buffer {n} has become {frame:?}"))?;
        }
        let (free, len) = (frames.available(), frames.len());
        ensure(free == frames.buffers() && len == 0, || format!("{free} buffers free, {len} inside"))
    }
}

pub(crate) fn lines() -> Vec<Box<dyn Operation>> {
    let loan = |all: Frames, step: &Step| {
        step.through(|| all.frames.loan(FRAME).map(mem::forget))?;
        Ok(())
    };
    let give_back = |all: Frames, step: &Step| {
        let frame = all.frames.loan(FRAME)?;
        step.through(|| drop(frame));
        Ok(())
    };
    let send = |all: Frames, step: &Step| {
        let mut frame = all.frames.loan(FRAME)?;
        frame.fill(50);
        Ok(step.through(|| all.frames.send(frame))?)
    };
    let recv = |all: Frames, step: &Step| Ok(step.through(|| all.frames.recv().map(mem::forget))?);
    let mut list = vec![
        operation("LoanQueue: loan", frames(3, 1), loan, |all, dead| all.check_whole(dead, 0, &[])).boxed(),
        operation("LoanQueue: loan, first thing after a fork", frames(3, 1), loan, |all, dead| all.check_whole(dead, 0, &[]))
            .cold()
            .boxed(),
        operation("LoanQueue: loan, waits", all_held(2), loan, |all, dead| all.check_whole(dead, 0, &[]))
            .asleep(|all| drop(all.held.pop()))
            .boxed(),
        operation(
            "LoanQueue: loan_timeout, none is free",
            all_held(2),
            |all, step| {
                drop(step.through(|| all.frames.loan_timeout(FRAME, SHORT)));
                Ok(())
            },
            |all, dead| all.check_whole(dead, 0, &[]),
        )
        .boxed(),
        operation("LoanQueue: loan, all are of the dead", frames_of_the_dead, loan, |all, dead| all.check_whole(dead, 0, &[]))
            .boxed(),
        operation(
            "LoanQueue: try_loan, all are of the dead",
            frames_of_the_dead,
            |all, step| {
                step.through(|| all.frames.try_loan(FRAME).map(mem::forget))?;
                Ok(())
            },
            |all, dead| all.check_whole(dead, 0, &[]),
        )
        .boxed(),
        operation("LoanQueue: drop a loan", frames(2, 1), give_back, |all, dead| all.check_whole(dead, 0, &[])).boxed(),
        operation("LoanQueue: drop a loan, another waits", frames(1, 0), give_back, |all, dead| {
            let code = all.other.as_ref().map_or(Ok(SENT), |other| other.ends(dead, "loan in the borrower"))?;
            ensure(code == SENT, || format!("the borrower: {code}"))?;
            all.check_whole(dead, 0, &[])
        })
        .meanwhile(|all| all.other = Some(borrower(&all.frames)))
        .slow()
        .boxed(),
        operation("LoanQueue: send, a receiver sleeps", frames(2, 0), send, |mut all, dead| {
            let Some(other) = all.other.take() else { return all.check_whole(dead, 0, &[50]) };
            if all.frames.is_empty() && !dead.finished {
                // Behind what the victim may have sent meanwhile, and the receiver taken.
                send_frame(&all.frames, 7)?;
                all.sent.push(7);
            }
            let code = other.ends(dead, "recv in the receiver")?;
            let first = all.sent.first().map_or(50, |&byte| i32::from(byte));
            ensure(code == 50 || code == first, || format!("the receiver: {code}"))?;
            // What the receiver got is taken: of the victim's item, or of the one behind it.
            if code == first {
                all.sent.clear();
            }
            all.check_whole(dead, 0, &[])
        })
        .meanwhile(|all| all.other = Some(frame_receiver(&all.frames)))
        .slow()
        .boxed(),
        operation(
            "LoanQueue: recv, send it on",
            frames(3, 2),
            |all, step| step.through(|| all.frames.send(all.frames.recv()?).map_err(coproc::Error::from)),
            |all, dead| all.check_whole(dead, 1, &[1]),
        )
        .boxed(),
        operation(
            "LoanQueue: close, a borrower sleeps",
            all_held(1),
            |all, step| {
                step.through(|| all.frames.close());
                Ok(())
            },
            |mut all, dead| {
                if !all.frames.is_closed() {
                    ensure(!dead.finished, || "close had returned, but it is not closed".into())?;
                    dead.bounded("close", || all.frames.close());
                }
                if let Some(other) = all.other.take() {
                    let code = other.ends(dead, "the end of waiting in another process")?;
                    ensure(code == CLOSED, || format!("who waited: {code}"))?;
                }
                Ok(())
            },
        )
        .meanwhile(|all| all.other = Some(borrower(&all.frames)))
        .boxed(),
    ];
    for (buffers, inside) in [(3, 0), (3, 2), (1, 0)] {
        let name = format!("LoanQueue: send, {inside} of {buffers} inside");
        list.push(operation(name, frames(buffers, inside), send, |all, dead| all.check_whole(dead, 0, &[50])).boxed());
    }
    for (buffers, inside) in [(3, 3), (3, 1), (1, 1)] {
        let name = format!("LoanQueue: recv, {inside} of {buffers} inside");
        list.push(operation(name, frames(buffers, inside), recv, |all, dead| all.check_whole(dead, 1, &[])).boxed());
        let name = format!("LoanQueue: recv, drop it, {inside} of {buffers} inside");
        let run = |all: Frames, step: &Step| Ok(step.through(|| all.frames.recv().map(drop))?);
        list.push(operation(name, frames(buffers, inside), run, |all, dead| all.check_whole(dead, 1, &[])).boxed());
    }
    list
}
