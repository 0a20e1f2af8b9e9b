//! Sleeping long: who has waited for long is told of deaths instead of looking for them.

use coproc::{Event, LockError, Mutex, Queue, RecvError, Result, Semaphore, SharedValue, TryRecvError, wait_any};
use coproc_pool::Process;
use coproc_tests::{pause, until_in_call, wait, watchdog};

/// The number of `futex_waitv(2)`.
const FUTEX_WAITV: u32 = 449;

fn until_told_of_deaths(pid: u32) {
    until_in_call(pid, FUTEX_WAITV);
}

fn hold(lock: SharedValue<Mutex<u64>>, held: SharedValue<Event>) -> Result<()> {
    let _guard = lock.lock()?;
    held.set();
    pause()
}

fn held_by_another(lock: &SharedValue<Mutex<u64>>) -> Result<Process<()>> {
    let held = SharedValue::new(Event::new())?;
    let owner = Process::spawn(hold, (lock, &held))?;
    wait(&held, "the owner to have the lock");
    Ok(owner)
}

fn poisoned_by(lock: SharedValue<Mutex<u64>>) -> u32 {
    match lock.lock() {
        Err(LockError::Poisoned(owner)) => owner.pid,
        _ => 0,
    }
}

#[test]
fn who_waits_for_a_lock_is_told_of_its_owners_death() -> Result<()> {
    let _watchdog = watchdog(60, "waiting for the lock of a dead process");
    let lock = SharedValue::new(Mutex::new(0_u64))?;
    let owner = held_by_another(&lock)?;
    let waiter = Process::spawn(poisoned_by, (&lock,))?;
    until_told_of_deaths(waiter.pid());
    owner.kill()?;
    assert_eq!(waiter.join()?, owner.pid());
    Ok(())
}

#[test]
fn a_wake_ends_a_long_sleep() -> Result<()> {
    let _watchdog = watchdog(60, "waking a process that has slept for long");
    let (event, semaphore) = (SharedValue::new(Event::new())?, SharedValue::new(Semaphore::new(0))?);
    let (queue, lock) = (Queue::<u8>::new(1)?, SharedValue::new(Mutex::new(0_u64))?);
    let held = lock.lock()?;
    let waits: [Process<()>; 4] = [
        Process::spawn(|event: SharedValue<Event>| event.wait(), (&event,))?,
        Process::spawn(|semaphore: SharedValue<Semaphore>| semaphore.acquire().map(drop), (&semaphore,))?,
        Process::spawn(|queue: Queue<u8>| queue.recv().map(drop).map_err(coproc::Error::from), (&queue,))?,
        Process::spawn(|lock: SharedValue<Mutex<u64>>| lock.lock().map(drop), (&lock,))?,
    ];
    for process in &waits {
        until_told_of_deaths(process.pid());
    }
    event.set();
    semaphore.release(1)?;
    queue.send(7)?;
    drop(held);
    for process in waits {
        process.join()?;
    }
    Ok(())
}

#[test]
fn who_waits_for_items_is_told_that_nobody_is_left() -> Result<()> {
    let _watchdog = watchdog(60, "waiting for items of a dead process");
    let queue = Queue::<u8>::new(1)?;
    let sender = Process::spawn(|_queue: Queue<u8>| -> () { pause() }, (&queue,))?;
    let receiver = Process::spawn(|queue: Queue<u8>| queue.recv() == Err(RecvError::Disconnected), (&queue,))?;
    drop(queue);
    until_told_of_deaths(receiver.pid());
    sender.kill()?;
    assert!(receiver.join()?);
    Ok(())
}

#[test]
fn who_waits_for_items_is_told_that_the_last_sender_has_dropped_the_queue() -> Result<()> {
    let _watchdog = watchdog(60, "waiting for items of nobody");
    let queue = Queue::<u8>::new(1)?;
    let receiver = Process::spawn(|queue: Queue<u8>| queue.recv() == Err(RecvError::Disconnected), (&queue,))?;
    until_told_of_deaths(receiver.pid());
    drop(queue);
    assert!(receiver.join()?);
    Ok(())
}

#[test]
fn who_waits_for_several_is_told_that_nobody_is_left() -> Result<()> {
    let _watchdog = watchdog(60, "waiting for one of several with nobody left");
    let (queue, event) = (Queue::<u8>::new(1)?, SharedValue::new(Event::new())?);
    let sender = Process::spawn(|_queue: Queue<u8>| -> () { pause() }, (&queue,))?;
    let waits = |queue: Queue<u8>, event: SharedValue<Event>| {
        let ready = wait_any(&[&*event, &queue]);
        (ready, queue.try_recv() == Err(TryRecvError::Disconnected))
    };
    let waiter = Process::spawn(waits, (&queue, &event))?;
    drop(queue);
    // Asleep in the same call all the time: for long when this has come true, or soon after.
    until_told_of_deaths(waiter.pid());
    sender.kill()?;
    assert_eq!(waiter.join()?, (1, true));
    Ok(())
}
