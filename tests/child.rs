//! `Child`, and `Process` beside its ends: waiting, joining again, signals, relatives, and what a child says when its stack overflows.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use coproc::{Event, Result, SharedArray, SharedValue, wait_any};
use coproc_pool::{Cause, Pool, PoolError, Process, active_children, current_name, interrupted, parent};
use coproc_tests::{
    children, events, ignore_children, kill, outlive_parent, pause, signal, steal_a_child, until, wait, watchdog,
};
use rustix::event::{PollFd, PollFlags, Timespec};

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(20);

/// A child that runs until its second event is set.
fn held(at: &SharedArray<Event>) -> Result<Process<u32>> {
    let child = Process::spawn(
        |at: SharedArray<Event>| {
            at[0].set();
            at[1].wait();
            7
        },
        (at,),
    )?;
    wait(&at[0], "the child runs");
    Ok(child)
}

#[test]
fn a_join_that_timed_out_is_made_again() -> Result<()> {
    let _watch = watchdog(60, "joins with a timeout");
    let at = events(2)?;
    let child = held(&at)?;
    let begin = Instant::now();
    assert_eq!(child.join_timeout(SHORT)?, None);
    assert!(begin.elapsed() >= SHORT);
    assert_eq!((child.join_timeout(Duration::ZERO)?, child.try_join()?), (None, None));
    assert_eq!((child.wait_timeout(SHORT), child.exit_status()), (None, None));
    at[1].set();
    assert_eq!(child.join_timeout(LONG)?, Some(7));
    Ok(())
}

#[test]
fn a_result_is_given_once() -> Result<()> {
    let _watch = watchdog(60, "taken results");
    let child = Process::spawn(|| 5_u8, ())?;
    assert_eq!(child.wait().code(), Some(0));
    assert_eq!(child.try_join()?, Some(5));
    assert_eq!(child.try_join().unwrap_err().cause, Cause::Taken);
    assert_eq!(child.wait().code(), Some(0));
    assert_eq!(child.join().unwrap_err().cause, Cause::Taken);
    // A failure is told as often as one asks.
    let child = Process::spawn(|| -> u8 { std::process::exit(4) }, ())?;
    child.wait();
    for _ in 0..2 {
        assert_eq!(child.try_join().unwrap_err().cause, Cause::Exited { code: 4 });
    }
    assert_eq!(child.join().unwrap_err().cause, Cause::Exited { code: 4 });
    Ok(())
}

#[test]
fn exit_statuses() -> Result<()> {
    let _watch = watchdog(60, "exit statuses");
    let status = |child: Process<()>| child.wait();
    let returned = status(Process::spawn(|| (), ())?);
    assert_eq!((returned.code(), returned.signal(), returned.success()), (Some(0), None, true));
    let failed = status(Process::spawn(|| Err::<(), _>(coproc::Error::other("no")), ())?);
    assert_eq!((failed.code(), failed.success()), (Some(1), false));
    let panicked = status(Process::spawn(|| -> () { panic!("on purpose") }, ())?);
    assert_eq!(panicked.code(), Some(101));
    let killed = Process::spawn(|| -> () { pause() }, ())?;
    killed.kill()?;
    let killed = status(killed);
    assert_eq!((killed.code(), killed.signal(), killed.success(), killed.is_unknown()), (None, Some(9), false, false));
    assert_eq!(format!("{failed}, {killed}"), "exit code 1, signal 9 (SIGKILL)");
    Ok(())
}

#[test]
fn an_exit_status_that_somebody_took_is_right_or_unknown() -> Result<()> {
    fn ignorant() -> Result<bool> {
        ignore_children();
        let status = Process::spawn(|| -> () { std::process::exit(3) }, ())?.wait();
        Ok(status.is_unknown() && status.code().is_none() || status.code() == Some(3))
    }
    fn robbed() -> Result<bool> {
        drop(std::thread::spawn(|| {
            loop {
                steal_a_child();
                std::thread::yield_now();
            }
        }));
        let all = (0..10).map(|_| Process::spawn(|| -> () { std::process::exit(3) }, ())).collect::<Result<Vec<_>>>()?;
        Ok(all.iter().map(|child| child.wait()).all(|status| status.is_unknown() || status.code() == Some(3)))
    }
    let _watch = watchdog(60, "stolen exit statuses");
    assert!(Process::spawn(ignorant, ())?.join()?);
    assert!(Process::spawn(robbed, ())?.join()?);
    Ok(())
}

