//! How long who waits sleeps at a time.
//!
//! A sleeper is woken by whoever makes true what it waits for. It also looks by itself now and then, since that one may have been killed on the way: in slices
//! so short that a death is noticed in time. But a hundred idle processes that look fifty times a second each are a load. So who has slept for long on
//! one value of one word, and belongs to a family whose deaths are told on a [`Board`](crate::liveness::Board), sleeps on that too, and long.

use std::cell::Cell;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use super::deadline::Deadline;
use crate::liveness;
use crate::sys::futex;

/// After so much sleep, and after each death, when others may follow that nobody is left to tell of.
const LONG: Duration = Duration::from_millis(200);

/// The slice of who is told of deaths.
const LONG_SLICE: Duration = Duration::from_secs(1);

/// What a thread knows of its last sleep.
#[derive(Clone, Copy)]
struct Nap {
    word: usize,
    value: u32,
    /// How long it has slept on this value of this word.
    slept: Duration,
    /// What the board said before the look that the thread has taken since.
    deaths: Option<u32>,
}

impl Nap {
    const fn first(word: usize, value: u32) -> Self {
        Self { word, value, slept: Duration::ZERO, deaths: None }
    }
}

thread_local! {
    static LAST: Cell<Nap> = const { Cell::new(Nap::first(0, 0)) };
}

/// Sleeps while the word has this value, for a slice at most, or longer where deaths are told. May return early for no reason; the caller looks again.
/// `false` if the deadline has passed.
pub(crate) fn nap(word: &AtomicU32, value: u32, deadline: Deadline, slice: Duration) -> bool {
    let address = &raw const *word;
    let last = LAST.get();
    let mut nap = if (last.word, last.value) == (address.addr(), value) { last } else { Nap::first(address.addr(), value) };
    let registry = if nap.slept < LONG { None } else { liveness::registry_of(address.cast()) };
    // Asked after `deaths` was read: who makes it incomplete tells so after that.
    let board = registry
        .as_ref()
        .and_then(|registry| registry.board())
        .filter(|board| board.is_complete() && futex::can_wait_for_several());
    let told = board.zip(nap.deaths);
    let Some(time) = deadline.slice(if told.is_some() { LONG_SLICE } else { slice }) else { return false };
    match told {
        Some((board, deaths)) => _ = futex::wait_any(&[(word, value), (board.word(), deaths)], time),
        None => futex::wait(word, value, time),
    }
    // Before the caller's look: what is told after this ends the next sleep.
    let deaths = board.map(|board| board.deaths());
    if told.is_some_and(|(_, before)| deaths != Some(before)) {
        nap = Nap::first(nap.word, nap.value);
    } else {
        nap.slept = nap.slept.saturating_add(time);
        nap.deaths = deaths;
    }
    LAST.set(nap);
    true
}
