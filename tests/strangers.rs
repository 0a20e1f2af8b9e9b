//! A process in the family that nobody watches. It stays in its family's memory, so this is a program of its own.

use coproc::{Event, LockError, Mutex, Result, SharedValue};
use coproc_pool::Process;
use coproc_tests::{fork, pause, until_in_call, wait, wait_for, watchdog};

/// The numbers of `futex(2)` and `futex_waitv(2)`.
const FUTEX: u32 = if cfg!(target_arch = "x86_64") { 202 } else { 98 };
const FUTEX_WAITV: u32 = 449;

fn hold(lock: SharedValue<Mutex<u64>>, held: SharedValue<Event>) -> Result<()> {
    let _guard = lock.lock()?;
    held.set();
    pause()
}

fn poisoned_by(lock: SharedValue<Mutex<u64>>) -> u32 {
    match lock.lock() {
        Err(LockError::Poisoned(owner)) => owner.pid,
        _ => 0,
    }
}

#[test]
fn everybody_looks_once_there_is_somebody_whom_nobody_watches() -> Result<()> {
    let _watchdog = watchdog(60, "a forked process in the family");
    let lock = SharedValue::new(Mutex::new(0_u64))?;
    let taken = SharedValue::new(Event::new())?;
    let held = SharedValue::new(Event::new())?;
    let owner = Process::spawn(hold, (&lock, &held))?;
    wait(&held, "the owner to have the lock");
    let waiter = Process::spawn(poisoned_by, (&lock,))?;
    until_in_call(waiter.pid(), FUTEX_WAITV);
    let stranger = fork(|| {
        // Waits too, and so is found dead, or not, by who waits behind it.
        let _ = lock.lock();
        taken.set();
        0
    });
    until_in_call(waiter.pid(), FUTEX);
    owner.kill()?;
    wait(&taken, "the forked process to have had its answer");
    assert_eq!(wait_for(stranger), 0);
    assert_eq!(waiter.join()?, owner.pid());
    Ok(())
}
