//! `OnceLock` between processes: a value is made once, whoever dies over it.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use coproc::{Event, LockError, OnceLock, Plain, Result, Shareable, SharedValue};
use coproc_pool::{Cause, Process};
use coproc_tests::{
    LOCK_WORD, Random, fork, kill, killed, pause, poke, resume, stop, until, until_asleep, wait, wait_for, watchdog,
};

#[derive(Clone, Copy, Debug, PartialEq, Plain)]
#[repr(C)]
struct Table {
    numbers: [u64; 64],
}

#[derive(Shareable)]
#[repr(C)]
struct State {
    table: OnceLock<Table>,
    made: AtomicU64,
    go: Event,
    making: Event,
}

type Shared = SharedValue<State>;

impl State {
    /// The table of this maker: all its numbers are the same.
    fn table(&self, maker: u64) -> Table {
        self.made.fetch_add(1, SeqCst);
        Table { numbers: [maker; 64] }
    }
}

fn get(state: Shared) -> Result<u64> {
    state.go.wait();
    let table = state.table.get_or_init(|| state.table(std::process::id().into()))?;
    assert_eq!(table.numbers, [table.numbers[0]; 64]);
    Ok(table.numbers[0])
}

/// Never comes to an end with making it.
fn make_for_ever(state: Shared) -> Result<()> {
    state.table.get_or_init(|| {
        state.making.set();
        pause()
    })?;
    Ok(())
}

#[test]
fn eight_processes_make_it_once() -> Result<()> {
    let _watch = watchdog(60, "8 makers");
    for _ in 0..20 {
        let state = SharedValue::<State>::zeroed()?;
        assert_eq!(state.table.get(), None);
        let all = (0..8).map(|_| Process::spawn(get, (&state,))).collect::<Result<Vec<_>>>()?;
        state.go.set();
        let pids = all.iter().map(|process| u64::from(process.pid())).collect::<Vec<_>>();
        let seen = all.into_iter().map(Process::join).collect::<Result<Vec<_>, _>>()?;
        assert_eq!(state.made.load(SeqCst), 1);
        assert!(pids.contains(&seen[0]) && seen.iter().all(|&maker| maker == seen[0]), "{pids:?} {seen:?}");
        assert_eq!(state.table.get(), Some(&Table { numbers: [seen[0]; 64] }));
    }
    Ok(())
}

#[test]
fn a_maker_killed_at_work_has_made_nothing() -> Result<()> {
    let _watch = watchdog(60, "killed makers");
    for _ in 0..5 {
        let state = SharedValue::<State>::zeroed()?;
        state.go.set();
        let maker = Process::spawn(make_for_ever, (&state,))?;
        wait(&state.making, "the maker is at work");
        let waiters = (0..3).map(|_| Process::spawn(get, (&state,))).collect::<Result<Vec<_>>>()?;
        waiters.iter().for_each(|waiter| until_asleep(waiter.pid()));
        assert_eq!((state.table.get(), state.made.load(SeqCst)), (None, 0));
        killed(maker)?;
        let seen = waiters.into_iter().map(Process::join).collect::<Result<Vec<_>, _>>()?;
        assert_eq!(state.made.load(SeqCst), 1);
        assert!(seen.iter().all(|&maker| maker == seen[0]));
    }
    Ok(())
}

#[test]
fn makers_killed_one_after_the_other_leave_it_to_the_next() -> Result<()> {
    fn die(state: Shared) -> Result<()> {
        state.table.get_or_init(|| {
            kill(std::process::id());
            state.table(1)
        })?;
        Ok(())
    }
    let _watch = watchdog(60, "many killed makers");
    let state = SharedValue::<State>::zeroed()?;
    let all = (0..10).map(|_| Process::spawn(die, (&state,))).collect::<Result<Vec<_>>>()?;
    for process in all {
        assert_eq!(process.join().unwrap_err().cause, Cause::Killed { signal: 9 });
    }
    assert_eq!(state.table.get(), None);
    assert_eq!(state.table.get_or_init(|| state.table(3))?.numbers[0], 3);
    Ok(())
}

