//! `Pool`: what it returns, and what it does when its workers die.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use coproc::{Error, Event, Message, Mutex, Queue, Result, SharedArray, SharedValue};
use coproc_pool::{Cause, Pool, PoolError, Process};
use coproc_tests::{End, events, fork, kill, pause, stop, until, wait, wait_for, watchdog};

fn square(n: u64) -> u64 {
    n * n
}

fn pids_of(pool: &Pool) -> Vec<u32> {
    // Enough items, each slow enough to let the others get some; a worker that got none is found the next time.
    let mut pids = BTreeSet::new();
    until("every worker has had an item", || {
        pids.extend(pool.map(|_: u8| std::process::id(), (0..64).map(|_| 0)).unwrap());
        pids.len() == pool.processes()
    });
    pids.into_iter().collect()
}

fn task_error<T: std::fmt::Debug>(result: Result<Vec<T>, PoolError>) -> (usize, Option<u32>, Cause) {
    match result {
        Err(PoolError::Task { task, cause, .. }) => (task, None, cause),
        Err(PoolError::WorkerDied { task, pid, cause, .. }) => (task, Some(pid), cause),
        other => panic!("{other:?}"),
    }
}

#[test]
fn results_come_in_the_order_of_the_items() -> Result<()> {
    let _watch = watchdog(120, "order");
    for processes in [1, 2, 4, 7] {
        let pool = Pool::new(processes)?;
        assert_eq!(pool.processes(), processes);
        for len in [0, 1, 2, 3, 10, 100, 1000, 10_001] {
            assert!(pool.map(square, 0..len)?.into_iter().eq((0..len).map(square)), "{len} items, {processes} processes");
        }
    }
    Ok(())
}

#[test]
fn of_no_items() -> Result<()> {
    let _watch = watchdog(30, "no items");
    let pool = Pool::new(2)?;
    assert_eq!(pool.map(square, [])?, []);
    assert_eq!(pool.map(|text: String| text, Vec::new())?, Vec::<String>::new());
    assert_eq!(pool.map(|(): ()| (), [(), ()])?, [(), ()]);
    Ok(())
}

#[test]
fn of_no_processes() {
    assert!(Pool::new(0).is_err());
}

#[test]
fn more_processes_than_items() -> Result<()> {
    let _watch = watchdog(120, "more processes than items");
    let pool = Pool::new(10)?;
    for len in 0..12 {
        assert!(pool.map(square, 0..len)?.into_iter().eq((0..len).map(square)));
    }
    Ok(())
}

#[test]
fn any_iterator() -> Result<()> {
    let _watch = watchdog(30, "iterators");
    let pool = Pool::new(2)?;
    assert_eq!(pool.map(square, (0..20).filter(|n| n % 7 == 0))?, [0, 49, 196]);
    assert_eq!(pool.map(square, BTreeSet::from([3, 1, 2]))?, [1, 4, 9]);
    assert_eq!(pool.map(|c: char| c.is_uppercase(), "aBc".chars())?, [false, true, false]);
    let mut left = 3;
    let counted = std::iter::from_fn(|| {
        left -= 1;
        (left >= 0).then_some(left)
    });
    assert_eq!(pool.map(|n: i32| n, counted)?, [2, 1, 0]);
    Ok(())
}

#[test]
fn an_iterator_that_lies_about_its_length_is_an_error_or_right() -> Result<()> {
    struct Liar(std::ops::Range<u64>, usize);
    impl Iterator for Liar {
        type Item = u64;
        fn next(&mut self) -> Option<u64> {
            self.0.next()
        }
        fn size_hint(&self) -> (usize, Option<usize>) {
            (self.1, Some(self.1))
        }
    }
    let _watch = watchdog(30, "liars");
    let pool = Pool::new(2)?;
    for said in [0, 3, 5, 9] {
        match pool.map(square, Liar(0..5, said)) {
            Ok(all) => assert_eq!(all, [0, 1, 4, 9, 16]),
            Err(error) => assert!(matches!(error, PoolError::Call(_)), "{error}"),
        }
    }
    assert_eq!(pool.map(square, 0..3)?, [0, 1, 4]);
    Ok(())
}

#[derive(Clone, Debug, PartialEq, Message)]
struct Order {
    name: String,
    amounts: Vec<Option<i32>>,
}

