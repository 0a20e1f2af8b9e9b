use std::sync::Arc;

use super::together;
use crate::sync::OnceLock;
use crate::world::{Bytes, Options, model, model_kills, process};

struct Shared {
    once: OnceLock<u64>,
    made: Bytes,
}

impl Shared {
    fn new() -> Arc<Self> {
        Arc::new(Self { once: OnceLock::new(), made: Bytes::default() })
    }

    fn make(&self) {
        let make = || {
            self.made.add(1);
            7
        };
        assert_eq!(*self.once.get_or_init(make).unwrap(), 7);
        // What was written while the value was made is seen by who finds it made.
        assert!(self.made.get() > 0);
    }
}

#[test]
fn of_two_one_makes_the_value() {
    model(Options::new(4), || {
        let shared = Shared::new();
        together(&shared, [process(2)], |shared, _| shared.make());
        assert_eq!(shared.made.get(), 1);
    });
}

#[test]
fn of_three_one_makes_the_value() {
    model(Options::new(4).preemptions(2), || {
        let shared = Shared::new();
        together(&shared, [process(2), process(3)], |shared, _| shared.make());
        assert_eq!(shared.made.get(), 1);
    });
}

#[test]
fn a_maker_may_be_killed_at_any_step() {
    model_kills(Options::new(4).preemptions(3), |steps| {
        let shared = Shared::new();
        together(&shared, [process(2).killed_after(steps)], |shared, _| shared.make());
        assert!((1..=2).contains(&shared.made.get()));
    });
}
