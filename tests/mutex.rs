//! `Mutex`, and the lock of `SharedValue` and `SharedArray`, between processes that are killed, stopped and forked.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use coproc::{Event, LockError, Mutex, Owner, Plain, Result, Shareable, SharedArray, SharedValue, TryLockError};
use coproc_pool::{Cause, Pool, Process};
use coproc_tests::{
    LOCK_WORD, events, fork, kill, killed, pause, peek, poke, resume, stop, thread_id, until, until_asleep, until_thread_asleep,
    wait, wait_for, watchdog,
};

const SOON: Duration = Duration::from_secs(20);
const THREAD: u64 = (1 << 22) - 1;
/// A bit of a lock word that is always 0.
const UNUSED: u64 = 1 << 22;
const POISON: u64 = 1 << 23;

fn count_100(n: SharedValue<u64>) -> Result<()> {
    for _ in 0..100 {
        *n.lock()? += 1;
    }
    Ok(())
}

/// Changes the value under the lock, says so, and never lets go.
fn hold(n: SharedValue<u64>, held: SharedValue<Event>) -> Result<()> {
    let mut guard = n.lock()?;
    *guard = 1;
    held.set();
    pause()
}

/// A value whose lock a process held when it was killed; with that process's id.
fn abandoned() -> Result<(SharedValue<u64>, u32)> {
    let (n, held) = (SharedValue::new(0)?, SharedValue::new(Event::new())?);
    let holder = Process::spawn(hold, (&n, &held))?;
    wait(&held, "the child has the lock");
    let pid = killed(holder)?;
    Ok((n, pid))
}

#[test]
fn four_processes_count_to_400_in_every_run() -> Result<()> {
    let _watch = watchdog(120, "200 runs of 4 processes");
    for _ in 0..200 {
        let n = SharedValue::new(0)?;
        let all = (0..4).map(|_| Process::spawn(count_100, (&n,))).collect::<Result<Vec<_>>>()?;
        for process in all {
            process.join()?;
        }
        assert_eq!(n.get()?, 400);
    }
    Ok(())
}

#[test]
fn four_workers_count_to_400_in_every_run() -> Result<()> {
    let _watch = watchdog(120, "1,000 runs on a pool of 4");
    let pool = Pool::new(4)?;
    for _ in 0..1000 {
        let n = SharedValue::new(0)?;
        pool.map(count_100, (0..4).map(|_| n.clone()))?;
        assert_eq!(n.get()?, 400);
    }
    Ok(())
}

#[test]
fn the_first_to_lock_learns_the_dead_owners_process_and_thread() -> Result<()> {
    let _watch = watchdog(30, "lock after a kill");
    let (n, pid) = abandoned()?;
    // The child's only thread has the id of the process.
    assert_eq!(n.lock().unwrap_err(), LockError::Poisoned(Owner { pid, tid: pid }));
    // The thread is not known any more, the process is.
    for _ in 0..3 {
        assert_eq!(n.lock().unwrap_err(), LockError::Poisoned(Owner { pid, tid: 0 }));
    }
    assert_eq!(n.try_lock().unwrap_err(), TryLockError::Lock(LockError::Poisoned(Owner { pid, tid: 0 })));
    assert_eq!(n.get().unwrap_err(), LockError::Poisoned(Owner { pid, tid: 0 }));
    assert_eq!(n.set(3).unwrap_err(), LockError::Poisoned(Owner { pid, tid: 0 }));
    assert_eq!(n.update(|n| n).unwrap_err(), LockError::Poisoned(Owner { pid, tid: 0 }));
    let message = n.lock().unwrap_err().to_string();
    assert!(message.contains(&format!("process {pid}")), "{message}");
    Ok(())
}

#[test]
fn try_lock_and_lock_timeout_find_the_dead_owner_too() -> Result<()> {
    let _watch = watchdog(30, "try_lock after a kill");
    let (n, pid) = abandoned()?;
    assert_eq!(n.try_lock().unwrap_err(), TryLockError::Lock(LockError::Poisoned(Owner { pid, tid: pid })));
    let (n, pid) = abandoned()?;
    assert_eq!(n.lock_timeout(Duration::ZERO).unwrap_err(), TryLockError::Lock(LockError::Poisoned(Owner { pid, tid: pid })));
    Ok(())
}

