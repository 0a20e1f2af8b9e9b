use std::sync::Arc;
use std::time::Duration;

use super::{beside, together};
use crate::sync::{Deadline, LockError, Patience, RawLock, TryLockError};
use crate::world::{Bytes, Options, Running, become_process, kill, model, model_both, model_kills, process};

#[derive(Default)]
struct Shared {
    lock: RawLock,
    data: Bytes,
    takeovers: Bytes,
}

const FOREVER: Patience = Patience::Until(Deadline::NEVER);

impl Shared {
    /// Takes the lock, counts, gives it back clean.
    fn count(&self) {
        let claim = self.lock.acquire(FOREVER).unwrap();
        self.data.add(1);
        if claim.culprit().is_some() {
            self.takeovers.add(1);
        }
        self.lock.release(claim.blaming(None));
    }
}

#[test]
fn two_exclude_each_other_and_see_the_data() {
    model_both(Options::new(4), || {
        let shared = Arc::new(Shared::default());
        together(&shared, [process(2)], |shared, _| shared.count());
        assert_eq!(shared.data.get(), 2);
    });
}

#[test]
fn two_threads_of_one_process_exclude_each_other() {
    model(Options::new(4), || {
        let shared = Arc::new(Shared::default());
        together(&shared, [process(1).thread(2)], |shared, _| shared.count());
        assert_eq!(shared.data.get(), 2);
    });
}

#[test]
fn no_wake_is_lost_among_three() {
    model(Options::new(4).preemptions(2), || {
        let shared = Arc::new(Shared::default());
        together(&shared, [process(2), process(3)], |shared, _| shared.count());
        assert_eq!(shared.data.get(), 3);
    });
}

#[test]
fn a_wake_is_passed_on_among_sleepers() {
    model(Options::new(4).preemptions(2), || {
        let shared = Arc::new(Shared::default());
        let claim = shared.lock.acquire(FOREVER).unwrap();
        let threads = beside(&shared, [process(2), process(3), process(4)], |shared, _| shared.count());
        shared.lock.release(claim);
        assert_eq!(threads.map(Running::join), [true; 3]);
        assert_eq!(shared.data.get(), 3);
    });
}

#[test]
fn who_gives_up_leaves_the_wakes_to_others() {
    model(Options::new(4).preemptions(2), || {
        let shared = Arc::new(Shared::default());
        let claim = shared.lock.acquire(FOREVER).unwrap();
        let [hasty] = beside(&shared, [process(2).impatient(2)], |shared, _| {
            match shared.lock.acquire(Patience::Until(Deadline::after(Duration::from_millis(2)))) {
                Ok(claim) => shared.lock.release(claim),
                Err(error) => assert_eq!(error, TryLockError::TimedOut),
            }
        });
        let [patient] = beside(&shared, [process(3)], |shared, _| shared.count());
        shared.lock.release(claim);
        assert!(hasty.join() && patient.join());
    });
}

/// The wake goes to one who finds the lock taken again and gives up, while the lock is given back without a mark to see.
#[test]
fn who_gives_up_on_a_lock_taken_again_leaves_the_wakes_to_others() {
    model(Options::new(4).preemptions(2), || {
        let shared = Arc::new(Shared::default());
        let claim = shared.lock.acquire(FOREVER).unwrap();
        let [hasty] = beside(&shared, [process(2).impatient(1)], |shared, _| {
            match shared.lock.acquire(Patience::Until(Deadline::after(Duration::from_millis(2)))) {
                Ok(claim) => shared.lock.release(claim),
                Err(error) => assert_eq!(error, TryLockError::TimedOut),
            }
        });
        let [patient] = beside(&shared, [process(3)], |shared, _| shared.count());
        shared.lock.release(claim);
        if let Some(claim) = shared.lock.acquire_free() {
            shared.lock.release(claim);
        }
        assert!(hasty.join() && patient.join());
    });
}

#[test]
fn who_only_tries_never_sleeps() {
    model(Options::new(4), || {
        let shared = Arc::new(Shared::default());
        let [thread] = beside(&shared, [process(2)], |shared, _| shared.count());
        match shared.lock.acquire(Patience::Try) {
            Ok(claim) => {
                shared.data.add(1);
                assert_eq!(shared.lock.acquire(Patience::Try).unwrap_err(), LockError::Deadlock.into());
                shared.lock.release(claim);
            }
            Err(error) => assert_eq!(error, TryLockError::WouldBlock),
        }
        thread.join();
    });
}

#[test]
fn of_two_who_find_the_owner_dead_one_takes_over() {
    model(Options::new(5).preemptions(3), || {
        let shared = Arc::new(Shared::default());
        become_process(9);
        shared.lock.acquire(FOREVER).unwrap();
        let threads = beside(&shared, [process(2), process(3)], |shared, _| shared.count());
        shared.data.add(1);
        kill(9);
        assert_eq!(threads.map(Running::join), [true; 2]);
        assert_eq!((shared.data.get(), shared.takeovers.get()), (3, 1));
    });
}

#[test]
fn an_owner_or_sleeper_may_be_killed_at_any_step() {
    model_kills(Options::new(5).preemptions(3), |steps| {
        let shared = Arc::new(Shared::default());
        together(&shared, [process(2).killed_after(steps)], |shared, _| shared.count());
        shared.count();
        assert!((2..=3).contains(&shared.data.get()));
    });
}

#[test]
fn of_three_one_may_be_killed_at_any_step() {
    model_kills(Options::new(5).preemptions(1), |steps| {
        let shared = Arc::new(Shared::default());
        together(&shared, [process(2).killed_after(steps), process(3)], |shared, _| shared.count());
        assert!((2..=3).contains(&shared.data.get()));
    });
}

#[test]
fn a_living_owner_is_never_robbed() {
    model(Options::new(4).preemptions(3), || {
        let shared = Arc::new(Shared::default());
        together(&shared, [process(2).impatient(2)], |shared, _| shared.count());
        assert_eq!((shared.data.get(), shared.takeovers.get()), (2, 0));
    });
}

/// Where the kernel knows no `membarrier(2)`, wakes are lost, as [`RawLock`] says.
#[cfg(loom)]
#[test]
#[should_panic(expected = "deadlock")]
fn without_the_barrier_a_wake_is_lost() {
    model(Options { barrier_refused: true, ..Options::new(4) }, || {
        let shared = Arc::new(Shared::default());
        together(&shared, [process(2)], |shared, _| shared.count());
    });
}

#[test]
fn without_the_barrier_the_end_of_the_slice_saves_the_sleeper() {
    model(Options { barrier_refused: true, ..Options::new(4) }, || {
        let shared = Arc::new(Shared::default());
        let claim = shared.lock.acquire(FOREVER).unwrap();
        let [thread] = beside(&shared, [process(2).restless()], |shared, _| shared.count());
        shared.data.add(1);
        shared.lock.release(claim);
        thread.join();
        assert_eq!((shared.data.get(), shared.takeovers.get()), (2, 0));
    });
}
