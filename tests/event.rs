//! `Event` between threads and processes.

use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::time::{Duration, Instant};

use coproc::{Event, Result, Shareable, SharedArray, SharedValue};
use coproc_pool::Process;
use coproc_tests::{
    LOCK_WORD, events, file_of, kill, killed, pause, resume, stop, thread_id, until, until_asleep, until_thread_asleep, wait,
    watchdog,
};

#[test]
fn it_stays_set_until_it_is_cleared() -> Result<()> {
    let _watch = watchdog(30, "set and clear");
    let event = SharedValue::<Event>::zeroed()?;
    assert!(!event.is_set() && !event.wait_timeout(Duration::ZERO));
    for _ in 0..3 {
        event.set();
        event.set();
        assert!(event.is_set() && event.wait_timeout(Duration::ZERO));
        event.wait();
        event.wait();
        event.clear();
        event.clear();
        assert!(!event.is_set() && !event.wait_timeout(Duration::ZERO));
    }
    assert_eq!(format!("{:?}", *event), "Event { set: false }");
    Ok(())
}

#[test]
fn timeouts() -> Result<()> {
    let _watch = watchdog(30, "timeouts");
    let event = Event::new();
    let start = Instant::now();
    assert!(!event.wait_timeout(Duration::from_millis(60)));
    assert!(start.elapsed() >= Duration::from_millis(60));
    event.set();
    assert!(event.wait_timeout(Duration::MAX));
    event.clear();
    std::thread::scope(|scope| {
        let (tell, told) = std::sync::mpsc::channel();
        let event = &event;
        let waiter = scope.spawn(move || {
            tell.send(thread_id()).unwrap();
            event.wait_timeout(Duration::MAX)
        });
        until_thread_asleep(told.recv().unwrap());
        event.set();
        assert!(waiter.join().unwrap());
    });
    Ok(())
}

#[test]
fn in_a_static() {
    static READY: Event = Event::new();
    let _watch = watchdog(30, "a static event");
    std::thread::scope(|scope| {
        scope.spawn(|| READY.wait());
        scope.spawn(|| READY.wait());
        READY.set();
    });
}

#[test]
fn all_who_wait_are_woken() -> Result<()> {
    let _watch = watchdog(120, "waiters");
    for _ in 0..10 {
        let event = SharedValue::new(Event::new())?;
        let waiters =
            (0..4).map(|_| Process::spawn(|event: SharedValue<Event>| event.wait(), (&event,))).collect::<Result<Vec<_>>>()?;
        waiters.iter().for_each(|waiter| until_asleep(waiter.pid()));
        event.set();
        for waiter in waiters {
            waiter.join()?;
        }
    }
    Ok(())
}

#[test]
fn a_child_sets_it() -> Result<()> {
    let _watch = watchdog(30, "a child that sets");
    let event = SharedValue::new(Event::new())?;
    let child = Process::spawn(|event: SharedValue<Event>| event.set(), (&event,))?;
    event.wait();
    child.join()?;
    Ok(())
}

#[test]
fn set_then_cleared_at_once_lets_all_go_who_waited() -> Result<()> {
    let _watch = watchdog(120, "set and clear at once");
    for _ in 0..20 {
        let event = SharedValue::new(Event::new())?;
        let waiters =
            (0..3).map(|_| Process::spawn(|event: SharedValue<Event>| event.wait(), (&event,))).collect::<Result<Vec<_>>>()?;
        waiters.iter().for_each(|waiter| until_asleep(waiter.pid()));
        // One of them does not even run when it is set.
        stop(waiters[1].pid());
        event.set();
        event.clear();
        resume(waiters[1].pid());
        for waiter in waiters {
            waiter.join()?;
        }
        assert!(!event.is_set());
    }
    Ok(())
}

#[test]
fn who_comes_after_it_was_cleared_waits() -> Result<()> {
    let _watch = watchdog(30, "after the clear");
    let event = SharedValue::new(Event::new())?;
    event.set();
    event.clear();
    assert!(!event.wait_timeout(Duration::from_millis(30)));
    Ok(())
}

