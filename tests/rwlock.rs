//! `RwLock` between processes: many read or one writes, whoever is killed, stopped or forked meanwhile.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use coproc::{Event, LockError, Owner, Plain, Result, RwLock, SharedArray, SharedValue, TryLockError};
use coproc_pool::Process;
use coproc_tests::{
    LOCK_WORD, Random, events, fork, kill, killed, pause, poke, resume, stop, thread_id, until, until_asleep,
    until_thread_asleep, wait, wait_for, watchdog,
};

const SOON: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(60);

/// Both are the same whenever nobody writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Plain)]
#[repr(C)]
struct Twins {
    left: u64,
    right: u64,
}

type Shared = SharedValue<RwLock<Twins>>;

fn twins() -> Result<Shared> {
    SharedValue::new(RwLock::new(Twins { left: 0, right: 0 }))
}

fn read_for_ever(twins: Shared, inside: SharedValue<Event>) -> Result<()> {
    let guard = twins.read()?;
    inside.set();
    assert_eq!(guard.left, guard.right);
    pause()
}

/// Leaves the twins torn for ever.
fn write_for_ever(twins: Shared, inside: SharedValue<Event>) -> Result<()> {
    let mut guard = twins.write()?;
    guard.left += 1;
    inside.set();
    pause()
}

fn read_once(twins: Shared) -> Result<u64> {
    Ok(twins.read()?.left)
}

fn write_once(twins: Shared) -> Result<()> {
    let mut guard = twins.write()?;
    guard.left += 1;
    guard.right += 1;
    Ok(())
}

fn reader(twins: &Shared) -> Result<Process<()>> {
    let inside = SharedValue::new(Event::new())?;
    let child = Process::spawn(read_for_ever, (twins, &inside))?;
    wait(&inside, "the child reads");
    Ok(child)
}

fn writer(twins: &Shared) -> Result<Process<()>> {
    let inside = SharedValue::new(Event::new())?;
    let child = Process::spawn(write_for_ever, (twins, &inside))?;
    wait(&inside, "the child writes");
    Ok(child)
}

#[test]
fn many_read_or_one_writes() -> Result<()> {
    let _watch = watchdog(30, "one process");
    let twins = twins()?;
    let (one, two, three) = (twins.read()?, twins.try_read()?, twins.read_timeout(Duration::ZERO)?);
    assert_eq!((one.left, two.left, three.left), (0, 0, 0));
    assert_eq!(twins.try_write().unwrap_err(), TryLockError::WouldBlock);
    assert_eq!(twins.write_timeout(Duration::ZERO).unwrap_err(), TryLockError::TimedOut);
    // A writer that gave up keeps nobody out.
    assert_eq!(twins.try_read()?.left, 0);
    drop((one, two));
    assert_eq!(twins.try_write().unwrap_err(), TryLockError::WouldBlock);
    drop(three);
    twins.try_write()?.left = 1;
    twins.write_timeout(Duration::ZERO)?.right = 1;
    assert_eq!(*twins.read()?, Twins { left: 1, right: 1 });
    Ok(())
}

#[test]
fn a_writer_keeps_all_others_out() -> Result<()> {
    let _watch = watchdog(30, "a writer");
    let twins = twins()?;
    let child = writer(&twins)?;
    assert_eq!(twins.try_read().unwrap_err(), TryLockError::WouldBlock);
    assert_eq!(twins.try_write().unwrap_err(), TryLockError::WouldBlock);
    assert_eq!(twins.read_timeout(Duration::ZERO).unwrap_err(), TryLockError::TimedOut);
    assert_eq!(twins.write_timeout(Duration::ZERO).unwrap_err(), TryLockError::TimedOut);
    let start = Instant::now();
    assert_eq!(twins.read_timeout(SHORT).unwrap_err(), TryLockError::TimedOut);
    assert_eq!(twins.write_timeout(SHORT).unwrap_err(), TryLockError::TimedOut);
    assert!(start.elapsed() >= 2 * SHORT);
    killed(child)?;
    Ok(())
}

