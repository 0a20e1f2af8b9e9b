//! Atomics with the layout, the constructor and the methods of those of `std`, watched by loom, and at each of which a thread can be killed.

pub(crate) use std::sync::atomic::Ordering;

use crate::world::{self, Fences};

/// The fence of the model.
pub(crate) fn fence(order: Ordering) {
    assert_eq!(order, Ordering::SeqCst);
    if world::step() {
        world::fence();
    }
}

/// See [`barrier_everywhere`](super::barrier_everywhere).
pub(crate) fn compiler_fence(_: Ordering) {
    if world::step() && !world::get().options.barrier_refused {
        world::fence();
    }
}

/// Runs one access. loom takes a SeqCst access for an AcqRel one. Most protocols are right all the same. Where one is not, the model has a
/// SeqCst fence before each, or after each: the two ways in which compilers make such accesses, tried one after the other.
fn access<R>(order: Ordering, run: impl FnOnce() -> R) -> R {
    if order != Ordering::SeqCst {
        return run();
    }
    match world::get().options.fences {
        Fences::None => run(),
        Fences::Before => {
            world::fence();
            run()
        }
        Fences::After => {
            let result = run();
            world::fence();
            result
        }
    }
}

macro_rules! atomic {
    ($name:ident $int:ident) => {
        /// In a model of loom it holds the first value only: the rest is in a word of the [`World`](world::World), found by the address. So it
        /// is as large as the real one, and all zero is ready.
        #[derive(Debug, Default)]
        #[repr(transparent)]
        pub(crate) struct $name(std::sync::atomic::$name);

        #[allow(dead_code, reason = "not every method of every width is used")]
        #[cfg_attr(not(loom), allow(clippy::unnecessary_cast, clippy::useless_conversion))]
        impl $name {
            pub(crate) const fn new(value: $int) -> Self {
                Self(std::sync::atomic::$name::new(value))
            }

            #[cfg(loom)]
            fn word<R>(&self, run: impl FnOnce(&loom::sync::atomic::AtomicU64) -> R) -> R {
                let first = self.0.load(Ordering::Relaxed);
                let world = world::get();
                run(world.word((&raw const *self).addr(), first.into()))
            }

            #[cfg(not(loom))]
            fn word<R>(&self, run: impl FnOnce(&std::sync::atomic::$name) -> R) -> R {
                run(&self.0)
            }

            /// The value as the kernel sees it: no step of the protocol.
            pub(crate) fn peek(&self) -> $int {
                self.word(|word| word.load(Ordering::Relaxed)) as $int
            }

            #[track_caller]
            fn note(&self, what: &'static str, seen: Option<$int>, left: Option<$int>) {
                world::get().note(what, (&raw const *self).addr(), seen.map(u64::from), left.map(u64::from));
            }

            #[track_caller]
            pub(crate) fn load(&self, order: Ordering) -> $int {
                if !world::step() {
                    return 0;
                }
                let value = access(order, || self.word(|word| word.load(order))) as $int;
                self.note("load", Some(value), None);
                value
            }

            #[track_caller]
            pub(crate) fn store(&self, value: $int, order: Ordering) {
                if world::step() {
                    access(order, || self.word(|word| word.store(value.into(), order)));
                    self.note("store", None, Some(value));
                }
            }

            #[track_caller]
            pub(crate) fn compare_exchange(&self, old: $int, new: $int, yes: Ordering, no: Ordering) -> Result<$int, $int> {
                if !world::step() {
                    return Ok(old);
                }
                assert_eq!(no, Ordering::Relaxed, "a failed exchange that orders anything is not modelled");
                let exchange = || self.word(|word| word.compare_exchange(old.into(), new.into(), yes, no));
                let result = access(yes, exchange).map(|value| value as $int).map_err(|value| value as $int);
                match result {
                    Ok(old) => self.note("exchange", Some(old), Some(new)),
                    Err(other) => self.note("failed exchange", Some(other), None),
                }
                result
            }

            /// Never fails without reason.
            #[track_caller]
            pub(crate) fn compare_exchange_weak(&self, old: $int, new: $int, yes: Ordering, no: Ordering) -> Result<$int, $int> {
                self.compare_exchange(old, new, yes, no)
            }

            #[track_caller]
            pub(crate) fn fetch_update(
                &self,
                yes: Ordering,
                no: Ordering,
                mut change: impl FnMut($int) -> Option<$int>,
            ) -> Result<$int, $int> {
                let mut old = self.load(no);
                while let Some(new) = change(old) {
                    match self.compare_exchange_weak(old, new, yes, no) {
                        Ok(old) => return Ok(old),
                        Err(now) => old = now,
                    }
                }
                Err(old)
            }

            atomic!($int swap fetch_or fetch_and fetch_add fetch_sub);
        }
    };
    ($int:ident $($method:ident)*) => {$(
        #[track_caller]
        pub(crate) fn $method(&self, value: $int, order: Ordering) -> $int {
            if !world::step() {
                return 0;
            }
            let old = access(order, || self.word(|word| word.$method(value.into(), order))) as $int;
            self.note(stringify!($method), Some(old), Some(value));
            old
        }
    )*};
}

atomic!(AtomicU32 u32);
atomic!(AtomicU64 u64);
