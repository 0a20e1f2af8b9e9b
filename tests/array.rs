//! `SharedArray`: every call, and the limits of its size.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use coproc::{Error, Event, LockError, Mutex, Owner, Result, SharedArray, SharedValue, TryLockError, Unfit};
use coproc_pool::Process;
use coproc_tests::{Seal, bytes_of, killed, memory, pause, wait, watchdog};

fn duplicate(object: &impl AsFd) -> OwnedFd {
    object.as_fd().try_clone_to_owned().unwrap()
}

fn unfit(file: OwnedFd) -> Unfit {
    match SharedArray::<u32>::try_from(file) {
        Err(Error::Unfit(unfit)) => unfit,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_call() -> Result<()> {
    let a = SharedArray::from_slice(&[0, 1, 2, 3, 4])?;
    assert_eq!(a.len(), 5);
    a.lock()?[2] += 10;
    a.try_lock()?[3] += 10;
    a.lock_timeout(Duration::ZERO)?[4] += 10;
    a.lock_or_repair(|_, _| unreachable!())?[0] = 7;
    assert_eq!(a.lock_poisoned()?.poisoned(), None);
    a.set(1, -1)?;
    assert_eq!((a.get(0)?, a.get(4)?), (7, 14));
    assert_eq!(a.to_vec()?, [7, -1, 12, 13, 14]);
    assert_eq!(*a.read()?, [7, -1, 12, 13, 14]);
    assert_eq!(a.clone().to_vec()?, a.to_vec()?);
    assert_eq!(*a.freeze()?, [7, -1, 12, 13, 14]);
    assert_eq!(SharedArray::from_fn(4, |n| n * n)?.to_vec()?, [0, 1, 4, 9]);
    assert_eq!(SharedArray::<u16>::zeroed(3)?.to_vec()?, [0; 3]);
    assert!(format!("{a:?}").contains("[7, -1, 12, 13, 14]"));
    let guard = a.read()?;
    assert!(format!("{a:?} {guard:?}").contains("locked"));
    Ok(())
}

#[test]
fn concurrent_elements_are_used_in_place() -> Result<()> {
    fn count(hits: SharedArray<AtomicU64>, sums: SharedArray<Mutex<[u32; 2]>>) -> Result<()> {
        for n in 0..1000 {
            hits[n % hits.len()].fetch_add(1, SeqCst);
            sums[n % sums.len()].lock()?[1] += 1;
        }
        Ok(())
    }
    let _watch = watchdog(30, "elements in place");
    let hits = SharedArray::<AtomicU64>::zeroed(10)?;
    let sums = SharedArray::from_fn(5, |n| Mutex::new([n as u32, 0]))?;
    let all = (0..3).map(|_| Process::spawn(count, (&hits, &sums))).collect::<Result<Vec<_>>>()?;
    for process in all {
        process.join()?;
    }
    assert!(hits.iter().all(|hit| hit.load(SeqCst) == 300));
    for (n, sum) in (0..).zip(&*sums) {
        assert_eq!(*sum.lock()?, [n, 600]);
    }
    Ok(())
}

#[test]
fn out_of_bounds() -> Result<()> {
    let a = SharedArray::from_slice(&[1_u8, 2])?;
    for index in [2, 3, usize::MAX] {
        assert!(matches!(a.get(index), Err(Error::OutOfBounds { index: i, len: 2 }) if i == index));
        assert!(matches!(a.set(index, 0), Err(Error::OutOfBounds { index: i, len: 2 }) if i == index));
    }
    assert!(a.lock()?.get(2).is_none());
    // A panic that an index makes poisons, as every panic does.
    let past = || a.lock().map(|a| a[a.len()]).is_ok();
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(past)).is_err());
    assert!(matches!(a.get(0), Err(Error::Lock(LockError::Poisoned(_)))));
    Ok(())
}

#[test]
fn sizes_that_cannot_be() {
    assert!(matches!(SharedArray::<u8>::zeroed(0), Err(Error::Empty)));
    assert!(matches!(SharedArray::<u8>::from_slice(&[]), Err(Error::Empty)));
    assert!(matches!(SharedArray::<AtomicU8>::from_fn(0, |_| unreachable!()), Err(Error::Empty)));
    assert!(matches!(SharedArray::<u8>::zeroed(usize::MAX), Err(Error::TooLarge { len: usize::MAX, size: 1 })));
    assert!(matches!(SharedArray::<u64>::zeroed(usize::MAX), Err(Error::TooLarge { len: usize::MAX, size: 8 })));
    assert!(matches!(SharedArray::<u64>::zeroed(usize::MAX / 8 + 2), Err(Error::TooLarge { size: 8, .. })));
    assert!(matches!(SharedArray::<[u64; 1000]>::zeroed(1 << 60), Err(Error::TooLarge { .. })));
    assert!(matches!(SharedArray::<u8>::zeroed(isize::MAX as usize), Err(Error::TooLarge { .. } | Error::NoSpace { .. })));
}

