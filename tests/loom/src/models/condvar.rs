use std::sync::Arc;

use super::beside;
use crate::sync::{Condvar, Mutex};
use crate::world::{Options, Running, model, process};

struct Shared {
    items: Mutex<u64>,
    arrived: Condvar,
}

impl Shared {
    fn new() -> Arc<Self> {
        Arc::new(Self { items: Mutex::new(0), arrived: Condvar::new() })
    }

    fn take(&self) {
        let mut items = self.arrived.wait_while(self.items.lock().unwrap(), |items| *items == 0).unwrap();
        *items -= 1;
    }

    fn put(&self, count: u64) {
        *self.items.lock().unwrap() += count;
    }
}

#[test]
fn one_is_notified() {
    model(Options::new(4).preemptions(4), || {
        let shared = Shared::new();
        let [waiter] = beside(&shared, [process(2)], |shared, _| shared.take());
        shared.put(1);
        shared.arrived.notify_one();
        waiter.join();
    });
}

#[test]
fn one_is_notified_under_the_lock() {
    model(Options::new(4).preemptions(3), || {
        let shared = Shared::new();
        let [waiter] = beside(&shared, [process(2)], |shared, _| shared.take());
        let mut items = shared.items.lock().unwrap();
        *items += 1;
        shared.arrived.notify_one();
        drop(items);
        waiter.join();
    });
}

#[test]
fn two_are_notified_one_by_one() {
    model(Options::new(4).preemptions(2), || {
        let shared = Shared::new();
        let waiters = beside(&shared, [process(2), process(3)], |shared, _| shared.take());
        for _ in 0..2 {
            shared.put(1);
            shared.arrived.notify_one();
        }
        assert_eq!(waiters.map(Running::join), [true; 2]);
    });
}

#[test]
fn all_are_notified() {
    model(Options::new(4).preemptions(2), || {
        let shared = Shared::new();
        let waiters = beside(&shared, [process(2), process(3)], |shared, _| shared.take());
        shared.put(2);
        shared.arrived.notify_all();
        assert_eq!(waiters.map(Running::join), [true; 2]);
    });
}
