use std::sync::Arc;

use super::{beside, together};
use crate::sync::{Barrier, BarrierError};
use crate::world::{Bytes, Options, become_process, model, model_kills, process};

struct Shared {
    barrier: Barrier,
    data: [Bytes; 2],
    leaders: Bytes,
}

impl Shared {
    fn new() -> Arc<Self> {
        let shared = Arc::new(Self { barrier: Barrier::new(2), data: Default::default(), leaders: Bytes::default() });
        assert_eq!(shared.barrier.parties(), 2);
        shared
    }

    fn meet(&self) {
        if self.barrier.wait().unwrap().is_leader() {
            self.leaders.add(1);
        }
    }
}

#[test]
fn two_parties_see_each_other_in_two_rounds() {
    model(Options::new(10).preemptions(2), || {
        let shared = Shared::new();
        together(&shared, [process(2)], |shared, number| {
            shared.data[number].set(7);
            shared.meet();
            assert_eq!(shared.data[1 - number].get(), 7);
            shared.meet();
            shared.data[1 - number].set(8);
        });
        assert_eq!(shared.leaders.get(), 2);
    });
}

#[test]
fn two_threads_of_one_process_meet() {
    model(Options::new(10).preemptions(3), || {
        let shared = Shared::new();
        together(&shared, [process(1).thread(2)], |shared, number| {
            shared.data[number].set(7);
            shared.meet();
            assert_eq!(shared.data[1 - number].get(), 7);
        });
        assert_eq!(shared.leaders.get(), 1);
    });
}

#[test]
fn an_abort_lets_all_go() {
    model(Options::new(10).preemptions(4), || {
        let shared = Shared::new();
        let [waiter] = beside(&shared, [process(2)], |shared, _| {
            assert_eq!(shared.barrier.wait(), Err(BarrierError::Broken));
        });
        shared.barrier.abort().unwrap();
        waiter.join();
    });
}

#[test]
fn an_announced_party_may_be_killed_at_any_step() {
    model_kills(Options::new(10).preemptions(1), |steps| {
        let shared = Shared::new();
        become_process(2);
        std::mem::forget(shared.barrier.party().unwrap());
        become_process(1);
        let [party] = beside(&shared, [process(2).killed_after(steps)], |shared, _| {
            shared.barrier.wait().unwrap();
        });
        let met = shared.barrier.wait();
        if party.join() {
            met.unwrap();
        } else {
            assert!(matches!(met, Ok(_) | Err(BarrierError::Broken)), "{met:?}");
        }
    });
}
