//! `Semaphore`: permits that come back when their holder is killed.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use coproc::{Event, Permit, ReleaseError, Result, Semaphore, SharedArray, SharedValue, TryLockError};
use coproc_pool::Process;
use coproc_tests::{
    LOCK_WORD, Random, events, fork, kill, killed, pause, poke, resume, stop, thread_id, until, until_asleep,
    until_thread_asleep, wait, wait_for, watchdog,
};

const SOON: Duration = Duration::from_secs(20);
/// So many permits have a place of their own.
const PLACES: u32 = 32;

fn semaphore(permits: u32) -> Result<SharedValue<Semaphore>> {
    SharedValue::new(Semaphore::new(permits))
}

fn take(slots: &Semaphore, count: u32) -> Result<Vec<Permit<'_>>> {
    Ok((0..count).map(|_| slots.acquire_timeout(SOON)).collect::<Result<_, _>>()?)
}

/// Takes as many permits, says so, and keeps them.
fn hold(slots: SharedValue<Semaphore>, count: u32, held: SharedValue<Event>) -> Result<()> {
    let permits = take(&slots, count)?;
    held.set();
    assert_eq!(permits.len(), count as usize);
    pause()
}

fn holder(slots: &SharedValue<Semaphore>, count: u32) -> Result<Process<()>> {
    let held = SharedValue::new(Event::new())?;
    let child = Process::spawn(hold, (slots, count, &held))?;
    wait(&held, "the child has its permits");
    Ok(child)
}

#[test]
fn permits_are_counted() -> Result<()> {
    let _watch = watchdog(30, "one process");
    let slots = semaphore(3)?;
    assert_eq!(slots.available(), 3);
    let one = slots.acquire()?;
    let two = slots.try_acquire()?;
    let three = slots.acquire_timeout(Duration::ZERO)?;
    assert_eq!(slots.available(), 0);
    assert_eq!(slots.try_acquire().unwrap_err(), TryLockError::WouldBlock);
    assert_eq!(slots.acquire_timeout(Duration::ZERO).unwrap_err(), TryLockError::TimedOut);
    drop(two);
    assert_eq!(slots.available(), 1);
    drop((one, three));
    assert_eq!(slots.available(), 3);
    assert_eq!(format!("{:?}", *slots), "Semaphore { available: 3 }");
    assert_eq!(SharedValue::<Semaphore>::zeroed()?.available(), 0);
    assert_eq!(Semaphore::default().available(), 0);
    Ok(())
}

#[test]
fn release_makes_permits() -> Result<()> {
    let _watch = watchdog(30, "release");
    let slots = semaphore(0)?;
    assert!(slots.try_acquire().is_err());
    slots.release(2)?;
    assert_eq!(slots.available(), 2);
    let _permit = slots.acquire()?;
    slots.release(0)?;
    assert_eq!(slots.available(), 1);
    slots.release(u32::MAX - 2)?;
    assert_eq!(slots.available(), u64::from(u32::MAX) - 1);
    Ok(())
}

#[test]
fn no_more_permits_than_can_be_counted() -> Result<()> {
    let slots = semaphore(1)?;
    assert_eq!(slots.release(u32::MAX), Err(ReleaseError));
    assert_eq!(slots.available(), 1);
    slots.release(u32::MAX - 1)?;
    assert_eq!(slots.release(1), Err(ReleaseError));
    slots.release(0)?;
    assert_eq!(slots.available(), u32::MAX.into());
    slots.acquire()?.forget();
    slots.release(1)?;
    assert_eq!(
        slots.release(1).unwrap_err().to_string(),
        "there would be more permits, held and free, than the semaphore's bound"
    );
    Ok(())
}