#[test]
fn readers_of_many_processes_are_inside_together() -> Result<()> {
    fn meet(twins: Shared, inside: SharedValue<AtomicU64>) -> Result<()> {
        let _guard = twins.read()?;
        inside.fetch_add(1, SeqCst);
        until("all are inside", || inside.load(SeqCst) == 8);
        Ok(())
    }
    let _watch = watchdog(60, "8 readers");
    let (twins, inside) = (twins()?, SharedValue::new(AtomicU64::new(0))?);
    let all = (0..8).map(|_| Process::spawn(meet, (&twins, &inside))).collect::<Result<Vec<_>>>()?;
    for process in all {
        process.join()?;
    }
    drop(twins.try_write()?);
    Ok(())
}

#[test]
fn nobody_sees_half_a_write() -> Result<()> {
    fn write(twins: Shared, inside: SharedValue<AtomicU64>) -> Result<()> {
        for _ in 0..3000 {
            let mut guard = twins.write()?;
            assert_eq!(inside.fetch_add(1000, SeqCst), 0, "a writer is not alone");
            guard.left += 1;
            std::hint::spin_loop();
            guard.right += 1;
            inside.fetch_sub(1000, SeqCst);
        }
        Ok(())
    }
    fn read(twins: Shared, inside: SharedValue<AtomicU64>) -> Result<u64> {
        let mut last = 0;
        loop {
            let guard = twins.read()?;
            assert!(inside.fetch_add(1, SeqCst) < 1000, "a writer is not alone");
            let seen = *guard;
            inside.fetch_sub(1, SeqCst);
            assert_eq!(seen.left, seen.right);
            assert!(seen.left >= last, "an older value");
            last = seen.left;
            if last == 6000 {
                return Ok(last);
            }
        }
    }
    let _watch = watchdog(120, "readers and writers");
    let (twins, inside) = (twins()?, SharedValue::new(AtomicU64::new(0))?);
    let readers = (0..3).map(|_| Process::spawn(read, (&twins, &inside))).collect::<Result<Vec<_>>>()?;
    let writers = (0..2).map(|_| Process::spawn(write, (&twins, &inside))).collect::<Result<Vec<_>>>()?;
    for process in writers {
        process.join()?;
    }
    for process in readers {
        assert_eq!(process.join()?, 6000);
    }
    assert_eq!(*twins.read()?, Twins { left: 6000, right: 6000 });
    Ok(())
}

#[test]
fn threads_of_one_process_count_each() -> Result<()> {
    let _watch = watchdog(60, "threads");
    let twins = twins()?;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..2000 {
                    if n % 8 == 0 {
                        let mut guard = twins.write().unwrap();
                        guard.left += 1;
                        guard.right += 1;
                    } else {
                        let (one, two) = (twins.try_read(), twins.try_read());
                        for guard in [one, two].into_iter().flatten() {
                            assert_eq!(guard.left, guard.right);
                        }
                    }
                }
            });
        }
    });
    assert_eq!(*twins.try_write()?, Twins { left: 1000, right: 1000 });
    Ok(())
}

#[test]
fn a_killed_reader_poisons_nothing() -> Result<()> {
    let _watch = watchdog(60, "killed readers");
    let twins = twins()?;
    for n in 0..10 {
        let all = [reader(&twins)?, reader(&twins)?, reader(&twins)?];
        for child in all {
            killed(child)?;
        }
        let mut guard = if n % 2 == 0 { twins.try_write()? } else { twins.write()? };
        guard.left += 1;
        guard.right += 1;
        drop(guard);
        assert!(!twins.is_poisoned());
        assert_eq!(twins.read()?.left, n + 1);
    }
    Ok(())
}

#[test]
fn a_sleeping_writer_goes_on_when_the_reader_is_killed() -> Result<()> {
    let _watch = watchdog(60, "a writer whose reader is killed");
    let twins = twins()?;
    for n in 0..10 {
        let child = reader(&twins)?;
        let waiter = Process::spawn(write_once, (&twins,))?;
        until_asleep(waiter.pid());
        killed(child)?;
        waiter.join()?;
        assert_eq!(twins.read()?.left, n + 1);
    }
    Ok(())
}