#[test]
fn what_was_written_before_set_is_seen_after_wait() -> Result<()> {
    #[derive(Shareable)]
    #[repr(C)]
    struct Board {
        data: [AtomicU64; 64],
        ping: Event,
        pong: Event,
    }
    fn answer(board: SharedValue<Board>) -> u64 {
        let mut wrong = 0;
        for round in 1..=2000 {
            board.ping.wait();
            board.ping.clear();
            wrong += board.data.iter().filter(|word| word.load(Relaxed) != round).count() as u64;
            board.data.iter().for_each(|word| word.store(round + 1_000_000, Relaxed));
            board.pong.set();
        }
        wrong
    }
    let _watch = watchdog(120, "ping and pong");
    let board = SharedValue::<Board>::zeroed()?;
    let child = Process::spawn(answer, (&board,))?;
    for round in 1..=2000 {
        board.data.iter().for_each(|word| word.store(round, Relaxed));
        board.ping.set();
        assert!(board.pong.wait_timeout(Duration::from_secs(20)));
        board.pong.clear();
        assert!(board.data.iter().all(|word| word.load(Relaxed) == round + 1_000_000));
    }
    assert_eq!(child.join()?, 0);
    Ok(())
}

#[test]
fn killed_waiters_cost_nothing() -> Result<()> {
    let _watch = watchdog(120, "killed waiters");
    for _ in 0..10 {
        let event = SharedValue::new(Event::new())?;
        let mut waiters =
            (0..4).map(|_| Process::spawn(|event: SharedValue<Event>| event.wait(), (&event,))).collect::<Result<Vec<_>>>()?;
        waiters.iter().for_each(|waiter| until_asleep(waiter.pid()));
        for waiter in waiters.drain(..3) {
            killed(waiter)?;
        }
        event.set();
        for waiter in waiters {
            waiter.join()?;
        }
        assert!(event.is_set());
        event.clear();
        assert!(!event.wait_timeout(Duration::ZERO));
    }
    Ok(())
}

#[test]
fn a_setter_killed_before_it_set_has_not() -> Result<()> {
    let _watch = watchdog(30, "a killed setter");
    let at = events(2)?;
    let child = Process::spawn(
        |at: SharedArray<Event>| {
            at[0].set();
            kill(std::process::id());
            at[1].set();
        },
        (&at,),
    )?;
    wait(&at[0], "the child runs");
    assert!(child.join().is_err());
    assert!(at[0].is_set() && !at[1].is_set());
    assert!(!at[1].wait_timeout(Duration::from_millis(30)));
    Ok(())
}

#[test]
fn setters_killed_at_any_moment_leave_it_usable() -> Result<()> {
    fn flip(event: SharedValue<Event>, turns: SharedValue<AtomicU64>) {
        loop {
            event.set();
            event.clear();
            turns.fetch_add(1, SeqCst);
        }
    }
    let _watch = watchdog(120, "setters under kills");
    let (event, turns) = (SharedValue::new(Event::new())?, SharedValue::new(AtomicU64::new(0))?);
    for round in 0..40 {
        let (setter, waiter) = (
            Process::spawn(flip, (&event, &turns))?,
            Process::spawn(
                |event: SharedValue<Event>| -> () {
                    loop {
                        event.wait();
                    }
                },
                (&event,),
            )?,
        );
        let seen = turns.load(SeqCst);
        until("it turns", || turns.load(SeqCst) > seen + round);
        setter.kill()?;
        waiter.kill()?;
        setter.join().unwrap_err();
        waiter.join().unwrap_err();
    }
    event.clear();
    let waiter = Process::spawn(|event: SharedValue<Event>| event.wait(), (&event,))?;
    until_asleep(waiter.pid());
    event.set();
    waiter.join()?;
    Ok(())
}

#[test]
fn a_waiter_needs_little_of_the_processor() -> Result<()> {
    let _watch = watchdog(30, "a sleeping waiter");
    let event = SharedValue::new(Event::new())?;
    let child = Process::spawn(
        |event: SharedValue<Event>| -> () {
            event.wait();
            pause()
        },
        (&event,),
    )?;
    until_asleep(child.pid());
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.pid())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let before = ticks();
    assert!(!Event::new().wait_timeout(Duration::from_millis(500)));
    // 50 ticks are half a second: one that spins would have taken most of them.
    assert!(ticks() - before < 10);
    child.kill()?;
    child.join().unwrap_err();
    Ok(())
}

#[test]
fn every_word_is_an_event() -> Result<()> {
    let _watch = watchdog(30, "strange words");
    let event = SharedValue::new(Event::new())?;
    for word in [u32::MAX, 2, 3, 4, 0xffff_fffc, 0x8000_0000] {
        // The value's lock has a line of its own, unused here.
        file_of(&event).write_all_at(&word.to_le_bytes(), LOCK_WORD + 64).unwrap();
        let _ = event.is_set();
        let _ = event.wait_timeout(Duration::from_millis(1));
        event.set();
        assert!(event.is_set() && event.wait_timeout(Duration::ZERO));
        event.clear();
        assert!(!event.is_set() && !event.wait_timeout(Duration::ZERO));
    }
    Ok(())
}