#[test]
fn a_bounded_semaphore_has_never_more_permits_than_at_first() -> Result<()> {
    let _watch = watchdog(30, "a bound");
    for bound in [0, 1, 3, PLACES, PLACES + 3] {
        let slots = SharedValue::new(Semaphore::bounded(bound))?;
        assert_eq!(slots.release(1), Err(ReleaseError));
        assert_eq!(slots.release(u32::MAX), Err(ReleaseError));
        slots.release(0)?;
        let all = take(&slots, bound)?;
        assert_eq!(slots.try_acquire().unwrap_err(), TryLockError::WouldBlock);
        // A permit that is held exists.
        assert_eq!(slots.release(1), Err(ReleaseError));
        all.into_iter().for_each(Permit::forget);
        assert_eq!(slots.available(), 0);
        // All or none.
        assert_eq!(slots.release(bound + 1), Err(ReleaseError));
        assert_eq!(slots.available(), 0);
        slots.release(bound)?;
        assert_eq!(slots.available(), bound.into());
        assert_eq!(slots.release(1), Err(ReleaseError));
    }
    Ok(())
}

#[test]
fn permits_forgotten_and_released_at_once_are_as_many_as_before() -> Result<()> {
    fn lend(slots: SharedValue<Semaphore>, inside: SharedValue<AtomicU64>) -> Result<u64> {
        let mut most = 0;
        for _ in 0..2000 {
            let permit = slots.acquire()?;
            most = most.max(inside.fetch_add(1, SeqCst) + 1);
            inside.fetch_sub(1, SeqCst);
            permit.forget();
            slots.release(1)?;
        }
        Ok(most)
    }
    let _watch = watchdog(120, "processes that forget and release");
    for kept in [0, PLACES] {
        let slots = SharedValue::new(Semaphore::bounded(kept + 2))?;
        let inside = SharedValue::new(AtomicU64::new(0))?;
        let held = take(&slots, kept)?;
        let all = (0..4).map(|_| Process::spawn(lend, (&slots, &inside))).collect::<Result<Vec<_>>>()?;
        for process in all {
            assert!(process.join()? <= 2);
        }
        assert_eq!(slots.available(), 2);
        drop(held);
        assert_eq!(slots.available(), u64::from(kept) + 2);
    }
    Ok(())
}

#[test]
fn a_forgotten_permit_comes_back_by_release_only() -> Result<()> {
    fn forget(slots: SharedValue<Semaphore>) -> Result<()> {
        slots.acquire()?.forget();
        let _dropped = slots.acquire()?;
        Ok(())
    }
    let _watch = watchdog(30, "forget");
    let slots = semaphore(2)?;
    Process::spawn(forget, (&slots,))?.join()?;
    let one = slots.acquire()?;
    assert_eq!(slots.acquire_timeout(Duration::from_millis(60)).unwrap_err(), TryLockError::TimedOut);
    Process::spawn(|slots: SharedValue<Semaphore>| slots.release(1), (&slots,))?.join()?;
    let two = slots.acquire_timeout(SOON)?;
    drop((one, two));
    assert_eq!(slots.available(), 2);
    Ok(())
}

#[test]
fn permits_come_back_when_the_holder_is_killed() -> Result<()> {
    let _watch = watchdog(120, "a killed holder");
    let slots = semaphore(3)?;
    for _ in 0..10 {
        let child = holder(&slots, 3)?;
        assert_eq!(slots.try_acquire().unwrap_err(), TryLockError::WouldBlock);
        killed(child)?;
        let all = (0..3).map(|_| slots.try_acquire()).collect::<Result<Vec<_>, _>>()?;
        assert!(slots.try_acquire().is_err());
        drop(all);
        assert_eq!(slots.available(), 3);
    }
    Ok(())
}

#[test]
fn a_sleeping_waiter_gets_the_permit_of_a_killed_holder() -> Result<()> {
    fn take(slots: SharedValue<Semaphore>) -> Result<()> {
        drop(slots.acquire()?);
        Ok(())
    }
    let _watch = watchdog(120, "waiters of a killed holder");
    for _ in 0..10 {
        let slots = semaphore(2)?;
        let child = holder(&slots, 2)?;
        let waiters = (0..3).map(|_| Process::spawn(take, (&slots,))).collect::<Result<Vec<_>>>()?;
        waiters.iter().for_each(|waiter| until_asleep(waiter.pid()));
        child.kill()?;
        for waiter in waiters {
            waiter.join()?;
        }
        child.join().unwrap_err();
        assert_eq!(slots.available(), 2);
    }
    Ok(())
}