#[test]
fn a_stopped_reader_is_not_robbed() -> Result<()> {
    let _watch = watchdog(30, "a stopped reader");
    let twins = twins()?;
    let child = reader(&twins)?;
    stop(child.pid());
    assert_eq!(twins.try_write().unwrap_err(), TryLockError::WouldBlock);
    assert_eq!(twins.write_timeout(SHORT).unwrap_err(), TryLockError::TimedOut);
    drop(twins.read()?);
    resume(child.pid());
    killed(child)?;
    drop(twins.write()?);
    Ok(())
}

#[test]
fn a_stopped_writer_is_not_robbed() -> Result<()> {
    let _watch = watchdog(30, "a stopped writer");
    let twins = twins()?;
    let child = writer(&twins)?;
    stop(child.pid());
    assert_eq!(twins.try_read().unwrap_err(), TryLockError::WouldBlock);
    assert_eq!(twins.read_timeout(SHORT).unwrap_err(), TryLockError::TimedOut);
    assert_eq!(twins.write_timeout(SHORT).unwrap_err(), TryLockError::TimedOut);
    resume(child.pid());
    killed(child)?;
    assert!(matches!(twins.read(), Err(LockError::Poisoned(_))));
    Ok(())
}

#[test]
fn a_killed_writer_poisons_for_readers() -> Result<()> {
    let _watch = watchdog(30, "readers after a killed writer");
    let twins = twins()?;
    let pid = killed(writer(&twins)?)?;
    for _ in 0..3 {
        match twins.read() {
            Err(LockError::Poisoned(owner)) => assert_eq!(owner.pid, pid),
            other => panic!("{other:?}"),
        }
    }
    assert!(twins.is_poisoned());
    match twins.try_read() {
        Err(TryLockError::Lock(LockError::Poisoned(owner))) => assert_eq!(owner.pid, pid),
        other => panic!("{other:?}"),
    }
    match twins.read_timeout(Duration::ZERO) {
        Err(TryLockError::Lock(LockError::Poisoned(owner))) => assert_eq!(owner.pid, pid),
        other => panic!("{other:?}"),
    }
    assert!(format!("{:?}", *twins).contains(&format!("process {pid}")));
    Ok(())
}

#[test]
fn a_killed_writer_poisons_for_writers() -> Result<()> {
    let _watch = watchdog(30, "writers after a killed writer");
    let twins = twins()?;
    let pid = killed(writer(&twins)?)?;
    // The child's only thread has the id of the process; the first to find it learns the thread.
    assert_eq!(twins.write().unwrap_err(), LockError::Poisoned(Owner { pid, tid: pid }));
    assert_eq!(twins.write().unwrap_err(), LockError::Poisoned(Owner { pid, tid: 0 }));
    assert_eq!(twins.try_write().unwrap_err(), TryLockError::Lock(LockError::Poisoned(Owner { pid, tid: 0 })));
    let guard = twins.write_poisoned()?;
    assert_eq!((*guard, guard.poisoned()), (Twins { left: 1, right: 0 }, Some(Owner { pid, tid: 0 })));
    drop(guard);
    assert!(twins.is_poisoned());
    Ok(())
}

#[test]
fn the_first_reader_learns_the_dead_writers_thread() -> Result<()> {
    let _watch = watchdog(30, "a reader after a killed writer");
    let twins = twins()?;
    let pid = killed(writer(&twins)?)?;
    assert_eq!(twins.read().unwrap_err(), LockError::Poisoned(Owner { pid, tid: pid }));
    assert_eq!(twins.read().unwrap_err(), LockError::Poisoned(Owner { pid, tid: 0 }));
    Ok(())
}

#[test]
fn write_or_repair_mends_once() -> Result<()> {
    let _watch = watchdog(30, "write_or_repair");
    let twins = twins()?;
    let pid = killed(writer(&twins)?)?;
    let mut repairs = 0;
    for _ in 0..2 {
        let mut repair = |twins: &mut Twins, dead: Owner| {
            assert_eq!((*twins, dead.pid), (Twins { left: 1, right: 0 }, pid));
            twins.right = 1;
            repairs += 1;
        };
        twins.write_or_repair(&mut repair)?.left = 1;
    }
    assert_eq!((repairs, *twins.read()?), (1, Twins { left: 1, right: 1 }));
    assert!(!twins.is_poisoned());
    Ok(())
}

