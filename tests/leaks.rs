//! What is left behind: nothing. One test, so that it has its process for itself.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use coproc::{Event, FrozenArray, Mutex, Queue, Result, Semaphore, SharedArray, SharedValue};
use coproc_pool::{Pool, Process};
use coproc_tests::{children, descriptors, kill, leftovers, most_descriptors, pause, until, watchdog};

type Everything = (SharedValue<Mutex<u64>>, SharedArray<u64>, Queue<u64>, FrozenArray<u64>, SharedValue<Semaphore>);

fn everything() -> Result<Everything> {
    let slots = SharedValue::new(Semaphore::new(9))?;
    Ok((
        SharedValue::new(Mutex::new(0))?,
        SharedArray::zeroed(10_000)?,
        Queue::new(7)?,
        FrozenArray::from_slice(&[1; 1000])?,
        slots,
    ))
}

/// Uses all, and dies or ends while it has all that one can have.
fn use_all(all: Everything, at: SharedValue<AtomicU64>, dies: bool) -> Result<Everything> {
    {
        let (value, array, queue, frozen, slots) = &all;
        let _own = everything()?;
        let mut guard = value.lock_or_repair(|_, _| ())?;
        *guard += frozen[0];
        let mut elements = array.lock_or_repair(|_, _| ())?;
        elements[0] += 1;
        let _ = queue.try_send(1);
        let _permit = slots.acquire()?;
        at.fetch_add(1, SeqCst);
        if dies {
            pause();
        }
    }
    Ok(all)
}

fn scenario() -> Result<()> {
    for round in 0..8 {
        let (all, at) = (everything()?, SharedValue::new(AtomicU64::new(0))?);
        // Killed with everything in hand, killed at any moment, ended, and left to itself.
        let held = Process::spawn(use_all, (all.clone(), &at, true))?;
        until("it has all", || at.load(SeqCst) == 1);
        held.kill()?;
        assert!(held.join().is_err());
        let early = Process::spawn(use_all, (all.clone(), &at, true))?;
        early.kill()?;
        assert!(early.join().is_err());
        drop(Process::spawn(use_all, (all.clone(), &at, round % 2 == 0))?.join_or_kill(round % 2 == 0)?);
        drop(Process::spawn(use_all, (all.clone(), &at, false))?);
    }
    let pool = Pool::new(2)?;
    for _ in 0..4 {
        pool.map(|all: Everything| all.1.len(), [everything()?, everything()?])?;
        assert!(
            pool.map(
                |n: u8| if n == 1 {
                    kill(std::process::id())
                },
                0..4
            )
            .is_err()
        );
    }
    // A parent that is killed, with children, a pool and objects.
    let ready = SharedValue::new(Event::new())?;
    let parent = Process::spawn(
        |ready: SharedValue<Event>| -> Result<()> {
            let _all = everything()?;
            let _child = Process::spawn(|all: Everything| all.1.len(), (everything()?,))?;
            let pool = Pool::new(2)?;
            pool.map(|all: Everything| all.1.len(), [everything()?])?;
            ready.set();
            pause()
        },
        (&ready,),
    )?;
    assert!(ready.wait_timeout(std::time::Duration::from_secs(30)));
    parent.kill()?;
    assert!(parent.join().is_err());
    Ok(())
}

trait JoinOrKill<T> {
    fn join_or_kill(self, kill: bool) -> Result<Option<T>>;
}

impl<T: coproc::Message> JoinOrKill<T> for Process<T> {
    fn join_or_kill(self, kill: bool) -> Result<Option<T>> {
        if kill {
            self.kill()?;
        }
        match self.join() {
            Ok(value) => Ok(Some(value)),
            Err(_) if kill => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// The objects of coproc that are mapped here.
fn maps() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains("/memfd:coproc")).count()
}

#[test]
fn kills_and_ends_leave_nothing_behind() -> Result<()> {
    let _watch = watchdog(120, "leaks");
    // What stays for the life of the process: the registry, the keeper's bell.
    scenario()?;
    until("its children are reaped", || children().is_empty());
    let (files, mapped) = (most_descriptors(), maps());
    // Others may use these folders at the same time; what the scenario leaves it leaves every time.
    let mut left = usize::MAX;
    for _ in 0..3 {
        let before: BTreeSet<_> = leftovers().into_iter().collect();
        scenario()?;
        until("its children are reaped", || children().is_empty());
        let new = leftovers().into_iter().filter(|path| !before.contains(path)).count();
        left = left.min(new);
    }
    assert_eq!(left, 0, "left in /dev/shm, /dev/mqueue or /tmp, every time");
    until("descriptors and mappings are back", || descriptors().len() <= files && maps() <= mapped);
    Ok(())
}
