//! Pipes, of which the victim has an end.

use std::mem;
use std::time::Duration;

use coproc::__private::Parcel;
use coproc::{Pipe, RecvTimeoutError, Result, SendTimeoutError, SharedValue};
use coproc_tests::rig::{Check, Dead, Operation, ensure, operation};

use crate::{Block, LONG, OLD, SHORT, sound};

/// A pipe, of which the survivor has one end, and the victim takes the other out of the parcel.
struct Talk {
    here: Pipe,
    there: Option<Parcel>,
    /// The other end of a pipe that the victim takes out of the parcel too.
    far: Pipe,
}

/// A pipe in which so many messages are on their way to the victim.
fn talk(inside: usize) -> impl Fn() -> Result<Talk> {
    move || {
        let ((here, there), (far, gift)) = (Pipe::with_capacity(256)?, Pipe::with_capacity(64)?);
        for _ in 0..inside {
            here.send_value(&(SharedValue::new(OLD)?, 7_u8))?;
        }
        Ok(Talk { here, there: Some(Parcel::of(&(there, gift))), far })
    }
}

/// Longer than the pipe.
const STREAM: usize = 700;

fn stream() -> Vec<u8> {
    (0..STREAM).map(|n| n as u8).collect()
}

/// What the victim does with its end, and with another one that it has.
fn on_pipe<R: 'static>(
    name: &str,
    inside: usize,
    run: fn(&Pipe, &Pipe) -> R,
    check: fn(&Talk, &Dead<'_>) -> Check,
) -> Box<dyn Operation> {
    operation(
        format!("Pipe: {name}"),
        talk(inside),
        move |talk, step| {
            let ends = talk.there.and_then(|parcel| parcel.open::<(Pipe, Pipe)>()).ok_or(coproc::Error::Corrupted)?;
            mem::forget(step.through(|| run(&ends.0, &ends.1)));
            mem::forget(ends);
            Ok(())
        },
        move |talk, dead| check(&talk, dead),
    )
    // The victim has it now, and its socket with it.
    .meanwhile(|talk| talk.there = None)
    // Takes what has come of a message that is streamed.
    .asleep(|talk| {
        talk.here.poll(Duration::ZERO);
    })
    .boxed()
}

impl Talk {
    /// The end of what the survivor receives is what it should be.
    fn ends(&self, dead: &Dead<'_>, closed: bool) -> Check {
        let end = dead.bounded("recv_timeout", || self.here.recv_timeout(LONG));
        let good = end == Err(RecvTimeoutError::Disconnected) || closed && end == Err(RecvTimeoutError::Closed);
        ensure(good, || format!("{end:?} at the end"))?;
        let send = dead.bounded("send_timeout", || self.here.send_timeout(&stream(), LONG));
        ensure(!matches!(send, Ok(()) | Err(SendTimeoutError::Timeout(()))), || format!("sent to nobody: {send:?}"))
    }

    /// This message has come wholly, or none has; if the victim had returned, it has.
    fn came(&self, dead: &Dead<'_>, message: &[u8]) -> Check {
        match dead.bounded("recv_timeout", || self.here.recv_timeout(LONG)) {
            Ok(got) => {
                ensure(got == message, || format!("{} bytes that nobody sent: {got:?}", got.len()))?;
                self.ends(dead, false)
            }
            Err(RecvTimeoutError::Disconnected) => ensure(!dead.finished, || "sent, but it never came".into()),
            Err(error) => Err(error.into()),
        }
    }
}

pub(crate) fn lines() -> Vec<Box<dyn Operation>> {
    vec![
        on_pipe("send", 0, |end, _| end.send(b"small"), |talk, dead| talk.came(dead, b"small")),
        on_pipe("send, longer than the pipe", 0, |end, _| end.send(&stream()), |talk, dead| talk.came(dead, &stream())),
        on_pipe(
            "send_timeout, longer than the pipe, nobody receives",
            0,
            |end, _| end.send_timeout(&stream(), Duration::ZERO),
            |talk, dead| talk.ends(dead, false),
        ),
        on_pipe("recv", 2, |end, _| end.recv(), |talk, dead| talk.ends(dead, false)),
        on_pipe("recv_timeout, in vain", 0, |end, _| end.recv_timeout(SHORT), |talk, dead| talk.ends(dead, false)),
        on_pipe(
            "recv_value, with a handle",
            2,
            |end, _| end.recv_value::<(SharedValue<Block>, u8)>(),
            |talk, dead| talk.ends(dead, false),
        ),
        on_pipe(
            "send_value, with a handle",
            0,
            |end, _| SharedValue::new(OLD).map(|value| end.send_value(&(value, 7_u8))),
            |talk, dead| match dead.bounded("recv_value", || talk.here.recv_value_timeout::<(SharedValue<Block>, u8)>(LONG)) {
                Ok((value, seven)) => {
                    ensure(seven == 7, || format!("{seven}"))?;
                    sound(&value, dead, &[])?;
                    talk.ends(dead, false)
                }
                Err(RecvTimeoutError::Disconnected) => ensure(!dead.finished, || "sent, but it never came".into()),
                Err(error) => Err(error.into()),
            },
        ),
        on_pipe(
            "send_value, an end that moves",
            0,
            |end, gift| end.send_value(gift),
            |talk, dead| match dead.bounded("recv_value", || talk.here.recv_value_timeout::<Pipe>(LONG)) {
                Ok(gift) => {
                    talk.far.send(b"hello")?;
                    let hello = dead.bounded("recv_timeout", || gift.recv_timeout(LONG))?;
                    ensure(hello == b"hello", || format!("{hello:?}"))?;
                    talk.ends(dead, false)
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let far = dead.bounded("recv_timeout", || talk.far.recv_timeout(LONG));
                    ensure(!dead.finished && far == Err(RecvTimeoutError::Disconnected), || format!("no end came, and {far:?}"))
                }
                Err(error) => Err(error.into()),
            },
        ),
        on_pipe(
            "close",
            1,
            |end, _| end.close(),
            |talk, dead| {
                talk.ends(dead, true)?;
                ensure(talk.here.is_closed() || !dead.finished, || "close had returned, but it is not closed".into())
            },
        ),
    ]
}
