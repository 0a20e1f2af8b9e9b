//! `scope`: all children have ended when it returns, however its closure ends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use coproc::{Error, Event, Queue, Result, SharedArray, SharedValue};
use coproc_pool::{Cause, Process, ProcessError, Scope, ScopedProcess, Stdio, scope};
use coproc_tests::{children, most_descriptors, pause, wait, watchdog};

fn add(sum: SharedValue<AtomicU64>, n: u64) -> u64 {
    sum.fetch_add(n, SeqCst) + n
}

#[test]
fn all_have_ended_when_it_returns() -> Result<()> {
    let _watch = watchdog(60, "a scope");
    let sum = SharedValue::new(AtomicU64::new(0))?;
    let eight = scope(|s| {
        for _ in 0..5 {
            s.spawn(add, (&sum, 1))?;
        }
        let by_hand = s.spawn(|| 8_u8, ())?;
        Ok(by_hand.join()?)
    })?;
    assert_eq!((eight, sum.load(SeqCst)), (8, 5));
    assert_eq!(scope(|_| Ok(3))?, 3);
    Ok(())
}

/// The failure of a child, as scope's error.
fn failure<R: std::fmt::Debug>(result: Result<R>) -> ProcessError {
    match result {
        Err(Error::Other(error)) => *error.downcast::<ProcessError>().expect("a child's failure"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_failure_that_nobody_saw_is_the_error() -> Result<()> {
    let _watch = watchdog(60, "failures in a scope");
    let exits = |code: i32| -> u8 { std::process::exit(code) };
    let sum = SharedValue::new(AtomicU64::new(0))?;
    let error = failure(scope(|s| {
        // Seen, so it is none.
        assert!(s.spawn(exits, (1,))?.join().is_err());
        let seen = s.spawn(exits, (2,))?;
        seen.wait();
        assert!(seen.try_join().is_err());
        s.spawn(add, (&sum, 1))?;
        s.spawn(exits, (3,))?;
        s.spawn(exits, (4,))?;
        s.spawn(add, (&sum, 2))?;
        Ok(())
    }));
    assert_eq!(error.cause, Cause::Exited { code: 3 });
    assert_eq!(sum.load(SeqCst), 3);
    for kill in [false, true] {
        let error = failure(scope(|s| {
            let child = s.spawn(
                || -> () {
                    if std::env::args().count() > 0 {
                        pause()
                    }
                },
                (),
            )?;
            if kill { child.kill() } else { child.terminate() }
        }));
        assert_eq!(error.cause, Cause::Killed { signal: if kill { 9 } else { 15 } });
    }
    let error = failure(scope(|s| s.spawn(|| -> Result<u8> { Err(Error::other("no")) }, ()).map(drop)));
    assert_eq!(error.cause, Cause::Failed { message: "no".into(), chain: vec![] });
    Ok(())
}

#[test]
fn an_error_of_the_closure_comes_first_and_waits_too() -> Result<()> {
    let _watch = watchdog(60, "errors in a scope");
    let sum = SharedValue::new(AtomicU64::new(0))?;
    let error = scope(|s| -> Result<()> {
        s.spawn(|| -> u8 { std::process::exit(2) }, ())?;
        s.spawn(add, (&sum, 5))?;
        Err(Error::TimedOut)
    });
    assert!(matches!(error, Err(Error::TimedOut)));
    assert_eq!(sum.load(SeqCst), 5);
    Ok(())
}

#[test]
fn a_panic_of_the_closure_waits_too() -> Result<()> {
    fn consume(queue: Queue<u64>, sum: SharedValue<AtomicU64>) {
        // Ends when the queue is closed, and its maker's handle with it.
        for n in &queue {
            sum.fetch_add(n, SeqCst);
        }
        sum.fetch_add(100, SeqCst);
    }
    /// Closes the queue, whatever happens to its owner.
    struct Closes(Queue<u64>);
    impl Drop for Closes {
        fn drop(&mut self) {
            self.0.close();
        }
    }
    let _watch = watchdog(60, "a panic in a scope");
    let sum = SharedValue::new(AtomicU64::new(0))?;
    let queue = Closes(Queue::new(4)?);
    let panic = catch_unwind(AssertUnwindSafe(|| {
        scope(|s| -> Result<()> {
            let queue = queue;
            s.spawn(consume, (&queue.0, &sum))?;
            queue.0.send(7)?;
            panic!("in the middle")
        })
    }));
    let panic = panic.expect_err("the panic goes on");
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"in the middle"));
    assert_eq!(sum.load(SeqCst), 107);
    Ok(())
}

#[test]
fn threads_and_functions_start_children_in_it() -> Result<()> {
    fn start<'scope>(s: &'scope Scope, sum: &SharedValue<AtomicU64>) -> Result<ScopedProcess<'scope, u64>> {
        Process::builder().name("helper").spawn_scoped(s, add, (sum, 10))
    }
    let _watch = watchdog(60, "a scope of threads");
    let sum = SharedValue::new(AtomicU64::new(0))?;
    scope(|s| {
        std::thread::scope(|threads| {
            for _ in 0..3 {
                threads.spawn(|| s.spawn(add, (&sum, 1)).map(drop).unwrap());
            }
        });
        let helper = start(s, &sum)?;
        assert_eq!(helper.name(), "helper");
        std::mem::forget(start(s, &sum)?);
        drop(helper);
        Ok(())
    })?;
    assert_eq!(sum.load(SeqCst), 23);
    Ok(())
}