#[test]
fn a_thread_of_a_dead_process_is_named() -> Result<()> {
    fn hold_in_a_thread(n: SharedValue<u64>, tid: SharedValue<AtomicU64>) {
        let thread = std::thread::spawn(move || {
            let _guard = n.lock();
            tid.store(thread_id().into(), SeqCst);
            pause()
        });
        let _ = thread.join();
    }
    let _watch = watchdog(30, "lock after a kill");
    let (n, tid) = (SharedValue::new(0)?, SharedValue::new(AtomicU64::new(0))?);
    let holder = Process::spawn(hold_in_a_thread, (&n, &tid))?;
    until("the thread has the lock", || tid.load(SeqCst) != 0);
    let owner = Owner { pid: holder.pid(), tid: tid.load(SeqCst) as u32 };
    assert_ne!(owner.pid, owner.tid);
    holder.kill()?;
    assert!(holder.join().is_err());
    assert_eq!(n.lock().unwrap_err(), LockError::Poisoned(owner));
    Ok(())
}

#[test]
fn lock_poisoned_gives_the_data_as_it_is() -> Result<()> {
    let _watch = watchdog(30, "lock_poisoned");
    let (n, pid) = abandoned()?;
    {
        let guard = n.lock_poisoned()?;
        assert_eq!(*guard, 1);
        assert_eq!(guard.poisoned(), Some(Owner { pid, tid: pid }));
    }
    // It stays poisoned.
    assert_eq!(n.lock().unwrap_err(), LockError::Poisoned(Owner { pid, tid: 0 }));
    assert_eq!(n.lock_poisoned()?.poisoned(), Some(Owner { pid, tid: 0 }));
    Ok(())
}

#[test]
fn clear_poison_makes_the_lock_clean() -> Result<()> {
    let _watch = watchdog(30, "clear_poison");
    let (n, _) = abandoned()?;
    let mut guard = n.lock_poisoned()?;
    guard.clear_poison();
    assert_eq!(guard.poisoned(), None);
    drop(guard);
    assert_eq!(n.get()?, 1);
    Ok(())
}

#[test]
fn lock_or_repair_mends_once() -> Result<()> {
    let _watch = watchdog(30, "lock_or_repair");
    let (n, pid) = abandoned()?;
    let mut repairs = 0;
    for _ in 0..2 {
        let mut repair = |n: &mut u64, dead: Owner| {
            assert_eq!((*n, dead), (1, Owner { pid, tid: pid }));
            *n = 10;
            repairs += 1;
        };
        *n.lock_or_repair(&mut repair)? += 1;
    }
    assert_eq!((n.get()?, repairs), (12, 1));
    Ok(())
}

#[test]
fn a_repair_that_panics_leaves_it_poisoned() -> Result<()> {
    let _watch = watchdog(30, "a repair that panics");
    let (n, _) = abandoned()?;
    let repair = || n.lock_or_repair(|_, _| panic!("no repair today")).map(drop);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(repair)).is_err());
    assert!(matches!(n.lock(), Err(LockError::Poisoned(_))));
    assert_eq!(*n.lock_or_repair(|n, _| *n = 5)?, 5);
    Ok(())
}

#[test]
fn a_repairer_that_is_killed_leaves_it_poisoned() -> Result<()> {
    fn repair(n: SharedValue<u64>) -> Result<()> {
        drop(n.lock_or_repair(|_, _| kill(std::process::id()))?);
        Ok(())
    }
    let _watch = watchdog(30, "a repairer that is killed");
    let (n, _) = abandoned()?;
    let repairer = Process::spawn(repair, (&n,))?;
    let pid = repairer.pid();
    assert_eq!(repairer.join().unwrap_err().cause, Cause::Killed { signal: 9 });
    assert_eq!(n.lock().unwrap_err(), LockError::Poisoned(Owner { pid, tid: pid }));
    Ok(())
}

