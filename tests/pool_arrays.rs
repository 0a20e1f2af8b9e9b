//! Calls of a `Pool` over shared arrays, in place: results, locks, deaths. Nothing here forks: what a forked child may have is not used again (tests/pool.rs).

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use coproc::{Error, LockError, Plain, Queue, Result, SharedArray, SharedValue, TryLockError};
use coproc_pool::{Cause, Pool, PoolError, Process};
use coproc_tests::{End, kill, pause, until, watchdog};

const SOON: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Plain)]
#[repr(C)]
struct Point {
    x: f64,
    y: f64,
}

fn number(first: usize, chunk: &mut [u64]) {
    (first as u64..).zip(chunk).for_each(|(n, place)| *place += n);
}

#[test]
fn elements_go_to_elements() -> Result<()> {
    let _watch = watchdog(60, "map_array");
    for processes in [1, 3] {
        let pool = Pool::new(processes)?;
        for len in [1, 2, 7, 1000, 100_000] {
            let input = SharedArray::from_fn(len, |n| n as u64)?;
            let output = pool.map_array(|n: u64| n as f64 / 2.0, &input)?;
            assert!(output.read()?.iter().enumerate().all(|(n, &half)| half == n as f64 / 2.0));
            pool.map_array_into(|n: u64| 7.0 + n as f64, &input, &output)?;
            assert_eq!(output.get(len - 1)?, 6.0 + len as f64);
            let points = pool.map_array(|x: f64| Point { x, y: -x }, &output)?;
            assert_eq!(points.get(0)?, Point { x: 7.0, y: -7.0 });
            assert_eq!(input.get(len - 1)?, len as u64 - 1);
        }
    }
    Ok(())
}

/// Which memory an array lies in.
fn memory_of<T: Plain>(array: &SharedArray<T>) -> [u64; 2] {
    let id = array.segment().header().id;
    [id as u64, (id >> 64) as u64]
}

#[test]
fn memory_of_results_that_nobody_has_is_used_again() -> Result<()> {
    let _watch = watchdog(60, "results in memory of results");
    let pool = Pool::new(2)?;
    let input = SharedArray::from_fn(1000, |n| n as u64)?;
    let first = pool.map_array(|n: u64| n + 1, &input)?;
    let memory = memory_of(&first);
    drop(first);
    // When the last helper of that call has put down what it had of it.
    let mut next = None;
    until("the memory is used again", || {
        let result = pool.map_array(|n: u64| n + 2, &input).unwrap();
        let same = memory_of(&result) == memory;
        next = Some(result);
        same
    });
    let next = next.unwrap();
    assert!(next.read()?.iter().enumerate().all(|(n, &m)| m == n as u64 + 2));
    // Of another length, or type, it is another array.
    assert_ne!(memory_of(&pool.map_array(|n: u64| n, &SharedArray::zeroed(999)?)?), memory);
    drop(next);
    assert_ne!(memory_of(&pool.map_array(|n: u64| n as f64, &input)?), memory);
    Ok(())
}

#[test]
fn results_that_somebody_has_stay_as_they_are() -> Result<()> {
    fn keep(array: SharedArray<u64>, ready: Queue<u64>, go: Queue<u64>) -> coproc::Result<Vec<u64>> {
        ready.send(0)?;
        let _ = go.recv();
        Ok(array.to_vec()?)
    }
    let _watch = watchdog(60, "results that somebody has");
    let pool = Pool::new(2)?;
    let input = SharedArray::from_fn(100, |n| n as u64)?;
    let again = |last: SharedArray<u64>| {
        let memory = memory_of(&last);
        drop(last);
        for _ in 0..10 {
            assert_ne!(memory_of(&pool.map_array(|n: u64| n * 7, &input).unwrap()), memory);
        }
    };
    let make = || pool.map_array(|n: u64| n + 1, &input);
    let right: Vec<u64> = (1..101).collect();

    // Another handle of this process.
    let result = make()?;
    let other = result.clone();
    again(result);
    assert_eq!(other.to_vec()?, right);

    // One that is on its way.
    let result = make()?;
    let (sender, receiver) = coproc::channel()?;
    sender.send_value(&result)?;
    again(result);
    assert_eq!(receiver.recv_value::<SharedArray<u64>>()?.to_vec()?, right);

    // One of another process.
    let result = make()?;
    let (ready, go) = (Queue::new(1)?, Queue::new(1)?);
    let child = Process::spawn(keep, (&result, &ready, &go))?;
    ready.recv()?;
    again(result);
    go.send(0)?;
    assert_eq!(child.join()?, right);

    // A forgotten guard.
    let result = make()?;
    std::mem::forget(result.lock()?);
    again(result);
    Ok(())
}

