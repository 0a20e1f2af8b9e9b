//! What the hook of a `Pool` is told of the progress of calls.

use std::sync::{Arc, Mutex};

use coproc::{Error, Event, Result, SharedArray};
use coproc_pool::{Pool, PoolBuilder, PoolError, Progress};
use coproc_tests::{events, kill, until, wait, watchdog};

/// What the hook was told, in order.
type Told = Arc<Mutex<Vec<Progress>>>;

fn listening(builder: PoolBuilder) -> Result<(Pool, Told)> {
    let told = Told::default();
    let hear = Arc::clone(&told);
    let pool = builder.progress(move |progress| hear.lock().unwrap().push(progress)).build()?;
    Ok((pool, told))
}

/// What was told of the call that is over; asserts what is so of every call.
fn of_one_call(told: &Told, name: &str) -> Vec<Progress> {
    let told = std::mem::take(&mut *told.lock().unwrap());
    assert!(told.iter().all(|at| at.name == name && at.call == told[0].call), "{told:?}");
    assert!(told.is_sorted_by_key(|at| at.done), "{told:?}");
    assert!(told.iter().all(|at| at.total.is_none_or(|total| at.done <= total)), "{told:?}");
    let (last, others) = told.split_last().expect("the end is told");
    assert!(last.is_over && others.iter().all(|at| !at.is_over), "{told:?}");
    told
}

/// How many were done in the end, of how many.
fn end_of(told: &Told, name: &str) -> (u64, Option<u64>) {
    let told = of_one_call(told, name);
    let last = told[told.len() - 1];
    (last.done, last.total)
}

#[test]
fn every_call_with_many_items_tells_its_end_before_it_returns() -> Result<()> {
    let _watch = watchdog(60, "ends of calls");
    let (pool, told) = listening(Pool::builder().processes(2))?;
    pool.map(|n: u64| n, 0..1000)?;
    assert_eq!(end_of(&told, "map"), (1000, Some(1000)));
    pool.map(|word: String| word.len(), ["to", "be"].map(String::from))?;
    assert_eq!(end_of(&told, "map"), (2, Some(2)));
    pool.map(|n: u64| n, 0..0)?;
    assert_eq!(end_of(&told, "map"), (0, Some(0)));
    pool.starmap(u64::pow, [(2, 5), (3, 2)])?;
    assert_eq!(end_of(&told, "starmap"), (2, Some(2)));
    let array = SharedArray::from_fn(500, |n| n as u64)?;
    pool.map_array(|n: u64| n, &array)?;
    assert_eq!(end_of(&told, "map_array"), (500, Some(500)));
    pool.for_each_chunk_of(&array, 50, |_: usize, _: &mut [u64]| ())?;
    assert_eq!(end_of(&told, "for_each_chunk"), (10, Some(10)));
    assert_eq!(pool.imap(|n: u64| n, 0..30).count(), 30);
    assert_eq!(end_of(&told, "imap"), (30, Some(30)));
    assert_eq!(pool.imap_unordered(|n: u64| n, (0..30).filter(|n| n % 3 == 0)).count(), 10);
    assert_eq!(end_of(&told, "imap_unordered"), (10, Some(10)));
    assert_eq!(pool.imap(|n: u64| n, 0..).take(4).count(), 4);
    let (done, _) = end_of(&told, "imap");
    assert_eq!(done, 4);
    pool.apply(|n: u64| n, (1,))?;
    assert!(told.lock().unwrap().is_empty(), "a single call has no progress");
    Ok(())
}

#[test]
fn failed_items_are_done() -> Result<()> {
    let _watch = watchdog(60, "failed items");
    let (pool, told) = listening(Pool::builder().processes(2))?;
    let odd = |n: u64| if n % 2 == 1 { Err(Error::other("odd")) } else { Ok(n) };
    assert!(matches!(pool.map(odd, 0..100), Err(PoolError::Task { task: 1, .. })));
    assert_eq!(end_of(&told, "map"), (100, Some(100)));
    let dies = |n: u64| if n == 70 { std::process::abort() } else { n };
    assert!(matches!(pool.map(dies, 0..100), Err(PoolError::WorkerDied { task: 70, .. })));
    assert_eq!(end_of(&told, "map"), (100, Some(100)));
    Ok(())
}

/// Item 5 of ten waits for the second event.
fn wait_at_five((n, at): (u64, SharedArray<Event>)) {
    if n == 5 {
        at[0].set();
        at[1].wait();
    }
}

#[test]
fn a_call_that_lasts_is_told_of_meanwhile() -> Result<()> {
    let _watch = watchdog(60, "a long call");
    let (pool, told) = listening(Pool::builder().processes(1))?;
    let at = events(2)?;
    let task = pool.mapping(wait_at_five, (0..10).map(|n| (n, at.clone()))).chunk_size(4).submit()?;
    wait(&at[0], "item 5 is being done");
    until("5 items are told to be done", || told.lock().unwrap().last().is_some_and(|at| at.done == 5 && !at.is_over));
    at[1].set();
    task.get()?;
    // Nobody waits for the hook here.
    eprintln!("{:?}", told.lock().unwrap().iter().map(|at| at.done).collect::<Vec<_>>());
    until("the end is told", || told.lock().unwrap().last().is_some_and(|at| at.is_over));
    assert_eq!(end_of(&told, "map"), (10, Some(10)));
    Ok(())
}

/// Says that it is there, and waits for the word to go on.
fn hold(at: &[Event]) {
    at[0].set();
    at[1].wait();
}