#[test]
fn a_sleeping_waiter_gets_the_answer_when_the_owner_is_killed() -> Result<()> {
    fn wait_for_lock(n: SharedValue<u64>) -> (u32, u32) {
        match n.lock() {
            Err(LockError::Poisoned(owner)) => (owner.pid, owner.tid),
            other => panic!("{other:?}"),
        }
    }
    let _watch = watchdog(120, "waiters whose owner is killed");
    for _ in 0..20 {
        let (n, held) = (SharedValue::new(0)?, SharedValue::new(Event::new())?);
        let holder = Process::spawn(hold, (&n, &held))?;
        wait(&held, "the child has the lock");
        let waiters = (0..3).map(|_| Process::spawn(wait_for_lock, (&n,))).collect::<Result<Vec<_>>>()?;
        for waiter in &waiters {
            until_asleep(waiter.pid());
        }
        let pid = holder.pid();
        holder.kill()?;
        let answers = waiters.into_iter().map(Process::join).collect::<Result<Vec<_>, _>>()?;
        assert!(answers.iter().all(|&(dead, _)| dead == pid), "{pid}: {answers:?}");
        assert_eq!(answers.iter().filter(|&&(_, tid)| tid == pid).count(), 1, "{pid}: {answers:?}");
    }
    Ok(())
}

#[test]
fn a_sleeping_thread_gets_the_answer_when_the_owner_is_killed() -> Result<()> {
    let _watch = watchdog(30, "a thread whose owner is killed");
    let (n, held) = (SharedValue::new(0)?, SharedValue::new(Event::new())?);
    let holder = Process::spawn(hold, (&n, &held))?;
    wait(&held, "the child has the lock");
    let (tell, told) = std::sync::mpsc::channel();
    let waiter = std::thread::spawn({
        let n = n.clone();
        move || {
            tell.send(thread_id()).unwrap();
            n.lock().map(|n| *n)
        }
    });
    until_thread_asleep(told.recv().unwrap());
    let pid = holder.pid();
    holder.kill()?;
    assert_eq!(waiter.join().unwrap().unwrap_err(), LockError::Poisoned(Owner { pid, tid: pid }));
    Ok(())
}

#[test]
fn killed_waiters_cost_nothing() -> Result<()> {
    fn wait_for_lock(n: SharedValue<u64>) -> Result<()> {
        *n.lock()? += 1;
        Ok(())
    }
    let _watch = watchdog(120, "killed waiters");
    for killed in [3, 2, 1] {
        let n = SharedValue::new(0)?;
        let guard = n.lock()?;
        let waiters = (0..3).map(|_| Process::spawn(wait_for_lock, (&n,))).collect::<Result<Vec<_>>>()?;
        for waiter in &waiters {
            until_asleep(waiter.pid());
        }
        for waiter in &waiters[..killed] {
            waiter.kill()?;
        }
        drop(guard);
        for (index, waiter) in waiters.into_iter().enumerate() {
            assert_eq!(waiter.join().is_err(), index < killed);
        }
        assert_eq!(n.get()?, 3 - killed as u64);
    }
    Ok(())
}

#[test]
fn a_stopped_owner_is_not_robbed() -> Result<()> {
    fn hold_until(n: SharedValue<u64>, at: SharedArray<Event>) -> Result<()> {
        let mut guard = n.lock()?;
        at[0].set();
        at[1].wait();
        *guard = 7;
        Ok(())
    }
    let _watch = watchdog(30, "a stopped owner");
    let (n, at) = (SharedValue::new(0)?, events(2)?);
    let holder = Process::spawn(hold_until, (&n, &at))?;
    wait(&at[0], "the child has the lock");
    stop(holder.pid());
    at[1].set();
    assert_eq!(n.try_lock().unwrap_err(), TryLockError::WouldBlock);
    let start = Instant::now();
    assert_eq!(n.lock_timeout(Duration::from_millis(200)).unwrap_err(), TryLockError::TimedOut);
    assert!(start.elapsed() >= Duration::from_millis(200));
    let waiter = Process::spawn(|n: SharedValue<u64>| n.get(), (&n,))?;
    until_asleep(waiter.pid());
    resume(holder.pid());
    holder.join()?;
    assert_eq!(waiter.join()?, 7);
    assert_eq!(n.get()?, 7);
    Ok(())
}

