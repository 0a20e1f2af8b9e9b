//! What a `Pool` does when its workers die, stop or misbehave: the answer, the other tasks, the pool afterwards, and the bound.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use coproc::{Error, Event, Queue, Result, SharedArray, SharedValue};
use coproc_pool::{Cause, Pool, PoolError, Process, Task};
use coproc_tests::{End, events, kill, pause, resume, rights, stop, until, wait, watchdog};

/// Far beyond what the pool takes, on a machine that does other things too.
const SOON: Duration = Duration::from_secs(10);

fn square(n: u64) -> u64 {
    n * n
}

/// What a task says of itself before it waits to be killed.
fn report_and_pause(pid: SharedValue<AtomicU64>, at: SharedArray<Event>) {
    pid.store(std::process::id().into(), SeqCst);
    at[0].set();
    pause()
}

/// A task that runs for ever, and the pid of its worker.
fn stuck(pool: &Pool) -> Result<(Task<()>, u32)> {
    let (pid, at) = (SharedValue::new(AtomicU64::new(0))?, events(1)?);
    let task = pool.apply_async(report_and_pause, (&pid, &at))?;
    wait(&at[0], "the task runs");
    Ok((task, pid.load(SeqCst) as u32))
}

fn pids(pool: &Pool) -> Vec<u32> {
    pool.stats().workers.iter().filter_map(|worker| worker.pid).collect()
}

/// Asserts that the pool serves: every seat has a worker, and calls give what they should.
fn serves(pool: &Pool) -> Result<()> {
    assert!(pool.map(square, 0..100)?.into_iter().eq((0..100).map(square)));
    assert_eq!(pool.apply(|text: String| text.len(), ("x".repeat(1000),))?, 1000);
    until("every seat has a worker", || pids(pool).len() == pool.processes());
    Ok(())
}

fn died<T: std::fmt::Debug>(result: Result<T, PoolError>) -> (u32, Option<i32>, Cause) {
    match result {
        Err(PoolError::WorkerDied { pid, signal, cause, .. }) => (pid, signal, cause),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_worker_killed_at_a_task() -> Result<()> {
    let _watch = watchdog(60, "a killed worker");
    let pool = Pool::new(2)?;
    for _ in 0..10 {
        let others = (0..50).map(|n| pool.apply_async(square, (n,))).collect::<Result<Vec<_>, _>>()?;
        let (task, pid) = stuck(&pool)?;
        let behind = (0..50).map(|n| pool.apply_async(square, (n,))).collect::<Result<Vec<_>, _>>()?;
        let start = Instant::now();
        kill(pid);
        assert_eq!(died(task.get()), (pid, Some(9), Cause::Killed { signal: 9 }));
        assert!(start.elapsed() < SOON);
        for (n, task) in (0..50).chain(0..50).zip(others.into_iter().chain(behind)) {
            assert_eq!(task.get()?, n * n);
        }
        serves(&pool)?;
        assert!(!pids(&pool).contains(&pid));
    }
    Ok(())
}

#[test]
fn an_error_callback_hears_of_a_death() -> Result<()> {
    let _watch = watchdog(60, "a death and a callback");
    let pool = Pool::new(1)?;
    let (sender, errors) = std::sync::mpsc::channel();
    let task = pool
        .task(|| -> () { kill(std::process::id()) }, ())
        .error_callback(move |error| sender.send(error.clone()).unwrap())
        .submit()?;
    task.wait();
    assert!(matches!(errors.try_recv(), Ok(PoolError::WorkerDied { signal: Some(9), .. })));
    serves(&pool)
}

#[test]
fn tasks_that_end_their_worker() -> Result<()> {
    fn overflow(n: u64) -> u64 {
        if std::hint::black_box(n) == u64::MAX { 0 } else { 1 + overflow(n + 1) + overflow(n + 2) }
    }
    fn starve() -> usize {
        // The limit stands in for a machine without memory: no page is touched.
        let limit = libc::rlimit { rlim_cur: 1 << 20, rlim_max: 1 << 20 };
        // SAFETY: reads one `rlimit`.
        unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) };
        std::hint::black_box(vec![1_u8; 1 << 30]).len()
    }
    let _watch = watchdog(60, "tasks that end their worker");
    let pool = Pool::new(2)?;
    assert_eq!(died(pool.apply(|code: i32| -> () { std::process::exit(code) }, (3,))).2, Cause::Exited { code: 3 });
    assert_eq!(died(pool.apply(|| -> () { std::process::exit(0) }, ())).2, Cause::Exited { code: 0 });
    assert_eq!(died(pool.apply(|| -> () { std::process::abort() }, ())).1, Some(libc::SIGABRT));
    assert_eq!(died(pool.apply(starve, ())).1, Some(libc::SIGABRT));
    assert_eq!(died(pool.apply(overflow, (0,))).2, Cause::StackOverflow);
    serves(&pool)
}

