//! What Python's `multiprocessing.Process` and its module's functions do, one row after the other.
//!
//! | Python | test |
//! |---|---|
//! | `Process(target, args, kwargs)` | `process`: `up_to_eight_parameters`, `values_of_many_kinds_go_there_and_back` |
//! | `group`, a subclass's `run()` | not taken over: a function says what runs |
//! | `name` | `names_are_any_text`; defaults: `process`: `names`, `children_have_children`; `a_worker_has_a_name` |
//! | `start()` | `nothing_runs_before_it_is_spawned`; once, by its creator: by type, since `spawn` takes the builder |
//! | `run()` in the child | `process`: all |
//! | `join(timeout)` | `join_waits_as_long_as_it_is_told`, `signals_do_not_end_a_join`; again and again: `child`: `many_threads_wait_for_one_child_and_one_ends_it`; itself: by type |
//! | `is_alive()` | `a_child_is_alive_until_it_has_ended` |
//! | `exitcode` | `child`: `exit_statuses` |
//! | `pid`, `ident` | `a_pid_is_the_childs_own` |
//! | `daemon` | `daemons_may_have_children`; at the parent's end: `exit` |
//! | `authkey` | not needed: the channels of a child have no name by which a stranger could reach them |
//! | `sentinel` | `child`: `the_sentinel_is_readable_when_the_child_has_ended`; `the_first_of_several_to_end` |
//! | `terminate()`, `kill()` | `process`: `kill_and_terminate`; `children_of_a_terminated_child_end_too_and_at_once`; other signals: `child`; locks and queues: `kill_points` |
//! | `interrupt()` | `an_interrupted_child_is_asked_to_stop`; Ctrl-C: `process`: `an_interrupt_is_the_parents_affair` |
//! | `close()` | drop: `process`: `a_child_lives_on_without_its_handle_and_is_reaped` |
//! | a child's end: output | `process`: `standard_output_is_the_parents`; `a_panic_is_printed_under_the_childs_name` |
//! | a child's end: exit handlers | `exit_handlers_of_a_child_run` |
//! | a child's end: its threads | `process`: `a_result_counts_though_threads_still_run`: nobody waits for them, as in any Rust program |
//! | `current_process()`, `parent_process()` | `child`: `a_child_knows_itself_and_its_parent` |
//! | `active_children()` | `child`: `active_children_are_those_that_run` |
//! | `cpu_count()` | `std::thread::available_parallelism`: `a_pool_may_have_as_many_workers_as_there_are_cpus` |
//! | `freeze_support`, `set_executable`, main guard | not needed: `programs` |
//! | `get_context`, `set_start_method` | `each_way_of_starting_gives_the_same_child`; `ways`; `zygote` |
//! | `ProcessError` and the like | `process`: `a_panic_arrives_with_its_message_and_place` and what follows there |
//! | `get_logger()`, `log_to_stderr()` | the feature `tracing`: `crates/coproc-pool/tests/tracing.rs` |

#![allow(unsafe_code)]

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use coproc::{Event, Queue, Result, SharedArray, SharedValue, wait_any};
use coproc_pool::{Cause, Pool, Process, Stdio, current_name, interrupted, parent};
use coproc_tests::{End, children, events, pause, until, wait, watchdog};

const SOON: Duration = Duration::from_secs(20);

/// A child that is there once its first event is set, and goes on with the second.
fn two_steps(at: SharedArray<Event>) -> u32 {
    at[0].set();
    at[1].wait();
    7
}

#[test]
fn names_are_any_text() -> Result<()> {
    let _watch = watchdog(60, "names");
    let long = "a name that is longer than the fifteen bytes of the kernel";
    for name in ["worker", "worker", "", "zwölf 日本", "a/b\n", long] {
        let process = Process::builder().name(name).spawn(|| current_name().to_owned(), ())?;
        assert_eq!(process.name(), name);
        assert_eq!(process.join()?, name);
    }
    let error = Process::builder().name("the one that fails").spawn(|| -> () { std::process::exit(3) }, ())?.join().unwrap_err();
    assert_eq!(error.name, "the one that fails");
    assert!(error.to_string().starts_with("the one that fails (pid "), "{error}");
    // What was given is the beginning of a grandchild's default name too.
    let grandchild = || -> Result<String> { Ok(Process::spawn(|| current_name().to_owned(), ())?.join()?) };
    assert_eq!(Process::builder().name("above").spawn(grandchild, ())?.join()?, "above:1");
    Ok(())
}

#[test]
fn a_worker_has_a_name() -> Result<()> {
    let _watch = watchdog(60, "names of workers");
    let pool = Pool::new(2)?;
    let names: BTreeSet<_> = pool.map(|_: u32| current_name().to_owned(), 0..100)?.into_iter().collect();
    assert!(names.len() <= 2, "{names:?}");
    let numbers =
        |name: &str| name.strip_prefix("PoolWorker-").map(|numbers| numbers.split('-').map(str::parse::<u64>).collect());
    assert!(names.iter().all(|name| matches!(numbers(name), Some(Ok::<Vec<_>, _>(_)))), "{names:?}");
    Ok(())
}