#[test]
fn a_stopped_owner_that_is_killed_is_dead() -> Result<()> {
    let _watch = watchdog(30, "a stopped owner that is killed");
    let (n, held) = (SharedValue::new(0)?, SharedValue::new(Event::new())?);
    let holder = Process::spawn(hold, (&n, &held))?;
    wait(&held, "the child has the lock");
    let pid = holder.pid();
    stop(pid);
    assert_eq!(n.try_lock().unwrap_err(), TryLockError::WouldBlock);
    holder.kill()?;
    assert_eq!(n.lock().unwrap_err(), LockError::Poisoned(Owner { pid, tid: pid }));
    Ok(())
}

#[test]
fn locking_twice_is_a_deadlock_that_says_so() -> Result<()> {
    fn add_itself(n: &SharedValue<u64>) -> Result<(), LockError> {
        *n.lock()? += *n.lock()?;
        Ok(())
    }
    let _watch = watchdog(30, "locking twice");
    let n = SharedValue::new(3)?;
    assert_eq!(add_itself(&n), Err(LockError::Deadlock));
    let guard = n.lock()?;
    assert_eq!(n.lock().unwrap_err(), LockError::Deadlock);
    assert_eq!(n.try_lock().unwrap_err(), TryLockError::Lock(LockError::Deadlock));
    assert_eq!(n.lock_timeout(Duration::MAX).unwrap_err(), TryLockError::Lock(LockError::Deadlock));
    assert_eq!(n.lock_poisoned().unwrap_err(), LockError::Deadlock);
    assert_eq!(n.lock_or_repair(|_, _| ()).unwrap_err(), LockError::Deadlock);
    assert_eq!(n.get().unwrap_err(), LockError::Deadlock);
    drop(guard);
    // Nothing is poisoned by that, and nothing was changed.
    assert_eq!(n.get()?, 3);
    let clone = n.clone();
    let _guard = n.lock()?;
    assert_eq!(clone.lock().unwrap_err(), LockError::Deadlock);
    Ok(())
}

#[test]
fn a_panic_poisons_in_threads() -> Result<()> {
    let _watch = watchdog(30, "a panic of a thread");
    let n = SharedValue::new(0_u64)?;
    let thread = std::thread::spawn({
        let n = n.clone();
        move || {
            let mut guard = n.lock().unwrap();
            *guard = 1;
            panic!("with the lock held");
        }
    });
    assert!(thread.join().is_err());
    match n.lock() {
        Err(LockError::Poisoned(owner)) => assert_eq!(owner.pid, std::process::id()),
        other => panic!("{other:?}"),
    }
    assert_eq!(*n.lock_or_repair(|n, _| *n += 1)?, 2);
    assert_eq!(n.get()?, 2);
    Ok(())
}

#[test]
fn a_panic_poisons_in_processes() -> Result<()> {
    fn panics(n: SharedValue<u64>) {
        let mut guard = n.lock().unwrap();
        *guard = 1;
        panic!("with the lock held");
    }
    let _watch = watchdog(30, "a panic of a process");
    let n = SharedValue::new(0)?;
    let child = Process::spawn(panics, (&n,))?;
    let dead = child.pid();
    assert!(matches!(child.join().unwrap_err().cause, Cause::Panicked { .. }));
    match n.lock() {
        Err(LockError::Poisoned(owner)) => assert_eq!(owner.pid, dead),
        other => panic!("{other:?}"),
    }
    Ok(())
}

#[test]
fn a_lock_taken_while_panicking_is_not_poisoned() -> Result<()> {
    struct Last(SharedValue<u64>);
    impl Drop for Last {
        fn drop(&mut self) {
            *self.0.lock().unwrap() += 1;
        }
    }
    let _watch = watchdog(30, "a lock in a destructor");
    let n = SharedValue::new(0)?;
    let last = Last(n.clone());
    let thread = std::thread::spawn(move || {
        let _last = last;
        panic!("without the lock");
    });
    assert!(thread.join().is_err());
    assert_eq!(n.get()?, 1);
    Ok(())
}