#[test]
fn arrays_that_do_not_go_together() -> Result<()> {
    let _watch = watchdog(60, "arrays that do not go together");
    let pool = Pool::new(2)?;
    let (a, b) = (SharedArray::<u64>::zeroed(4)?, SharedArray::<u64>::zeroed(5)?);
    let same = |n: u64| n;
    assert!(matches!(pool.map_array_into(same, &a, &b), Err(PoolError::Call(_))));
    assert!(matches!(pool.map_array_into(same, &a, &a.clone()), Err(PoolError::Call(_))));
    assert!(matches!(pool.for_each_chunk_of(&a, 0, number), Err(PoolError::Call(_))));
    pool.map_array_into(same, &a, &pool.map_array(same, &a)?)?;
    a.set(0, 1)?;
    Ok(())
}

#[test]
fn failures_of_elements() -> Result<()> {
    let _watch = watchdog(60, "failing elements");
    let pool = Pool::new(2)?;
    let input = SharedArray::from_fn(1000, |n| n as u64)?;
    let fails = |n: u64| if n % 100 == 30 { Err(Error::other(format!("no {n}"))) } else { Ok(n + 1) };
    let output = SharedArray::zeroed(1000)?;
    let result = pool.map_array_into(fails, &input, &output);
    assert!(matches!(&result, Err(PoolError::Task { task: 30, cause: Cause::Failed { .. } })), "{result:?}");
    // The others were done, and nothing is torn.
    assert!(output.read()?.iter().enumerate().all(|(n, &m)| m == if n % 100 == 30 { 0 } else { n as u64 + 1 }));
    let dies = |n: u64| {
        if n == 500 {
            kill(std::process::id());
        }
        n
    };
    let result = pool.map_array_into(dies, &input, &output);
    let Err(PoolError::WorkerDied { task: 500, pid, .. }) = result else { panic!("{result:?}") };
    assert!(matches!(output.lock().map(drop), Err(LockError::Poisoned(owner)) if owner.pid == pid));
    assert_eq!(input.get(500)?, 500);
    drop(output.lock_or_repair(|_, _| ())?);
    // The first failure is an error, and leaves nothing torn; a later one is a death.
    let both = |n: u64| match n {
        30 => Err(Error::other("no")),
        500 => {
            kill(std::process::id());
            Ok(n)
        }
        n => Ok(n),
    };
    let result = pool.map_array_into(both, &input, &output);
    assert!(matches!(result, Err(PoolError::Task { task: 30, cause: Cause::Failed { .. } })), "{result:?}");
    assert!(matches!(output.lock().map(drop), Err(LockError::Poisoned(_))));
    Ok(())
}

#[test]
fn chunks_are_changed_in_place() -> Result<()> {
    let _watch = watchdog(60, "for_each_chunk");
    let pool = Pool::new(3)?;
    for len in [1, 2, 5, 1000, 65_537] {
        let array = SharedArray::<u64>::zeroed(len)?;
        for (round, size) in (1..).zip([1, 7, len, 2 * len]) {
            pool.for_each_chunk_of(&array, size, number)?;
            assert!(array.read()?.iter().enumerate().all(|(n, &m)| m == round * n as u64), "{len} elements by {size}");
        }
        pool.for_each_chunk(&array, number)?;
        assert_eq!(array.get(len - 1)?, 5 * (len as u64 - 1));
    }
    Ok(())
}

