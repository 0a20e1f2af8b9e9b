use std::sync::Arc;
use std::time::Duration;

use super::{beside, together};
use crate::sync::{Semaphore, TryLockError};
use crate::world::{Bytes, Options, Running, model, model_kills, process};

struct Shared {
    semaphore: Semaphore,
    data: Bytes,
}

impl Shared {
    fn new(permits: u32) -> Arc<Self> {
        let shared = Arc::new(Self { semaphore: Semaphore::new(permits), data: Bytes::default() });
        assert_eq!(shared.semaphore.available(), permits.into());
        shared
    }

    /// With one permit this is a lock.
    fn count(&self) {
        let permit = self.semaphore.acquire().unwrap();
        self.data.add(1);
        drop(permit);
    }
}

#[test]
fn one_permit_excludes_two() {
    model(Options::new(8).preemptions(3), || {
        let shared = Shared::new(1);
        together(&shared, [process(2)], |shared, _| shared.count());
        assert_eq!((shared.data.get(), shared.semaphore.available()), (2, 1));
    });
}

#[test]
fn one_permit_goes_round_among_three() {
    model(Options::new(8).preemptions(1), || {
        let shared = Shared::new(1);
        together(&shared, [process(2), process(3)], |shared, _| shared.count());
        assert_eq!((shared.data.get(), shared.semaphore.available()), (3, 1));
    });
}

#[test]
fn one_permit_goes_round_in_one_process() {
    model(Options::new(8).preemptions(3), || {
        let shared = Shared::new(1);
        together(&shared, [process(1).thread(2)], |shared, _| shared.count());
        assert_eq!((shared.data.get(), shared.semaphore.available()), (2, 1));
    });
}

#[test]
fn what_is_released_reaches_who_waits() {
    model(Options::new(8).preemptions(3), || {
        let shared = Shared::new(0);
        let [taker] = beside(&shared, [process(2)], |shared, _| {
            shared.semaphore.acquire().unwrap().forget();
            assert_eq!(shared.data.get(), 7);
        });
        shared.data.set(7);
        shared.semaphore.release(1).unwrap();
        taker.join();
        assert_eq!(shared.semaphore.available(), 0);
    });
}

#[test]
fn two_permits_released_reach_two_who_wait() {
    for at_once in [true, false] {
        model(Options::new(8).preemptions(2), move || {
            let shared = Shared::new(0);
            let takers = beside(&shared, [process(2), process(3)], |shared, _| {
                // Kept: to give it back, or up, would wake the other.
                std::mem::forget(shared.semaphore.acquire().unwrap());
            });
            if at_once {
                shared.semaphore.release(2).unwrap();
            } else {
                shared.semaphore.release(1).unwrap();
                shared.semaphore.release(1).unwrap();
            }
            assert_eq!(takers.map(Running::join), [true; 2]);
            assert_eq!(shared.semaphore.available(), 0);
        });
    }
}

#[test]
fn who_gives_up_leaves_the_permit_to_others() {
    model(Options::new(8).preemptions(2), || {
        let shared = Shared::new(0);
        let [hasty] = beside(&shared, [process(2).impatient(2)], |shared, _| {
            match shared.semaphore.acquire_timeout(Duration::from_millis(30)) {
                Ok(permit) => drop(permit),
                Err(error) => assert_eq!(error, TryLockError::TimedOut),
            }
        });
        let [patient] = beside(&shared, [process(3)], |shared, _| shared.semaphore.acquire().unwrap().forget());
        shared.semaphore.release(1).unwrap();
        assert!(hasty.join() && patient.join());
    });
}

#[test]
fn a_holder_or_sleeper_may_be_killed_at_any_step() {
    model_kills(Options::new(8).preemptions(2), |steps| {
        let shared = Shared::new(1);
        together(&shared, [process(2).killed_after(steps)], |shared, _| shared.count());
        // Also if nobody had to wait.
        let permit = shared.semaphore.try_acquire().unwrap();
        assert_eq!(shared.semaphore.available(), 0);
        drop(permit);
        assert!((1..=2).contains(&shared.data.get()));
    });
}