#[test]
fn a_forgotten_guard_is_given_up_with_the_last_handle() -> Result<()> {
    fn forget(n: SharedValue<u64>, at: SharedArray<Event>) -> Result<()> {
        std::mem::forget(n.lock()?);
        drop(n);
        at[0].set();
        at[1].wait();
        Ok(())
    }
    let _watch = watchdog(120, "a forgotten guard");
    let (n, at) = (SharedValue::new(0)?, events(2)?);
    let child = Process::spawn(forget, (&n, &at))?;
    wait(&at[0], "the child has dropped its handle");
    let answer = n.lock_timeout(Duration::from_secs(2)).map(drop);
    at[1].set();
    let pid = child.pid();
    child.join()?;
    assert!(
        matches!(answer, Err(TryLockError::Lock(LockError::Poisoned(owner))) if owner.pid == pid),
        "while the child lives: {answer:?}"
    );
    Ok(())
}

#[test]
fn a_forgotten_guard_is_given_up_with_the_process() -> Result<()> {
    fn forget(n: SharedValue<u64>, m: SharedValue<Mutex<u64>>) -> Result<()> {
        std::mem::forget(n.lock()?);
        std::mem::forget(m.lock()?);
        Ok(())
    }
    let _watch = watchdog(30, "a forgotten guard");
    let (n, m) = (SharedValue::new(0)?, SharedValue::new(Mutex::new(0))?);
    let child = Process::spawn(forget, (&n, &m))?;
    let pid = child.pid();
    child.join()?;
    for answer in [n.lock().map(|n| *n), m.lock().map(|m| *m)] {
        assert!(matches!(answer, Err(LockError::Poisoned(owner)) if owner.pid == pid), "{answer:?}");
    }
    Ok(())
}

#[test]
fn a_forgotten_guard_in_this_process_is_given_up_with_the_last_handle() -> Result<()> {
    let _watch = watchdog(30, "a forgotten guard");
    let n = SharedValue::new(0_u64)?;
    let file = n.as_fd_owned();
    std::mem::forget(n.lock()?);
    drop(n);
    let n = SharedValue::<u64>::try_from(file)?;
    assert!(matches!(n.lock(), Err(LockError::Poisoned(owner)) if owner.pid == std::process::id()));
    Ok(())
}

trait AsFdOwned {
    fn as_fd_owned(&self) -> std::os::fd::OwnedFd;
}

impl<T: std::os::fd::AsFd> AsFdOwned for T {
    fn as_fd_owned(&self) -> std::os::fd::OwnedFd {
        self.as_fd().try_clone_to_owned().unwrap()
    }
}

#[test]
fn an_owner_that_left_a_forked_child_is_found_dead() -> Result<()> {
    fn hold_and_fork(n: SharedValue<u64>, grandchild: SharedValue<AtomicU64>) -> Result<()> {
        let _guard = n.lock()?;
        // It lives on, with a copy of all descriptors, and does nothing.
        let pid = fork(|| pause());
        grandchild.store(pid.into(), SeqCst);
        pause()
    }
    let _watch = watchdog(30, "an owner with a forked child");
    let (n, grandchild) = (SharedValue::new(0)?, SharedValue::new(AtomicU64::new(0))?);
    let holder = Process::spawn(hold_and_fork, (&n, &grandchild))?;
    until("it has forked", || grandchild.load(SeqCst) != 0);
    let forked = grandchild.load(SeqCst) as u32;
    let pid = holder.pid();
    holder.kill()?;
    assert!(holder.join().is_err());
    let answer = n.lock_timeout(SOON).map(|n| *n);
    kill(forked);
    assert_eq!(answer.unwrap_err(), TryLockError::Lock(LockError::Poisoned(Owner { pid, tid: pid })));
    Ok(())
}

