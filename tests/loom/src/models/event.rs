use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{beside, together};
use crate::sync::Event;
use crate::sys::atomic::AtomicU32;
use crate::world::{Bytes, Options, Running, model, process, somebody_sleeps};

#[derive(Default)]
struct Shared {
    event: Event,
    answer: Event,
    data: Bytes,
}

#[test]
fn who_waits_sees_what_was_before_the_set() {
    model(Options::new(2), || {
        let shared = Arc::new(Shared::default());
        let [thread] = beside(&shared, [process(2)], |shared, _| {
            shared.event.wait();
            assert_eq!(shared.data.get(), 7);
        });
        shared.data.set(7);
        shared.event.set();
        thread.join();
    });
}

#[test]
fn all_who_wait_are_let_go() {
    model(Options::new(2).preemptions(4), || {
        let shared = Arc::new(Shared::default());
        let threads = beside(&shared, [process(2), process(3)], |shared, _| shared.event.wait());
        shared.event.set();
        assert_eq!(threads.map(Running::join), [true; 2]);
    });
}

#[test]
fn two_may_set_at_once() {
    model(Options::new(2).preemptions(3), || {
        let shared = Arc::new(Shared::default());
        let [waiter] = beside(&shared, [process(2)], |shared, _| shared.event.wait());
        together(&shared, [process(3)], |shared, _| shared.event.set());
        waiter.join();
    });
}

#[test]
fn a_set_that_is_cleared_at_once_is_noticed() {
    model(Options::new(2), || {
        let shared = Arc::new(Shared::default());
        let [waiter] = beside(&shared, [process(2)], |shared, _| shared.event.wait());
        // Who sleeps was there before the event is set.
        let begun = somebody_sleeps();
        shared.event.set();
        if begun {
            shared.event.clear();
        }
        waiter.join();
    });
}

#[test]
fn who_clears_before_it_looks_misses_nothing() {
    model(Options::new(2).preemptions(4), || {
        let shared = Arc::new((Event::new(), AtomicU32::new(0)));
        let theirs = Arc::clone(&shared);
        let producer = process(2).run(move || {
            for done in 1..=2 {
                theirs.1.store(done, Ordering::Relaxed);
                theirs.0.set();
            }
        });
        while shared.1.load(Ordering::Relaxed) < 2 {
            shared.0.wait();
            shared.0.clear();
        }
        producer.join();
    });
}

#[test]
fn there_and_back() {
    model(Options::new(2), || {
        let shared = Arc::new(Shared::default());
        let [thread] = beside(&shared, [process(2)], |shared, _| {
            shared.event.wait();
            shared.event.clear();
            shared.data.set(7);
            shared.answer.set();
        });
        shared.event.set();
        shared.answer.wait();
        assert_eq!(shared.data.get(), 7);
        assert!(!shared.event.is_set());
        thread.join();
    });
}