#[test]
fn nothing_runs_before_it_is_spawned() -> Result<()> {
    fn look() -> Result<usize> {
        let builder = Process::builder().name("not yet").daemon(true).stdout(Stdio::null());
        let none = children().len();
        drop(Process::builder().name("never"));
        builder.spawn(|| (), ())?.join()?;
        Ok(none)
    }
    let _watch = watchdog(60, "builders");
    // In a process of its own, which has no other children.
    assert_eq!(Process::spawn(look, ())?.join()?, 0);
    Ok(())
}

#[test]
fn join_waits_as_long_as_it_is_told() -> Result<()> {
    let _watch = watchdog(60, "joins with a timeout");
    let at = events(2)?;
    let process = Process::spawn(two_steps, (&at,))?;
    wait(&at[0], "the child runs");
    assert_eq!(process.try_join()?, None);
    assert_eq!(process.join_timeout(Duration::ZERO)?, None);
    let start = Instant::now();
    assert_eq!(process.join_timeout(Duration::from_millis(30))?, None);
    assert!(start.elapsed() >= Duration::from_millis(30));
    at[1].set();
    // Longer than any clock can count.
    assert_eq!(process.join_timeout(Duration::MAX)?, Some(7));
    // There was one result.
    assert_eq!(process.try_join().unwrap_err().cause, Cause::Taken);
    assert_eq!(process.join().unwrap_err().cause, Cause::Taken);
    Ok(())
}

#[test]
fn signals_do_not_end_a_join() -> Result<()> {
    extern "C" fn nothing(_: libc::c_int) {}
    fn interrupted_again_and_again() -> Result<u32> {
        // SAFETY: all zero is a valid action.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
        // SAFETY: the handler does nothing. Without SA_RESTART, calls end with EINTR.
        assert_eq!(unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) }, 0);
        let at = events(2)?;
        let process = Process::spawn(two_steps, (&at,))?;
        wait(&at[0], "the child runs");
        // SAFETY: asks only.
        let joining = unsafe { libc::pthread_self() };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..2000 {
                    // SAFETY: the thread lives as long as this scope.
                    unsafe { libc::pthread_kill(joining, libc::SIGUSR1) };
                    std::thread::yield_now();
                }
                at[1].set();
            });
            Ok(process.join()?)
        })
    }
    let _watch = watchdog(60, "a join under signals");
    assert_eq!(Process::spawn(interrupted_again_and_again, ())?.join()?, 7);
    Ok(())
}

#[test]
fn a_child_is_alive_until_it_has_ended() -> Result<()> {
    let _watch = watchdog(60, "alive or not");
    let at = events(2)?;
    let process = Process::spawn(two_steps, (&at,))?;
    assert!(process.is_alive());
    wait(&at[0], "the child runs");
    assert!(process.is_alive());
    at[1].set();
    until("it has ended", || !process.is_alive());
    assert_eq!(process.try_join()?, Some(7), "the result is there as soon as the child is not alive");
    Ok(())
}

#[test]
fn a_pid_is_the_childs_own() -> Result<()> {
    let _watch = watchdog(60, "pids");
    let process = Process::spawn(std::process::id, ())?;
    let pid = process.pid();
    assert_ne!(pid, std::process::id());
    assert_eq!(process.join()?, pid);
    Ok(())
}

#[test]
fn daemons_may_have_children() -> Result<()> {
    fn daemon() -> Result<u32> {
        Ok(Process::spawn(|| 5_u32, ())?.join()?)
    }
    let _watch = watchdog(60, "daemons");
    let process = Process::builder().daemon(true).spawn(daemon, ())?;
    assert!(process.daemon());
    assert_eq!(process.join()?, 5);
    let process = Process::spawn(|| (), ())?;
    assert!(!process.daemon(), "a child is no daemon, unless told");
    process.join()?;
    Ok(())
}

#[test]
fn the_first_of_several_to_end() -> Result<()> {
    let _watch = watchdog(60, "the first to end");
    let at = events(4)?;
    let wait_for = |at: SharedArray<Event>, n: usize| {
        at[n].wait();
        n
    };
    let all = (0..4).map(|n| Process::spawn(wait_for, (&at, n))).collect::<Result<Vec<_>>>()?;
    at[2].set();
    let ready = wait_any(&[&all[0], &all[1], &all[2], &all[3]]);
    assert_eq!(ready, 2);
    at.iter().for_each(Event::set);
    for (n, process) in all.into_iter().enumerate() {
        assert_eq!(process.join()?, n);
    }
    Ok(())
}