#[test]
fn a_forked_child_is_another_owner() -> Result<()> {
    fn hold_and_fork(n: SharedValue<u64>) -> Result<i32> {
        let guard = n.lock()?;
        let child = fork(|| {
            let refused = matches!(n.try_lock(), Err(TryLockError::WouldBlock));
            let timed_out = matches!(n.lock_timeout(Duration::from_millis(30)), Err(TryLockError::TimedOut));
            i32::from(!refused) + 2 * i32::from(!timed_out)
        });
        let code = wait_for(child);
        drop(guard);
        // And it can have the lock, and its death is noticed.
        let child = fork(|| {
            std::mem::forget(n.lock());
            0
        });
        assert_eq!(wait_for(child), 0);
        assert!(matches!(n.lock(), Err(LockError::Poisoned(owner)) if owner.pid == child));
        Ok(code)
    }
    let _watch = watchdog(30, "a forked child");
    let n = SharedValue::new(0)?;
    assert_eq!(Process::spawn(hold_and_fork, (&n,))?.join()?, 0);
    Ok(())
}

#[test]
fn a_forked_childs_copy_of_a_guard_does_not_free_the_lock() -> Result<()> {
    fn hold_and_fork(n: SharedValue<u64>) -> Result<bool> {
        let guard = n.lock()?;
        let before = peek(&n, LOCK_WORD);
        let mut guard = Some(guard);
        let child = fork(|| {
            drop(guard.take());
            0
        });
        assert_eq!(wait_for(child), 0);
        let still_held = peek(&n, LOCK_WORD) == before;
        drop(guard);
        Ok(still_held)
    }
    let _watch = watchdog(30, "a forked child's guard");
    let n = SharedValue::new(0)?;
    assert!(Process::spawn(hold_and_fork, (&n,))?.join()?, "the child has freed its parent's lock");
    assert_eq!(n.get()?, 0);
    Ok(())
}

#[test]
fn a_forked_childs_copy_of_a_handle_does_not_free_the_lock() -> Result<()> {
    fn hold_and_fork(n: SharedValue<u64>) -> Result<bool> {
        std::mem::forget(n.lock()?);
        let before = peek(&n, LOCK_WORD);
        let mut n = Some(n);
        let child = fork(|| {
            drop(n.take());
            0
        });
        assert_eq!(wait_for(child), 0);
        Ok(n.is_some_and(|n| peek(&n, LOCK_WORD) == before))
    }
    let _watch = watchdog(30, "a forked child's handle");
    let n = SharedValue::new(0)?;
    assert!(Process::spawn(hold_and_fork, (&n,))?.join()?, "the child has freed its parent's lock");
    Ok(())
}

#[test]
fn an_impossible_word_is_an_error() -> Result<()> {
    let _watch = watchdog(30, "impossible words");
    let impossible = [
        POISON, // poisoned by nobody
        5,      // held by a thread of no process
        5 | POISON,
        7 << 24, // free, yet of a process
        UNUSED,
        UNUSED | POISON | 7 << 24 | 5,
        u64::MAX,
    ];
    for word in impossible {
        let n = SharedValue::new(3_u64)?;
        poke(&n, LOCK_WORD, word);
        assert_eq!(n.lock().unwrap_err(), LockError::Corrupted, "{word:#x}");
        assert_eq!(n.try_lock().unwrap_err(), TryLockError::Lock(LockError::Corrupted), "{word:#x}");
        assert_eq!(n.lock_timeout(SOON).unwrap_err(), TryLockError::Lock(LockError::Corrupted), "{word:#x}");
        assert_eq!(n.lock_poisoned().unwrap_err(), LockError::Corrupted, "{word:#x}");
        assert_eq!(n.lock_or_repair(|_, _| ()).unwrap_err(), LockError::Corrupted, "{word:#x}");
        assert!(format!("{n:?}").contains("SharedValue"));
        // Nothing has made it worse, and it is usable again when the word is.
        assert_eq!(peek(&n, LOCK_WORD), word);
        poke(&n, LOCK_WORD, 0);
        assert_eq!(n.get()?, 3);
    }
    Ok(())
}