#[test]
fn a_replaced_worker_holds_back_no_other_signals() -> Result<()> {
    fn held_back() -> Result<String> {
        let status = std::fs::read_to_string("/proc/thread-self/status")?;
        Ok(status.lines().find(|line| line.starts_with("SigBlk:")).unwrap_or_default().to_owned())
    }
    let _watch = watchdog(60, "signals of a replaced worker");
    rights::hold_back(libc::SIGUSR2);
    let pool = Pool::new(1)?;
    let first = pool.apply(held_back, ())?;
    assert_eq!(first, held_back()?);
    assert_eq!(died(pool.apply(|| -> () { std::process::abort() }, ())).1, Some(libc::SIGABRT));
    assert_eq!(pool.apply(held_back, ())?, first);
    Ok(())
}

#[test]
fn a_retried_task_is_begun_anew() -> Result<()> {
    fn work(begun: SharedValue<AtomicU64>, deaths: u64, text: String) -> (u64, usize) {
        let before = begun.fetch_add(1, SeqCst);
        if before < deaths {
            kill(std::process::id());
        }
        (before, text.len())
    }
    let _watch = watchdog(60, "retries");
    let pool = Pool::builder().processes(2).retries(2).build()?;
    for len in [3, 10_000] {
        let begun = SharedValue::new(AtomicU64::new(0))?;
        assert_eq!(pool.apply(work, (&begun, 2, "x".repeat(len)))?, (2, len));
        let begun = SharedValue::new(AtomicU64::new(0))?;
        assert_eq!(died(pool.apply(work, (&begun, 9, "x".repeat(len)))).1, Some(9));
        assert_eq!(begun.load(SeqCst), 3);
    }
    let begun = SharedArray::<AtomicU64>::zeroed(50)?;
    let once = |(n, begun): (usize, SharedArray<AtomicU64>)| {
        if begun[n].fetch_add(1, SeqCst) == 0 && n % 10 == 3 {
            kill(std::process::id());
        }
        n
    };
    assert!(pool.map(once, (0..50).map(|n| (n, begun.clone())))?.into_iter().eq(0..50));
    assert!(begun.iter().enumerate().all(|(n, count)| count.load(SeqCst) == if n % 10 == 3 { 2 } else { 1 }));
    // Arguments without handles lie on the board, over which the result is written.
    let small = pool.task(|n: u64| n + u64::from(std::process::id()), (1,)).retries(1).submit()?;
    assert!(small.get()? > 1);
    serves(&pool)
}

