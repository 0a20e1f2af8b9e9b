//! How who waits for the other side passes the first moment: by looking, or by giving way.
//!
//! - The other side answers from another processor: who looks sees the answer sooner than it would be back from the scheduler.
//! - It waits for this very processor: it can only answer when this thread gives way.
//! - It sends a stream: who looks takes each item as it comes, and both sides take the same cache lines from each other for each. Who is away for a moment finds
//!   many at once.
//!
//! Nothing says beforehand which it is, so each thread learns it from its own waits. What it has learned says only what comes first: who finds nothing goes
//! on to give way, and to sleep; and how long it gives way. A wake takes longer than a stream takes to fill or to empty a ring, so who has gone to sleep
//! once finds the other asleep when it comes back, and so on by turns, many times slower than the stream was. That is a standstill: who finds itself
//! in one gives way for as long as a wake takes, before it sleeps again.

use std::cell::Cell;
use std::time::Duration;

use super::deadline::Deadline;

/// How often who looks first looks: a microsecond or two.
const LOOKS: u32 = 50;

/// After so many waits that began with looking, one begins with giving way all the same, to see whether many come meanwhile.
const TRUST: u32 = 32;

/// Who has looked in vain again and again looks first once in so many waits at least: two to this power.
const DOUBT: u32 = 6;

/// So many waits after a sign of a stream begin with giving way.
const AFTER_STREAM: u32 = 16;

/// For how much longer the patient give way: a wake takes less.
const PATIENCE: Duration = Duration::from_micros(200);

/// What a thread has learned.
#[derive(Clone, Copy)]
struct Pace {
    /// How many waits to come begin with giving way.
    give_way: u32,
    /// How many waits have begun with looking.
    looked: u32,
    /// How many looks in a row were in vain.
    vain: u32,
    /// Whether it gives way for longer than usual.
    patient: bool,
    /// How often in a row patience was in vain.
    vain_patience: u32,
    /// How many standstills to come do not make it patient.
    passed_over: u32,
}

thread_local! {
    // The first one gives way: it tells a stream from an answer.
    static PACE: Cell<Pace> = const { Cell::new(Pace { give_way: 1, looked: 0, vain: 0, patient: false, vain_patience: 0, passed_over: 0 }) };
}

/// Notes that more than one have come at once: a stream.
pub(crate) fn note_stream() {
    let pace = PACE.get();
    PACE.set(Pace { give_way: pace.give_way.max(AFTER_STREAM), ..pace });
}

/// Looks for a moment, if that is what this wait begins with, until there is something.
pub(crate) fn look_first<R>(mut look: impl FnMut() -> Option<R>) -> Option<R> {
    let mut pace = PACE.get();
    let found = if pace.give_way > 0 {
        pace.give_way -= 1;
        None
    } else {
        let found = look_for(LOOKS, &mut look);
        pace.looked = pace.looked.wrapping_add(1);
        match found {
            Some(_) => pace.vain = 0,
            None => {
                pace.vain = (pace.vain + 1).min(DOUBT);
                pace.give_way = 1 << pace.vain;
            }
        }
        if pace.looked.is_multiple_of(TRUST) {
            pace.give_way = pace.give_way.max(1);
        }
        found
    };
    PACE.set(pace);
    found
}

/// Gives way until there is something: so many times, and some time more if it is patient.
pub(crate) fn give_way<R>(times: u32, mut once: impl FnMut() -> Option<R>) -> Option<R> {
    (0..times).find_map(|_| once()).or_else(|| if PACE.get().patient { wait_patiently(once) } else { None })
}

#[cold]
fn wait_patiently<R>(mut once: impl FnMut() -> Option<R>) -> Option<R> {
    let end = Deadline::after(PATIENCE);
    while !end.has_passed() {
        let found = once();
        if found.is_some() {
            PACE.set(Pace { vain_patience: 0, ..PACE.get() });
            return found;
        }
    }
    let pace = PACE.get();
    let vain_patience = (pace.vain_patience + 1).min(DOUBT);
    PACE.set(Pace { patient: false, vain_patience, passed_over: 1 << vain_patience, ..pace });
    None
}

/// Notes that the other side had done all it could while this one was asleep.
#[cold]
pub(crate) fn note_standstill() {
    let pace = PACE.get();
    PACE.set(Pace { patient: pace.passed_over == 0, passed_over: pace.passed_over.saturating_sub(1), ..pace });
}

/// Looks so many times at most.
pub(crate) fn look_for<R>(times: u32, mut look: impl FnMut() -> Option<R>) -> Option<R> {
    for _ in 0..times {
        let found = look();
        if found.is_some() {
            return found;
        }
        std::hint::spin_loop();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a wait that never comes to anything goes on after the usual number of times, which is none here.
    fn goes_on() -> bool {
        let mut times = 0;
        let found = give_way(0, || {
            times += 1;
            None::<()>
        });
        found.is_none() && times > 0
    }

    #[test]
    fn who_is_patient_in_vain_is_so_more_seldom() {
        assert!(!goes_on(), "without a standstill");
        note_standstill();
        assert!(goes_on());
        assert!(!goes_on(), "it was in vain");
        for passed_over in 1..=3 {
            for _ in 0..1 << passed_over {
                note_standstill();
                assert!(!goes_on(), "after {passed_over} times in vain");
            }
            note_standstill();
            assert!(goes_on());
        }
    }

    #[test]
    fn who_is_patient_with_success_stays_so() {
        note_standstill();
        for _ in 0..3 {
            assert_eq!(give_way(0, || Some(7)), Some(7));
        }
        assert!(goes_on(), "then once in vain");
        (0..3).for_each(|_| note_standstill());
        assert_eq!(give_way(0, || Some(7)), Some(7));
        assert!(goes_on());
        // What had been in vain before the success counts no more.
        (0..3).for_each(|_| note_standstill());
        assert!(goes_on());
    }
}