#[test]
fn many_threads_wait_for_one_child_and_one_ends_it() -> Result<()> {
    let _watch = watchdog(60, "threads that wait");
    let at = events(2)?;
    let process = held(&at)?;
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..4).map(|_| scope.spawn(|| process.child().clone().wait())).collect();
        process.child().clone().terminate().unwrap();
        for thread in waiting {
            assert_eq!(thread.join().unwrap().signal(), Some(libc::SIGTERM));
        }
    });
    assert_eq!(process.join().unwrap_err().cause, Cause::Killed { signal: libc::SIGTERM });
    Ok(())
}

#[test]
fn the_sentinel_is_readable_when_the_child_has_ended() -> Result<()> {
    let _watch = watchdog(60, "the sentinel");
    let at = events(2)?;
    let child = held(&at)?;
    let ready = |time: Duration| {
        let mut files = [PollFd::from_borrowed_fd(child.as_fd(), PollFlags::IN)];
        rustix::event::poll(&mut files, Some(&Timespec::try_from(time).unwrap())).unwrap() == 1
    };
    assert!(!ready(Duration::ZERO));
    at[1].set();
    assert!(ready(LONG));
    assert_eq!(wait_any(&[child.child()]), 0);
    assert_eq!(child.join()?, 7);
    Ok(())
}

#[test]
fn any_signal_can_be_sent() -> Result<()> {
    let _watch = watchdog(60, "signals");
    for number in [libc::SIGUSR1, libc::SIGSEGV, libc::SIGBUS, libc::SIGRTMIN(), libc::SIGRTMAX()] {
        let at = events(2)?;
        let child = held(&at)?;
        child.send_signal(number)?;
        assert_eq!(child.wait().signal(), Some(number));
        child.send_signal(number)?;
    }
    let at = events(2)?;
    let child = held(&at)?;
    for none in [0, -1, 65, i32::MAX] {
        let error = child.send_signal(none).unwrap_err();
        assert!(error.to_string().contains("Invalid argument"), "{error}");
    }
    child.kill()?;
    child.wait();
    Ok(())
}

#[test]
fn an_interrupt_is_noted_and_kills_nobody() -> Result<()> {
    fn until_interrupted(at: SharedValue<Event>) -> bool {
        let before = interrupted();
        at.set();
        until("somebody interrupts", interrupted);
        before
    }
    let _watch = watchdog(120, "interrupts");
    let at = SharedValue::new(Event::new())?;
    let child = Process::spawn(until_interrupted, (&at,))?;
    wait(&at, "the child runs");
    child.interrupt()?;
    assert!(!child.join()?);
    assert!(!interrupted());
    // At any moment of its start, too.
    for round in 0..40_u32 {
        let child = Process::spawn(|| until("somebody interrupts", interrupted), ())?;
        (0..round * 400).for_each(|_| std::hint::spin_loop());
        child.interrupt()?;
        child.join()?;
    }
    Ok(())
}

#[test]
fn active_children_are_those_that_run() -> Result<()> {
    fn family() -> Result<()> {
        let pids = || active_children().iter().map(|child| child.pid()).collect::<BTreeSet<_>>();
        assert!(pids().is_empty());
        let at = (events(2)?, events(2)?);
        let (one, other) = (held(&at.0)?, held(&at.1)?);
        assert_eq!(pids(), BTreeSet::from([one.pid(), other.pid()]));
        at.0[1].set();
        one.join()?;
        assert_eq!(pids(), BTreeSet::from([other.pid()]));
        // One whose handle was dropped, too; and it can be ended.
        let (pid, name) = (other.pid(), other.name().to_owned());
        drop(other);
        let all = active_children();
        assert_eq!((all.len(), all[0].pid(), all[0].name(), all[0].daemon()), (1, pid, name.as_str(), false));
        all[0].kill()?;
        assert_eq!(all[0].wait().signal(), Some(libc::SIGKILL));
        assert!(pids().is_empty());
        let pool = Pool::new(2)?;
        let workers = active_children();
        assert!(workers.len() == 2 && workers.iter().all(|worker| worker.daemon()));
        drop(pool);
        for _ in 0..100 {
            Process::spawn(|| (), ())?.join()?;
        }
        assert!(pids().is_empty() && children().is_empty());
        Ok(())
    }
    let _watch = watchdog(120, "active children");
    // Where nobody else starts any.
    Process::spawn(family, ())?.join()?;
    Ok(())
}

