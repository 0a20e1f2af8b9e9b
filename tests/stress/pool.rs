//! A pool whose workers are killed and stopped: every task ends once, with its own result or its own worker's death.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Instant;

use coproc::{Plain, Result, SharedArray, SharedValue};
use coproc_pool::{Pool, PoolError, Task};
use coproc_tests::{Random, until};

use crate::{alone, duration};

/// What a task gives back: in the record, or, every fourth time, by the channel.
fn work(n: u64, begun: SharedArray<AtomicU64>, len: usize) -> (u64, String) {
    begun[n as usize % begun.len()].fetch_add(1, SeqCst);
    (n.wrapping_mul(n), "x".repeat(len))
}

fn quick(n: u64) -> u64 {
    n.wrapping_mul(3)
}

#[derive(Debug, Default)]
struct Count {
    right: u64,
    died: u64,
}

impl Count {
    fn note<R: PartialEq + std::fmt::Debug>(&mut self, result: Result<R, PoolError>, right: R) {
        match result {
            Ok(value) => {
                assert_eq!(value, right);
                self.right += 1;
            }
            Err(PoolError::WorkerDied { signal: Some(9), .. }) => self.died += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// Kills workers until the end, each a moment after the last; stops one now and then. How many it has killed.
fn murder(pool: &Pool, end: Instant) -> u64 {
    let mut random = Random(std::process::id().into());
    let mut kills = 0;
    while Instant::now() < end {
        let settled: u64 = pool.stats().workers.iter().map(|worker| worker.tasks).sum();
        let steps = random.below(100);
        until("tasks are done", || {
            Instant::now() >= end || pool.stats().workers.iter().map(|worker| worker.tasks).sum::<u64>() >= settled + steps
        });
        let workers = pool.stats().workers;
        let pick = |random: &mut Random| workers[random.below(workers.len() as u64) as usize].pid;
        let (victim, stopped) = (pick(&mut random), pick(&mut random).filter(|_| random.below(8) == 0));
        let stopped = stopped.filter(|_| stopped != victim).filter(|&pid| send(pid, libc::SIGSTOP));
        kills += u64::from(victim.is_some_and(|pid| send(pid, libc::SIGKILL)));
        if let Some(pid) = stopped {
            send(pid, libc::SIGCONT);
        }
    }
    kills
}

/// Sends a signal to a worker, unless it has ended and been waited for.
fn send(pid: u32, signal: i32) -> bool {
    // SAFETY: sends a signal, and touches no memory.
    coproc_tests::children().iter().any(|&(child, _)| child == pid) && unsafe { libc::kill(pid.cast_signed(), signal) } == 0
}

#[test]
fn pool_tasks() -> Result<()> {
    let _alone = alone("Pool, single tasks");
    let pool = Pool::new(4)?;
    let begun = SharedArray::<AtomicU64>::zeroed(1 << 16)?;
    let end = Instant::now() + duration();
    let (mut count, mut submitted) = (Count::default(), 0_u64);
    let kills = std::thread::scope(|scope| {
        let murder = scope.spawn(|| murder(&pool, end));
        while Instant::now() < end {
            let len = |n: u64| if n.is_multiple_of(4) { 300 } else { 3 };
            let tasks: Vec<(u64, Task<(u64, String)>)> = (submitted..submitted + 200)
                .map(|n| Ok((n, pool.apply_async(work, (n, &begun, len(n)))?)))
                .collect::<Result<_, PoolError>>()?;
            let small: Vec<_> = (0..3000).map(|n| pool.apply_async(quick, (n,))).collect::<Result<_, _>>()?;
            submitted += 200;
            for (n, task) in tasks {
                count.note(task.get(), (n.wrapping_mul(n), "x".repeat(len(n))));
            }
            for (n, task) in (0..).zip(small) {
                count.note(task.get(), quick(n));
            }
            count.note(pool.apply(quick, (7,)), 21);
        }
        Ok::<_, PoolError>(murder.join().unwrap())
    })?;
    println!("Pool, single tasks: {kills} kills, {count:?}");
    assert!(kills > 0 && count.died <= kills, "a task died without a kill of its own: {count:?}, {kills} kills");
    // Each of these was begun once: none twice, and none that has a result never.
    let total: u64 = begun.iter().map(|count| count.load(SeqCst)).sum();
    assert!(total <= submitted && total + count.died >= submitted, "{total} of {submitted} were begun, {count:?}");
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Plain)]
#[repr(C)]
struct Twin(u64, u64);

#[test]
fn pool_maps() -> Result<()> {
    let _alone = alone("Pool, maps");
    let pool = Pool::builder().processes(4).retries(1000).build()?;
    let end = Instant::now() + duration();
    let (mut rounds, mut poisoned) = (0_u64, 0_u64);
    let noted = SharedValue::new(AtomicU64::new(0))?;
    let kills = std::thread::scope(|scope| {
        let murder = scope.spawn(|| murder(&pool, end));
        while Instant::now() < end {
            rounds += 1;
            assert!(pool.map(quick, 0..20_000)?.into_iter().eq((0..20_000).map(quick)));
            let texts = pool.map(|n: usize| "y".repeat(n % 400), 0..2000)?;
            assert!(texts.iter().map(String::len).eq((0..2000).map(|n| n % 400)));
            let squares: Vec<u64> = pool.imap(quick, 0..300).chunk_size(7).collect::<Result<_, _>>()?;
            assert!(squares.into_iter().eq((0..300).map(quick)));
            let array = SharedArray::from_fn(5000, |n| Twin(n as u64, n as u64))?;
            let result = pool.for_each_chunk_of(&array, 50, |_: usize, chunk: &mut [Twin]| {
                chunk.iter_mut().for_each(|twin| *twin = Twin(twin.0 + 1, twin.1 + 1));
            });
            match result {
                Ok(()) => assert!(array.read()?.iter().enumerate().all(|(n, twin)| *twin == Twin(n as u64 + 1, n as u64 + 1))),
                Err(PoolError::WorkerDied { task, .. }) => {
                    poisoned += 1;
                    let elements = array.lock_or_repair(|_, _| ())?;
                    let fine = |n: usize, twin: &Twin| *twin == Twin(n as u64 + 1, n as u64 + 1);
                    let torn = elements.iter().enumerate().find(|(n, twin)| !fine(*n, twin)).map(|(n, _)| n / 50);
                    assert!(torn.is_none_or(|chunk| chunk >= task), "chunk {torn:?} is torn, but {task} was named");
                }
                Err(error) => panic!("{error:?}"),
            }
            noted.fetch_add(1, SeqCst);
        }
        Ok::<_, coproc::Error>(murder.join().unwrap())
    })?;
    println!("Pool, maps: {kills} kills, {rounds} rounds, {poisoned} arrays poisoned");
    assert!(kills > 0 && rounds > 0);
    Ok(())
}