#[test]
fn inputs_and_results_of_any_length() -> Result<()> {
    let _watch = watchdog(120, "long inputs");
    let pool = Pool::new(3)?;
    let words: Vec<String> = (0..500).map(|n| "wört".repeat(n % 50)).collect();
    let expected: Vec<_> = words.iter().map(|word| word.to_uppercase()).collect();
    assert_eq!(pool.map(|word: String| word.to_uppercase(), words.clone())?, expected);
    assert_eq!(pool.map(|word: String| word.len(), words.clone())?, words.iter().map(String::len).collect::<Vec<_>>());
    assert_eq!(
        pool.map(|n: usize| "x".repeat(n), [0, 1, 100_000, 3])?.iter().map(String::len).collect::<Vec<_>>(),
        [0, 1, 100_000, 3]
    );
    let orders = vec![
        Order { name: String::new(), amounts: vec![] },
        Order { name: "tea".into(), amounts: vec![Some(-1), None] },
        Order { name: "x".repeat(70_000), amounts: vec![None; 10_000] },
    ];
    assert_eq!(pool.map(|order: Order| order, orders.clone())?, orders);
    let results = pool.map(|n: i8| if n < 0 { Err(format!("{n}")) } else { Ok(n as u64) }, [1, -1])?;
    assert_eq!(results, [Ok(1), Err("-1".to_owned())]);
    assert_eq!(pool.map(|n: u32| (n > 1).then(|| vec![n; n as usize]), 0..4)?, [None, None, Some(vec![2; 2]), Some(vec![3; 3])]);
    Ok(())
}

#[test]
fn handles_as_inputs_and_results() -> Result<()> {
    let _watch = watchdog(120, "handles");
    let pool = Pool::new(2)?;
    let totals = (0..20).map(SharedValue::new).collect::<Result<Vec<_>>>()?;
    pool.map(|total: SharedValue<u64>| total.update(|n| n * 3), totals.clone())?;
    for (n, total) in (0..).zip(&totals) {
        assert_eq!(total.get()?, 3 * n);
    }
    let made = pool.map(|n: u32| SharedArray::from_slice(&[n; 3]), 0..20)?;
    for (n, array) in (0..).zip(&made) {
        assert_eq!(array.to_vec()?, [n; 3]);
    }
    let queue = Queue::new(100)?;
    pool.map(|(queue, n): (Queue<u32>, u32)| queue.send(n).map_err(Error::from), (0..50).map(|n| (queue.clone(), n)))?;
    queue.close();
    assert_eq!(queue.iter().collect::<BTreeSet<_>>(), (0..50).collect());
    Ok(())
}

#[test]
fn the_first_failure_by_index_is_returned_and_the_others_are_done() -> Result<()> {
    fn work((n, done): (u32, SharedArray<AtomicU64>)) -> Result<u32> {
        done[n as usize].fetch_add(1, SeqCst);
        match n {
            5 | 30 => Err(Error::other(format!("no {n}"))),
            20 => panic!("panic at {n}"),
            _ => Ok(n),
        }
    }
    let _watch = watchdog(120, "failures");
    let pool = Pool::new(3)?;
    let done = SharedArray::<AtomicU64>::zeroed(40)?;
    for round in 1..=3 {
        let (task, _, cause) = task_error(pool.map(work, (0..40).map(|n| (n, done.clone()))));
        assert_eq!((task, cause), (5, Cause::Failed { message: "no 5".into(), chain: vec![] }));
        assert!(done.iter().all(|count| count.load(SeqCst) == round), "every item is done, and once");
    }
    let (task, _, cause) = task_error(pool.map(work, (10..40).map(|n| (n, done.clone()))));
    assert_eq!(task, 10);
    assert!(matches!(cause, Cause::Panicked { message, .. } if message.starts_with("panic at 20")));
    assert_eq!(pool.map(square, 0..3)?, [0, 1, 4]);
    Ok(())
}

#[test]
fn a_killed_worker_costs_its_task_only() -> Result<()> {
    fn work((n, done): (u32, SharedArray<AtomicU64>)) -> u32 {
        if n % 25 == 13 {
            kill(std::process::id());
        }
        done[n as usize].fetch_add(1, SeqCst);
        n
    }
    let _watch = watchdog(120, "killed workers");
    let pool = Pool::new(2)?;
    for _ in 0..5 {
        let done = SharedArray::<AtomicU64>::zeroed(100)?;
        let (task, pid, cause) = task_error(pool.map(work, (0..100).map(|n| (n, done.clone()))));
        assert_eq!((task, cause), (13, Cause::Killed { signal: 9 }));
        assert!(pid.is_some_and(|pid| pid > 1 && pid != std::process::id()));
        for (n, count) in done.iter().enumerate() {
            assert_eq!(count.load(SeqCst), u64::from(n % 25 != 13), "item {n}");
        }
        assert_eq!(pool.map(square, 0..3)?, [0, 1, 4]);
    }
    Ok(())
}