#[test]
fn workers_know_one_array_from_another() -> Result<()> {
    let _watch = watchdog(60, "array after array");
    let pool = Pool::new(2)?;
    let arrays = [1, 2, 3].map(|n| SharedArray::from_fn(1000, move |_| n as u64).unwrap());
    let add = |_: usize, chunk: &mut [u64]| chunk.iter_mut().for_each(|n| *n += 10);
    let double = |n: u64| 2 * n;
    for round in 0..50 {
        // Each of them some times in a row, and in chunks of different sizes.
        let at = round / 4 % 3;
        pool.for_each_chunk_of(&arrays[at], 100 + round / 2 % 2, add)?;
        pool.map_array_into(double, &arrays[at], &arrays[(at + 1) % 3])?;
        let doubled = arrays[at].to_vec()?.into_iter().map(double).collect::<Vec<_>>();
        assert_eq!(arrays[(at + 1) % 3].to_vec()?, doubled, "round {round}");
        arrays[(at + 1) % 3].lock()?.fill(round as u64);
        if round % 10 == 9 {
            // A worker that is new knows none.
            let died = pool.map(|_: u8| kill(std::process::id()), [0]);
            assert!(matches!(died, Err(PoolError::WorkerDied { .. })), "{died:?}");
        }
    }
    Ok(())
}

#[test]
fn others_wait_for_the_lock_meanwhile() -> Result<()> {
    let _watch = watchdog(60, "the lock of an array");
    let pool = Pool::new(2)?;
    let array = SharedArray::<u64>::zeroed(100)?;
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| {
            pool.for_each_chunk(&array, |_: usize, chunk: &mut [u64]| {
                chunk.fill(1);
                std::thread::sleep(Duration::from_millis(30));
                chunk.fill(2);
            })
        });
        until("the array is locked", || matches!(array.try_lock().map(drop), Err(TryLockError::WouldBlock)));
        assert!(array.lock().unwrap().iter().all(|&n| n == 2));
        slow.join().unwrap()
    })?;
    Ok(())
}