#[test]
fn a_stopped_holder_is_not_robbed() -> Result<()> {
    let _watch = watchdog(30, "a stopped holder");
    let slots = semaphore(1)?;
    let child = holder(&slots, 1)?;
    stop(child.pid());
    assert_eq!(slots.try_acquire().unwrap_err(), TryLockError::WouldBlock);
    assert_eq!(slots.acquire_timeout(Duration::from_millis(100)).unwrap_err(), TryLockError::TimedOut);
    resume(child.pid());
    child.kill()?;
    drop(slots.acquire()?);
    Ok(())
}

#[test]
fn permits_come_back_when_the_holder_ends_or_drops_its_handle() -> Result<()> {
    fn forget_all(slots: SharedValue<Semaphore>) -> Result<()> {
        std::mem::forget((slots.acquire()?, slots.acquire()?));
        Ok(())
    }
    let _watch = watchdog(30, "a holder that ends");
    let slots = semaphore(2)?;
    Process::spawn(forget_all, (&slots,))?.join()?;
    drop((slots.acquire_timeout(SOON)?, slots.acquire_timeout(SOON)?));
    assert_eq!(slots.available(), 2);
    Ok(())
}

#[test]
fn permits_of_dropped_handles_come_back_while_the_process_lives() -> Result<()> {
    fn forget_and_drop(slots: SharedValue<Semaphore>, at: SharedArray<Event>) -> Result<()> {
        std::mem::forget(slots.acquire()?);
        drop(slots);
        at[0].set();
        at[1].wait();
        Ok(())
    }
    let _watch = watchdog(30, "a dropped handle");
    let (slots, at) = (semaphore(1)?, events(2)?);
    let child = Process::spawn(forget_and_drop, (&slots, &at))?;
    wait(&at[0], "the child has dropped its handle");
    let answer = slots.acquire_timeout(Duration::from_secs(2)).map(drop);
    at[1].set();
    child.join()?;
    assert_eq!(answer, Ok(()));
    Ok(())
}

#[test]
fn release_wakes_waiters() -> Result<()> {
    fn take(slots: SharedValue<Semaphore>) -> Result<()> {
        slots.acquire()?.forget();
        Ok(())
    }
    let _watch = watchdog(120, "waiters");
    for _ in 0..5 {
        let slots = semaphore(0)?;
        let waiters = (0..4).map(|_| Process::spawn(take, (&slots,))).collect::<Result<Vec<_>>>()?;
        waiters.iter().for_each(|waiter| until_asleep(waiter.pid()));
        slots.release(1)?;
        until("one has taken it", || slots.available() == 0);
        slots.release(3)?;
        for waiter in waiters {
            waiter.join()?;
        }
        assert_eq!(slots.available(), 0);
    }
    Ok(())
}

#[test]
fn killed_waiters_cost_nothing() -> Result<()> {
    fn take(slots: SharedValue<Semaphore>) -> Result<()> {
        drop(slots.acquire()?);
        Ok(())
    }
    let _watch = watchdog(120, "killed waiters");
    for _ in 0..5 {
        let slots = semaphore(1)?;
        let permit = slots.acquire()?;
        let mut waiters = (0..4).map(|_| Process::spawn(take, (&slots,))).collect::<Result<Vec<_>>>()?;
        waiters.iter().for_each(|waiter| until_asleep(waiter.pid()));
        for waiter in waiters.drain(..3) {
            waiter.kill()?;
            waiter.join().unwrap_err();
        }
        drop(permit);
        for waiter in waiters {
            waiter.join()?;
        }
        assert_eq!(slots.available(), 1);
    }
    Ok(())
}