#[test]
fn clear_poison_makes_the_lock_clean() -> Result<()> {
    let _watch = watchdog(30, "clear_poison");
    let twins = twins()?;
    killed(writer(&twins)?)?;
    let mut guard = twins.write_poisoned()?;
    guard.right = guard.left;
    guard.clear_poison();
    assert_eq!(guard.poisoned(), None);
    drop(guard);
    assert_eq!(twins.read()?.right, 1);
    Ok(())
}

#[test]
fn a_writer_that_panics_poisons_and_a_reader_does_not() -> Result<()> {
    let _watch = watchdog(30, "panics");
    let twins = twins()?;
    let panics = |write: bool| {
        let run = || {
            let _guards = if write { (None, Some(twins.write())) } else { (Some(twins.read()), None) };
            panic!("inside");
        };
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
    };
    panics(false);
    assert!(!twins.is_poisoned());
    panics(true);
    let owner = Owner { pid: std::process::id(), tid: 0 };
    assert_eq!(twins.read().unwrap_err(), LockError::Poisoned(owner));
    // A repair that panics mends nothing.
    let repair = || twins.write_or_repair(|_, _| panic!("no repair today")).map(drop);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(repair)).is_err());
    assert_eq!(twins.write().unwrap_err(), LockError::Poisoned(owner));
    drop(twins.write_or_repair(|_, _| ())?);
    drop(twins.read()?);
    Ok(())
}

#[test]
fn sleepers_get_the_answer_when_the_writer_is_killed() -> Result<()> {
    fn ask(twins: Shared, write: bool) -> u32 {
        let answer = if write { twins.write().map(drop) } else { twins.read().map(drop) };
        match answer {
            Err(LockError::Poisoned(owner)) => owner.pid,
            other => panic!("{other:?}"),
        }
    }
    let _watch = watchdog(60, "waiters whose writer is killed");
    for _ in 0..10 {
        let twins = twins()?;
        let child = writer(&twins)?;
        let waiters = [false, false, true, true].map(|write| Process::spawn(ask, (&twins, write)));
        let waiters = waiters.into_iter().collect::<Result<Vec<_>>>()?;
        waiters.iter().for_each(|waiter| until_asleep(waiter.pid()));
        let pid = killed(child)?;
        for waiter in waiters {
            assert_eq!(waiter.join()?, pid);
        }
    }
    Ok(())
}

#[test]
fn killed_waiters_cost_nothing() -> Result<()> {
    let _watch = watchdog(60, "killed waiters");
    for _ in 0..5 {
        let twins = twins()?;
        let guard = twins.write()?;
        let mut readers = (0..3).map(|_| Process::spawn(read_once, (&twins,))).collect::<Result<Vec<_>>>()?;
        let mut writers = (0..3).map(|_| Process::spawn(write_once, (&twins,))).collect::<Result<Vec<_>>>()?;
        readers.iter().map(Process::pid).chain(writers.iter().map(Process::pid)).for_each(until_asleep);
        for reader in readers.drain(..2) {
            reader.kill()?;
            reader.join().unwrap_err();
        }
        for writer in writers.drain(..2) {
            writer.kill()?;
            writer.join().unwrap_err();
        }
        drop(guard);
        for writer in writers {
            writer.join()?;
        }
        for reader in readers {
            assert!(reader.join()? <= 1);
        }
        assert!(!twins.is_poisoned());
        assert_eq!(*twins.try_write()?, Twins { left: 1, right: 1 });
    }
    Ok(())
}

/// It has shut the readers out, and has not seen the data.
#[test]
fn a_writer_killed_while_it_waits_for_readers_stops_nobody() -> Result<()> {
    let _watch = watchdog(30, "a killed writer that waits");
    let twins = twins()?;
    let guard = twins.read()?;
    let waiter = Process::spawn(write_once, (&twins,))?;
    until("the writer waits", || matches!(twins.try_read(), Err(TryLockError::WouldBlock)));
    killed(waiter)?;
    // Poisoned or not, there is an answer, and the data is as it was.
    let answer = twins.read().map(drop);
    assert!(matches!(answer, Ok(()) | Err(LockError::Poisoned(_))), "{answer:?}");
    drop(guard);
    assert_eq!(*twins.write_or_repair(|_, _| ())?, Twins::default());
    drop(twins.read()?);
    Ok(())
}

