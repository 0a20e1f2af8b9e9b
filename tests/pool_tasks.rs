//! Tasks of a `Pool`: what is submitted one by one, its results, callbacks and ends.
//!
//! What Python's `Pool` and `ProcessPoolExecutor` do, and where it is tested (here, or in the file named):
//!
//! | Python | tests |
//! |---|---|
//! | `Pool(processes, initializer, initargs, maxtasksperchild)` | `a_builder_that_makes_no_sense_is_an_error`, `every_worker_is_initialised_once`, `workers_are_replaced_after_so_many_tasks`; `pool`: `of_no_processes`, `workers_that_never_start_are_an_error_not_a_storm` |
//! | `apply`, `apply_async`, `submit` | `apply_takes_and_returns_any_message`, `failures_of_a_task_are_its_own`, `many_more_tasks_than_fit_the_board` |
//! | `map`, `map_async`, `starmap`, chunk sizes | `map_async_and_starmap_and_chunks`; `pool`: `results_come_in_the_order_of_the_items`, `of_no_items`, `the_first_failure_by_index_is_returned_and_the_others_are_done` |
//! | `imap`, `imap_unordered`, `buffersize` | `imap_takes_a_few_ahead`, `unordered_results_do_not_wait_for_slow_ones` |
//! | `callback`, `error_callback`, `add_done_callback` | `callbacks_run_before_the_task_is_ready`, `a_callback_that_panics_costs_nothing`, `a_callback_may_submit_and_may_end_the_pool`; `pool_deaths`: `an_error_callback_hears_of_a_death` |
//! | `get`, `wait`, `ready`, `successful`, `result`, `done` | `waiting_has_an_end`, `threads_wait_for_one_task` |
//! | `cancel`, `cancelled`, `cancel_futures` | `cancelling_takes_back_what_nobody_has_begun`, `cancelling_and_submitting_over_and_over_loses_nothing` |
//! | `as_completed`, `wait(return_when)` | `tasks_come_as_they_are_completed` |
//! | `close`, `join`, `shutdown` | `close_join_and_what_comes_after` |
//! | `terminate`, `terminate_workers`, `kill_workers` | `pool_deaths`: `terminate_in_every_state` |
//! | leaving the `with` block | `drop_finishes_what_was_submitted`; `pool`: `drop_is_bounded` |
//! | a worker dies, exits or aborts | `pool_deaths`: all |
//! | what cannot be pickled | by type; `pool`: `inputs_and_results_of_any_length`, `handles_as_inputs_and_results` |
//! | only its creator may use it; no nested pools | `a_forked_child_is_told_and_harms_nothing`; `pool`: `a_worker_has_pools_and_processes_of_its_own` |
//! | `ThreadPool` | not there: threads have rayon |

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use coproc::{Error, Event, Queue, Result, SharedArray, SharedValue};
use coproc_pool::{Cause, Pool, PoolError, Process, Task, WorkerState, as_completed};
use coproc_tests::{End, events, fork, pause, until, wait, wait_for, watchdog};

const SOON: Duration = Duration::from_secs(20);

fn square(n: u64) -> u64 {
    n * n
}

/// Says that it is there, and waits for the word to go on.
fn hold(at: SharedArray<Event>) -> u32 {
    at[0].set();
    at[1].wait();
    std::process::id()
}

/// The events by which each task says that it runs, and is let go.
type Gates = Vec<SharedArray<Event>>;

/// All workers of a pool hold; each on its own pair of events.
fn hold_all(pool: &Pool) -> Result<(Gates, Vec<Task<u32>>)> {
    let pairs = (0..pool.processes()).map(|_| events(2)).collect::<Result<Vec<_>>>()?;
    let tasks = pairs.iter().map(|pair| pool.apply_async(hold, (pair,))).collect::<Result<Vec<_>, _>>()?;
    pairs.iter().for_each(|pair| wait(&pair[0], "a task runs"));
    Ok((pairs, tasks))
}