#[test]
fn a_stopped_maker_is_waited_for() -> Result<()> {
    fn make(state: Shared, go_on: SharedValue<Event>) -> Result<()> {
        state.table.get_or_init(|| {
            state.making.set();
            go_on.wait();
            state.table(1)
        })?;
        Ok(())
    }
    let _watch = watchdog(30, "a stopped maker");
    let (state, go_on) = (SharedValue::<State>::zeroed()?, SharedValue::new(Event::new())?);
    state.go.set();
    let maker = Process::spawn(make, (&state, &go_on))?;
    wait(&state.making, "the maker is at work");
    let waiter = Process::spawn(get, (&state,))?;
    until_asleep(waiter.pid());
    stop(maker.pid());
    go_on.set();
    // Two slices of the waiter, in which it asks whether the maker lives.
    assert!(!SharedValue::new(Event::new())?.wait_timeout(std::time::Duration::from_millis(60)));
    assert_eq!((state.table.get(), state.made.load(SeqCst)), (None, 0));
    resume(maker.pid());
    assert_eq!(waiter.join()?, 1);
    maker.join()?;
    Ok(())
}

#[test]
fn a_maker_that_panics_or_fails_leaves_it_unmade() -> Result<()> {
    fn fail(state: Shared, panics: bool) -> Result<()> {
        state
            .table
            .get_or_try_init(|| if panics { panic!("no table") } else { Err(std::io::Error::other("no table").into()) })
            .map(drop)
    }
    let _watch = watchdog(30, "makers that fail");
    let state = SharedValue::<State>::zeroed()?;
    for panics in [true, false] {
        let error = Process::spawn(fail, (&state, panics))?.join().unwrap_err();
        assert_eq!(matches!(error.cause, Cause::Panicked { .. }), panics, "{error}");
        assert_eq!(matches!(error.cause, Cause::Failed { .. }), !panics, "{error}");
        assert_eq!(state.table.get(), None);
        // In this process too.
        let run = || fail(state.clone(), panics);
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
            Ok(result) => assert!(!panics && result.unwrap_err().to_string().contains("no table")),
            Err(_) => assert!(panics),
        }
        assert_eq!(state.table.get(), None);
    }
    assert_eq!(state.table.get_or_init(|| state.table(2))?.numbers[0], 2);
    assert_eq!(state.made.load(SeqCst), 1);
    Ok(())
}

#[test]
fn a_maker_that_asks_for_it_is_told() -> Result<()> {
    let _watch = watchdog(30, "a maker that waits for itself");
    let state = SharedValue::<State>::zeroed()?;
    let table = state.table.get_or_init(|| {
        assert_eq!(state.table.get(), None);
        assert_eq!(state.table.get_or_init(|| state.table(1)).unwrap_err(), LockError::Deadlock);
        assert_eq!(state.table.set(state.table(1)).unwrap_err(), LockError::Deadlock);
        state.table(2)
    })?;
    assert_eq!(table.numbers[0], 2);
    let fresh = SharedValue::<OnceLock<u64>>::zeroed()?;
    let error = fresh.get_or_try_init(|| fresh.get_or_init(|| 1).copied()).unwrap_err();
    assert_eq!((error, fresh.get()), (LockError::Deadlock, None));
    assert_eq!(fresh.get_or_init(|| 3), Ok(&3));
    Ok(())
}

#[test]
fn set_gives_the_value_back_if_it_is_made() -> Result<()> {
    let _watch = watchdog(30, "set");
    let n = SharedValue::<OnceLock<u64>>::zeroed()?;
    assert_eq!(n.set(1)?, Ok(()));
    assert_eq!(n.set(2)?, Err(2));
    assert_eq!(n.get(), Some(&1));
    // Zero is a value as any.
    let n = SharedValue::<OnceLock<u64>>::zeroed()?;
    assert_eq!(n.set(0)?, Ok(()));
    assert_eq!((n.get(), n.set(1)?), (Some(&0), Err(1)));
    Ok(())
}

#[test]
fn one_of_many_sets_it() -> Result<()> {
    fn set(n: SharedValue<OnceLock<u64>>, mine: u64) -> Result<bool> {
        Ok(n.set(mine)?.is_ok())
    }
    let _watch = watchdog(60, "set by many");
    for _ in 0..20 {
        let n = SharedValue::<OnceLock<u64>>::zeroed()?;
        let all = (0..4).map(|mine| Process::spawn(set, (&n, mine))).collect::<Result<Vec<_>>>()?;
        let won = all.into_iter().map(Process::join).collect::<Result<Vec<_>, _>>()?;
        assert_eq!(won.iter().filter(|&&won| won).count(), 1);
        assert!(won[*n.get().expect("it is made") as usize]);
    }
    Ok(())
}