#[test]
fn every_task_may_kill_its_worker() -> Result<()> {
    let _watch = watchdog(120, "a deadly function");
    let pool = Pool::new(2)?;
    let (task, _, cause) = task_error(pool.map(|_: u8| kill(std::process::id()), [0; 20]));
    assert_eq!((task, cause), (0, Cause::Killed { signal: 9 }));
    assert_eq!(pool.map(square, 0..3)?, [0, 1, 4]);
    Ok(())
}

#[test]
fn an_exit_in_a_task_is_its_failure() -> Result<()> {
    let _watch = watchdog(120, "an exit");
    let pool = Pool::new(2)?;
    for code in [3, 0] {
        let exits = |(n, code): (u32, i32)| {
            if n == 7 {
                std::process::exit(code)
            }
        };
        let (task, _, cause) = task_error(pool.map(exits, (0..10).map(|n| (n, code))));
        assert_eq!((task, cause), (7, Cause::Exited { code }));
    }
    let (task, _, cause) = task_error(pool.map(|_: u8| -> () { std::process::abort() }, [0]));
    assert_eq!((task, cause), (0, Cause::Killed { signal: libc::SIGABRT }));
    assert_eq!(pool.map(square, 0..3)?, [0, 1, 4]);
    Ok(())
}

#[test]
fn a_worker_killed_from_outside_in_a_task_costs_that_task() -> Result<()> {
    fn work((n, at, pid): (u32, SharedArray<Event>, SharedValue<AtomicU64>)) -> u32 {
        if n == 3 {
            pid.store(std::process::id().into(), SeqCst);
            at[0].set();
            pause()
        }
        n
    }
    let _watch = watchdog(120, "a worker killed from outside");
    let pool = Pool::new(2)?;
    let (at, pid) = (events(1)?, SharedValue::new(AtomicU64::new(0))?);
    std::thread::scope(|scope| {
        let mapped = scope.spawn(|| pool.map(work, (0..8).map(|n| (n, at.clone(), pid.clone()))));
        wait(&at[0], "the task runs");
        kill(pid.load(SeqCst) as u32);
        let (task, dead, cause) = task_error(mapped.join().unwrap());
        assert_eq!((task, dead.map(u64::from), cause), (3, Some(pid.load(SeqCst)), Cause::Killed { signal: 9 }));
    });
    assert_eq!(pool.map(square, 0..3)?, [0, 1, 4]);
    Ok(())
}

#[test]
fn idle_workers_may_be_killed() -> Result<()> {
    let _watch = watchdog(120, "idle workers");
    let pool = Pool::new(3)?;
    for _ in 0..10 {
        let workers = pids_of(&pool);
        workers.iter().for_each(|&pid| kill(pid));
        // At once, while they may still be dying: nothing is lost.
        assert!(pool.map(square, 0..100)?.into_iter().eq((0..100).map(square)));
    }
    let workers = pids_of(&pool);
    let ends: Vec<End> = workers.iter().map(|&pid| End::of(pid)).collect();
    workers.iter().for_each(|&pid| kill(pid));
    ends.iter().for_each(|end| assert!(end.comes_within(Duration::from_secs(20))));
    // And when they are long dead.
    assert!(pool.map(|text: String| text.len(), ["a", "bb"].map(String::from))? == [1, 2]);
    Ok(())
}