#[test]
fn apply_takes_and_returns_any_message() -> Result<()> {
    let _watch = watchdog(60, "apply");
    let pool = Pool::new(2)?;
    assert_eq!(pool.apply(square, (7,))?, 49);
    assert_eq!(pool.apply(|| (), ())?, ());
    assert_eq!(
        pool.apply(|a: String, b: Vec<u32>, c: Option<char>| (a, b, c), ("x", vec![1, 2], Some('c')))?,
        ("x".into(), vec![1, 2], Some('c'))
    );
    // Around what fits the board, and far beyond, in both directions.
    for len in (200..240).chain([1000, 40_000, 1_000_000]) {
        let text = "x".repeat(len);
        assert_eq!(pool.apply(|text: String| text.len(), (&text,))?, len);
        assert_eq!(pool.apply(|len: usize| "x".repeat(len), (len,))?, text);
        assert_eq!(pool.apply(|text: String| text, (&text,))?, text);
    }
    let total = SharedValue::new(1_u64)?;
    assert_eq!(pool.apply(|total: SharedValue<u64>, n: u64| total.update(|old| old + n), (&total, 4))?, 5);
    let array = pool.apply(|n: usize| SharedArray::from_fn(n, |n| n as u64), (3,))?;
    assert_eq!(array.to_vec()?, [0, 1, 2]);
    Ok(())
}

#[test]
fn failures_of_a_task_are_its_own() -> Result<()> {
    let _watch = watchdog(60, "failing tasks");
    let pool = Pool::new(2)?;
    let fails = |n: u32| if n == 1 { Err(Error::other("no")) } else { Ok(n) };
    let result = pool.apply(fails, (1,));
    assert!(
        matches!(&result, Err(PoolError::Task { cause: Cause::Failed { message, .. }, .. }) if message == "no"),
        "{result:?}"
    );
    let result = pool.apply(|| -> u8 { panic!("ouch") }, ());
    assert!(
        matches!(&result, Err(PoolError::Task { cause: Cause::Panicked { message, .. }, .. }) if message.contains("ouch")),
        "{result:?}"
    );
    assert_eq!(pool.apply(fails, (2,))?, 2);
    // More than any pool has room for, and not of a size that would be tried.
    let too_large = pool.apply(|| SharedArray::<u64>::zeroed(1 << 57).map(drop), ());
    assert!(matches!(too_large, Err(PoolError::Task { cause: Cause::Failed { .. }, .. })), "{too_large:?}");
    Ok(())
}

#[test]
fn many_more_tasks_than_fit_the_board() -> Result<()> {
    let _watch = watchdog(120, "a long queue");
    let pool = Pool::new(3)?;
    let (pairs, held) = hold_all(&pool)?;
    let tasks = (0..5000).map(|n| pool.apply_async(square, (n,))).collect::<Result<Vec<_>, _>>()?;
    let texts =
        (0..100).map(|n| pool.apply_async(|text: String| text.len(), ("y".repeat(n * 50),))).collect::<Result<Vec<_>, _>>()?;
    assert!(tasks.iter().all(|task| !task.is_ready()));
    assert!(pool.stats().queued >= 5000);
    pairs.iter().for_each(|pair| pair[1].set());
    for (n, task) in (0..).zip(tasks) {
        assert_eq!(task.get()?, n * n);
    }
    for (n, task) in texts.into_iter().enumerate() {
        assert_eq!(task.get()?, n * 50);
    }
    held.into_iter().try_for_each(|task| task.get().map(drop))?;
    Ok(())
}

#[test]
fn callbacks_run_before_the_task_is_ready() -> Result<()> {
    let _watch = watchdog(60, "callbacks");
    let pool = Pool::new(4)?;
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let tasks = (0..200_u64)
        .map(|n| {
            let seen = Arc::clone(&seen);
            pool.task(square, (n,)).callback(move |square| assert!(seen.lock().unwrap().insert(*square))).submit()
        })
        .collect::<Result<Vec<_>, _>>()?;
    for (n, task) in (0..).zip(&tasks) {
        task.wait();
        assert!(task.is_ready() && task.is_successful() == Some(true));
        assert!(seen.lock().unwrap().contains(&(n * n)), "{n} is ready and its callback has not run");
    }
    let errors = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&errors);
    let task = pool
        .task(|| -> Result<u8> { Err(Error::other("no")) }, ())
        .callback(|_| panic!("it has failed"))
        .error_callback(move |error| {
            assert!(matches!(error, PoolError::Task { .. }));
            counted.fetch_add(1, SeqCst);
        })
        .submit()?;
    task.wait();
    assert_eq!((task.is_successful(), errors.load(SeqCst)), (Some(false), 1));
    Ok(())
}