#[test]
fn debug_does_not_wait() -> Result<()> {
    let _watch = watchdog(30, "Debug");
    let n = SharedValue::<OnceLock<u64>>::zeroed()?;
    assert_eq!(format!("{:?}", *n), "OnceLock(<not made>)");
    assert_eq!(format!("{:?}", n.get_or_init(|| format!("{:?}", *n).len() as u64)?), "20");
    assert_eq!(format!("{:?}", *n), "OnceLock(20)");
    let state = SharedValue::<State>::zeroed()?;
    let maker = Process::spawn(make_for_ever, (&state,))?;
    wait(&state.making, "the maker is at work");
    assert_eq!(format!("{:?}", state.table), "OnceLock(<not made>)");
    maker.kill()?;
    maker.join().unwrap_err();
    Ok(())
}

#[test]
fn in_a_static() {
    static N: OnceLock<u64> = OnceLock::new();
    static MADE: AtomicU64 = AtomicU64::new(0);
    let _watch = watchdog(30, "threads");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let n: &'static u64 = N.get_or_init(|| MADE.fetch_add(1, SeqCst) + 7).unwrap();
                assert_eq!(*n, 7);
            });
        }
    });
    assert_eq!((N.get(), MADE.load(SeqCst)), (Some(&7), 1));
    assert_eq!(OnceLock::<u32>::default().get(), None);
}

#[test]
fn a_forked_child_makes_it_as_any_process() -> Result<()> {
    fn make_and_fork(state: Shared) -> Result<()> {
        let child = fork(|| {
            let _ = state.table.get_or_init(|| {
                kill(std::process::id());
                state.table(1)
            });
            1
        });
        assert_eq!(wait_for(child), -9);
        let child = fork(|| i32::from(state.table.get_or_init(|| state.table(2)).is_err()));
        assert_eq!(wait_for(child), 0);
        assert_eq!(state.table.get().map(|table| table.numbers[0]), Some(2));
        Ok(())
    }
    let _watch = watchdog(30, "a forked child");
    let state = SharedValue::<State>::zeroed()?;
    Process::spawn(make_and_fork, (&state,))?.join()?;
    assert_eq!(state.made.load(SeqCst), 1);
    Ok(())
}

/// Makers die at any instruction; nobody ever sees less than a whole table.
#[test]
fn half_a_value_is_never_seen() -> Result<()> {
    fn look(state: Shared) -> Result<()> {
        loop {
            if let Some(table) = state.table.get() {
                assert_eq!(table.numbers, [table.numbers[0]; 64]);
                return Ok(());
            }
        }
    }
    let _watch = watchdog(90, "makers under kills");
    let mut random = Random(15);
    let mut unmade = 0;
    for _ in 0..60 {
        let state = SharedValue::<State>::zeroed()?;
        let watcher = Process::spawn(look, (&state,))?;
        let makers = (0..2).map(|_| Process::spawn(get, (&state,))).collect::<Result<Vec<_>>>()?;
        makers.iter().for_each(|maker| until_asleep(maker.pid()));
        state.go.set();
        if random.below(2) == 0 {
            until("one makes it", || state.made.load(SeqCst) > 0);
        }
        for _ in 0..random.below(2000) {
            std::hint::spin_loop();
        }
        makers.iter().try_for_each(Process::kill)?;
        makers.into_iter().for_each(|maker| drop(maker.join()));
        unmade += u32::from(state.table.get().is_none());
        state.table.get_or_init(|| state.table(9))?;
        watcher.join()?;
        assert!(state.made.load(SeqCst) <= 3);
    }
    assert!(unmade < 60, "all were killed before they made anything");
    Ok(())
}

#[test]
fn strange_words_are_bounded() -> Result<()> {
    let _watch = watchdog(60, "strange words");
    let mut random = Random(16);
    for _ in 0..200 {
        let n = SharedValue::<OnceLock<u64>>::zeroed()?;
        // A word of the lock that names no living process, or none at all; or anything in `made` and the value.
        for _ in 0..1 + random.below(3) {
            let words = size_of::<OnceLock<u64>>() as u64 / 8;
            poke(&n, LOCK_WORD + 64 + 8 * random.below(words), random.next());
        }
        let seen = n.get().copied();
        let made = n.get_or_init(|| 5).copied();
        assert!(seen.is_none() || made == Ok(seen.unwrap_or_default()));
        let _ = format!("{:?}", *n);
    }
    Ok(())
}