#[test]
fn more_memory_than_there_is_is_an_error() {
    // A pebibyte, and more: above every limit, so no page of it is ever taken.
    for len in [1 << 50, 1 << 52, 1 << 60] {
        match SharedArray::<u8>::zeroed(len) {
            Err(Error::NoSpace { wanted, free }) => assert!(wanted >= len as u64 && free < 1 << 50, "{wanted}, {free}"),
            other => panic!("{:?}", other.map(|_| ())),
        }
    }
    assert!(matches!(SharedArray::<AtomicU64>::from_fn(1 << 50, |_| unreachable!()), Err(Error::NoSpace { .. })));
    let error = SharedArray::<u8>::zeroed(1 << 50).unwrap_err().to_string();
    assert!(error.contains("not enough memory"), "{error}");
    // And what is there can still be had.
    assert!(SharedArray::<u8>::zeroed(1 << 20).is_ok());
}

#[test]
fn elements_of_no_bytes() -> Result<()> {
    let a = SharedArray::<()>::zeroed(5)?;
    assert_eq!(a.lock()?.len(), 5);
    assert_eq!((a.len(), a.to_vec()?), (5, vec![(); 5]));
    assert!(matches!(a.get(5), Err(Error::OutOfBounds { .. })));
    let len = Process::spawn(|a: SharedArray<()>| a.len(), (&a,))?.join()?;
    assert_eq!(len, 5);
    Ok(())
}

#[test]
fn what_does_not_fit_is_refused() -> Result<()> {
    let a = SharedArray::from_slice(&[1_u32, 2, 3])?;
    assert_eq!(SharedArray::<u32>::try_from(duplicate(&a))?.to_vec()?, [1, 2, 3]);
    assert_eq!(unfit(duplicate(&SharedValue::new(1_u32)?)), Unfit::Kind { expected: "SharedArray", found: "SharedValue" });
    assert_eq!(unfit(duplicate(&SharedArray::from_slice(&[1_u64])?)), Unfit::Type { expected: "u32" });
    assert_eq!(unfit(duplicate(&SharedArray::from_slice(&[[1_u32; 3]])?)), Unfit::Type { expected: "u32" });
    assert_eq!(unfit(memory(&[0; 300], Seal::Length)), Unfit::NotASegment);
    let whole = bytes_of(&a);
    let size = whole.len() as u64;
    assert_eq!(unfit(memory(&whole[..whole.len() - 1], Seal::Length)), Unfit::Length { expected: size, found: size - 1 });
    assert_eq!(unfit(memory(&whole, Seal::Nothing)), Unfit::Unsealed);
    assert_eq!(unfit(memory(&whole, Seal::All)), Unfit::ReadOnly);
    for len in [0_u64, 2, 4, 1 << 62, (1 << 62) + 3, u64::MAX] {
        let mut bytes = whole.clone();
        bytes[56..64].copy_from_slice(&len.to_le_bytes());
        assert!(matches!(unfit(memory(&bytes, Seal::Length)), Unfit::Length { .. }), "{len} elements");
    }
    Ok(())
}

#[test]
fn a_killed_writer_poisons_the_array() -> Result<()> {
    fn write(a: SharedArray<u64>, at: SharedValue<Event>) -> Result<()> {
        let mut a = a.lock()?;
        for (index, element) in a.iter_mut().enumerate() {
            if index == 500 {
                at.set();
                pause()
            }
            *element = 1;
        }
        Ok(())
    }
    let _watch = watchdog(30, "a killed writer");
    let (a, at) = (SharedArray::<u64>::zeroed(1000)?, SharedValue::new(Event::new())?);
    let writer = Process::spawn(write, (&a, &at))?;
    wait(&at, "it has written half");
    assert_eq!(a.try_lock().unwrap_err(), TryLockError::WouldBlock);
    let pid = killed(writer)?;
    let owner = Owner { pid, tid: pid };
    assert_eq!(a.read().unwrap_err(), LockError::Poisoned(owner));
    assert!(matches!(a.get(0), Err(Error::Lock(LockError::Poisoned(_)))));
    assert!(matches!(a.set(0, 0), Err(Error::Lock(LockError::Poisoned(_)))));
    assert!(matches!(a.freeze(), Err(Error::Lock(LockError::Poisoned(_)))));
    assert!(a.to_vec().is_err());
    let mended = a.lock_or_repair(|a, dead| {
        assert_eq!((a.iter().sum::<u64>(), dead.pid), (500, pid));
        a.fill(2);
    })?;
    assert_eq!(mended.iter().sum::<u64>(), 2000);
    drop(mended);
    assert_eq!(a.get(999)?, 2);
    Ok(())
}

#[test]
fn an_array_given_to_many_processes() -> Result<()> {
    fn add(a: SharedArray<i32>, by: i32) -> Result<()> {
        a.lock()?.iter_mut().for_each(|element| *element += by);
        Ok(())
    }
    let _watch = watchdog(30, "many processes");
    let a = SharedArray::from_fn(1000, |n| n as i32)?;
    let all = (1..=8).map(|by| Process::spawn(add, (&a, by))).collect::<Result<Vec<_>>>()?;
    for process in all {
        process.join()?;
    }
    assert!(a.to_vec()?.into_iter().eq((0..1000).map(|n| n + 36)));
    Ok(())
}
