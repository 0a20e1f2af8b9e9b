//! One counter, under each kind of lock.

use std::hint::black_box;

use coproc::SharedValue;

use crate::measure::Result;
use crate::peers::pthread::RobustCounter;
use crate::peers::raw_sync::RawCounter;

/// A counter under a lock.
pub(super) trait Counter {
    /// Locks, adds one, unlocks.
    fn add(&self);
    /// What was added until now.
    fn total(&self) -> u64;
}

/// The same line for each lock whose `lock` gives a `Result` of a guard, and for parking_lot, which gives the guard.
macro_rules! counters {
    ($($lock:ty: |$name:ident| $guard:expr;)*) => {$(
        impl Counter for $lock {
            #[inline(always)]
            fn add(&self) {
                let $name = self;
                *black_box(&mut *$guard) += 1;
            }

            fn total(&self) -> u64 {
                let $name = self;
                *$guard
            }
        }
    )*};
}

counters! {
    coproc::Mutex<u64>: |it| it.lock().unwrap();
    SharedValue<u64>: |it| it.lock().unwrap();
    SharedValue<coproc::Mutex<u64>>: |it| it.lock().unwrap();
    std::sync::Mutex<u64>: |it| it.lock().unwrap();
    parking_lot::Mutex<u64>: |it| it.lock();
}

/// The same lines for each peer that calls a function under its lock.
macro_rules! peers {
    ($($peer:ty)*) => {$(
        impl Counter for $peer {
            #[inline(always)]
            fn add(&self) {
                self.with(|count| *black_box(count) += 1);
            }

            fn total(&self) -> u64 {
                self.with(|count| *count)
            }
        }
    )*};
}

peers! { RobustCounter RawCounter }

/// The total is what it was before and what was added since.
pub(super) fn expect<C: Counter>(counter: &C, before: u64, added: u64) -> Result<()> {
    let total = counter.total();
    if total == before + added { Ok(()) } else { Err(format!("{added} were added to {before}, but there are {total}").into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_counts_what_was_added() {
        fn check<C: Counter>(counter: &C) {
            (0..5).for_each(|_| counter.add());
            expect(counter, 0, 5).unwrap();
            assert!(expect(counter, 0, 4).is_err());
        }
        check(&coproc::Mutex::new(0_u64));
        check(&SharedValue::new(0_u64).unwrap());
        check(&SharedValue::new(coproc::Mutex::new(0_u64)).unwrap());
        check(&std::sync::Mutex::new(0_u64));
        check(&parking_lot::Mutex::new(0_u64));
        check(&RobustCounter::new().unwrap());
        check(&RawCounter::new().unwrap());
    }
}
