//! `RecursiveMutex` between processes: its owner may take it again, and nobody else.

use std::time::{Duration, Instant};

use coproc::{Event, LockError, Owner, RecursiveMutex, Result, SharedArray, SharedValue, TryLockError};
use coproc_pool::Process;
use coproc_tests::{
    LOCK_WORD, Random, events, fork, kill, killed, pause, poke, resume, stop, thread_id, until_asleep, until_thread_asleep, wait,
    wait_for, watchdog,
};

const SOON: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(60);

type Shared = SharedValue<RecursiveMutex<u64>>;

fn zero() -> Result<Shared> {
    SharedValue::zeroed()
}

/// Has the lock so many times over, and a half-made change in the data.
fn hold(n: Shared, times: u64, held: SharedValue<Event>) -> Result<()> {
    let guards = (0..times).map(|_| n.lock()).collect::<Result<Vec<_>, _>>()?;
    guards[0].set(times);
    held.set();
    pause()
}

fn holder(n: &Shared, times: u64) -> Result<Process<()>> {
    let held = SharedValue::new(Event::new())?;
    let child = Process::spawn(hold, (n, times, &held))?;
    wait(&held, "the child has the lock");
    Ok(child)
}

/// Whether another thread of this process gets it.
fn is_free(n: &Shared) -> bool {
    std::thread::scope(|scope| scope.spawn(|| n.try_lock().is_ok()).join().unwrap())
}

#[test]
fn it_is_free_when_all_guards_are_dropped() -> Result<()> {
    let _watch = watchdog(30, "depth");
    let n = zero()?;
    let one = n.lock()?;
    let two = n.try_lock()?;
    let three = n.lock_timeout(Duration::ZERO)?;
    let four = n.lock_poisoned()?;
    let five = n.lock_or_repair(|_, _| panic!("nothing to repair"))?;
    three.set(one.get() + 1);
    assert_eq!((two.get(), four.get(), five.get()), (1, 1, 1));
    // In any order.
    for guard in [two, five, one, three] {
        drop(guard);
        assert!(!is_free(&n));
    }
    drop(four);
    assert!(is_free(&n));
    Ok(())
}

#[test]
fn a_recursive_function_may_lock_at_each_level() -> Result<()> {
    fn descend(n: &RecursiveMutex<u64>, depth: u64) -> Result<u64> {
        let guard = n.lock()?;
        guard.set(guard.get() + 1);
        if depth > 0 { descend(n, depth - 1) } else { Ok(guard.get()) }
    }
    fn descend_often(n: Shared) -> Result<()> {
        for _ in 0..20 {
            let seen = descend(&n, 49)?;
            assert_eq!(seen % 50, 0, "another one was there meanwhile");
        }
        Ok(())
    }
    let _watch = watchdog(60, "recursion");
    let n = zero()?;
    let all = (0..4).map(|_| Process::spawn(descend_often, (&n,))).collect::<Result<Vec<_>>>()?;
    for process in all {
        process.join()?;
    }
    assert_eq!(n.lock()?.get(), 4 * 20 * 50);
    Ok(())
}

#[test]
fn another_thread_waits() -> Result<()> {
    let _watch = watchdog(30, "another thread");
    let n = zero()?;
    std::thread::scope(|scope| {
        let (one, two) = (n.lock().unwrap(), n.lock().unwrap());
        let (tell, told) = std::sync::mpsc::channel();
        let n = &n;
        let waiter = scope.spawn(move || {
            assert_eq!(n.try_lock().unwrap_err(), TryLockError::WouldBlock);
            let start = Instant::now();
            assert_eq!(n.lock_timeout(SHORT).unwrap_err(), TryLockError::TimedOut);
            assert!(start.elapsed() >= SHORT);
            tell.send(thread_id()).unwrap();
            n.lock_timeout(Duration::MAX).unwrap().get()
        });
        until_thread_asleep(told.recv().unwrap());
        two.set(5);
        drop(one);
        two.set(6);
        drop(two);
        assert_eq!(waiter.join().unwrap(), 6);
    });
    Ok(())
}

#[test]
fn another_process_waits() -> Result<()> {
    fn read(n: Shared) -> Result<u64> {
        Ok(n.lock()?.get())
    }
    let _watch = watchdog(30, "another process");
    let n = zero()?;
    let child = holder(&n, 2)?;
    assert_eq!(n.try_lock().unwrap_err(), TryLockError::WouldBlock);
    assert_eq!(n.lock_timeout(Duration::ZERO).unwrap_err(), TryLockError::TimedOut);
    assert_eq!(n.lock_timeout(SHORT).unwrap_err(), TryLockError::TimedOut);
    killed(child)?;
    n.lock_or_repair(|n, _| n.set(0))?.set(1);
    let (one, two) = (n.lock()?, n.lock()?);
    let waiter = Process::spawn(read, (&n,))?;
    until_asleep(waiter.pid());
    drop(one);
    two.set(2);
    drop(two);
    assert_eq!(waiter.join()?, 2);
    Ok(())
}

