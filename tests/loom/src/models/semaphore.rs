use std::sync::Arc;
use std::time::Duration;

use super::{beside, together};
use crate::sync::{Permit, Semaphore, TryLockError};
use crate::world::{Bytes, Options, Running, become_process, kill, model, model_kills, process};

struct Shared {
    semaphore: Semaphore,
    data: Bytes,
}

impl Shared {
    fn new(permits: u32) -> Arc<Self> {
        Self::of(Semaphore::new(permits))
    }

    fn bounded(permits: u32) -> Arc<Self> {
        let shared = Self::of(Semaphore::bounded(permits));
        // A word that does not begin with 0 is used before there is a second thread.
        assert!(shared.semaphore.release(1).is_err());
        shared
    }

    fn of(semaphore: Semaphore) -> Arc<Self> {
        let shared = Arc::new(Self { semaphore, data: Bytes::default() });
        assert!(shared.semaphore.available() < 4);
        shared
    }

    /// Takes so many, which come back with the process.
    fn keep(&self, permits: u32) {
        (0..permits).for_each(|_| std::mem::forget(self.semaphore.acquire().unwrap()));
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

/// There are two places, and both are held.
#[test]
fn one_permit_without_a_place_excludes_two() {
    model(Options::new(11).preemptions(2), || {
        let shared = Shared::new(3);
        shared.keep(2);
        together(&shared, [process(2)], |shared, _| shared.count());
        assert_eq!((shared.data.get(), shared.semaphore.available()), (2, 1));
    });
}

#[test]
fn one_permit_with_and_one_without_a_place_are_taken_by_two() {
    model(Options::new(11).preemptions(2), || {
        let shared = Shared::new(3);
        shared.keep(1);
        together(&shared, [process(2), process(3)], |shared, _| drop(shared.semaphore.acquire().unwrap()));
        assert_eq!(shared.semaphore.available(), 2);
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
fn two_permits_given_back_reach_two_who_wait() {
    model(Options::new(8).preemptions(2), || {
        let shared = Shared::new(2);
        let permits: [Permit<'_>; 2] = std::array::from_fn(|_| shared.semaphore.acquire().unwrap());
        // Kept: to give it back would wake the other.
        let takers = beside(&shared, [process(2), process(3)], |shared, _| shared.keep(1));
        for permit in permits {
            drop(permit);
        }
        assert_eq!(takers.map(Running::join), [true; 2]);
        assert_eq!(shared.semaphore.available(), 0);
    });
}

/// A place can be found free whose permit another forgets at that moment: it is no permit, until it is released.
#[test]
fn a_permit_that_is_forgotten_and_released_is_one_permit() {
    model(Options::new(8).preemptions(3), || {
        let shared = Shared::bounded(1);
        let [forgetful] = beside(&shared, [process(2)], |shared, _| {
            let permit = shared.semaphore.acquire().unwrap();
            shared.data.add(1);
            permit.forget();
            shared.semaphore.release(1).unwrap();
        });
        shared.count();
        forgetful.join();
        assert_eq!((shared.data.get(), shared.semaphore.available()), (2, 1));
    });
}

#[test]
fn a_forgotten_permit_is_not_to_be_had() {
    model(Options::new(8), || {
        let shared = Shared::new(1);
        together(&shared, [process(2)], |shared, _| {
            if let Ok(permit) = shared.semaphore.try_acquire() {
                shared.data.add(1);
                permit.forget();
            }
        });
        assert_eq!((shared.data.get(), shared.semaphore.available()), (1, 0));
    });
}

#[test]
fn of_two_who_release_the_last_permit_one_does() {
    model(Options::new(8), || {
        let shared = Shared::bounded(2);
        shared.semaphore.acquire().unwrap().forget();
        let [other] = beside(&shared, [process(2)], |shared, _| {
            if shared.semaphore.release(1).is_ok() {
                shared.data.add(1);
            }
        });
        let first = shared.semaphore.release(1).is_ok();
        other.join();
        assert_eq!((u64::from(first) + shared.data.get(), shared.semaphore.available()), (1, 2));
    });
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

/// Two find the holder dead, and one of them takes the permit back.
#[test]
fn the_permit_of_a_dead_process_comes_back_once() {
    model(Options::new(8).preemptions(2), || {
        let shared = Shared::new(1);
        become_process(9);
        shared.keep(1);
        let others = beside(&shared, [process(2), process(3)], |shared, _| shared.count());
        shared.data.add(1);
        kill(9);
        assert_eq!(others.map(Running::join), [true; 2]);
        assert_eq!((shared.data.get(), shared.semaphore.available()), (3, 1));
    });
}

#[test]
fn of_three_one_may_be_killed_at_any_step() {
    model_kills(Options::new(8).preemptions(1), |steps| {
        let shared = Shared::new(1);
        together(&shared, [process(2).killed_after(steps), process(3)], |shared, _| shared.count());
        drop(shared.semaphore.try_acquire().unwrap());
        assert_eq!(shared.semaphore.available(), 1);
        assert!((2..=3).contains(&shared.data.get()));
    });
}

#[test]
fn a_holder_of_a_permit_without_a_place_may_be_killed_at_any_step() {
    model_kills(Options::new(11).preemptions(1), |steps| {
        let shared = Shared::new(3);
        shared.keep(2);
        together(&shared, [process(2).killed_after(steps)], |shared, _| shared.count());
        drop(shared.semaphore.try_acquire().unwrap());
        assert_eq!(shared.semaphore.available(), 1);
    });
}

#[test]
fn who_forgets_and_releases_may_be_killed_at_any_step() {
    model_kills(Options::new(8).preemptions(2), |steps| {
        let shared = Shared::bounded(1);
        let [forgetful] = beside(&shared, [process(2).killed_after(steps)], |shared, _| {
            shared.semaphore.acquire().unwrap().forget();
            shared.semaphore.release(1).unwrap();
        });
        drop(shared.semaphore.try_acquire());
        forgetful.join();
        // It was forgotten and not released, or not forgotten: then it comes back.
        let missing = shared.semaphore.release(1).is_ok();
        drop(shared.semaphore.try_acquire().unwrap());
        assert_eq!(shared.semaphore.available(), 1, "missing: {missing}");
    });
}

/// Where the kernel knows no `membarrier(2)`, wakes are lost, as [`WaitWord`](crate::sync::WaitWord) says.
#[cfg(loom)]
#[test]
#[should_panic(expected = "deadlock")]
fn without_the_barrier_a_wake_is_lost() {
    model(Options { barrier_refused: true, ..Options::new(8) }, || {
        let shared = Shared::new(1);
        together(&shared, [process(2)], |shared, _| shared.count());
    });
}

#[test]
fn without_the_barrier_the_end_of_the_slice_saves_the_sleeper() {
    model(Options { barrier_refused: true, ..Options::new(8).preemptions(3) }, || {
        let shared = Shared::new(1);
        let permit = shared.semaphore.acquire().unwrap();
        let [waiter] = beside(&shared, [process(2).restless()], |shared, _| shared.count());
        shared.data.add(1);
        drop(permit);
        waiter.join();
        assert_eq!((shared.data.get(), shared.semaphore.available()), (2, 1));
    });
}