#[test]
fn a_waiting_writer_shuts_new_readers_out() -> Result<()> {
    let _watch = watchdog(60, "a waiting writer");
    for _ in 0..5 {
        let twins = twins()?;
        let guard = twins.read()?;
        let writer = Process::spawn(write_once, (&twins,))?;
        until("the writer waits", || matches!(twins.try_read(), Err(TryLockError::WouldBlock)));
        until_asleep(writer.pid());
        // From now on and until it has written, nobody enters.
        assert_eq!(twins.try_read().unwrap_err(), TryLockError::WouldBlock);
        assert_eq!(twins.read_timeout(SHORT).unwrap_err(), TryLockError::TimedOut);
        let late = Process::spawn(read_once, (&twins,))?;
        until_asleep(late.pid());
        assert_eq!(*guard, Twins::default());
        drop(guard);
        assert_eq!(late.join()?, 1);
        writer.join()?;
    }
    Ok(())
}

#[test]
fn a_writer_that_gives_up_lets_the_readers_in() -> Result<()> {
    fn give_up(twins: Shared, end: SharedValue<Event>) -> Result<bool> {
        let end_of_wait = twins.write_timeout(Duration::from_millis(300)).map(drop);
        end.wait();
        Ok(end_of_wait == Err(TryLockError::TimedOut))
    }
    let _watch = watchdog(30, "a writer that gives up");
    let (twins, end) = (twins()?, SharedValue::new(Event::new())?);
    let guard = twins.read()?;
    let writer = Process::spawn(give_up, (&twins, &end))?;
    let late = Process::spawn(read_once, (&twins,))?;
    assert_eq!(late.join()?, 0);
    drop(twins.read_timeout(SOON)?);
    end.set();
    assert!(writer.join()?);
    drop(guard);
    drop(twins.try_write()?);
    Ok(())
}

#[test]
fn a_thread_that_writes_cannot_lock_again() -> Result<()> {
    let _watch = watchdog(30, "a thread that waits for itself");
    let twins = twins()?;
    let guard = twins.write()?;
    assert_eq!(twins.read().unwrap_err(), LockError::Deadlock);
    assert_eq!(twins.write().unwrap_err(), LockError::Deadlock);
    assert_eq!(twins.try_read().unwrap_err(), TryLockError::Lock(LockError::Deadlock));
    assert_eq!(twins.read_timeout(Duration::MAX).unwrap_err(), TryLockError::Lock(LockError::Deadlock));
    assert_eq!(twins.write_timeout(Duration::MAX).unwrap_err(), TryLockError::Lock(LockError::Deadlock));
    drop(guard);
    // One that reads may, if nobody wants to write.
    let (_one, _two) = (twins.read()?, twins.read()?);
    assert_eq!(twins.write_timeout(SHORT).unwrap_err(), TryLockError::TimedOut);
    Ok(())
}

#[test]
fn the_longest_timeout_is_for_ever() -> Result<()> {
    let _watch = watchdog(30, "Duration::MAX");
    let twins = twins()?;
    drop(twins.read_timeout(Duration::MAX)?);
    drop(twins.write_timeout(Duration::MAX)?);
    std::thread::scope(|scope| {
        for write in [false, true] {
            let guard = twins.write().unwrap();
            let (tell, told) = std::sync::mpsc::channel();
            let twins = &twins;
            let waiter = scope.spawn(move || {
                tell.send(thread_id()).unwrap();
                if write { twins.write_timeout(Duration::MAX).map(drop) } else { twins.read_timeout(Duration::MAX).map(drop) }
            });
            until_thread_asleep(told.recv().unwrap());
            drop(guard);
            assert_eq!(waiter.join().unwrap(), Ok(()));
        }
    });
    Ok(())
}