#[test]
fn results_taken_before_a_worker_dies_are_right() -> Result<()> {
    const ITEMS: usize = 100;
    let _watch = watchdog(60, "results that are taken early");
    let pool = Pool::builder().processes(2).retries(1).build()?;
    // Ranges that are done are copied while others are not: the last item kills its worker when most are done.
    let at_last = |(n, begun, deaths): (usize, SharedArray<AtomicU64>, u64)| {
        let before = begun[n].fetch_add(1, SeqCst);
        if n == ITEMS - 1 && before < deaths {
            until("the first ranges are done", || begun.iter().take(ITEMS - 20).all(|count| count.load(SeqCst) > 0));
            kill(std::process::id());
        }
        n * n
    };
    for deaths in [1, 2] {
        let begun = SharedArray::<AtomicU64>::zeroed(ITEMS)?;
        let result = pool.mapping(at_last, (0..ITEMS).map(|n| (n, begun.clone(), deaths))).chunk_size(10).run();
        match result {
            Ok(squares) => assert!(deaths == 1 && squares.into_iter().eq((0..ITEMS).map(|n| n * n))),
            Err(error) => {
                assert!(deaths == 2 && matches!(error, PoolError::WorkerDied { task, .. } if task == ITEMS - 1), "{error}")
            }
        }
    }
    // So many that workers give way after each range.
    assert!(pool.map(square, 0..300_000)?.into_iter().eq((0..300_000).map(square)));
    let panics = pool.map(|n: u64| n / 299_999_u64.saturating_sub(n).min(1), 0..300_000);
    assert!(matches!(panics, Err(PoolError::Task { task: 299_999, .. })), "{:?}", panics.map(|all| all.len()));
    serves(&pool)
}

#[test]
fn a_task_that_takes_too_long() -> Result<()> {
    const LIMIT: Duration = Duration::from_millis(700);
    let _watch = watchdog(60, "a task that takes too long");
    let pool = Pool::builder().processes(2).task_timeout(LIMIT).build()?;
    let start = Instant::now();
    assert_eq!(died(pool.apply(|| -> () { pause() }, ())).2, Cause::TimedOut { after: LIMIT });
    assert!((LIMIT..SOON).contains(&start.elapsed()));
    // One that stands still, and is not at a wait that a signal could end.
    let (task, pid) = stuck(&pool)?;
    stop(pid);
    assert_eq!(died(task.get()).2, Cause::TimedOut { after: LIMIT });
    // An item of a map: the others are done. A worker that has many items, each quick, is not late.
    let slow = |n: u64| if n == 30 { pause() } else { n };
    match pool.map(slow, 0..60) {
        Err(PoolError::WorkerDied { task: 30, cause: Cause::TimedOut { .. }, .. }) => {}
        other => panic!("{other:?}"),
    }
    let quick = |n: u64| {
        std::thread::sleep(Duration::from_millis(20));
        n
    };
    // As long as the limit in all, if not more.
    assert_eq!(pool.mapping(quick, 0..80).chunk_size(40).run()?.len(), 80);
    serves(&pool)
}

#[test]
fn idle_workers_that_are_killed_or_stand_still() -> Result<()> {
    let _watch = watchdog(60, "idle workers");
    let pool = Pool::new(3)?;
    for round in 0..10 {
        let workers = pids(&pool);
        let killed = &workers[..1 + round % 3];
        killed.iter().for_each(|&pid| kill(pid));
        assert_eq!(pool.apply(square, (round as u64,))?, (round * round) as u64);
        serves(&pool)?;
        until("the dead are replaced", || !pids(&pool).iter().any(|pid| killed.contains(pid)));
        serves(&pool)?;
    }
    let workers = pids(&pool);
    stop(workers[0]);
    stop(workers[2]);
    // The third does it all, though a wake may have gone to one that stands.
    for n in 0..50 {
        assert_eq!(pool.apply_async(square, (n,))?.get_timeout(SOON)?, n * n);
    }
    assert!(pool.map(square, 0..100)?.into_iter().eq((0..100).map(square)));
    resume(workers[0]);
    resume(workers[2]);
    serves(&pool)
}

