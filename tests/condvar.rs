//! `Condvar` between processes: who waits is woken, whoever else is killed.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use coproc::{Condvar, Event, LockError, Mutex, Owner, Result, Shareable, SharedArray, SharedValue};
use coproc_pool::{Cause, Process};
use coproc_tests::{
    fork, kill, killed, pause, resume, stop, thread_id, until, until_asleep, until_thread_asleep, wait, wait_for, watchdog,
};

const SOON: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(60);

#[derive(Shareable)]
#[repr(C)]
struct Stock {
    items: Mutex<u64>,
    arrived: Condvar,
    room: Condvar,
    /// How many have the lock behind them, and wait or are about to.
    waiting: AtomicU64,
    taken: AtomicU64,
}

type Shared = SharedValue<Stock>;

/// Waits until there is an item, and takes it.
fn take(stock: Shared) -> Result<()> {
    let guard = stock.items.lock()?;
    stock.waiting.fetch_add(1, SeqCst);
    let mut items = stock.arrived.wait_while(guard, |items| *items == 0)?;
    *items -= 1;
    stock.taken.fetch_add(1, SeqCst);
    Ok(())
}

/// So many children that wait for an item: all have given back the lock, and sleep.
fn takers(stock: &Shared, count: u64) -> Result<Vec<Process<()>>> {
    let before = stock.waiting.load(SeqCst);
    let all = (0..count).map(|_| Process::spawn(take, (stock,))).collect::<Result<Vec<_>>>()?;
    until("all wait", || stock.waiting.load(SeqCst) == before + count);
    drop(stock.items.lock()?);
    all.iter().for_each(|taker| until_asleep(taker.pid()));
    Ok(all)
}

#[test]
fn notify_one_lets_one_go_on() -> Result<()> {
    let _watch = watchdog(60, "notify_one");
    let stock = SharedValue::<Stock>::zeroed()?;
    let all = takers(&stock, 4)?;
    for n in 1..=4 {
        *stock.items.lock()? += 1;
        stock.arrived.notify_one();
        until("one has taken it", || stock.taken.load(SeqCst) == n);
        assert_eq!(*stock.items.lock()?, 0);
    }
    for taker in all {
        taker.join()?;
    }
    Ok(())
}

#[test]
fn notify_n_lets_that_many_go_on() -> Result<()> {
    let _watch = watchdog(60, "notify_n");
    let stock = SharedValue::<Stock>::zeroed()?;
    let all = takers(&stock, 4)?;
    stock.arrived.notify_n(0);
    *stock.items.lock()? += 3;
    stock.arrived.notify_n(3);
    until("three have taken theirs", || stock.taken.load(SeqCst) == 3);
    assert_eq!(*stock.items.lock()?, 0);
    *stock.items.lock()? += 1;
    stock.arrived.notify_n(u32::MAX);
    for taker in all {
        taker.join()?;
    }
    Ok(())
}

#[test]
fn notify_all_lets_all_go_on() -> Result<()> {
    let _watch = watchdog(60, "notify_all");
    let stock = SharedValue::<Stock>::zeroed()?;
    for _ in 0..5 {
        let all = takers(&stock, 4)?;
        *stock.items.lock()? += 4;
        stock.arrived.notify_all();
        for taker in all {
            taker.join()?;
        }
        assert_eq!(*stock.items.lock()?, 0);
    }
    Ok(())
}

#[test]
fn who_is_woken_without_reason_waits_again() -> Result<()> {
    let _watch = watchdog(60, "wake-ups without reason");
    let stock = SharedValue::<Stock>::zeroed()?;
    let all = takers(&stock, 2)?;
    for _ in 0..50 {
        stock.arrived.notify_all();
    }
    assert_eq!(stock.taken.load(SeqCst), 0);
    all.iter().for_each(|taker| until_asleep(taker.pid()));
    *stock.items.lock()? += 2;
    stock.arrived.notify_all();
    for taker in all {
        taker.join()?;
    }
    Ok(())
}