#[test]
fn a_child_knows_itself_and_its_parent() -> Result<()> {
    fn look() -> Result<(String, u32, String, bool)> {
        let parent = parent().expect("it has one");
        let waited = parent.wait_timeout(Duration::from_millis(1))?;
        Ok((current_name().to_owned(), parent.pid(), parent.name().to_owned(), parent.is_alive() && !waited))
    }
    fn middle() -> Result<(String, u32, String, bool)> {
        Ok(Process::builder().name("inner").spawn(look, ())?.join()?)
    }
    let _watch = watchdog(60, "relatives");
    assert_eq!((current_name(), parent().is_none()), ("MainProcess", true));
    let seen = Process::builder().name("outer").spawn(look, ())?.join()?;
    assert_eq!(seen, ("outer".into(), std::process::id(), "MainProcess".into(), true));
    let child = Process::builder().name("outer").spawn(middle, ())?;
    let pid = child.pid();
    assert_eq!(child.join()?, ("inner".into(), pid, "outer".into(), true));
    Ok(())
}

#[test]
fn a_parents_death_is_seen_by_a_child_that_outlives_it() -> Result<()> {
    fn dies(at: SharedArray<Event>) -> Result<()> {
        let _child = Process::spawn(outlives, (&at,))?;
        pause()
    }
    fn outlives(at: SharedArray<Event>) -> Result<()> {
        outlive_parent();
        let parent = parent().expect("it has one");
        assert!(parent.is_alive());
        at[0].set();
        parent.wait()?;
        assert!(!parent.is_alive() || parent.wait_timeout(Duration::ZERO)?);
        at[1].set();
        Ok(())
    }
    let _watch = watchdog(60, "the death of a parent");
    let at = events(2)?;
    let parent = Process::spawn(dies, (&at,))?;
    wait(&at[0], "the child's child runs");
    kill(parent.pid());
    wait(&at[1], "it has seen the end of its parent");
    Ok(())
}

#[allow(unconditional_recursion, reason = "that is what is tested")]
fn deeper(n: u64) -> u64 {
    let mut frame = [n; 64];
    std::hint::black_box(&mut frame);
    deeper(n + 1) + frame[(n % 64) as usize]
}

#[test]
fn a_stack_overflow_arrives_as_such() -> Result<()> {
    let _watch = watchdog(120, "stack overflows");
    let child = Process::spawn(deeper, (0,))?;
    assert_eq!(child.wait().signal(), Some(libc::SIGSEGV));
    let error = child.join().unwrap_err();
    assert_eq!(error.cause, Cause::StackOverflow);
    assert!(error.to_string().ends_with("overflowed its stack"), "{error}");
    // Of a thread that others have started it is known only that it was a bad access.
    let child = Process::spawn(|| std::thread::spawn(|| deeper(0)).join().is_ok(), ())?;
    assert_eq!(child.join().unwrap_err().cause, Cause::Killed { signal: libc::SIGSEGV });
    // A fault elsewhere is no overflow, and a signal that somebody sends kills.
    let child = Process::spawn(bad_access, ())?;
    assert_eq!(child.join().unwrap_err().cause, Cause::Killed { signal: libc::SIGSEGV });
    let child = Process::spawn(|| -> () { signal(std::process::id(), libc::SIGSEGV) }, ())?;
    assert_eq!(child.join().unwrap_err().cause, Cause::Killed { signal: libc::SIGSEGV });
    Ok(())
}

#[allow(unsafe_code)]
fn bad_access() -> u8 {
    // SAFETY: none; it kills this process, which is what is tested.
    unsafe { std::ptr::without_provenance::<u8>(16).read_volatile() }
}

#[test]
fn a_stack_overflow_in_a_pool_costs_its_task() -> Result<()> {
    let _watch = watchdog(60, "a stack overflow in a pool");
    let pool = Pool::new(2)?;
    match pool.map(|n: u64| if n == 3 { deeper(0) } else { n }, 0..6) {
        Err(PoolError::WorkerDied { task: 3, cause: Cause::StackOverflow, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(pool.map(|n: u64| n, 0..3)?, [0, 1, 2]);
    Ok(())
}