#[test]
fn all_workers_killed_at_once() -> Result<()> {
    let _watch = watchdog(60, "all workers killed at once");
    let pool = Pool::new(4)?;
    for _ in 0..10 {
        let stuck = (0..4).map(|_| stuck(&pool)).collect::<Result<Vec<_>>>()?;
        let behind = (0..100).map(|n| pool.apply_async(square, (n,))).collect::<Result<Vec<_>, _>>()?;
        let start = Instant::now();
        stuck.iter().for_each(|(_, pid)| kill(*pid));
        for (task, pid) in stuck {
            assert_eq!(died(task.get()), (pid, Some(9), Cause::Killed { signal: 9 }));
        }
        for (n, task) in (0..).zip(behind) {
            assert_eq!(task.get()?, n * n);
        }
        assert!(start.elapsed() < SOON);
    }
    serves(&pool)
}

#[test]
fn workers_killed_while_they_start() -> Result<()> {
    let _watch = watchdog(120, "workers killed while they start");
    for delay in 0..20 {
        let pool = Pool::new(2)?;
        for _ in 0..delay * 3000 {
            std::hint::spin_loop();
        }
        pids(&pool).into_iter().for_each(kill);
        serves(&pool)?;
    }
    Ok(())
}

#[test]
fn workers_killed_while_they_send_a_result() -> Result<()> {
    fn work(len: usize, pids: Queue<u32>) -> String {
        let _ = pids.try_send(std::process::id());
        "x".repeat(len)
    }
    let _watch = watchdog(120, "workers killed while they send");
    let pool = Pool::new(2)?;
    let mut deaths = 0;
    for round in 0..60 {
        let pids = Queue::new(8)?;
        // Long enough to be sent, in one packet or in a segment of its own.
        let len = if round % 2 == 0 { 2_000 } else { 2_000_000 };
        let task = pool.apply_async(work, (len, &pids))?;
        let pid = pids.recv()?;
        for _ in 0..round * 200 {
            std::hint::spin_loop();
        }
        kill(pid);
        match task.get() {
            Ok(text) => assert_eq!(text.len(), len),
            Err(PoolError::WorkerDied { pid: dead, signal: Some(9), .. }) => {
                assert_eq!(dead, pid);
                deaths += 1;
            }
            Err(error) => panic!("{error:?}"),
        }
        serves(&pool)?;
    }
    assert!(deaths > 0, "none was killed in time");
    Ok(())
}

#[test]
fn an_initializer_that_fails_is_an_error_that_says_why() -> Result<()> {
    let _watch = watchdog(120, "initializers that fail");
    let fails = || -> Result<()> { Err(Error::other("no data base")) };
    let panics = || -> () { panic!("no data base") };
    let dies = || -> () { kill(std::process::id()) };
    let pools = [
        Pool::builder().processes(2).initializer(fails, ()).build()?,
        Pool::builder().processes(2).initializer(panics, ()).build()?,
        Pool::builder().processes(2).initializer(dies, ()).build()?,
    ];
    for pool in pools {
        for _ in 0..2 {
            let start = Instant::now();
            let Err(PoolError::CrashLoop { deaths, cause }) = pool.apply(square, (1,)) else { panic!("a worker served") };
            assert!((1..50).contains(&deaths) && start.elapsed() < SOON, "{deaths} deaths, {:?}", start.elapsed());
            let text = cause.to_string();
            assert!(text.contains("no data base") || cause == Cause::Killed { signal: 9 }, "{text}");
            assert!(matches!(pool.map(square, 0..10), Err(PoolError::CrashLoop { .. })));
        }
        let start = Instant::now();
        drop(pool);
        assert!(start.elapsed() < SOON);
    }
    Ok(())
}

#[test]
fn an_initializer_killed_now_and_then_costs_nothing() -> Result<()> {
    fn initialize(count: SharedValue<AtomicU64>) {
        if count.fetch_add(1, SeqCst).is_multiple_of(2) {
            kill(std::process::id());
        }
    }
    let _watch = watchdog(60, "initializers that are killed");
    let count = SharedValue::new(AtomicU64::new(0))?;
    let pool = Pool::builder().processes(3).initializer(initialize, (&count,)).build()?;
    serves(&pool)?;
    until("all workers were prepared, one after another that was killed", || count.load(SeqCst) >= 6);
    serves(&pool)?;
    Ok(())
}

