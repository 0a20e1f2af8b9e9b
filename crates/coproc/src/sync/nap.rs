//! How long who waits sleeps at a time.
//!
//! A sleeper is woken by whoever makes true what it waits for. It also looks by itself now and then, since that one may have been killed on the way: in slices
//! so short that a death is noticed in time. But a hundred idle processes that look fifty times a second each are a load. So who has slept for long on
//! one value of one word, and belongs to a family whose deaths are told on a [`Board`](crate::liveness::Board), sleeps on that too, and long.

use std::cell::Cell;
use std::ops::Deref;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use super::deadline::Deadline;
use crate::liveness::{self, Registry};
use crate::sys::futex;

/// After so much sleep, and after each death, when others may follow that nobody is left to tell of.
const LONG: Duration = Duration::from_millis(200);

/// The slice of who is told of deaths.
const LONG_SLICE: Duration = Duration::from_secs(1);

/// What a thread knows of its last sleep.
#[derive(Clone, Copy)]
struct Nap {
    /// On which values of which words.
    on: u64,
    /// How long it has slept on these.
    slept: Duration,
    /// What the board said before the look that the thread has taken since.
    deaths: Option<u32>,
}

impl Nap {
    const fn first(on: u64) -> Self {
        Self { on, slept: Duration::ZERO, deaths: None }
    }
}

thread_local! {
    static LAST: Cell<Nap> = const { Cell::new(Nap::first(0)) };
}

/// Sleeps while the word has this value, for a slice at most, or longer where deaths are told. May return early for no reason; the caller looks again.
/// `false` if the deadline has passed.
pub(crate) fn nap(word: &AtomicU32, value: u32, deadline: Deadline, slice: Duration) -> bool {
    nap_any(&[(word, value)], deadline, slice).is_some()
}

/// As [`nap`], while every one of these words has its value. `Some(false)` if that is so yet, as far as is known: it may be that nobody is left
/// who could change one. `None` if the deadline has passed.
pub(crate) fn nap_any(words: &[(&AtomicU32, u32)], deadline: Deadline, slice: Duration) -> Option<bool> {
    let on = words.iter().fold(words.len() as u64, |on, &(word, value)| {
        // Two sums that are equal by chance make a sleep of a second of one that should be short.
        (on.rotate_left(5) ^ (&raw const *word).addr() as u64 ^ u64::from(value) << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    });
    let last = LAST.get();
    let mut nap = if last.on == on { last } else { Nap::first(on) };
    let registry = if nap.slept < LONG { None } else { family_of(words) };
    // Asked after `deaths` was read: who makes it incomplete tells so after that.
    let board = registry.as_ref().and_then(|registry| registry.board()).filter(|board| board.is_complete());
    let told = board.zip(nap.deaths);
    let time = deadline.slice(if told.is_some() { LONG_SLICE } else { slice })?;
    let mut woken = match (told, words) {
        (Some((board, deaths)), _) => {
            let words: Vec<_> = words.iter().copied().chain([(board.word(), deaths)]).collect();
            futex::wait_any(&words, time)
        }
        (None, &[(word, value)]) => {
            futex::wait(word, value, time);
            true
        }
        (None, _) => futex::wait_any(words, time),
    };
    // Before the caller's look: what is told after this ends the next sleep.
    let deaths = board.map(|board| board.deaths());
    if told.is_some_and(|(_, before)| deaths != Some(before)) {
        nap = Nap::first(on);
        woken = false;
    } else {
        nap.slept = nap.slept.saturating_add(time);
        nap.deaths = deaths;
    }
    LAST.set(nap);
    Some(woken)
}

/// The registry of the family to which all these words belong, but for those that are this process's alone; `None` if there is none, or one cannot sleep on its
/// board too.
fn family_of(words: &[(&AtomicU32, u32)]) -> Option<impl Deref<Target = Registry> + use<>> {
    let mut families = words.iter().filter_map(|&(word, _)| liveness::registry_of((&raw const *word).cast()));
    let family = families.next()?;
    let is_one = families.all(|other| other.id() == family.id());
    (is_one && words.len() < futex::MOST_WORDS && futex::can_wait_for_several()).then_some(family)
}