#[test]
fn a_notification_between_the_unlock_and_the_sleep_is_not_lost() -> Result<()> {
    fn answer(stock: Shared) -> Result<()> {
        for _ in 0..2000 {
            let mut items = stock.arrived.wait_while(stock.items.lock()?, |items| *items == 0)?;
            *items = 0;
            stock.room.notify_one();
        }
        Ok(())
    }
    let _watch = watchdog(60, "ping and pong");
    let stock = SharedValue::<Stock>::zeroed()?;
    let child = Process::spawn(answer, (&stock,))?;
    for n in 0..2000 {
        let mut items = stock.room.wait_while(stock.items.lock()?, |items| *items != 0)?;
        *items = 1;
        // Behind the lock in one half of the cases, under it in the other.
        let _held = if n % 2 == 0 { None } else { Some(items) };
        stock.arrived.notify_one();
    }
    child.join()?;
    Ok(())
}

#[test]
fn a_bounded_buffer_loses_nothing() -> Result<()> {
    fn consume(stock: Shared, count: u64) -> Result<()> {
        for _ in 0..count {
            let mut items = stock.arrived.wait_while(stock.items.lock()?, |items| *items == 0)?;
            *items -= 1;
            drop(items);
            stock.room.notify_one();
        }
        Ok(())
    }
    fn produce(stock: Shared, count: u64) -> Result<()> {
        for _ in 0..count {
            let mut items = stock.room.wait_while(stock.items.lock()?, |items| *items == 3)?;
            *items += 1;
            assert!(*items <= 3);
            drop(items);
            stock.arrived.notify_one();
        }
        Ok(())
    }
    let _watch = watchdog(120, "a bounded buffer");
    let stock = SharedValue::<Stock>::zeroed()?;
    let consumers = (0..2).map(|_| Process::spawn(consume, (&stock, 1500))).collect::<Result<Vec<_>>>()?;
    let producers = (0..2).map(|_| Process::spawn(produce, (&stock, 1500))).collect::<Result<Vec<_>>>()?;
    for process in consumers.into_iter().chain(producers) {
        process.join()?;
    }
    assert_eq!(*stock.items.lock()?, 0);
    Ok(())
}

#[test]
fn timeouts() -> Result<()> {
    let _watch = watchdog(30, "timeouts");
    let stock = SharedValue::<Stock>::zeroed()?;
    let (guard, notified) = stock.arrived.wait_timeout(stock.items.lock()?, Duration::ZERO)?;
    assert!(!notified);
    let start = Instant::now();
    let (guard, notified) = stock.arrived.wait_timeout(guard, SHORT)?;
    assert!(!notified && start.elapsed() >= SHORT);
    let start = Instant::now();
    let mut looks = 0;
    let (guard, holds_not) = stock.arrived.wait_timeout_while(guard, SHORT, |items| {
        looks += 1;
        *items == 0
    })?;
    assert!(!holds_not && looks >= 2 && start.elapsed() >= SHORT);
    // What is so already is so without any time.
    let (guard, holds_not) = stock.arrived.wait_timeout_while(guard, Duration::ZERO, |_| false)?;
    assert!(holds_not);
    let (guard, holds_not) = stock.arrived.wait_timeout_while(guard, Duration::ZERO, |_| true)?;
    assert!(!holds_not);
    drop(guard);
    // None of this has left the lock taken, or poisoned.
    drop(stock.items.try_lock()?);
    Ok(())
}

#[test]
fn the_longest_timeout_is_for_ever() -> Result<()> {
    let _watch = watchdog(30, "Duration::MAX");
    let stock = SharedValue::<Stock>::zeroed()?;
    std::thread::scope(|scope| {
        for conditional in [false, true] {
            let (tell, told) = std::sync::mpsc::channel();
            let stock = &stock;
            let waiter = scope.spawn(move || {
                let guard = stock.items.lock().unwrap();
                stock.waiting.fetch_add(1, SeqCst);
                tell.send(thread_id()).unwrap();
                let end = if conditional {
                    stock.arrived.wait_timeout_while(guard, Duration::MAX, |items| *items == 0)
                } else {
                    stock.arrived.wait_timeout(guard, Duration::MAX)
                };
                end.unwrap().1
            });
            let tid = told.recv().unwrap();
            *stock.items.lock().unwrap() = 1;
            until_thread_asleep(tid);
            stock.arrived.notify_one();
            assert!(waiter.join().unwrap());
            *stock.items.lock().unwrap() = 0;
        }
    });
    Ok(())
}