#[test]
fn a_word_of_a_process_that_never_was_is_a_dead_owners() -> Result<()> {
    let _watch = watchdog(30, "strange words");
    for word in [!UNUSED, 1 << 24 | 1, u64::MAX << 24 | 99, 0x12_3456_789a << 24 | 99 | POISON] {
        let n = SharedValue::new(3_u64)?;
        poke(&n, LOCK_WORD, word);
        let tid = (word & THREAD) as u32;
        assert_eq!(n.lock().unwrap_err(), LockError::Poisoned(Owner { pid: 0, tid }), "{word:#x}");
        assert_eq!(*n.lock_or_repair(|n, _| *n += 1)?, 4);
    }
    Ok(())
}

#[test]
fn no_word_hangs_or_crashes() -> Result<()> {
    let _watch = watchdog(120, "random lock words");
    let mut random = coproc_tests::Random(1);
    let n = SharedValue::new(0_u64)?;
    let m = SharedValue::new(Mutex::new(0_u64))?;
    for _ in 0..2000 {
        let word = random.next() & random.next() & (u64::MAX >> random.below(64));
        // The lock of the mutex is the first word of the value, one line after the value's own.
        poke(&n, LOCK_WORD, word);
        poke(&m, LOCK_WORD + 64, word);
        // Every bit pattern is answered at once: no living process of this family has such an identity.
        let _ = n.lock_timeout(SOON).map(drop);
        let _ = m.try_lock().map(drop);
        let _ = format!("{n:?} {m:?}");
        poke(&n, LOCK_WORD, 0);
        poke(&m, LOCK_WORD + 64, 0);
        n.set(0)?;
        *m.lock()? = 0;
    }
    Ok(())
}

#[test]
fn timeouts() -> Result<()> {
    let _watch = watchdog(30, "timeouts");
    let n = SharedValue::new(0_u64)?;
    // A free lock is given whatever the time.
    for time in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
        *n.lock_timeout(time).unwrap() += 1;
    }
    let guard = n.lock()?;
    std::thread::scope(|scope| {
        let (n, other) = (&n, scope.spawn(|| n.lock_timeout(Duration::ZERO).map(drop)));
        assert_eq!(other.join().unwrap(), Err(TryLockError::TimedOut));
        let other = scope.spawn(|| {
            let start = Instant::now();
            let answer = n.lock_timeout(Duration::from_millis(50)).map(drop);
            (answer, start.elapsed())
        });
        let (answer, time) = other.join().unwrap();
        assert_eq!(answer, Err(TryLockError::TimedOut));
        assert!(time >= Duration::from_millis(50), "{time:?}");
        let (tell, told) = std::sync::mpsc::channel();
        let other = scope.spawn(move || {
            tell.send(thread_id()).unwrap();
            n.lock_timeout(Duration::MAX).map(|n| *n)
        });
        until_thread_asleep(told.recv().unwrap());
        drop(guard);
        assert_eq!(other.join().unwrap(), Ok(3));
    });
    Ok(())
}

#[test]
fn in_a_static_and_on_the_stack() {
    static TOTAL: Mutex<u64> = Mutex::new(0);
    let _watch = watchdog(30, "threads");
    let mut own = Mutex::new([0_u64; 3]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10_000 {
                    *TOTAL.lock().unwrap() += 1;
                    own.lock().unwrap()[1] += 1;
                }
            });
        }
    });
    assert_eq!(*TOTAL.lock().unwrap(), 40_000);
    assert_eq!(*own.get_mut(), [0, 40_000, 0]);
    let thread = std::thread::spawn(|| {
        let _guard = TOTAL.lock().unwrap();
        panic!("with the lock held");
    });
    assert!(thread.join().is_err());
    assert!(TOTAL.is_poisoned());
    assert!(matches!(TOTAL.lock(), Err(LockError::Poisoned(owner)) if owner.pid == std::process::id()));
    drop(TOTAL.lock_or_repair(|_, _| ()).unwrap());
    assert!(!TOTAL.is_poisoned());
}

#[derive(Clone, Copy, Debug, PartialEq, Plain)]
#[repr(C)]
struct Pair {
    left: u64,
    right: u64,
}