/// Its worker is killed at item 5 of ten. The results are sent when their range is done, so until then they die with the worker: items 3 and 4 are done once
/// more, after item 9.
fn die_at_five((n, at): (u64, SharedArray<Event>)) -> String {
    match n {
        5 if !at[0].is_set() => hold(&at[0..]),
        9 => hold(&at[2..]),
        3 if at[2].is_set() => hold(&at[4..]),
        _ => {}
    }
    n.to_string()
}

#[test]
fn what_is_done_once_more_is_not_taken_back() -> Result<()> {
    let _watch = watchdog(60, "a killed worker");
    let (pool, told) = listening(Pool::builder().processes(1).retries(1))?;
    let at = events(6)?;
    let task = pool.mapping(die_at_five, (0..10).map(|n| (n, at.clone()))).chunk_size(3).submit()?;
    wait(&at[0], "item 5 is being done");
    kill(pool.stats().workers[0].pid.expect("a worker is at it"));
    wait(&at[2], "item 9 is being done");
    until("all but items 5 and 9 are told to be done", || told.lock().unwrap().last().is_some_and(|at| at.done == 8));
    at[3].set();
    wait(&at[4], "item 3 is being done again");
    let before = told.lock().unwrap().len();
    until("that is looked at", || told.lock().unwrap().len() > before + 1);
    at[5].set();
    assert_eq!(task.get()?.concat(), "0123456789");
    until("the end is told", || told.lock().unwrap().last().is_some_and(|at| at.is_over));
    assert_eq!(end_of(&told, "map"), (10, Some(10)));
    Ok(())
}

/// Of each three items the middle one ends its worker, with the result of the first in its hands. When all have, the first one of all waits.
fn die_in_the_middle((n, at): (u64, SharedArray<Event>)) -> String {
    match n {
        0 if at[0].is_set() => hold(&at[1..]),
        n if n % 3 == 1 => {
            at[0].set();
            std::process::exit(1)
        }
        _ => {}
    }
    n.to_string()
}

#[test]
fn items_for_which_there_is_no_room_yet_are_not_done() -> Result<()> {
    let _watch = watchdog(60, "many deaths");
    let (pool, told) = listening(Pool::builder().processes(1))?;
    let at = events(3)?;
    // Eight pieces are left of four ranges: more than one round has room for.
    let task = pool.mapping(die_in_the_middle, (0..12).map(|n| (n, at.clone()))).chunk_size(3).submit()?;
    wait(&at[1], "item 0 is being done again");
    let before = told.lock().unwrap().len();
    until("that is looked at", || told.lock().unwrap().len() > before + 1);
    assert_eq!(told.lock().unwrap().last().map(|at| at.done), Some(4));
    at[2].set();
    assert!(matches!(task.get(), Err(PoolError::WorkerDied { task: 1, .. })));
    until("the end is told", || told.lock().unwrap().last().is_some_and(|at| at.is_over));
    assert_eq!(end_of(&told, "map"), (12, Some(12)));
    Ok(())
}

#[test]
fn a_call_that_is_ended_early_is_told_so() -> Result<()> {
    let _watch = watchdog(60, "a terminated pool");
    let (pool, told) = listening(Pool::builder().processes(1))?;
    let at = events(2)?;
    let task = pool.mapping(wait_at_five, (0..10).map(|n| (n, at.clone()))).chunk_size(1).submit()?;
    wait(&at[0], "item 5 is being done");
    pool.terminate();
    assert!(matches!(task.get(), Err(PoolError::Terminated)));
    let (done, total) = end_of(&told, "map");
    assert!(done <= 5 && total == Some(10), "{done}");
    Ok(())
}

#[test]
fn a_panicking_hook_is_not_called_again() -> Result<()> {
    let _watch = watchdog(60, "a panicking hook");
    let calls = Arc::new(Mutex::new(0));
    let count = Arc::clone(&calls);
    let hook = move |_| {
        *count.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) += 1;
        panic!("a hook of a test panics");
    };
    let pool = Pool::builder().processes(2).progress(hook).build()?;
    for _ in 0..3 {
        assert_eq!(pool.map(|n: u64| n * n, 0..4)?, [0, 1, 4, 9]);
        assert_eq!(pool.imap(|n: u64| n, 0..4).count(), 4);
    }
    assert_eq!(*calls.lock().unwrap(), 1);
    Ok(())
}

#[test]
fn a_hook_may_use_and_end_its_pool() -> Result<()> {
    let _watch = watchdog(60, "a hook with the pool");
    let own: Arc<Mutex<Option<Pool>>> = Arc::default();
    let theirs = Arc::clone(&own);
    let (to, squares) = std::sync::mpsc::channel();
    let hook = move |_| {
        let taken = theirs.lock().unwrap().take();
        if let Some(pool) = taken {
            to.send(pool.map(|n: u64| n * n, 0..4)).unwrap();
        }
    };
    let pool = Pool::builder().processes(2).progress(hook).build()?;
    let at = events(2)?;
    let task = pool.map_async(wait_at_five, (0..10).map(|n| (n, at.clone())).collect::<Vec<_>>())?;
    wait(&at[0], "item 5 is being done");
    *own.lock().unwrap() = Some(pool);
    at[1].set();
    assert_eq!(squares.recv().unwrap()?, [0, 1, 4, 9]);
    assert_eq!(task.get()?.len(), 10);
    Ok(())
}
