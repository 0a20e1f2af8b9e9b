//! `futex(2)`, modelled: the sleepers of all words, first come first woken, under the one lock of the modelled kernel.
//!
//! A slice never ends by itself, so a wake that is lost is a deadlock, which loom finds. There are two exceptions: a death ends the slice of
//! every sleeper, and on every word the first that a thread begins after it; and a thread that the model calls impatient sleeps so many
//! slices that end at whatever moment.

use std::time::Duration;

use super::atomic::AtomicU32;
use crate::world;

#[track_caller]
pub(crate) fn wait(word: &AtomicU32, value: u32, _: Duration) {
    if world::step() {
        let address = (&raw const *word).addr();
        world::get().sleep(address, || word.peek() == value);
    }
}

pub(crate) const MOST_WORDS: usize = 128;

pub(crate) fn can_wait_for_several() -> bool {
    false
}

pub(crate) fn wait_any(_: &[(&AtomicU32, u32)], _: Duration) -> bool {
    unreachable!("no model waits for several words")
}

#[track_caller]
pub(crate) fn wake(word: &AtomicU32, count: u32) -> u32 {
    if world::step() { world::get().wake((&raw const *word).addr(), count) } else { 0 }
}

#[track_caller]
pub(crate) fn wake_all(word: &AtomicU32) {
    wake(word, u32::MAX);
}