#[test]
fn debug_does_not_wait() -> Result<()> {
    let _watch = watchdog(30, "Debug");
    let twins = twins()?;
    assert_eq!(format!("{:?}", *twins), "RwLock { data: Twins { left: 0, right: 0 } }");
    let guard = twins.read()?;
    assert_eq!(format!("{:?}", *twins), "RwLock { data: Twins { left: 0, right: 0 } }");
    assert_eq!(format!("{guard:?}"), "Twins { left: 0, right: 0 }");
    drop(guard);
    let guard = twins.write()?;
    assert_eq!(format!("{:?}", *twins), "RwLock { data: <locked> }");
    assert_eq!(format!("{guard:?}"), "Twins { left: 0, right: 0 }");
    drop(guard);
    let child = writer(&twins)?;
    assert_eq!(format!("{:?}", *twins), "RwLock { data: <locked> }");
    killed(child)?;
    Ok(())
}

#[test]
fn in_a_static() {
    static TWINS: RwLock<Twins> = RwLock::new(Twins { left: 7, right: 7 });
    let _watch = watchdog(60, "threads");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let seen = *TWINS.read().unwrap();
                    assert_eq!(seen.left, seen.right);
                    let mut guard = TWINS.write().unwrap();
                    guard.left += 1;
                    guard.right += 1;
                }
            });
        }
    });
    assert_eq!(*TWINS.read().unwrap(), Twins { left: 2007, right: 2007 });
    assert_eq!(*RwLock::<u32>::default().read().unwrap(), 0);
}

#[test]
fn a_forgotten_guard_falls_with_its_process_or_its_last_handle() -> Result<()> {
    fn forget_and_drop(twins: Shared, write: bool, at: SharedArray<Event>) -> Result<()> {
        if write {
            std::mem::forget(twins.write()?)
        } else {
            std::mem::forget((twins.read()?, twins.read()?))
        }
        at[0].set();
        at[1].wait();
        drop(twins);
        at[2].set();
        at[3].wait();
        Ok(())
    }
    let _watch = watchdog(30, "forgotten guards");
    for write in [false, true] {
        let (twins, at) = (twins()?, events(4)?);
        let child = Process::spawn(forget_and_drop, (&twins, write, &at))?;
        wait(&at[0], "the child has forgotten its guard");
        assert_eq!(twins.try_write().unwrap_err(), TryLockError::WouldBlock);
        at[1].set();
        wait(&at[2], "the child has dropped its handle");
        match twins.try_write() {
            Ok(_) => assert!(!write),
            Err(error) => {
                assert_eq!(error, TryLockError::Lock(LockError::Poisoned(Owner { pid: child.pid(), tid: 0 })));
                assert!(write);
            }
        }
        at[3].set();
        child.join()?;
    }
    Ok(())
}

#[test]
fn the_65th_process_waits() -> Result<()> {
    let _watch = watchdog(30, "65 reading processes");
    let twins = twins()?;
    let mut readers = (0..64).map(|_| reader(&twins)).collect::<Result<Vec<_>>>()?;
    assert_eq!(twins.try_read().unwrap_err(), TryLockError::WouldBlock);
    assert_eq!(twins.read_timeout(Duration::ZERO).unwrap_err(), TryLockError::TimedOut);
    assert_eq!(twins.read_timeout(SHORT).unwrap_err(), TryLockError::TimedOut);
    assert_eq!(format!("{:?}", *twins), "RwLock { data: <locked> }");
    let late = Process::spawn(read_once, (&twins,))?;
    until_asleep(late.pid());
    killed(readers.pop().expect("a reader"))?;
    assert_eq!(late.join()?, 0);
    assert_eq!(twins.try_write().unwrap_err(), TryLockError::WouldBlock);
    for reader in readers {
        killed(reader)?;
    }
    drop(twins.try_write()?);
    assert!(!twins.is_poisoned());
    Ok(())
}

/// Processes that have read keep their slots only until others need them.
#[test]
fn idle_readers_keep_no_one_out() -> Result<()> {
    fn read_and_stay(twins: Shared, inside: SharedValue<AtomicU64>) -> Result<()> {
        drop(twins.read()?);
        inside.fetch_add(1, SeqCst);
        pause()
    }
    let _watch = watchdog(90, "64 idle readers");
    let (twins, inside) = (twins()?, SharedValue::new(AtomicU64::new(0))?);
    let idle = (0..66).map(|_| Process::spawn(read_and_stay, (&twins, &inside))).collect::<Result<Vec<_>>>()?;
    until("all have read", || inside.load(SeqCst) == 66);
    drop(twins.try_read()?);
    let late = reader(&twins)?;
    assert_eq!(twins.try_write().unwrap_err(), TryLockError::WouldBlock);
    killed(late)?;
    drop(twins.try_write()?);
    for process in idle {
        killed(process)?;
    }
    Ok(())
}