#[test]
fn children_of_a_terminated_child_end_too_and_at_once() -> Result<()> {
    fn child(pid: SharedValue<AtomicU64>) -> Result<()> {
        let grandchild = |pid: SharedValue<AtomicU64>| -> () {
            pid.store(std::process::id().into(), SeqCst);
            pause()
        };
        // By a thread that is gone when this process ends.
        std::thread::spawn(move || Process::spawn(grandchild, (&pid,)).map(drop)).join().expect("it does not panic")?;
        pause()
    }
    let _watch = watchdog(60, "grandchildren");
    for number in [libc::SIGTERM, libc::SIGKILL] {
        let mut times = Vec::new();
        for _ in 0..5 {
            let pid = SharedValue::new(AtomicU64::new(0))?;
            let process = Process::spawn(child, (&pid,))?;
            until("the grandchild runs", || pid.load(SeqCst) != 0);
            let end = End::of(pid.load(SeqCst) as u32);
            let start = Instant::now();
            process.send_signal(number)?;
            assert!(end.comes_within(SOON), "the grandchild has outlived its parent");
            times.push(start.elapsed());
            assert_eq!(process.wait().signal(), Some(number));
        }
        // A busy machine may take its time, but not each time.
        assert!(times.iter().any(|&time| time < Duration::from_millis(100)), "grandchildren have lived on for {times:?}");
    }
    Ok(())
}

#[test]
fn an_interrupted_child_is_asked_to_stop() -> Result<()> {
    fn counts(at: SharedValue<Event>, interrupted_before: SharedValue<AtomicU64>) -> u32 {
        interrupted_before.store(interrupted().into(), SeqCst);
        at.set();
        while !interrupted() {
            std::thread::yield_now();
        }
        9
    }
    let _watch = watchdog(60, "interrupts");
    let (at, before) = (SharedValue::new(Event::new())?, SharedValue::new(AtomicU64::new(1))?);
    let process = Process::spawn(counts, (&at, &before))?;
    wait(&at, "the child runs");
    assert_eq!(before.load(SeqCst), 0);
    process.interrupt()?;
    assert_eq!(process.join()?, 9);
    assert!(!interrupted(), "it is the child's affair alone");
    Ok(())
}

#[test]
fn a_panic_is_printed_under_the_childs_name() -> Result<()> {
    let _watch = watchdog(60, "what a panic prints");
    let mut process = Process::builder().name("unlucky").stderr(Stdio::piped()).spawn(|| -> () { panic!("as told") }, ())?;
    let mut said = String::new();
    process.stderr.take().expect("it is piped").read_to_string(&mut said).map_err(coproc::Error::other)?;
    assert!(said.starts_with(&format!("process 'unlucky' (pid {}) panicked: as told, ", process.pid())), "{said}");
    assert!(matches!(process.join().unwrap_err().cause, Cause::Panicked { message, .. } if message.starts_with("as told, ")));
    Ok(())
}

/// What `exit_handlers_of_a_child_run` has in its child, for the handler, which takes no arguments.
static HANDLED: std::sync::OnceLock<SharedValue<AtomicU64>> = std::sync::OnceLock::new();

extern "C" fn at_exit() {
    HANDLED.get().map(|handled| handled.fetch_add(1, SeqCst));
}

#[test]
fn exit_handlers_of_a_child_run() -> Result<()> {
    fn registers(handled: SharedValue<AtomicU64>, exits: bool) {
        let _ = HANDLED.set(handled);
        // SAFETY: it is a function of this program, which is not unloaded.
        assert_eq!(unsafe { libc::atexit(at_exit) }, 0);
        if exits {
            std::process::exit(0);
        }
    }
    let _watch = watchdog(60, "exit handlers");
    let handled = SharedValue::new(AtomicU64::new(0))?;
    Process::spawn(registers, (&handled, false))?.join()?;
    assert_eq!(handled.load(SeqCst), 1);
    assert_eq!(Process::spawn(registers, (&handled, true))?.join().unwrap_err().cause, Cause::Exited { code: 0 });
    assert_eq!(handled.load(SeqCst), 2);
    Ok(())
}

#[test]
fn a_pool_may_have_as_many_workers_as_there_are_cpus() -> Result<()> {
    let _watch = watchdog(60, "a pool for all CPUs");
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    assert_eq!(Pool::new(cpus)?.map(|n: u64| n * n, 0..4)?, [0, 1, 4, 9]);
    Ok(())
}

#[test]
fn each_way_of_starting_gives_the_same_child() -> Result<()> {
    type Seen = (String, u32, Option<u32>, Vec<String>, Option<String>, usize);
    fn look(queue: Queue<u32>, n: u32) -> Result<Seen> {
        queue.send(n)?;
        let args = std::env::args().collect();
        Ok((
            current_name().to_owned(),
            std::os::unix::process::parent_id(),
            parent().map(|parent| parent.pid()),
            args,
            std::env::var("PATH").ok(),
            coproc_tests::descriptors().len(),
        ))
    }
    let _watch = watchdog(60, "ways of starting");
    let queue = Queue::new(4)?;
    let usual = Process::builder().name("one").spawn(look, (&queue, 1))?.join()?;
    let executed = Process::builder().name("one").exec().spawn(look, (&queue, 2))?.join()?;
    assert_eq!(usual, executed);
    assert_eq!((queue.recv()?, queue.recv()?), (1, 2));
    Ok(())
}