#[test]
fn a_killed_owner_poisons_at_any_depth() -> Result<()> {
    let _watch = watchdog(60, "killed owners");
    for times in 1..5 {
        let n = zero()?;
        let pid = killed(holder(&n, times)?)?;
        assert_eq!(n.lock().unwrap_err(), LockError::Poisoned(Owner { pid, tid: pid }));
        assert_eq!(n.lock().unwrap_err(), LockError::Poisoned(Owner { pid, tid: 0 }));
        assert_eq!(n.try_lock().unwrap_err(), TryLockError::Lock(LockError::Poisoned(Owner { pid, tid: 0 })));
        let poisoned = n.lock_poisoned()?;
        assert_eq!((poisoned.get(), poisoned.poisoned()), (times, Some(Owner { pid, tid: 0 })));
        drop(poisoned);
        let mut repairs = 0;
        for _ in 0..2 {
            let guard = n.lock_or_repair(|n, dead| {
                assert_eq!((n.get(), dead.pid), (times, pid));
                n.set(0);
                repairs += 1;
            })?;
            // The depth is the new owner's: one guard is one time.
            drop(guard);
            assert!(is_free(&n));
        }
        assert_eq!((repairs, n.lock()?.get()), (1, 0));
    }
    Ok(())
}

#[test]
fn sleepers_get_the_answer_when_the_owner_is_killed() -> Result<()> {
    fn ask(n: Shared) -> u32 {
        match n.lock() {
            Err(LockError::Poisoned(owner)) => owner.pid,
            other => panic!("{:?}", other.map(drop)),
        }
    }
    let _watch = watchdog(60, "waiters whose owner is killed");
    for _ in 0..10 {
        let n = zero()?;
        let child = holder(&n, 2)?;
        let waiters = (0..3).map(|_| Process::spawn(ask, (&n,))).collect::<Result<Vec<_>>>()?;
        waiters.iter().for_each(|waiter| until_asleep(waiter.pid()));
        let pid = killed(child)?;
        for waiter in waiters {
            assert_eq!(waiter.join()?, pid);
        }
    }
    Ok(())
}

#[test]
fn a_stopped_owner_is_not_robbed() -> Result<()> {
    let _watch = watchdog(30, "a stopped owner");
    let n = zero()?;
    let child = holder(&n, 2)?;
    stop(child.pid());
    assert_eq!(n.try_lock().unwrap_err(), TryLockError::WouldBlock);
    assert_eq!(n.lock_timeout(SHORT).unwrap_err(), TryLockError::TimedOut);
    resume(child.pid());
    killed(child)?;
    assert!(matches!(n.lock_timeout(SOON), Err(TryLockError::Lock(LockError::Poisoned(_)))));
    Ok(())
}

fn panics(run: impl FnOnce()) {
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
}

#[test]
fn a_panic_under_all_guards_poisons() -> Result<()> {
    let _watch = watchdog(30, "a panic");
    let n = zero()?;
    panics(|| {
        let _guards = (n.lock(), n.lock());
        panic!("at depth 2");
    });
    let owner = Owner { pid: std::process::id(), tid: 0 };
    assert_eq!(n.lock().unwrap_err(), LockError::Poisoned(owner));
    panics(|| drop(n.lock_or_repair(|_, _| panic!("no repair today"))));
    assert_eq!(n.lock().unwrap_err(), LockError::Poisoned(owner));
    drop(n.lock_or_repair(|n, _| n.set(3))?);
    assert_eq!(n.lock()?.get(), 3);
    Ok(())
}

#[test]
fn a_panic_under_an_inner_guard_poisons() -> Result<()> {
    let _watch = watchdog(30, "a panic under an inner guard");
    let n = zero()?;
    let outer = n.lock()?;
    panics(|| {
        let inner = n.lock().unwrap();
        inner.set(1);
        panic!("half way");
    });
    drop(outer);
    let owner = Owner { pid: std::process::id(), tid: 0 };
    assert_eq!(n.lock().map(drop).unwrap_err(), LockError::Poisoned(owner));
    Ok(())
}

#[test]
fn poison_stays_whichever_guard_goes_last() -> Result<()> {
    let _watch = watchdog(30, "poison and depth");
    let n = zero()?;
    let pid = killed(holder(&n, 1)?)?;
    let outer = n.lock_poisoned()?;
    let inner = n.lock_poisoned()?;
    drop(outer);
    drop(inner);
    assert_eq!(n.lock().map(drop).unwrap_err(), LockError::Poisoned(Owner { pid, tid: 0 }));
    Ok(())
}