#[test]
fn a_callback_that_panics_costs_nothing() -> Result<()> {
    let _watch = watchdog(60, "a panicking callback");
    let pool = Pool::new(2)?;
    for n in 0..5 {
        let task = pool.task(square, (n,)).callback(|_| panic!("in a callback, as the test wants it")).submit()?;
        assert_eq!(task.get()?, n * n);
    }
    let mapped = pool.mapping(square, 0..10).callback(|_| panic!("in a callback, as the test wants it")).submit()?;
    assert_eq!(mapped.get()?.len(), 10);
    Ok(())
}

#[test]
fn a_callback_may_submit_and_may_end_the_pool() -> Result<()> {
    let _watch = watchdog(60, "callbacks that use the pool");
    let pool = Arc::new(Pool::new(2)?);
    let (sender, results) = std::sync::mpsc::channel();
    let inner = Arc::clone(&pool);
    pool.task(square, (3,)).callback(move |n| sender.send(inner.apply_async(square, (*n,))).unwrap()).submit()?.wait();
    assert_eq!(results.recv().unwrap()?.get()?, 81);
    let inner = Arc::clone(&pool);
    pool.task(square, (3,)).callback(move |_| inner.terminate()).submit()?.wait();
    assert!(matches!(pool.apply(square, (1,)), Err(PoolError::Terminated)));
    Ok(())
}

#[test]
fn waiting_has_an_end() -> Result<()> {
    let _watch = watchdog(60, "timeouts");
    let pool = Pool::new(1)?;
    let (pairs, mut held) = hold_all(&pool)?;
    let behind = pool.apply_async(square, (5,))?;
    let called = pool.task(square, (6,)).callback(|_| ()).submit()?;
    for task in [&behind, &called] {
        let start = Instant::now();
        assert!(matches!(task.get_timeout(Duration::from_millis(30)), Err(PoolError::TimedOut)));
        assert!(!task.wait_timeout(Duration::from_millis(30)));
        assert!((Duration::from_millis(60)..SOON).contains(&start.elapsed()));
        assert_eq!((task.is_ready(), task.is_successful()), (false, None));
    }
    assert!(matches!(held[0].get_timeout(Duration::ZERO), Err(PoolError::TimedOut)));
    pairs[0][1].set();
    assert_eq!(held.remove(0).get_timeout(SOON)?, pool.apply(std::process::id, ())?);
    assert_eq!(behind.get_timeout(SOON)?, 25);
    assert!(matches!(behind.get_timeout(SOON), Err(PoolError::Taken)));
    assert_eq!(called.get()?, 36);
    Ok(())
}

#[test]
fn threads_wait_for_one_task() -> Result<()> {
    let _watch = watchdog(60, "threads at one task");
    let pool = Pool::new(1)?;
    let (pairs, held) = hold_all(&pool)?;
    let task = pool.apply_async(square, (5,))?;
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..4)
            .map(|n| {
                scope.spawn({
                    let task = &task;
                    move || if n % 2 == 0 { task.wait() } else { assert!(task.wait_timeout(SOON)) }
                })
            })
            .collect();
        pairs[0][1].set();
        waiting.into_iter().for_each(|thread| thread.join().unwrap());
    });
    assert_eq!(task.get()?, 25);
    drop(held);
    Ok(())
}

