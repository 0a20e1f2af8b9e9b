use std::sync::Arc;

use super::{beside, together};
use crate::sync::{Deadline, WaitWord};
use crate::sys::atomic::{AtomicU32, Ordering};
use crate::world::{Bytes, Options, Running, model, process};

#[derive(Default)]
struct Shared {
    word: WaitWord,
    condition: AtomicU32,
    data: Bytes,
}

impl Shared {
    fn is_true(&self) -> bool {
        self.condition.load(Ordering::Acquire) != 0
    }

    fn wait(&self) {
        loop {
            let ticket = self.word.prepare();
            if self.is_true() {
                break;
            }
            self.word.sleep(ticket, Deadline::NEVER);
        }
        assert_eq!(self.data.get(), 7);
    }

    fn make_true(&self) {
        self.data.set(7);
        self.condition.store(1, Ordering::Release);
    }

    /// Takes one of several things, as the queue does.
    fn take(&self, dearly: bool) {
        let mut slept = false;
        loop {
            let less = |count: u32| count.checked_sub(1);
            if self.condition.fetch_update(Ordering::Acquire, Ordering::Relaxed, less).is_ok() {
                if slept {
                    self.word.pass_on(|| self.is_true());
                }
                return;
            }
            let ticket = if dearly { self.word.prepare_dearly() } else { self.word.prepare() };
            if self.is_true() {
                continue;
            }
            self.word.sleep(ticket, Deadline::NEVER);
            slept = true;
        }
    }
}

#[test]
fn one_is_notified() {
    model(Options::new(3), || {
        let shared = Arc::new(Shared::default());
        let [sleeper] = beside(&shared, [process(2)], |shared, _| shared.wait());
        shared.make_true();
        shared.word.notify_one();
        sleeper.join();
    });
}

#[test]
fn all_are_notified() {
    model(Options::new(3).preemptions(3), || {
        let shared = Arc::new(Shared::default());
        let sleepers = beside(&shared, [process(2), process(3)], |shared, _| shared.wait());
        shared.make_true();
        shared.word.notify_all();
        assert_eq!(sleepers.map(Running::join), [true; 2]);
    });
}

#[test]
fn one_is_notified_cheaply_who_prepared_dearly() {
    model(Options::new(3), || {
        let shared = Arc::new(Shared::default());
        let [sleeper] = beside(&shared, [process(2)], |shared, _| {
            loop {
                let ticket = shared.word.prepare_dearly();
                if shared.is_true() {
                    break;
                }
                shared.word.sleep(ticket, Deadline::NEVER);
            }
            assert_eq!(shared.data.get(), 7);
        });
        shared.make_true();
        shared.word.notify_one_cheaply();
        sleeper.join();
    });
}

#[test]
fn two_things_given_by_one_reach_two_sleepers() {
    model(Options::new(3).preemptions(2), || {
        let shared = Arc::new(Shared::default());
        let sleepers = beside(&shared, [process(2), process(3)], |shared, _| shared.take(false));
        for _ in 0..2 {
            shared.condition.fetch_add(1, Ordering::Release);
            shared.word.notify_one();
        }
        assert_eq!(sleepers.map(Running::join), [true; 2]);
    });
}

#[test]
fn two_things_given_by_two_reach_two_sleepers() {
    model(Options::new(3).preemptions(2), || {
        let shared = Arc::new(Shared::default());
        let sleepers = beside(&shared, [process(2), process(3)], |shared, _| shared.take(false));
        together(&shared, [process(4)], |shared, _| {
            shared.condition.fetch_add(1, Ordering::Release);
            shared.word.notify_one();
        });
        assert_eq!(sleepers.map(Running::join), [true; 2]);
    });
}

/// The one that notifies finds nobody asleep at the second time, or somebody again.
#[test]
fn two_things_reach_one_who_sleeps_for_each() {
    for dearly in [false, true] {
        model(Options::new(3).preemptions(4), move || {
            let shared = Arc::new(Shared::default());
            let [sleeper] = beside(&shared, [process(2)], move |shared, _| (0..2).for_each(|_| shared.take(dearly)));
            for _ in 0..2 {
                shared.condition.fetch_add(1, Ordering::Release);
                shared.word.notify_one_cheaply();
            }
            sleeper.join();
        });
    }
}

/// Who finds nobody asleep takes the mark away, and not that of one who has come meanwhile.
#[test]
fn two_who_give_and_one_who_takes_twice() {
    model(Options::new(3).preemptions(3), || {
        let shared = Arc::new(Shared::default());
        let [sleeper] = beside(&shared, [process(2)], |shared, _| (0..2).for_each(|_| shared.take(true)));
        together(&shared, [process(3)], |shared, _| {
            shared.condition.fetch_add(1, Ordering::Release);
            shared.word.notify_one_cheaply();
        });
        sleeper.join();
    });
}
