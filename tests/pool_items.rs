//! Each item of a call is done once, whoever is killed at whatever moment: results that are numbers are not counted, but tell by themselves whether
//! they are there.

use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use coproc::{Result, SharedArray};
use coproc_pool::{Cause, Pool, PoolError};
use coproc_tests::rig::busy;
use coproc_tests::{kill, watchdog};

const ITEMS: usize = 40_000;
const ROUNDS: u64 = 60;

/// How often each item was begun: the workers have it from their initializer.
static BEGUN: OnceLock<SharedArray<AtomicU64>> = OnceLock::new();

fn keep(begun: SharedArray<AtomicU64>) {
    BEGUN.set(begun).expect("the initializer runs once");
}

fn begin(n: u64) -> u64 {
    BEGUN.get().expect("the initializer ran")[n as usize].fetch_add(1, Relaxed)
}

/// One instruction that others can see, between two results.
fn seen(n: u64) -> u64 {
    begin(n);
    n + 7
}

/// Nothing that anybody can see: the compiler may do several at once.
fn unseen(n: u64) -> u64 {
    n.wrapping_mul(n) ^ 5
}

fn pool(retries: u32) -> Result<(Pool, SharedArray<AtomicU64>)> {
    let begun = SharedArray::zeroed(ITEMS)?;
    let pool = Pool::builder().processes(3).retries(retries).initializer(keep, (&begun,)).build()?;
    Ok((pool, begun))
}

/// How often the items were begun, which is forgotten.
fn take(begun: &[AtomicU64]) -> Vec<u64> {
    begun.iter().map(|count| count.swap(0, Relaxed)).collect()
}

/// What `call` gives while one worker after the other is killed; how many were.
fn amid_kills<R>(pool: &Pool, round: u64, call: impl FnOnce() -> R) -> (R, u64) {
    thread::scope(|scope| {
        let killer = scope.spawn(move || {
            let mut kills = 0;
            for (seat, worker) in pool.stats().workers.into_iter().enumerate() {
                busy(Duration::from_micros(5 + 13 * (round + seat as u64) % 190));
                // SAFETY: sends a signal. It may have died, of the last kill, and nobody has taken note of it yet.
                kills += worker.pid.map_or(0, |pid| u64::from(unsafe { libc::kill(pid.cast_signed(), libc::SIGKILL) } == 0));
            }
            kills
        });
        let result = call();
        (result, killer.join().expect("the killer"))
    })
}

/// Asserts that nothing was done twice, and nothing left out but items at which workers died.
fn done_once(begun: &[u64], kills: u64) {
    assert_eq!(begun.iter().position(|&count| count > 1), None, "an item was done twice");
    let left_out = begun.iter().filter(|&&count| count == 0).count() as u64;
    assert!(left_out <= kills, "{left_out} items were left out, {kills} workers were killed");
}

#[test]
fn what_can_be_seen_of_an_item_is_seen_once() -> Result<()> {
    let _watch = watchdog(120, "items of killed workers");
    let (pool, begun) = pool(0)?;
    let (input, output) = (SharedArray::from_fn(ITEMS, |n| n as u64)?, SharedArray::zeroed(ITEMS)?);
    let mut deaths = 0;
    for round in 0..ROUNDS {
        let (result, kills) = amid_kills(&pool, round, || pool.map(seen, 0..ITEMS as u64));
        match result {
            Ok(all) => assert!(all.into_iter().eq((0..ITEMS as u64).map(|n| n + 7))),
            Err(PoolError::WorkerDied { .. }) => deaths += 1,
            Err(error) => panic!("{error}"),
        }
        done_once(&take(&begun), kills);
        let (result, kills) = amid_kills(&pool, round, || pool.map_array_into(seen, &input, &output));
        let died_at = match result {
            Ok(()) => ITEMS,
            Err(PoolError::WorkerDied { task, .. }) => task,
            Err(error) => panic!("{error}"),
        };
        deaths += u64::from(died_at < ITEMS);
        let mut locked = output.lock_or_repair(|_, _| ())?;
        let results = locked.to_vec();
        locked.fill(0);
        drop(locked);
        let wrong = results.iter().enumerate().filter(|&(n, &result)| result != n as u64 + 7).count() as u64;
        assert!(wrong <= kills, "{wrong} results are wrong, {kills} workers were killed");
        assert!(results[..died_at].iter().enumerate().all(|(n, &result)| result == n as u64 + 7));
        done_once(&take(&begun), kills);
    }
    assert!(deaths > 0, "no kill hit");
    Ok(())
}