#[test]
fn a_worker_that_dies_or_panics_at_a_chunk_poisons_the_array() -> Result<()> {
    let _watch = watchdog(60, "a death at a chunk");
    let pool = Pool::builder().processes(2).retries(3).build()?;
    for round in 0..10 {
        let array = SharedArray::<u64>::zeroed(1000)?;
        let dies = |first: usize, chunk: &mut [u64]| {
            chunk[0] = 1;
            if first == 300 {
                kill(std::process::id());
            }
            chunk.fill(1);
        };
        let panics = |first: usize, chunk: &mut [u64]| {
            chunk[0] = 1;
            assert_ne!(first, 300, "as the test wants it");
            chunk.fill(1);
        };
        let result =
            if round % 2 == 0 { pool.for_each_chunk_of(&array, 100, dies) } else { pool.for_each_chunk_of(&array, 100, panics) };
        match result {
            Err(PoolError::WorkerDied { task: 3, pid, signal: Some(9), .. }) if round % 2 == 0 => {
                assert!(matches!(array.lock().map(drop), Err(LockError::Poisoned(owner)) if owner.pid == pid));
            }
            Err(PoolError::Task { task: 3, cause: Cause::Panicked { .. } }) if round % 2 == 1 => {
                assert!(matches!(array.lock().map(drop), Err(LockError::Poisoned(_))));
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(pool.for_each_chunk(&array, number), Err(PoolError::Call(_))), "it is poisoned");
        let all = array.lock_or_repair(|elements, _| elements[300] += 100)?.to_vec();
        let expected = |n: usize| if n == 300 { 101 } else { u64::from(!(300..400).contains(&n)) };
        assert!(all.iter().enumerate().all(|(n, &m)| m == expected(n)));
        pool.for_each_chunk(&array, number)?;
    }
    Ok(())
}

/// The caller dies while workers write: nobody gets the lock before the last write.
#[test]
fn when_the_caller_dies_the_lock_waits_for_the_workers() -> Result<()> {
    fn caller(array: SharedArray<u64>, pids: Queue<u32>) -> Result<()> {
        let pool = Pool::new(3)?;
        pool.stats().workers.iter().filter_map(|worker| worker.pid).try_for_each(|pid| pids.send(pid))?;
        let write = |_: usize, chunk: &mut [u64]| -> () {
            loop {
                chunk.iter_mut().for_each(|n| *n = std::hint::black_box(*n + 1));
            }
        };
        Ok(pool.for_each_chunk(&array, write)?)
    }
    let _watch = watchdog(120, "the death of a caller");
    for round in 0..20 {
        let (array, pids) = (SharedArray::<u64>::zeroed(3 * 4096)?, Queue::new(3)?);
        let caller = Process::spawn(caller, (&array, &pids))?;
        let ends = (0..3).map(|_| pids.recv().map(End::of)).collect::<Result<Vec<_>, _>>()?;
        until("the array is locked", || matches!(array.try_lock().map(drop), Err(TryLockError::WouldBlock)));
        for _ in 0..round * 1000 {
            std::hint::spin_loop();
        }
        caller.kill()?;
        let guard = array.lock_poisoned()?;
        let (first, owner) = (guard.to_vec(), guard.poisoned());
        assert_eq!(owner.map(|owner| owner.pid), Some(caller.pid()));
        for _ in 0..20 {
            std::thread::yield_now();
            assert!(first == *guard, "a worker writes under the lock of another");
        }
        drop(guard);
        assert!(ends.iter().all(|end| end.comes_within(SOON)));
        assert_eq!(array.lock_or_repair(|elements, _| elements.fill(7))?[5], 7);
    }
    Ok(())
}

#[test]
fn an_idle_worker_gives_up_arrays_after_a_moment() -> Result<()> {
    let _watch = watchdog(60, "arrays that idle workers keep");
    let pool = Pool::new(1)?;
    let pid = pool.apply(std::process::id, ())?;
    let array = SharedArray::<u64>::zeroed(1 << 20)?;
    pool.for_each_chunk(&array, number)?;
    let large = || {
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
        let size = |line: &str| {
            let (from, to) = line.split_once(' ')?.0.split_once('-')?;
            Some(usize::from_str_radix(to, 16).ok()? - usize::from_str_radix(from, 16).ok()?)
        };
        maps.lines().filter(|line| line.contains("/memfd:coproc ")).filter_map(size).filter(|&size| size >= 8 << 20).count()
    };
    until("the array is unmapped", || large() == 0);
    Ok(())
}

#[test]
fn terminating_gives_the_array_back() -> Result<()> {
    let _watch = watchdog(60, "terminate under way");
    let pool = Pool::new(2)?;
    let (array, begun) = (SharedArray::<u64>::zeroed(100)?, SharedValue::new(AtomicU64::new(0))?);
    let _ = begun.load(SeqCst);
    std::thread::scope(|scope| {
        let call = scope.spawn(|| pool.for_each_chunk(&array, |_: usize, _: &mut [u64]| -> () { pause() }));
        until("the array is locked", || matches!(array.try_lock().map(drop), Err(TryLockError::WouldBlock)));
        pool.terminate();
        assert!(matches!(call.join().unwrap(), Err(PoolError::Terminated)));
    });
    assert!(array.lock_timeout(SOON).is_err_and(|error| matches!(error, TryLockError::Lock(LockError::Poisoned(_)))));
    Ok(())
}