#[test]
fn terminate_in_every_state() -> Result<()> {
    let _watch = watchdog(120, "terminate");
    // At once, idle, with tasks that run, wait on the board, wait behind it, and with a map under way; with workers dead or standing.
    for round in 0..12 {
        let pool = Pool::new(3)?;
        let ends: Vec<End> = pids(&pool).into_iter().map(End::of).collect();
        let mut tasks = Vec::new();
        let mut mapped = None;
        if round > 1 {
            let (task, pid) = stuck(&pool)?;
            tasks.push(task);
            match round % 4 {
                0 => stop(pid),
                1 => kill(pid),
                _ => {}
            }
        }
        if round > 4 {
            tasks.extend((0..2000).map(|_| pool.apply_async(|| -> () { pause() }, ())).collect::<Result<Vec<_>, _>>()?);
            mapped = Some(pool.map_async(|_: u64| -> () { pause() }, 0..100)?);
        }
        let start = Instant::now();
        std::thread::scope(|scope| {
            // Somebody waits while it happens.
            let waits = tasks.last().map(|task| scope.spawn(|| task.wait()));
            pool.terminate();
            if let Some(waits) = waits {
                waits.join().unwrap();
            }
        });
        assert!(start.elapsed() < SOON);
        assert!(ends.iter().all(|end| end.comes_within(SOON)));
        for task in tasks {
            assert!(matches!(task.get(), Err(PoolError::Terminated | PoolError::WorkerDied { .. })));
        }
        if let Some(mapped) = mapped {
            assert!(matches!(mapped.get(), Err(PoolError::Terminated)));
        }
        assert!(matches!(pool.apply(square, (1,)), Err(PoolError::Terminated)));
        drop(pool);
    }
    Ok(())
}

#[test]
fn the_pools_process_is_killed() -> Result<()> {
    fn owner(pids: Queue<u32>) -> Result<()> {
        let pool = Pool::new(3)?;
        let (task, _) = stuck(&pool)?;
        let _mapped = pool.map_async(|n: u64| if n == 5 { pause() } else { n }, 0..100)?;
        pool.stats().workers.iter().filter_map(|worker| worker.pid).try_for_each(|pid| pids.send(pid))?;
        task.get()?;
        Ok(())
    }
    let _watch = watchdog(60, "the death of the pool's process");
    let pids = Queue::new(3)?;
    let owner = Process::spawn(owner, (&pids,))?;
    let ends: Vec<End> = (0..3).map(|_| pids.recv().map(End::of)).collect::<Result<_, _>>()?;
    owner.kill()?;
    assert!(ends.iter().all(|end| end.comes_within(SOON)), "a worker has outlived its pool");
    Ok(())
}

#[test]
fn one_death_does_not_spoil_what_others_sent() -> Result<()> {
    // Results that are sent, not stored; one in seven kills the worker that may still have others in hand.
    let work = |n: usize| {
        if n % 70 == 33 {
            kill(std::process::id());
        }
        "x".repeat(n % 300)
    };
    let _watch = watchdog(120, "deaths among sent results");
    let pool = Pool::builder().processes(3).build()?;
    for _ in 0..10 {
        let mut dead = 0;
        for (n, result) in pool.imap(work, 0..300).enumerate() {
            match result {
                Ok(text) => assert_eq!(text.len(), n % 300),
                Err(PoolError::WorkerDied { task, .. }) => {
                    assert_eq!((task, n % 70), (n, 33));
                    dead += 1;
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(dead, 4);
        assert!(matches!(pool.map(work, 0..300), Err(PoolError::WorkerDied { task: 33, .. })));
        let fine = pool.map(work, (0..300).filter(|n| n % 70 != 33))?;
        assert!(fine.iter().map(String::len).eq((0..300).filter(|n| n % 70 != 33)));
    }
    serves(&pool)
}