#[test]
fn results_are_right_if_items_may_be_begun_anew() -> Result<()> {
    let _watch = watchdog(120, "items of killed workers, begun anew");
    let (pool, begun) = pool(20)?;
    let input = SharedArray::from_fn(ITEMS, |n| n as u64)?;
    let all: Range<u64> = 0..ITEMS as u64;
    for round in 0..ROUNDS {
        let (result, kills) = amid_kills(&pool, round, || pool.map(seen, all.clone()));
        assert!(result?.into_iter().eq(all.clone().map(|n| n + 7)));
        let begun = take(&begun);
        assert!(begun.iter().all(|&count| count > 0));
        assert!(begun.iter().sum::<u64>() <= ITEMS as u64 + kills, "more was begun anew than workers died");
        let (result, _) = amid_kills(&pool, round, || pool.map(unseen, all.clone()));
        assert!(result?.into_iter().eq(all.clone().map(unseen)));
        let (result, _) = amid_kills(&pool, round, || pool.map_array(unseen, &input));
        assert!(result?.to_vec()?.into_iter().eq(all.clone().map(unseen)));
    }
    Ok(())
}

/// At the ends of ranges and stretches, and in between.
const FATAL: [u64; 7] = [0, 1, 255, 256, 513, 39_998, 39_999];

fn dies(n: u64) -> u64 {
    begin(n);
    if FATAL.contains(&n) {
        kill(std::process::id());
    }
    n
}

fn panics(n: u64) -> u64 {
    begin(n);
    assert!(!FATAL.contains(&n), "as the test wants it");
    n
}

#[test]
fn it_is_known_at_which_item_a_worker_died_or_panicked() -> Result<()> {
    let _watch = watchdog(120, "fatal items");
    let (pool, begun) = pool(0)?;
    let once = |first: u64, chunk: usize| {
        let wrong = (0..).zip(take(&begun)).find(|&(n, count)| count != u64::from(n >= first));
        assert_eq!(wrong, None, "from {first} by {chunk}");
    };
    for chunk in [200, 256, ITEMS] {
        for first in [0, 1, 2, 255, 256, 257, 5_000, 39_998] {
            let items = first..ITEMS as u64;
            let fatal = FATAL.iter().find(|&&n| n >= first).map_or(0, |&n| (n - first) as usize);
            let died = pool.mapping(dies, items.clone()).chunk_size(chunk).run();
            assert!(matches!(died, Err(PoolError::WorkerDied { task, .. }) if task == fatal), "from {first} by {chunk}");
            once(first, chunk);
            let panicked = pool.mapping(panics, items).chunk_size(chunk).run();
            let is_right = |task| task == fatal;
            assert!(
                matches!(panicked, Err(PoolError::Task { task, cause: Cause::Panicked { .. } }) if is_right(task)),
                "from {first} by {chunk}"
            );
            once(first, chunk);
        }
    }
    Ok(())
}

/// So much to say that it is sent before the range is done: what is done from then on needs not be counted again.
fn panics_at_length(n: u64) -> u64 {
    begin(n);
    assert!(![1_000, 5_000, 5_001, 20_000].contains(&n), "as the test wants it: {}", "x".repeat(9_000));
    n
}

#[test]
fn long_words_of_panics() -> Result<()> {
    let _watch = watchdog(60, "panics of many words");
    let (pool, begun) = pool(0)?;
    for first in [0, 1_001, 20_001] {
        let result = pool.mapping(panics_at_length, first..ITEMS as u64).chunk_size(ITEMS).run();
        match first {
            0 => assert!(matches!(result, Err(PoolError::Task { task: 1_000, cause: Cause::Panicked { .. } }))),
            1_001 => assert!(matches!(result, Err(PoolError::Task { task: 3_999, cause: Cause::Panicked { .. } }))),
            _ => assert!(result?.into_iter().eq(first..ITEMS as u64)),
        }
        assert!((0..).zip(take(&begun)).all(|(n, count)| count == u64::from(n >= first)), "from {first}");
    }
    Ok(())
}