#[test]
fn an_inner_lock_of_a_poisoned_one_says_so() -> Result<()> {
    let _watch = watchdog(30, "a poisoned lock taken again");
    let n = zero()?;
    let pid = killed(holder(&n, 1)?)?;
    let outer = n.lock_poisoned()?;
    match n.lock().map(drop) {
        Err(LockError::Poisoned(owner)) => assert_eq!(owner.pid, pid),
        other => panic!("{other:?}"),
    }
    // The one that failed counts for nothing, and one that repairs does so for all.
    assert!(!is_free(&n));
    drop(n.lock_or_repair(|n, _| n.set(0))?);
    drop(n.lock()?);
    drop(outer);
    assert_eq!(n.lock()?.get(), 0);
    Ok(())
}

#[test]
fn a_forgotten_guard_falls_with_the_last_handle() -> Result<()> {
    fn forget_and_drop(n: Shared, at: SharedArray<Event>) -> Result<()> {
        let guard = n.lock()?;
        std::mem::forget(n.lock()?);
        drop(guard);
        at[0].set();
        at[1].wait();
        drop(n);
        at[2].set();
        at[3].wait();
        Ok(())
    }
    let _watch = watchdog(30, "a forgotten guard");
    let (n, at) = (zero()?, events(4)?);
    let child = Process::spawn(forget_and_drop, (&n, &at))?;
    wait(&at[0], "the child has forgotten one of two guards");
    assert_eq!(n.try_lock().map(drop).unwrap_err(), TryLockError::WouldBlock);
    at[1].set();
    wait(&at[2], "the child has dropped its handle");
    assert_eq!(n.lock().map(drop).unwrap_err(), LockError::Poisoned(Owner { pid: child.pid(), tid: 0 }));
    drop(n.lock_or_repair(|_, _| ())?);
    assert!(is_free(&n));
    at[3].set();
    child.join()?;
    Ok(())
}

#[test]
fn a_forked_child_is_another_owner() -> Result<()> {
    fn hold_and_fork(n: Shared) -> Result<()> {
        let mut guards = Some((n.lock()?, n.lock()?));
        let child = fork(|| {
            let answer = n.try_lock().map(drop);
            drop(guards.take());
            let after = n.try_lock().map(drop);
            i32::from((answer, after) != (Err(TryLockError::WouldBlock), Err(TryLockError::WouldBlock)))
        });
        assert_eq!(wait_for(child), 0);
        assert!(!is_free(&n));
        drop(guards);
        assert!(is_free(&n));
        let child = fork(|| {
            std::mem::forget((n.lock(), n.lock()));
            kill(std::process::id());
            1
        });
        assert_eq!(wait_for(child), -9);
        assert!(matches!(n.lock(), Err(LockError::Poisoned(owner)) if owner.pid == child));
        drop(n.lock_or_repair(|_, _| ())?);
        assert!(is_free(&n));
        Ok(())
    }
    let _watch = watchdog(30, "a forked child");
    let n = zero()?;
    Process::spawn(hold_and_fork, (&n,))?.join()?;
    drop(n.lock()?);
    Ok(())
}

#[test]
fn debug_does_not_wait() -> Result<()> {
    let _watch = watchdog(30, "Debug");
    let n = zero()?;
    assert_eq!(format!("{:?}", *n), "RecursiveMutex { data: 0 }");
    let guard = n.lock()?;
    assert_eq!(format!("{:?} {guard:?}", *n), "RecursiveMutex { data: 0 } 0");
    drop(guard);
    assert!(is_free(&n));
    let child = holder(&n, 2)?;
    assert_eq!(format!("{:?}", *n), "RecursiveMutex { data: <locked> }");
    killed(child)?;
    assert!(format!("{:?}", *n).starts_with("RecursiveMutex { data: 2"));
    // To look at it repairs nothing.
    assert!(matches!(n.lock(), Err(LockError::Poisoned(_))));
    Ok(())
}

#[test]
fn in_a_static() {
    static N: RecursiveMutex<u64> = RecursiveMutex::new(7);
    let _watch = watchdog(60, "threads");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let outer = N.lock().unwrap();
                    let before = outer.get();
                    N.lock().unwrap().update(|n| n + 1);
                    assert_eq!(outer.get(), before + 1);
                }
            });
        }
    });
    assert_eq!(N.lock().unwrap().get(), 2007);
    assert_eq!(RecursiveMutex::<u32>::default().lock().unwrap().get(), 0);
}

#[test]
fn strange_words_are_bounded() -> Result<()> {
    let _watch = watchdog(60, "strange words");
    let mut random = Random(14);
    for _ in 0..200 {
        let n = zero()?;
        for _ in 0..1 + random.below(3) {
            let word = random.strange_word();
            // The value's lock has a line of its own; behind it this one.
            let words = size_of::<RecursiveMutex<u64>>() as u64 / 8;
            poke(&n, LOCK_WORD + 64 + 8 * random.below(words), word);
        }
        let one = n.try_lock();
        let two = n.lock_timeout(Duration::from_millis(1));
        let _ = format!("{:?}", *n);
        drop((one, two));
        let _ = n.lock_timeout(Duration::from_millis(1)).map(drop);
    }
    Ok(())
}
