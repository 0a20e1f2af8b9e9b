use std::sync::Arc;
use std::time::Duration;

use crate::sync::{Deadline, Patience, RawLock, TryLockError};
use crate::world::{Bytes, Options, become_process, kill, model, model_both, model_kills, process};

#[derive(Default)]
struct Shared {
    lock: RawLock,
    data: Bytes,
}

const FOREVER: Patience = Patience::Until(Deadline::NEVER);

impl Shared {
    /// Takes the lock, counts, gives it back clean. Whether it was poisoned.
    fn count(&self) -> bool {
        let culprit = self.lock.acquire(FOREVER).unwrap();
        self.data.add(1);
        self.lock.release(None);
        culprit.is_some()
    }
}

#[test]
fn two_exclude_each_other_and_see_the_data() {
    model_both(Options::new(4), || {
        let shared = Arc::new(Shared::default());
        let other = Arc::clone(&shared);
        let thread = process(2).run(move || drop(other.count()));
        shared.count();
        thread.join();
        assert_eq!(shared.data.get(), 2);
    });
}

#[test]
fn no_wake_is_lost_among_three() {
    model(Options::new(4).preemptions(3), || {
        let shared = Arc::new(Shared::default());
        let threads = [2, 3].map(|identity| {
            let shared = Arc::clone(&shared);
            process(identity).run(move || drop(shared.count()))
        });
        shared.count();
        threads.map(|thread| thread.join());
        assert_eq!(shared.data.get(), 3);
    });
}