#[test]
fn workers_killed_at_any_moment_cost_their_task_at_most() -> Result<()> {
    fn work((n, done, pids): (u32, SharedArray<AtomicU64>, Queue<u32>)) -> u32 {
        let _ = pids.try_send(std::process::id());
        done[n as usize].fetch_add(1, SeqCst);
        n
    }
    let _watch = watchdog(120, "workers under kills");
    let pool = Pool::new(3)?;
    let mut failures = 0;
    for round in 0..30 {
        let (done, pids) = (SharedArray::<AtomicU64>::zeroed(400)?, Queue::new(1000)?);
        let result = std::thread::scope(|scope| {
            let mapped = scope.spawn(|| pool.map(work, (0..400).map(|n| (n, done.clone(), pids.clone()))));
            // The first that reports in is at some item now.
            let pid = pids.recv().unwrap();
            for _ in 0..round * 20 {
                std::hint::spin_loop();
            }
            // It is not reaped before its pool's next call at the earliest if it idles, and only killed by this.
            kill(pid);
            mapped.join().unwrap()
        });
        match result {
            Ok(all) => assert!(all.into_iter().eq(0..400)),
            Err(PoolError::WorkerDied { task, signal: Some(9), .. }) => {
                failures += 1;
                // All others are done, this one once at most.
                for (n, count) in done.iter().enumerate() {
                    let count = count.load(SeqCst);
                    assert!(count >= 1 || n == task, "item {n} was not done");
                }
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(failures <= 30);
    assert_eq!(pool.map(square, 0..3)?, [0, 1, 4]);
    Ok(())
}

#[test]
fn threads_share_a_pool() -> Result<()> {
    let _watch = watchdog(120, "two threads");
    let pool = Pool::new(2)?;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (1..=4_u64)
            .map(|by| {
                let pool = &pool;
                scope.spawn(move || {
                    for _ in 0..20 {
                        let all = pool.map(|(n, by): (u64, u64)| n * by, (0..200).map(|n| (n, by))).unwrap();
                        assert!(all.into_iter().eq((0..200).map(|n| n * by)));
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    Ok(())
}

#[test]
fn an_iterator_may_use_the_pool_itself() -> Result<()> {
    let _watch = watchdog(30, "a pool in its own iterator");
    let pool = Pool::new(2)?;
    let items = (0..5).map(|n| pool.map(square, [n]).unwrap()[0]);
    assert_eq!(pool.map(|n: u64| n + 1, items)?, [1, 2, 5, 10, 17]);
    Ok(())
}

#[test]
fn a_worker_has_pools_and_processes_of_its_own() -> Result<()> {
    fn outer(n: u64) -> Result<u64> {
        let inner = Pool::new(2)?;
        let sum: u64 = inner.map(square, 0..n)?.into_iter().sum();
        Ok(sum + Process::spawn(square, (n,))?.join()?)
    }
    let _watch = watchdog(120, "a pool in a worker");
    let pool = Pool::new(2)?;
    assert!(pool.map(outer, 0..6)?.into_iter().eq((0..6).map(|n| (0..=n).map(square).sum::<u64>())));
    Ok(())
}

#[test]
fn workers_share_what_the_items_name() -> Result<()> {
    let _watch = watchdog(120, "a shared total");
    let pool = Pool::new(4)?;
    let total = SharedValue::new(Mutex::new(0_u64))?;
    let add = |(n, total): (u64, SharedValue<Mutex<u64>>)| -> Result<()> {
        *total.lock()? += n;
        Ok(())
    };
    pool.map(add, (0..1000).map(|n| (n, total.clone())))?;
    assert_eq!(*total.lock()?, 499_500);
    Ok(())
}

#[test]
fn an_idle_worker_keeps_no_handle_of_an_item() -> Result<()> {
    let _watch = watchdog(120, "an idle worker's handles");
    let pool = Pool::new(1)?;
    let worker = pids_of(&pool)[0];
    let handles = (0..50).map(SharedValue::new).collect::<Result<Vec<_>>>()?;
    pool.map(|n: SharedValue<u32>| n.get(), handles)?;
    let maps = std::fs::read_to_string(format!("/proc/{worker}/maps")).unwrap();
    let objects = maps.lines().filter(|line| line.contains("/memfd:coproc ")).count();
    assert!(objects < 50, "the idle worker has {objects} objects mapped that nobody else has");
    Ok(())
}

#[test]
fn an_idle_worker_holds_no_lock_of_an_item() -> Result<()> {
    let _watch = watchdog(120, "an idle worker's locks");
    let pool = Pool::new(1)?;
    let n = SharedValue::new(0_u32)?;
    let forget = |n: SharedValue<u32>| -> Result<()> {
        std::mem::forget(n.lock()?);
        Ok(())
    };
    pool.map(forget, [n.clone()])?;
    // The task's handle was the worker's last: the lock is given up, poisoned.
    let answer = n.lock_timeout(Duration::from_secs(2)).map(drop);
    assert!(matches!(answer, Err(coproc::TryLockError::Lock(coproc::LockError::Poisoned(_)))), "{answer:?}");
    Ok(())
}

#[test]
fn drop_is_bounded() -> Result<()> {
    let _watch = watchdog(120, "dropping pools");
    // At once after the start, when idle, and with a worker that stands still.
    for _ in 0..5 {
        drop(Pool::new(4)?);
    }
    let pool = Pool::new(3)?;
    let workers = pids_of(&pool);
    let ends: Vec<End> = workers.iter().map(|&pid| End::of(pid)).collect();
    stop(workers[0]);
    kill(workers[1]);
    let start = Instant::now();
    drop(pool);
    let time = start.elapsed();
    assert!(time < Duration::from_secs(5), "{time:?}");
    for end in ends {
        assert!(end.comes_within(Duration::from_secs(20)), "a worker has outlived its pool");
    }
    Ok(())
}

#[test]
fn drop_does_not_wait_for_a_workers_threads() -> Result<()> {
    let _watch = watchdog(120, "dropping a pool");
    let pool = Pool::new(1)?;
    pool.map(|_: u8| drop(std::thread::spawn(|| pause())), [0])?;
    let worker = End::of(pids_of(&pool)[0]);
    drop(pool);
    assert!(worker.comes_within(Duration::from_secs(20)));
    Ok(())
}

#[test]
fn workers_end_with_a_killed_owner() -> Result<()> {
    fn owner(pids: Queue<u32>) -> Result<()> {
        let pool = Pool::new(2)?;
        pids_of(&pool).into_iter().try_for_each(|pid| pids.send(pid))?;
        pool.map(|_: u8| -> () { pause() }, [0, 0])?;
        Ok(())
    }
    let _watch = watchdog(120, "the death of an owner");
    let pids = Queue::new(2)?;
    let owner = Process::spawn(owner, (&pids,))?;
    let ends = [End::of(pids.recv()?), End::of(pids.recv()?)];
    owner.kill()?;
    for end in ends {
        assert!(end.comes_within(Duration::from_secs(20)), "a worker has outlived its owner");
    }
    Ok(())
}

#[test]
fn workers_that_never_start_are_an_error_not_a_storm() -> Result<()> {
    fn prepare(fails: SharedValue<AtomicU64>) {
        if fails.load(SeqCst) == 1 {
            std::process::exit(7);
        }
    }
    let _watch = watchdog(120, "a crash loop");
    let fails = SharedValue::new(AtomicU64::new(0))?;
    let pool = Pool::builder().processes(2).initializer(prepare, (&fails,)).build()?;
    let workers = pids_of(&pool);
    fails.store(1, SeqCst);
    let ends: Vec<End> = workers.iter().map(|&pid| End::of(pid)).collect();
    workers.iter().for_each(|&pid| kill(pid));
    assert!(ends.iter().all(|end| end.comes_within(Duration::from_secs(20))));
    match pool.map(square, 0..10) {
        Err(PoolError::CrashLoop { deaths, cause, .. }) => {
            assert!((1..100).contains(&deaths) && cause == Cause::Exited { code: 7 }, "{deaths} deaths, {cause}")
        }
        other => panic!("{other:?}"),
    }
    fails.store(0, SeqCst);
    assert_eq!(pool.map(square, 0..3)?, [0, 1, 4]);
    Ok(())
}

#[test]
fn a_million_items() -> Result<()> {
    let _watch = watchdog(120, "a million items");
    let pool = Pool::new(4)?;
    let all = pool.map(square, 0..1_000_000)?;
    assert_eq!((all.len(), &all[..3], all[999_999]), (1_000_000, &[0, 1, 4][..], 999_998_000_001));
    Ok(())
}

#[test]
fn a_forked_child_has_the_results_of_its_parent() -> Result<()> {
    let _watch = watchdog(60, "results in a forked child");
    let pool = Pool::new(1)?;
    let input = SharedArray::from_fn(100, |n| n as u64)?;
    let result = pool.map_array(|n: u64| n + 1, &input)?;
    let (ready, go) = (Queue::<u64>::new(1)?, Queue::<u64>::new(1)?);
    let child = fork(|| {
        ready.send(0).unwrap();
        let _ = go.recv();
        i32::from(result.get(9).unwrap() != 10)
    });
    ready.recv()?;
    drop(result);
    for _ in 0..10 {
        pool.map_array(|n: u64| n * 7, &input)?;
    }
    go.send(0)?;
    assert_eq!(wait_for(child), 0);
    Ok(())
}