#[test]
fn the_lock_is_free_while_all_wait_and_held_when_they_go_on() -> Result<()> {
    fn enter(stock: Shared, inside: SharedValue<AtomicU64>) -> Result<()> {
        let guard = stock.items.lock()?;
        stock.waiting.fetch_add(1, SeqCst);
        let mut items = stock.arrived.wait_while(guard, |items| *items == 0)?;
        assert_eq!(inside.fetch_add(1, SeqCst), 0, "two have the lock");
        *items += 1;
        inside.fetch_sub(1, SeqCst);
        Ok(())
    }
    let _watch = watchdog(60, "who holds the lock");
    let (stock, inside) = (SharedValue::<Stock>::zeroed()?, SharedValue::new(AtomicU64::new(0))?);
    let all = (0..6).map(|_| Process::spawn(enter, (&stock, &inside))).collect::<Result<Vec<_>>>()?;
    until("all wait", || stock.waiting.load(SeqCst) == 6);
    *stock.items.lock()? = 1;
    stock.arrived.notify_all();
    for process in all {
        process.join()?;
    }
    assert_eq!(*stock.items.lock()?, 7);
    Ok(())
}

#[test]
fn killed_waiters_eat_no_wake() -> Result<()> {
    let _watch = watchdog(90, "killed waiters");
    for round in 0..10 {
        let stock = SharedValue::<Stock>::zeroed()?;
        let mut all = takers(&stock, 4)?;
        *stock.items.lock()? += 1;
        // It wakes the first in the kernel's queue, which is one of those that are killed: before the wake, or after it.
        if round % 2 == 0 {
            for taker in all.drain(..3) {
                killed(taker)?;
            }
            stock.arrived.notify_one();
        } else {
            all.iter().for_each(|taker| stop(taker.pid()));
            stock.arrived.notify_one();
            for taker in all.drain(..3) {
                killed(taker)?;
            }
            all.iter().for_each(|taker| resume(taker.pid()));
        }
        for taker in all {
            taker.join()?;
        }
        assert_eq!((stock.taken.load(SeqCst), *stock.items.lock()?), (1, 0));
    }
    Ok(())
}

#[test]
fn a_holder_killed_while_others_wait_poisons() -> Result<()> {
    fn take_and_stay(stock: Shared, held: SharedValue<Event>) -> Result<()> {
        let mut items = stock.items.lock()?;
        *items += 1;
        stock.arrived.notify_all();
        held.set();
        pause()
    }
    fn ask(stock: Shared, timed: bool) -> u32 {
        let guard = stock.items.lock().unwrap();
        stock.waiting.fetch_add(1, SeqCst);
        let answer = if timed {
            stock.arrived.wait_timeout_while(guard, Duration::MAX, |items| *items == 0).map(drop)
        } else {
            stock.arrived.wait_while(guard, |items| *items == 0).map(drop)
        };
        match answer {
            Err(LockError::Poisoned(owner)) => owner.pid,
            other => panic!("{other:?}"),
        }
    }
    let _watch = watchdog(60, "a killed holder");
    for _ in 0..5 {
        let stock = SharedValue::<Stock>::zeroed()?;
        let all = [false, true, false].map(|timed| Process::spawn(ask, (&stock, timed)));
        let all = all.into_iter().collect::<Result<Vec<_>>>()?;
        until("all wait", || stock.waiting.load(SeqCst) == 3);
        let held = SharedValue::new(Event::new())?;
        let holder = Process::spawn(take_and_stay, (&stock, &held))?;
        wait(&held, "the child has the lock");
        let pid = killed(holder)?;
        for process in all {
            assert_eq!(process.join()?, pid);
        }
        assert_eq!(*stock.items.lock_or_repair(|items, _| *items = 0)?, 0);
    }
    Ok(())
}

#[test]
fn a_killed_waiter_holds_no_lock() -> Result<()> {
    let _watch = watchdog(60, "killed waiters and the lock");
    let stock = SharedValue::<Stock>::zeroed()?;
    for taker in takers(&stock, 4)? {
        killed(taker)?;
        drop(stock.items.try_lock()?);
    }
    assert!(!stock.items.is_poisoned());
    Ok(())
}