/// Readers look at a writer that comes and goes; none of them is ever taken for a writer.
#[test]
fn readers_killed_at_any_moment_poison_nothing() -> Result<()> {
    fn read(twins: Shared, turns: SharedValue<AtomicU64>) -> Result<()> {
        loop {
            let seen = *twins.read()?;
            assert_eq!(seen.left, seen.right);
            turns.fetch_add(1, SeqCst);
        }
    }
    let _watch = watchdog(120, "readers under kills");
    let (twins, turns) = (twins()?, SharedValue::new(AtomicU64::new(0))?);
    let mut random = Random(12);
    let mut all = Vec::new();
    for _ in 0..300 {
        while all.len() < 3 {
            all.push(Process::spawn(read, (&twins, &turns))?);
        }
        let seen = turns.load(SeqCst);
        until("they go on", || turns.load(SeqCst) > seen + 5);
        for _ in 0..random.below(200) {
            let mut guard = twins.write()?;
            guard.left += 1;
            guard.right += 1;
        }
        let victim = all.swap_remove(random.below(3) as usize);
        victim.kill()?;
        for _ in 0..20 {
            let mut guard = twins.write()?;
            guard.left += 1;
            guard.right += 1;
        }
        victim.join().unwrap_err();
    }
    for process in all {
        killed(process)?;
    }
    assert!(!twins.is_poisoned());
    drop(twins.try_write()?);
    Ok(())
}

#[test]
fn a_forked_childs_copies_of_guards_are_nobodys() -> Result<()> {
    fn hold_and_fork(twins: Shared) -> Result<()> {
        let mut guard = Some(twins.read()?);
        let child = fork(|| {
            drop(guard.take());
            0
        });
        assert_eq!(wait_for(child), 0);
        assert_eq!(twins.try_write().unwrap_err(), TryLockError::WouldBlock);
        drop(guard);
        let mut guard = Some(twins.try_write()?);
        let child = fork(|| {
            drop(guard.take());
            i32::from(twins.try_read().is_ok())
        });
        assert_eq!(wait_for(child), 0);
        drop(guard);
        // A forked child that reads, or writes, is another one, and its death is noticed.
        let child = fork(|| {
            std::mem::forget(twins.read());
            kill(std::process::id());
            1
        });
        assert_eq!(wait_for(child), -9);
        drop(twins.write()?);
        let child = fork(|| {
            std::mem::forget(twins.write());
            kill(std::process::id());
            1
        });
        assert_eq!(wait_for(child), -9);
        assert!(matches!(twins.read(), Err(LockError::Poisoned(owner)) if owner.pid == child));
        Ok(())
    }
    let _watch = watchdog(30, "a forked child");
    let twins = twins()?;
    Process::spawn(hold_and_fork, (&twins,))?.join()?;
    assert!(twins.is_poisoned());
    Ok(())
}

#[test]
fn strange_words_are_bounded() -> Result<()> {
    let _watch = watchdog(60, "strange words");
    let mut random = Random(13);
    for _ in 0..200 {
        let twins = twins()?;
        for _ in 0..1 + random.below(4) {
            let word = random.strange_word();
            // The value's lock has a line of its own; behind it the lock: its slots, the writer, wait words.
            let words = size_of::<RwLock<Twins>>() as u64 / 8;
            poke(&twins, LOCK_WORD + 64 + 8 * random.below(words), word);
        }
        let short = Duration::from_millis(1);
        let read = twins.try_read();
        let _ = twins.write_timeout(short).map(drop);
        let _ = (twins.is_poisoned(), format!("{:?}", *twins));
        drop(read);
        let _ = twins.read_timeout(short).map(drop);
        let _ = twins.try_write().map(drop);
    }
    Ok(())
}
