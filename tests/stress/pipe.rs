//! A pipe for each of the dead.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Mutex as Turn, PoisonError};
use std::time::Duration;

use coproc::{Message, PipeReceiver, PipeSender, RecvError, Result, SendTimeoutError, SharedValue, channel_with_capacity};
use coproc_pool::Process;
use coproc_tests::Random;

use crate::{Overlap, Score, alone, finish, storm};

/// A message that shows whether it is whole.
#[derive(Message)]
struct Letter {
    number: u64,
    body: Vec<u8>,
    /// Holds the number too.
    with: Option<SharedValue<u64>>,
}

impl Letter {
    fn new(number: u64) -> Result<Self> {
        let with = if number % 8 == 3 { Some(SharedValue::new(number)?) } else { None };
        Ok(Self { number, body: Self::body(number), with })
    }

    /// Many are longer than the pipe.
    fn body(number: u64) -> Vec<u8> {
        let mut random = Random(number);
        (0..random.below(2500)).map(|n| (n * number) as u8).collect()
    }

    fn is_whole(&self) -> bool {
        let with = self.with.as_ref().map(|with| with.get().ok());
        self.body == Self::body(self.number) && with == (self.number % 8 == 3).then_some(Some(self.number))
    }
}

#[test]
fn pipe() -> Result<()> {
    fn send(score: SharedValue<Score>, sender: PipeSender) -> Result<()> {
        let mut random = Random(std::process::id().into());
        let mut number = 0;
        while score.goes_on() {
            match sender.send_value_timeout(&Letter::new(number)?, Duration::from_micros(random.below(2000))) {
                Ok(()) => number += 1,
                // Nothing of it is to be seen.
                Err(SendTimeoutError::Timeout(())) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
    /// Each in its place, up to the sender's end, or its death.
    fn receive(score: &Score, receiver: &PipeReceiver) {
        for number in 0.. {
            match receiver.recv_value::<Letter>() {
                Ok(letter) => score.never(letter.number != number || !letter.is_whole()),
                Err(end) => return score.never(!matches!(end, RecvError::Closed | RecvError::Disconnected)),
            }
            score.turn();
        }
    }
    let _alone = alone("Pipe");
    let score = SharedValue::<Score>::zeroed()?;
    let receivers = Turn::new(Vec::new());
    let spawn = |_| {
        let (sender, receiver) = channel_with_capacity(1000)?;
        let process = Process::spawn(send, (&score, sender))?;
        let score = score.clone();
        let thread = std::thread::spawn(move || receive(&score, &receiver));
        receivers.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(process)
    };
    let (kills, left) = storm(&score, Overlap::Often, spawn, |_| (), || Ok(()))?;
    score.stop.store(1, SeqCst);
    let joined = receivers.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().map(|thread| thread.join());
    assert!(joined.into_iter().all(|thread| thread.is_ok()));
    finish("Pipe", &score, kills, left)
}