#[test]
fn timeouts() -> Result<()> {
    let _watch = watchdog(30, "timeouts");
    let slots = semaphore(1)?;
    drop(slots.acquire_timeout(Duration::MAX)?);
    let permit = slots.acquire()?;
    let start = Instant::now();
    assert_eq!(slots.acquire_timeout(Duration::from_millis(60)).unwrap_err(), TryLockError::TimedOut);
    assert!(start.elapsed() >= Duration::from_millis(60));
    std::thread::scope(|scope| {
        let (tell, told) = std::sync::mpsc::channel();
        let slots = &slots;
        let waiter = scope.spawn(move || {
            tell.send(thread_id()).unwrap();
            slots.acquire_timeout(Duration::MAX).map(drop)
        });
        until_thread_asleep(told.recv().unwrap());
        drop(permit);
        assert_eq!(waiter.join().unwrap(), Ok(()));
    });
    Ok(())
}

#[test]
fn in_a_static() {
    static SLOTS: Semaphore = Semaphore::new(2);
    static INSIDE: AtomicU64 = AtomicU64::new(0);
    let _watch = watchdog(120, "threads");
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let _permit = SLOTS.acquire().unwrap();
                    assert!(INSIDE.fetch_add(1, SeqCst) < 2);
                    INSIDE.fetch_sub(1, SeqCst);
                }
            });
        }
    });
    assert_eq!(SLOTS.available(), 2);
}

#[test]
fn never_more_inside_than_permits() -> Result<()> {
    fn enter(slots: SharedValue<Semaphore>, inside: SharedValue<AtomicU64>) -> Result<u64> {
        let mut most = 0;
        for _ in 0..500 {
            let _permit = slots.acquire()?;
            most = most.max(inside.fetch_add(1, SeqCst) + 1);
            inside.fetch_sub(1, SeqCst);
        }
        Ok(most)
    }
    let _watch = watchdog(120, "processes inside");
    let (slots, inside) = (semaphore(2)?, SharedValue::new(AtomicU64::new(0))?);
    let all = (0..4).map(|_| Process::spawn(enter, (&slots, &inside))).collect::<Result<Vec<_>>>()?;
    for process in all {
        assert!(process.join()? <= 2);
    }
    assert_eq!(slots.available(), 2);
    Ok(())
}

#[test]
fn no_permit_is_lost_or_made_by_kills_at_any_moment() -> Result<()> {
    fn churn(slots: SharedValue<Semaphore>, turns: SharedValue<AtomicU64>) -> Result<()> {
        loop {
            let one = slots.acquire()?;
            let two = slots.try_acquire();
            turns.fetch_add(1, SeqCst);
            drop((one, two));
        }
    }
    let _watch = watchdog(240, "holders under kills");
    for kept in [0, PLACES] {
        let (slots, turns) = (semaphore(kept + 3)?, SharedValue::new(AtomicU64::new(0))?);
        let held = take(&slots, kept)?;
        let mut random = Random(9);
        let mut all = Vec::new();
        for _ in 0..80 {
            while all.len() < 3 {
                all.push(Process::spawn(churn, (&slots, &turns))?);
            }
            let seen = turns.load(SeqCst);
            let steps = 5 + random.below(100);
            until("they go on", || turns.load(SeqCst) > seen + steps);
            for _ in 0..random.below(1000) {
                std::hint::spin_loop();
            }
            let victim = all.swap_remove(random.below(3) as usize);
            victim.kill()?;
            victim.join().unwrap_err();
        }
        for process in all {
            process.kill()?;
            process.join().unwrap_err();
        }
        let permits = take(&slots, 3)?;
        assert_eq!(slots.acquire_timeout(Duration::from_millis(60)).unwrap_err(), TryLockError::TimedOut);
        drop((permits, held));
        assert_eq!(slots.available(), u64::from(kept) + 3);
    }
    Ok(())
}