#[test]
fn a_waiter_that_times_out_for_a_dead_notifier_goes_on() -> Result<()> {
    fn die_before_notifying(stock: Shared) -> Result<()> {
        *stock.items.lock()? += 1;
        kill(std::process::id());
        stock.arrived.notify_one();
        Ok(())
    }
    let _watch = watchdog(30, "a dead notifier");
    let stock = SharedValue::<Stock>::zeroed()?;
    let guard = stock.items.lock()?;
    let child = Process::spawn(die_before_notifying, (&stock,))?;
    let (guard, notified) = stock.arrived.wait_timeout(guard, Duration::from_millis(300))?;
    assert!(!notified);
    drop(guard);
    assert_eq!(child.join().unwrap_err().cause, Cause::Killed { signal: 9 });
    let (items, there) = stock.arrived.wait_timeout_while(stock.items.lock()?, SOON, |items| *items == 0)?;
    assert_eq!((*items, there), (1, true));
    Ok(())
}

#[test]
fn with_the_locks_of_values_and_arrays() -> Result<()> {
    fn fill(n: SharedValue<u64>, all: SharedArray<u32>, filled: SharedValue<Condvar>) -> Result<()> {
        *n.lock()? = 1;
        filled.notify_all();
        all.lock()?[2] = 1;
        filled.notify_all();
        Ok(())
    }
    let _watch = watchdog(30, "other locks");
    let (n, all, filled) = (SharedValue::new(0_u64)?, SharedArray::<u32>::zeroed(3)?, SharedValue::new(Condvar::new())?);
    let child = Process::spawn(fill, (&n, &all, &filled))?;
    assert_eq!(*filled.wait_while(n.lock()?, |n| *n == 0)?, 1);
    assert_eq!(filled.wait_while(all.lock()?, |all| all[2] == 0)?[2], 1);
    child.join()?;
    Ok(())
}

#[test]
fn in_a_static() {
    static ITEMS: Mutex<u64> = Mutex::new(0);
    static ARRIVED: Condvar = Condvar::new();
    let _watch = watchdog(60, "threads");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let mut items = ARRIVED.wait_while(ITEMS.lock().unwrap(), |items| *items == 0).unwrap();
                    *items -= 1;
                }
            });
        }
        for _ in 0..2000 {
            *ITEMS.lock().unwrap() += 1;
            ARRIVED.notify_one();
        }
    });
    assert_eq!(*ITEMS.lock().unwrap(), 0);
    assert_eq!(format!("{ARRIVED:?}"), "Condvar { .. }");
}

#[test]
fn a_condition_that_panics_poisons_the_lock() -> Result<()> {
    let _watch = watchdog(30, "a condition that panics");
    let stock = SharedValue::<Stock>::zeroed()?;
    let guard = stock.items.lock()?;
    let run = || stock.arrived.wait_while(guard, |_| panic!("no condition today")).map(drop);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
    let owner = Owner { pid: std::process::id(), tid: 0 };
    assert_eq!(stock.items.lock().unwrap_err(), LockError::Poisoned(owner));
    Ok(())
}

#[test]
fn a_forked_child_waits_and_notifies_as_any_process() -> Result<()> {
    fn wait_for_a_fork(stock: Shared) -> Result<()> {
        let guard = stock.items.lock()?;
        let child = fork(|| {
            let Ok(mut items) = stock.items.lock() else { return 1 };
            *items += 1;
            drop(items);
            stock.arrived.notify_one();
            let Ok(guard) = stock.items.lock() else { return 2 };
            i32::from(stock.room.wait_while(guard, |items| *items == 1).is_err())
        });
        let mut items = stock.arrived.wait_while(guard, |items| *items == 0)?;
        *items += 1;
        drop(items);
        stock.room.notify_one();
        assert_eq!(wait_for(child), 0);
        Ok(())
    }
    let _watch = watchdog(30, "a forked child");
    let stock = SharedValue::<Stock>::zeroed()?;
    Process::spawn(wait_for_a_fork, (&stock,))?.join()?;
    Ok(())
}
