//! One way of a ping-pong on a bare futex: a word that carries numbers, a wake for each of them, and no try without sleep.

use std::sync::atomic::{AtomicU32, Ordering};

use coproc::{Message, SharedValue};
use rustix::thread::futex::{Flags, wait, wake};

/// The low half of the last number, and one more, so that zero is none. A number must differ from the one before.
#[derive(Clone, Debug, Message)]
pub(crate) struct Way {
    word: SharedValue<AtomicU32>,
    seen: u32,
}

impl Way {
    pub(crate) fn new() -> coproc::Result<Self> {
        Ok(Self { word: SharedValue::new(AtomicU32::new(0))?, seen: 0 })
    }

    #[inline]
    pub(crate) fn send(&self, number: u64) {
        // Release: pairs with the Acquire in `recv`, as it would for a number that lies elsewhere.
        self.word.store((number as u32).wrapping_add(1), Ordering::Release);
        wake(&self.word, Flags::empty(), 1).expect("the word is mapped");
    }

    #[inline]
    pub(crate) fn recv(&mut self) -> u64 {
        loop {
            // Acquire: pairs with the Release in `send`.
            let now = self.word.load(Ordering::Acquire);
            if now != self.seen {
                self.seen = now;
                return u64::from(now.wrapping_sub(1));
            }
            // Woken, interrupted, or never asleep: the next look tells.
            let _ = wait(&self.word, Flags::empty(), now, None);
        }
    }
}