#[test]
fn of_the_permits_without_a_place_the_33rd_process_waits() -> Result<()> {
    let _watch = watchdog(120, "33 holders");
    let slots = semaphore(100)?;
    let held = take(&slots, PLACES)?;
    let mut holders = (0..32).map(|_| holder(&slots, 1)).collect::<Result<Vec<_>>>()?;
    assert_eq!(slots.available(), 36);
    assert_eq!(slots.try_acquire().unwrap_err(), TryLockError::WouldBlock);
    assert_eq!(slots.acquire_timeout(Duration::from_millis(60)).unwrap_err(), TryLockError::TimedOut);
    let last = holders.pop().unwrap();
    last.kill()?;
    last.join().unwrap_err();
    drop(slots.acquire_timeout(SOON)?);
    // Who needs no slot need not wait.
    drop(held);
    drop(slots.try_acquire()?);
    for holder in holders {
        holder.kill()?;
        holder.join().unwrap_err();
    }
    // A permit of a dead holder comes back when somebody would have to wait for it.
    let all = take(&slots, 100)?;
    assert_eq!(slots.try_acquire().unwrap_err(), TryLockError::WouldBlock);
    drop(all);
    assert_eq!(slots.available(), 100);
    Ok(())
}

#[test]
fn permits_of_threads_are_counted_in_one_slot() -> Result<()> {
    let _watch = watchdog(120, "threads of one process");
    let slots = Semaphore::new(PLACES + 4);
    let _held = take(&slots, PLACES)?;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    drop((slots.acquire().unwrap(), slots.try_acquire()));
                }
            });
        }
    });
    assert_eq!(slots.available(), 4);
    Ok(())
}

#[test]
fn a_forked_childs_copy_of_a_permit_is_nobodys() -> Result<()> {
    fn hold_and_fork(slots: SharedValue<Semaphore>) -> Result<u64> {
        let mut permit = Some(slots.acquire()?);
        let child = fork(|| {
            drop(permit.take());
            0
        });
        assert_eq!(wait_for(child), 0);
        let child = fork(|| {
            permit.take().into_iter().for_each(Permit::forget);
            0
        });
        assert_eq!(wait_for(child), 0);
        let available = slots.available();
        // A forked child that holds one is another holder, and its death is noticed.
        let child = fork(|| {
            std::mem::forget(slots.acquire());
            kill(std::process::id());
            1
        });
        assert_eq!(wait_for(child), -9);
        drop(slots.acquire_timeout(SOON)?);
        drop(permit);
        Ok(available)
    }
    let _watch = watchdog(30, "a forked child");
    for kept in [0, PLACES] {
        let slots = semaphore(kept + 2)?;
        let _held = take(&slots, kept)?;
        assert_eq!(Process::spawn(hold_and_fork, (&slots,))?.join()?, 1);
        drop((slots.acquire_timeout(SOON)?, slots.acquire_timeout(SOON)?));
        assert_eq!(slots.available(), 2);
    }
    Ok(())
}

#[test]
fn strange_words_are_bounded() -> Result<()> {
    let _watch = watchdog(120, "strange words");
    let mut random = Random(10);
    for _ in 0..300 {
        let slots = semaphore(2)?;
        for _ in 0..1 + random.below(4) {
            let word = random.strange_word();
            // The value's lock has a line of its own; behind it the semaphore.
            let words = size_of::<Semaphore>() as u64 / 8;
            poke(&slots, LOCK_WORD + 64 + 8 * random.below(words), word);
        }
        let short = Duration::from_millis(1);
        let permit = slots.try_acquire();
        let _ = slots.acquire_timeout(short).map(drop);
        let _ = (slots.available(), format!("{:?}", *slots));
        drop(permit);
        let _ = (slots.release(1), slots.release(40));
        let _ = slots.acquire_timeout(short).map(Permit::forget);
        let _ = slots.acquire_timeout(short).map(drop);
    }
    Ok(())
}
