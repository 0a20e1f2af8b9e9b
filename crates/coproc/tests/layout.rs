//! Sizes, auto traits and the all-zero start of what lies in shared memory: a change here is a change of the protocol.

use std::mem::{align_of, size_of};
use std::rc::Rc;
use std::sync::atomic::AtomicU64;

use coproc::{
    AtomicFlag, Code, CodeEnum, Event, Flag, FrozenArray, Loan, LoanQueue, LockError, Maybe, Mutex, MutexGuard, Pipe,
    PipeReceiver, PipeSender, Queue, ReadOnly, Semaphore, Shareable, SharedArray, SharedValue, Text,
};
use static_assertions::{assert_impl_all, assert_not_impl_any};

assert_impl_all!(SharedValue<u8>: Send, Sync, Clone);
assert_impl_all!(SharedArray<AtomicU64>: Send, Sync, Clone);
assert_impl_all!(FrozenArray<u8>: Send, Sync, Clone);
assert_impl_all!(Queue<bool>: Send, Sync, Clone);
assert_impl_all!(LoanQueue: Send, Sync, Clone, coproc::Message);
assert_impl_all!(Loan: Send, Sync);
assert_not_impl_any!(Loan: Clone, coproc::Message);
assert_impl_all!(Pipe: Send, Sync, coproc::Message);
assert_impl_all!(PipeSender: Send, Sync, coproc::Message);
assert_impl_all!(PipeReceiver: Send, Sync, coproc::Message);
assert_not_impl_any!(Pipe: Clone);
assert_impl_all!(Mutex<u8>: Send, Sync);
assert_impl_all!(MutexGuard<'static, u8>: Sync);
assert_not_impl_any!(MutexGuard<'static, u8>: Send, Clone);
assert_impl_all!(LockError: Send, Sync, std::error::Error, Copy);
assert_impl_all!(coproc::Error: Send, Sync, std::error::Error);
assert_not_impl_any!(bool: coproc::Plain);
assert_not_impl_any!(Option<u8>: coproc::Plain);
assert_not_impl_any!(&'static u8: coproc::Plain, coproc::Message);
assert_not_impl_any!(Rc<u8>: coproc::Message);
// Or `Outcome` would overlap.
assert_not_impl_any!(coproc::Error: coproc::Message);
assert_not_impl_any!(LockError: coproc::Message);

#[derive(Clone, Copy, Debug, PartialEq, Code)]
#[repr(u8)]
enum Mode {
    Off = 0,
    On = 1,
}

#[test]
fn sizes_are_pinned() {
    assert_eq!((size_of::<Mutex<u64>>(), align_of::<Mutex<u64>>()), (24, 8));
    assert_eq!((size_of::<Event>(), align_of::<Event>()), (4, 4));
    assert_eq!((size_of::<Semaphore>(), align_of::<Semaphore>()), (544, 8));
    assert_eq!(size_of::<Flag>(), 1);
    assert_eq!(size_of::<AtomicFlag>(), 1);
    assert_eq!(size_of::<Code<Mode>>(), 1);
    assert_eq!(size_of::<Maybe<u32>>(), 8);
    assert_eq!((size_of::<Text<5>>(), align_of::<Text<5>>()), (9, 1));
    assert_eq!(size_of::<ReadOnly<u64>>(), 8);
}

#[test]
fn every_primitive_is_ready_when_zero() {
    let n = SharedValue::<Mutex<u64>>::zeroed().unwrap();
    *n.lock().unwrap() += 1;
    let event = SharedValue::<Event>::zeroed().unwrap();
    assert!(!event.is_set());
    event.set();
    event.wait();
    let permits = SharedValue::<Semaphore>::zeroed().unwrap();
    assert!(permits.try_acquire().is_err());
    permits.release(1).unwrap();
    assert!(permits.try_acquire().is_ok());
    assert_eq!(SharedValue::<Code<Mode>>::zeroed().unwrap().get().unwrap().get(), Some(Mode::Off));
    assert_eq!(SharedValue::<Text<8>>::zeroed().unwrap().get().unwrap().as_str(), Ok(""));
    assert_eq!(SharedValue::<Maybe<u32>>::zeroed().unwrap().get().unwrap().get(), None);
}

#[test]
fn a_layout_is_no_name() {
    mod one {
        #[derive(Clone, Copy, coproc::Plain)]
        #[repr(C)]
        pub(super) struct Point {
            x: u32,
            y: u32,
        }
    }
    #[derive(Clone, Copy, coproc::Plain)]
    #[repr(C)]
    struct Place {
        x: u32,
        y: u32,
    }
    assert_eq!(one::Point::LAYOUT, Place::LAYOUT);
    assert_ne!(Place::LAYOUT, <[u32; 2]>::LAYOUT);
    assert_ne!(Mutex::<u32>::LAYOUT, Mutex::<i32>::LAYOUT);
    let _ = Mode::LAYOUT;
}