#[test]
fn cancelling_takes_back_what_nobody_has_begun() -> Result<()> {
    let _watch = watchdog(60, "cancelling");
    let pool = Pool::new(1)?;
    let (pairs, held) = hold_all(&pool)?;
    assert!(!held[0].cancel());
    let ran = SharedValue::new(AtomicU64::new(0))?;
    let count = |ran: SharedValue<AtomicU64>| ran.fetch_add(1, SeqCst);
    // More than fit the board, so that some are behind it.
    let tasks = (0..1500).map(|_| pool.apply_async(count, (&ran,))).collect::<Result<Vec<_>, _>>()?;
    let cancelled = tasks.iter().enumerate().filter(|(n, task)| n % 2 == 0 && task.cancel()).count();
    assert_eq!(cancelled, 750);
    pairs[0][1].set();
    for (n, task) in tasks.into_iter().enumerate() {
        assert!(!task.is_ready() || !task.cancel());
        match task.get() {
            Ok(_) => assert_eq!(n % 2, 1),
            Err(PoolError::Cancelled) => assert_eq!(n % 2, 0),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(ran.load(SeqCst), 750);
    Ok(())
}

#[test]
fn cancelling_and_submitting_over_and_over_loses_nothing() -> Result<()> {
    let _watch = watchdog(120, "a board that goes round");
    let pool = Pool::new(1)?;
    let (pairs, _held) = hold_all(&pool)?;
    // One that stays while the others go round the board more than once.
    let first = pool.apply_async(square, (9,))?;
    for round in 0..5000_u64 {
        assert!(pool.apply_async(square, (round,))?.cancel());
    }
    let last = pool.apply_async(square, (10,))?;
    pairs[0][1].set();
    assert_eq!((first.get()?, last.get()?), (81, 100));
    Ok(())
}

#[test]
fn a_dropped_task_runs_and_its_result_is_gone() -> Result<()> {
    let _watch = watchdog(60, "dropped tasks");
    let pool = Pool::new(2)?;
    let ran = SharedValue::new(AtomicU64::new(0))?;
    for _ in 0..3000 {
        drop(pool.apply_async(|ran: SharedValue<AtomicU64>| drop((ran.fetch_add(1, SeqCst), "x".repeat(300))), (&ran,))?);
    }
    pool.join();
    assert_eq!(ran.load(SeqCst), 3000);
    Ok(())
}

#[test]
fn map_async_and_starmap_and_chunks() -> Result<()> {
    let _watch = watchdog(60, "maps");
    let pool = Pool::new(3)?;
    let total = Arc::new(AtomicU64::new(0));
    let sum = Arc::clone(&total);
    let task = pool.mapping(square, 0..1000).callback(move |all| sum.store(all.iter().sum(), SeqCst)).submit()?;
    let other = pool.map_async(|text: String| text.len(), ["a".to_owned(), "bb".to_owned()])?;
    assert_eq!(other.get()?, [1, 2]);
    assert!(task.get()?.into_iter().eq((0..1000).map(square)));
    assert_eq!(total.load(SeqCst), (0..1000).map(square).sum());
    assert_eq!(pool.starmap(|a: u64, b: String| format!("{a}{b}"), [(1, "x"), (2, "y")])?, ["1x", "2y"]);
    for chunk in [1, 2, 999, 1000, 100_000] {
        assert!(pool.mapping(square, 0..1000).chunk_size(chunk).run()?.into_iter().eq((0..1000).map(square)));
        assert!(
            pool.starmapping(u64::pow, (0..1000).map(|n| (n, 2))).chunk_size(chunk).run()?.into_iter().eq((0..1000).map(square))
        );
    }
    assert!(matches!(pool.mapping(square, 0..3).chunk_size(0).run(), Err(PoolError::Call(_))));
    // Integers that are in sequence at first, or wrap.
    assert_eq!(pool.map(|n: u8| n, [254, 255, 0, 1])?, [254, 255, 0, 1]);
    assert_eq!(pool.map(|n: i32| n, -2..3)?, [-2, -1, 0, 1, 2]);
    assert_eq!(pool.map(|n: i64| n, [5, 6, 7, 9, 8])?, [5, 6, 7, 9, 8]);
    Ok(())
}

#[test]
fn imap_takes_a_few_ahead() -> Result<()> {
    let _watch = watchdog(60, "imap");
    let pool = Pool::new(2)?;
    let taken = AtomicUsize::new(0);
    let counted = (0..1_000_000_u64).inspect(|_| {
        taken.fetch_add(1, SeqCst);
    });
    let mut results = pool.imap(square, counted).look_ahead(5).chunk_size(3);
    assert_eq!(taken.load(SeqCst), 0);
    assert_eq!(results.next().transpose()?, Some(0));
    assert!(taken.load(SeqCst) <= 15, "{} items were taken for one result", taken.load(SeqCst));
    drop(results);
    assert!(pool.imap(square, 0..500).collect::<Result<Vec<_>, _>>()?.into_iter().eq((0..500).map(square)));
    let mut all = pool.imap_unordered(square, 0..500).chunk_size(7).collect::<Result<Vec<_>, _>>()?;
    all.sort_unstable();
    assert!(all.into_iter().eq((0..500).map(square)));
    let odd = |n: u64| if n.is_multiple_of(2) { Ok(n) } else { Err(Error::other("odd")) };
    let results: Vec<_> = pool
        .imap(odd, 0..6)
        .map(|result| result.map_err(|error| matches!(error, PoolError::Task { task, .. } if task % 2 == 1)))
        .collect();
    assert_eq!(results, [Ok(0), Err(true), Ok(2), Err(true), Ok(4), Err(true)]);
    Ok(())
}

#[test]
fn unordered_results_do_not_wait_for_slow_ones() -> Result<()> {
    let _watch = watchdog(60, "imap_unordered");
    let pool = Pool::new(2)?;
    let go = events(2)?;
    let work = |(n, go): (u64, SharedArray<Event>)| {
        if n == 0 {
            go[1].wait();
        }
        n
    };
    let mut results = pool.imap_unordered(work, (0..6).map(|n| (n, go.clone())));
    let first: BTreeSet<_> = results.by_ref().take(5).collect::<Result<_, _>>()?;
    assert_eq!(first, (1..6).collect());
    go[1].set();
    assert_eq!(results.next().transpose()?, Some(0));
    assert!(results.next().is_none());
    Ok(())
}

#[test]
fn tasks_come_as_they_are_completed() -> Result<()> {
    let _watch = watchdog(60, "as_completed");
    let pool = Pool::new(2)?;
    let pairs = [events(2)?, events(2)?];
    let tasks = pairs.iter().map(|pair| pool.apply_async(hold, (pair,))).collect::<Result<Vec<_>, _>>()?;
    pairs.iter().for_each(|pair| wait(&pair[0], "a task runs"));
    let quick = pool.apply_async(std::process::id, ())?;
    let mut completed = as_completed(tasks.into_iter().chain([quick]));
    pairs[1][1].set();
    let first = completed.next().expect("three tasks").get()?;
    assert_eq!(completed.next().expect("two tasks").get()?, first, "the worker that is free does the quick one");
    pairs[0][1].set();
    assert_ne!(completed.next().expect("a task").get()?, first);
    assert!(completed.next().is_none());
    Ok(())
}

#[test]
fn close_join_and_what_comes_after() -> Result<()> {
    let _watch = watchdog(60, "close and join");
    let pool = Pool::new(2)?;
    let (pairs, held) = hold_all(&pool)?;
    let behind = pool.map_async(square, 0..100)?;
    let pids: Vec<u32> = pool.stats().workers.iter().filter_map(|worker| worker.pid).collect();
    let ends: Vec<End> = pids.iter().map(|&pid| End::of(pid)).collect();
    pool.close();
    assert!(matches!(pool.apply(square, (1,)), Err(PoolError::Closed)));
    assert!(matches!(pool.map(square, 0..3), Err(PoolError::Closed)));
    pairs.iter().for_each(|pair| pair[1].set());
    pool.join();
    assert!(behind.is_ready() && held.iter().all(Task::is_ready));
    assert_eq!(behind.get()?.len(), 100);
    assert!(ends.iter().all(|end| end.comes_within(SOON)));
    pool.join();
    pool.terminate();
    Ok(())
}

#[test]
fn drop_finishes_what_was_submitted() -> Result<()> {
    let _watch = watchdog(60, "dropping a pool with tasks");
    let pool = Pool::new(2)?;
    let tasks = (0..100).map(|n| pool.apply_async(square, (n,))).collect::<Result<Vec<_>, _>>()?;
    let mapped = pool.map_async(square, 0..100)?;
    drop(pool);
    for (n, task) in (0..).zip(tasks) {
        assert_eq!(task.get()?, n * n);
    }
    assert_eq!(mapped.get()?.len(), 100);
    // And not for ever.
    let pool = Pool::builder().processes(2).drop_timeout(Duration::from_millis(50)).build()?;
    let task = pool.apply_async(|| -> () { pause() }, ())?;
    let start = Instant::now();
    drop(pool);
    assert!(start.elapsed() < SOON);
    assert!(matches!(task.get(), Err(PoolError::Terminated)));
    Ok(())
}

#[test]
fn a_builder_that_makes_no_sense_is_an_error() {
    let bad = [
        Pool::builder().processes(0),
        Pool::builder().processes(100_000),
        Pool::builder().processes(1).max_tasks_per_worker(0),
        Pool::builder().processes(1).task_timeout(Duration::ZERO),
    ];
    for builder in bad {
        let text = format!("{builder:?}");
        assert!(builder.build().is_err(), "{text}");
    }
}

#[test]
fn every_worker_is_initialised_once() -> Result<()> {
    static READY: AtomicU64 = AtomicU64::new(0);
    fn initialize(count: SharedValue<AtomicU64>, by: u64) {
        count.fetch_add(1, SeqCst);
        READY.store(by, SeqCst);
    }
    let _watch = watchdog(60, "initializers");
    let count = SharedValue::new(AtomicU64::new(0))?;
    let pool = Pool::builder().processes(3).initializer(initialize, (&count, 7)).name("squarer").build()?;
    let (pairs, held) = hold_all(&pool)?;
    pairs.iter().for_each(|pair| pair[1].set());
    drop(held);
    assert_eq!(count.load(SeqCst), 3);
    assert_eq!(pool.map(|_: u8| READY.load(SeqCst), [0; 50])?, [7; 50]);
    let name = pool.apply(|| std::fs::read_to_string("/proc/self/comm").unwrap_or_default(), ())?;
    assert!(name.starts_with("squarer"), "{name}");
    Ok(())
}

#[test]
fn workers_are_replaced_after_so_many_tasks() -> Result<()> {
    let _watch = watchdog(120, "workers that retire");
    let pool = Pool::builder().processes(2).max_tasks_per_worker(3).build()?;
    let mut done = std::collections::HashMap::<u32, usize>::new();
    for pid in (0..30).map(|_| pool.apply(std::process::id, ())) {
        *done.entry(pid?).or_default() += 1;
    }
    assert!(done.len() >= 10 && done.values().all(|&count| count <= 3), "{done:?}");
    let pids = pool.mapping(|_: u8| std::process::id(), [0; 30]).chunk_size(1).run()?;
    let mut done = std::collections::HashMap::<u32, usize>::new();
    pids.into_iter().for_each(|pid| *done.entry(pid).or_default() += 1);
    assert!(done.len() >= 10 && done.values().all(|&count| count <= 3), "{done:?}");
    assert!(pool.stats().workers.iter().map(|worker| worker.restarts).sum::<u64>() >= 18);
    Ok(())
}

#[test]
fn stats_show_what_workers_do() -> Result<()> {
    let _watch = watchdog(60, "stats");
    let pool = Pool::new(2)?;
    let pair = events(2)?;
    let held = pool.apply_async(hold, (&pair,))?;
    wait(&pair[0], "a task runs");
    until("the other one idles", || {
        let states: Vec<_> = pool.stats().workers.iter().map(|worker| worker.state).collect();
        states.contains(&WorkerState::Busy) && states.contains(&WorkerState::Idle)
    });
    assert_eq!(pool.stats().outstanding, 1);
    pair[1].set();
    let pid = held.get()?;
    assert!(pool.stats().workers.iter().any(|worker| worker.pid == Some(pid) && worker.tasks == 1 && worker.restarts == 0));
    assert!(pool.stats().workers.iter().all(|worker| (0.0..=1.0).contains(&worker.busy)));
    until("nothing is left", || pool.stats().outstanding == 0);
    Ok(())
}

#[test]
fn a_forked_child_is_told_and_harms_nothing() -> Result<()> {
    fn owner() -> Result<()> {
        let pool = Pool::new(1)?;
        let task = pool.apply_async(square, (3,))?;
        task.wait();
        let child = fork(|| {
            let refused = matches!(pool.apply(square, (2,)), Err(PoolError::Forked))
                && matches!(pool.map(square, 0..3), Err(PoolError::Forked));
            pool.terminate();
            pool.join();
            // SAFETY: the child ends without dropping its copy of the pool, so this one is dropped once.
            drop(unsafe { std::ptr::read(&raw const pool) });
            i32::from(!refused)
        });
        assert_eq!(wait_for(child), 0);
        assert_eq!((task.get()?, pool.apply(square, (2,))?), (9, 4));
        Ok(())
    }
    let _watch = watchdog(60, "a forked child");
    Process::spawn(owner, ())?.join()?;
    Ok(())
}

#[test]
fn workers_give_and_take_through_queues() -> Result<()> {
    let _watch = watchdog(60, "a queue between tasks");
    let pool = Pool::new(2)?;
    let queue = Queue::new(4)?;
    let sum = pool.apply_async(|queue: Queue<u64>| queue.iter().sum::<u64>(), (&queue,))?;
    pool.apply(
        |queue: Queue<u64>| -> Result<()> {
            (0..100).try_for_each(|n| queue.send(n))?;
            queue.close();
            Ok(())
        },
        (&queue,),
    )?;
    assert_eq!(sum.get()?, 4950);
    Ok(())
}