#[test]
fn a_pipe_of_a_scoped_child() -> Result<()> {
    let _watch = watchdog(60, "a scoped pipe");
    let said = scope(|s| {
        let mut child = Process::builder().stdout(Stdio::piped()).spawn_scoped(s, || print!("said"), ())?;
        let said = std::io::read_to_string(child.stdout.take().unwrap())?;
        child.join()?;
        Ok(said)
    })?;
    assert_eq!(said, "said");
    Ok(())
}

#[test]
fn nothing_is_left_of_a_scope() -> Result<()> {
    fn run() -> Result<(usize, usize)> {
        let once = || -> Result<usize> {
            scope(|s| {
                for n in 0..10_u32 {
                    let child = s.spawn(|n: u32| n, (n,))?;
                    if n % 2 == 0 {
                        child.join()?;
                    }
                }
                Ok(())
            })?;
            Ok(most_descriptors())
        };
        let first = once()?;
        (0..5).try_for_each(|_| once().map(drop))?;
        assert!(children().is_empty());
        Ok((first, once()?))
    }
    let _watch = watchdog(120, "leaks of scopes");
    let (first, last) = Process::spawn(run, ())?.join()?;
    assert_eq!(first, last);
    Ok(())
}

#[test]
fn a_child_may_have_a_scope() -> Result<()> {
    fn tree(leaves: SharedArray<AtomicU64>, level: usize) -> Result<()> {
        leaves[level].fetch_add(1, SeqCst);
        if level == 2 {
            return Ok(());
        }
        scope(|s| (0..2).try_for_each(|_| s.spawn(tree, (&leaves, level + 1)).map(drop)))
    }
    let _watch = watchdog(60, "scopes of children");
    let leaves = SharedArray::zeroed(3)?;
    scope(|s| s.spawn(tree, (&leaves, 0)).map(drop))?;
    assert_eq!([0, 1, 2].map(|level| leaves[level].load(SeqCst)), [1, 2, 4]);
    Ok(())
}

#[test]
fn a_child_that_is_killed_in_a_scope_frees_its_parent() -> Result<()> {
    let _watch = watchdog(60, "kills in a scope");
    let at = SharedValue::new(Event::new())?;
    let error = failure(scope(|s| {
        let child = s.spawn(
            |at: SharedValue<Event>| -> () {
                at.set();
                pause()
            },
            (&at,),
        )?;
        wait(&at, "the child runs");
        coproc_tests::kill(child.pid());
        Ok(())
    }));
    assert_eq!(error.cause, Cause::Killed { signal: libc::SIGKILL });
    Ok(())
}