#[derive(Shareable)]
#[repr(C)]
struct State {
    steps: AtomicU64,
    first: Mutex<Pair>,
    second: Mutex<Pair>,
}

#[test]
fn locks_in_a_struct_are_apart() -> Result<()> {
    fn hold_first(state: SharedValue<State>, held: SharedValue<Event>) -> Result<()> {
        let mut first = state.first.lock()?;
        first.left = 1;
        held.set();
        pause()
    }
    let _watch = watchdog(30, "locks in a struct");
    let (state, held) = (SharedValue::<State>::zeroed()?, SharedValue::new(Event::new())?);
    let holder = Process::spawn(hold_first, (&state, &held))?;
    wait(&held, "the child has the lock");
    state.second.lock()?.right = 2;
    assert_eq!(state.first.try_lock().unwrap_err(), TryLockError::WouldBlock);
    let pid = holder.pid();
    holder.kill()?;
    assert_eq!(state.first.lock().unwrap_err(), LockError::Poisoned(Owner { pid, tid: pid }));
    assert!(state.first.is_poisoned() && !state.second.is_poisoned());
    assert_eq!(*state.second.lock()?, Pair { left: 0, right: 2 });
    assert_eq!(state.steps.load(SeqCst), 0);
    Ok(())
}

/// Processes move amounts between two sides of a pair under the lock, and are killed at any instruction.
#[test]
fn the_sum_is_right_whenever_the_lock_is_clean() -> Result<()> {
    fn shuffle(pair: SharedValue<Pair>, busy: SharedValue<AtomicU64>) -> Result<()> {
        loop {
            let mut pair = pair.lock_or_repair(|pair, _| pair.right = 1000 - pair.left)?;
            assert_eq!(pair.left + pair.right, 1000);
            pair.left = (pair.left + 1) % 1000;
            pair.right = 1000 - pair.left;
            busy.fetch_add(1, SeqCst);
        }
    }
    let _watch = watchdog(120, "a pair under kills");
    let pair = SharedValue::new(Pair { left: 0, right: 1000 })?;
    let busy = SharedValue::new(AtomicU64::new(0))?;
    let mut all = Vec::new();
    let mut random = coproc_tests::Random(2);
    for _ in 0..60 {
        while all.len() < 3 {
            all.push(Process::spawn(shuffle, (&pair, &busy))?);
        }
        let seen = busy.load(SeqCst);
        let steps = 20 + random.below(500);
        until("the others go on", || busy.load(SeqCst) > seen + steps);
        let victim = all.swap_remove(random.below(3) as usize);
        killed(victim)?;
    }
    for process in all {
        process.kill()?;
        process.join().unwrap_err();
    }
    let pair = pair.lock_or_repair(|pair, _| pair.right = 1000 - pair.left)?;
    assert_eq!(pair.left + pair.right, 1000);
    Ok(())
}

#[test]
fn one_recovery_takes_milliseconds() -> Result<()> {
    let _watch = watchdog(120, "recoveries");
    let mut times = Vec::new();
    for _ in 0..20 {
        let (n, held) = (SharedValue::new(0)?, SharedValue::new(Event::new())?);
        let holder = Process::spawn(hold, (&n, &held))?;
        wait(&held, "the child has the lock");
        std::thread::scope(|scope| -> Result<()> {
            let (tell, told) = std::sync::mpsc::channel();
            let n = &n;
            let waiter = scope.spawn(move || {
                tell.send(thread_id()).unwrap();
                n.lock().unwrap_err();
                Instant::now()
            });
            until_thread_asleep(told.recv().unwrap());
            let pid = holder.pid();
            holder.kill()?;
            holder.join().unwrap_err();
            // Its descriptors are closed before its end is told.
            let end = Instant::now();
            times.push(waiter.join().unwrap().saturating_duration_since(end));
            assert!(pid > 0);
            Ok(())
        })?;
    }
    times.sort();
    // 10 ms is a slice; the rest is for a busy machine.
    assert!(times[times.len() / 2] < Duration::from_millis(100), "{times:?}");
    Ok(())
}
