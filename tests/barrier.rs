//! `Barrier` between processes: all wait for all, and none for a dead one.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use coproc::{Barrier, BarrierError, Event, Message, Mutex, Result, SharedArray, SharedValue};
use coproc_pool::Process;
use coproc_tests::{
    LOCK_WORD, Random, events, file_of, fork, kill, killed, pause, peek, poke, resume, stop, thread_id, until, until_asleep,
    until_thread_asleep, wait, wait_for, watchdog,
};

const SOON: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(60);

type Shared = SharedValue<Barrier>;

fn barrier(parties: u32) -> Result<Shared> {
    SharedValue::new(Barrier::new(parties))
}

/// How a wait ended, in a form that crosses between processes.
#[derive(Clone, Copy, Debug, PartialEq, Message)]
enum End {
    Leader(u32),
    Follower(u32),
    Broken,
    TimedOut,
    Else,
}

fn end_of(wait: Result<coproc::BarrierWaitResult, BarrierError>) -> End {
    match wait {
        Ok(place) if place.is_leader() => End::Leader(place.index()),
        Ok(place) => End::Follower(place.index()),
        Err(BarrierError::Broken) => End::Broken,
        Err(BarrierError::TimedOut) => End::TimedOut,
        Err(_) => End::Else,
    }
}

fn arrive(barrier: Shared) -> End {
    end_of(barrier.wait())
}

fn arrive_in_time(barrier: Shared, millis: u64) -> End {
    end_of(barrier.wait_timeout(Duration::from_millis(millis)))
}

/// So many children that have arrived, and sleep.
fn waiters(barrier: &Shared, count: u32) -> Result<Vec<Process<End>>> {
    let before = barrier.waiting();
    let all = (0..count).map(|_| Process::spawn(arrive, (barrier,))).collect::<Result<Vec<_>>>()?;
    until("all have arrived", || barrier.waiting() == before + count);
    all.iter().for_each(|waiter| until_asleep(waiter.pid()));
    Ok(all)
}

fn all_broken(all: Vec<Process<End>>) -> Result<()> {
    for process in all {
        assert_eq!(process.join()?, End::Broken);
    }
    Ok(())
}

#[test]
fn each_index_once_and_one_leader() -> Result<()> {
    let _watch = watchdog(60, "8 parties");
    for _ in 0..10 {
        let barrier = barrier(8)?;
        let all = waiters(&barrier, 7)?;
        assert_eq!((barrier.parties(), barrier.waiting(), barrier.is_broken()), (8, 7, false));
        // The last to arrive leads.
        assert_eq!(end_of(barrier.wait()), End::Leader(7));
        let mut seen = all.into_iter().map(Process::join).collect::<Result<Vec<_>, _>>()?;
        seen.sort_by_key(|end| format!("{end:?}"));
        assert_eq!(seen, (0..7).map(End::Follower).collect::<Vec<_>>());
        assert_eq!(barrier.waiting(), 0);
    }
    Ok(())
}

#[test]
fn a_thousand_rounds_do_not_mix() -> Result<()> {
    const ROUNDS: u64 = 1000;
    /// Adds up the indices of each round, and what the leaders are.
    fn run(barrier: Shared, indices: SharedArray<AtomicU64>, leaders: SharedArray<AtomicU64>) -> Result<()> {
        for round in 0..ROUNDS as usize {
            let place = barrier.wait()?;
            indices[round].fetch_add(1 << (8 * place.index()), SeqCst);
            leaders[round].fetch_add(u64::from(place.is_leader()), SeqCst);
            // Who is through has all of the round before behind it.
            if let Some(before) = round.checked_sub(1) {
                assert_eq!((indices[before].load(SeqCst), leaders[before].load(SeqCst)), (0x0101_0101, 1));
            }
        }
        Ok(())
    }
    let _watch = watchdog(120, "1,000 rounds");
    let barrier = barrier(4)?;
    let (indices, leaders) = (SharedArray::zeroed(ROUNDS as usize)?, SharedArray::zeroed(ROUNDS as usize)?);
    let all = (0..4).map(|_| Process::spawn(run, (&barrier, &indices, &leaders))).collect::<Result<Vec<_>>>()?;
    for process in all {
        process.join()?;
    }
    assert!(indices.iter().all(|round| round.load(SeqCst) == 0x0101_0101));
    assert!(leaders.iter().all(|round| round.load(SeqCst) == 1));
    Ok(())
}

#[test]
fn what_all_did_before_is_seen_by_all_after() -> Result<()> {
    fn run(barrier: Shared, places: SharedArray<AtomicU64>, mine: u64) -> Result<()> {
        for round in 1..=500 {
            places[mine as usize].store(round, std::sync::atomic::Ordering::Relaxed);
            barrier.wait()?;
            for place in places.iter() {
                assert_eq!(place.load(std::sync::atomic::Ordering::Relaxed), round);
            }
            barrier.wait()?;
        }
        Ok(())
    }
    let _watch = watchdog(120, "two barriers a round");
    let (barrier, places) = (barrier(3)?, SharedArray::zeroed(3)?);
    let all = (0..3).map(|mine| Process::spawn(run, (&barrier, &places, mine))).collect::<Result<Vec<_>>>()?;
    for process in all {
        process.join()?;
    }
    Ok(())
}

#[test]
fn nobody_waits_at_a_barrier_of_none_or_one() -> Result<()> {
    let _watch = watchdog(30, "no parties");
    for barrier in [SharedValue::<Barrier>::zeroed()?, barrier(0)?, barrier(1)?] {
        for _ in 0..100 {
            assert_eq!(end_of(barrier.wait()), End::Leader(0));
            assert_eq!(end_of(barrier.wait_timeout(Duration::ZERO)), End::Leader(0));
        }
        assert_eq!((barrier.waiting(), barrier.is_broken()), (0, false));
    }
    assert_eq!((Barrier::default().parties(), Barrier::new(u32::MAX).parties()), (0, u32::MAX));
    Ok(())
}

#[test]
fn a_dead_party_that_had_arrived_breaks_it_for_all() -> Result<()> {
    let _watch = watchdog(60, "a party that dies");
    for _ in 0..10 {
        let barrier = barrier(5)?;
        let mut all = waiters(&barrier, 4)?;
        killed(all.swap_remove(1))?;
        // The death is known when `join` returns: the time starts there.
        let start = Instant::now();
        all_broken(all)?;
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        assert!(barrier.is_broken());
        assert_eq!(end_of(barrier.wait()), End::Broken);
    }
    Ok(())
}

#[test]
fn the_last_to_come_finds_the_death_too() -> Result<()> {
    let _watch = watchdog(30, "a dead party and a last one");
    let barrier = barrier(2)?;
    killed(waiters(&barrier, 1)?.remove(0))?;
    assert_eq!(end_of(barrier.wait()), End::Broken);
    Ok(())
}

fn announce(barrier: Shared, at: SharedArray<Event>) -> Result<()> {
    let _party = barrier.party()?;
    at[0].set();
    at[1].wait();
    barrier.wait()?;
    Ok(())
}

#[test]
fn an_announced_party_that_dies_before_it_arrives_breaks_it() -> Result<()> {
    let _watch = watchdog(60, "an announced party that dies");
    for _ in 0..5 {
        let (barrier, at) = (barrier(4)?, events(2)?);
        let party = Process::spawn(announce, (&barrier, &at))?;
        wait(&at[0], "the party is announced");
        let all = waiters(&barrier, 3)?;
        killed(party)?;
        all_broken(all)?;
        assert!(barrier.is_broken());
    }
    Ok(())
}

#[test]
fn an_announced_party_that_dies_between_rounds_breaks_the_next() -> Result<()> {
    let _watch = watchdog(30, "an announced party that dies between rounds");
    let (barrier, at) = (barrier(2)?, events(2)?);
    let party = Process::spawn(announce, (&barrier, &at))?;
    wait(&at[0], "the party is announced");
    killed(party)?;
    assert_eq!(end_of(barrier.wait()), End::Broken);
    // A reset forgets the dead one.
    barrier.reset()?;
    let all = waiters(&barrier, 1)?;
    assert_eq!(end_of(barrier.wait()), End::Leader(1));
    assert_eq!(all.into_iter().next().unwrap().join()?, End::Follower(0));
    Ok(())
}

#[test]
fn an_announcement_ends_with_its_value() -> Result<()> {
    fn announce_and_stay(barrier: Shared, at: SharedArray<Event>) -> Result<()> {
        let parties = (barrier.party()?, barrier.party()?);
        drop(parties);
        at[0].set();
        pause()
    }
    let _watch = watchdog(30, "a party that is announced no more");
    let (barrier, at) = (barrier(2)?, events(1)?);
    let child = Process::spawn(announce_and_stay, (&barrier, &at))?;
    wait(&at[0], "the party is announced no more");
    let all = waiters(&barrier, 1)?;
    killed(child)?;
    assert_eq!(end_of(barrier.wait()), End::Leader(1));
    assert_eq!(all.into_iter().next().unwrap().join()?, End::Follower(0));
    Ok(())
}

#[test]
fn announced_parties_take_part_as_any() -> Result<()> {
    let _watch = watchdog(30, "announced parties");
    let (barrier, at) = (barrier(3)?, events(2)?);
    let all = (0..2).map(|_| Process::spawn(announce, (&barrier, &at))).collect::<Result<Vec<_>>>()?;
    at[1].set();
    let _party = barrier.party()?;
    barrier.wait()?;
    for process in all {
        process.join()?;
    }
    assert!(!barrier.is_broken());
    Ok(())
}

#[test]
fn a_party_that_nobody_knows_of_is_waited_for_until_the_timeout() -> Result<()> {
    fn die() -> Result<()> {
        pause()
    }
    let _watch = watchdog(30, "an unannounced party that dies");
    let barrier = barrier(2)?;
    killed(Process::spawn(die, ())?)?;
    let start = Instant::now();
    assert_eq!(end_of(barrier.wait_timeout(SHORT)), End::TimedOut);
    assert!(start.elapsed() >= SHORT);
    Ok(())
}

#[test]
fn a_timeout_breaks_it_for_all() -> Result<()> {
    let _watch = watchdog(30, "a time-out");
    let barrier = barrier(5)?;
    let all = waiters(&barrier, 3)?;
    assert_eq!(end_of(barrier.wait_timeout(SHORT)), End::TimedOut);
    all_broken(all)?;
    assert!(barrier.is_broken());
    assert_eq!(end_of(barrier.wait_timeout(Duration::ZERO)), End::Broken);
    barrier.reset()?;
    assert_eq!(end_of(barrier.wait_timeout(Duration::ZERO)), End::TimedOut);
    Ok(())
}

/// Somebody else has the barrier's own lock all that time, and is alive.
#[test]
fn a_timeout_at_the_door_breaks_it() -> Result<()> {
    fn hold(n: SharedValue<Mutex<u64>>, held: SharedValue<Event>) -> Result<()> {
        let _guard = n.lock()?;
        held.set();
        pause()
    }
    let _watch = watchdog(30, "a time-out of one that has not arrived");
    let (n, held) = (SharedValue::new(Mutex::new(0))?, SharedValue::new(Event::new())?);
    let child = Process::spawn(hold, (&n, &held))?;
    wait(&held, "the child has a lock");
    let barrier = barrier(3)?;
    let all = waiters(&barrier, 1)?;
    // The first word of both is the lock's: it names who has it.
    poke(&barrier, LOCK_WORD + 64, peek(&n, LOCK_WORD + 64));
    assert_eq!(end_of(barrier.wait_timeout(SHORT)), End::TimedOut);
    assert!(barrier.is_broken());
    all_broken(all)?;
    killed(child)?;
    Ok(())
}

/// In each round the time-outs of some and the arrivals of others meet: all agree on how the round ended.
#[test]
fn a_timeout_that_meets_the_last_arrival_has_one_outcome() -> Result<()> {
    let _watch = watchdog(120, "time-outs against arrivals");
    let mut good = 0;
    for n in 0..60 {
        let barrier = barrier(3)?;
        let late = 1 + n % 4;
        let all = [1, late, 2].map(|millis| Process::spawn(arrive_in_time, (&barrier, millis)));
        let ends = all.into_iter().collect::<Result<Vec<_>>>()?.into_iter().map(Process::join).collect::<Result<Vec<_>, _>>()?;
        let met = ends.iter().filter(|end| matches!(end, End::Leader(_) | End::Follower(_))).count();
        assert!(met == 0 || met == 3, "{ends:?}");
        assert_eq!(ends.iter().filter(|end| matches!(end, End::Leader(_))).count(), met / 3);
        assert_eq!(barrier.is_broken(), met == 0);
        good += met / 3;
    }
    println!("{good} of 60 rounds were in time");
    Ok(())
}

#[test]
fn abort_breaks_it_until_it_is_reset() -> Result<()> {
    let _watch = watchdog(60, "abort");
    let barrier = barrier(4)?;
    for _ in 0..5 {
        let all = waiters(&barrier, 3)?;
        barrier.abort()?;
        all_broken(all)?;
        assert_eq!((end_of(barrier.wait()), barrier.is_broken()), (End::Broken, true));
        barrier.reset()?;
        assert_eq!((barrier.is_broken(), barrier.waiting()), (false, 0));
        let all = waiters(&barrier, 3)?;
        assert_eq!(end_of(barrier.wait()), End::Leader(3));
        for process in all {
            assert!(matches!(process.join()?, End::Follower(_)));
        }
    }
    Ok(())
}

#[test]
fn reset_lets_all_go_with_broken() -> Result<()> {
    let _watch = watchdog(60, "reset");
    let barrier = barrier(4)?;
    for _ in 0..10 {
        let all = waiters(&barrier, 3)?;
        barrier.reset()?;
        // Those who come now begin a round, and do not mix with those who are late to learn of the reset.
        let next = waiters(&barrier, 3)?;
        all_broken(all)?;
        assert_eq!(end_of(barrier.wait()), End::Leader(3));
        for process in next {
            assert!(matches!(process.join()?, End::Follower(_)));
        }
    }
    Ok(())
}

#[test]
fn a_stopped_party_learns_of_its_round_after_many_others() -> Result<()> {
    let _watch = watchdog(60, "a stopped party");
    for broken in [false, true] {
        let barrier = barrier(2)?;
        let late = waiters(&barrier, 1)?.remove(0);
        stop(late.pid());
        if broken {
            barrier.reset()?
        } else {
            assert_eq!(end_of(barrier.wait()), End::Leader(1))
        }
        for round in 0..40 {
            if round % 2 == 0 {
                barrier.reset()?;
            } else {
                std::thread::scope(|scope| {
                    let other = scope.spawn(|| barrier.wait());
                    assert!(barrier.wait().is_ok() && other.join().unwrap().is_ok());
                });
            }
        }
        resume(late.pid());
        assert_eq!(late.join()?, if broken { End::Broken } else { End::Follower(0) });
    }
    Ok(())
}

#[test]
fn a_stopped_party_is_not_dead() -> Result<()> {
    let _watch = watchdog(30, "a stopped party that is waited for");
    let barrier = barrier(3)?;
    let mut all = waiters(&barrier, 2)?;
    stop(all[0].pid());
    // Two slices of the other, in which it asks who lives.
    assert!(!SharedValue::new(Event::new())?.wait_timeout(SHORT));
    assert!(!barrier.is_broken());
    assert_eq!(end_of(barrier.wait()), End::Leader(2));
    resume(all[0].pid());
    for process in all.drain(..) {
        assert!(matches!(process.join()?, End::Follower(_)));
    }
    Ok(())
}

#[test]
fn a_party_that_left_a_round_and_died_takes_part_no_more() -> Result<()> {
    fn arrive_and_stay(barrier: Shared, at: SharedValue<Event>) -> Result<()> {
        barrier.wait()?;
        at.set();
        pause()
    }
    let _watch = watchdog(60, "parties that come and go");
    let barrier = barrier(2)?;
    // More processes than there are places, one after the other.
    for _ in 0..40 {
        let at = SharedValue::new(Event::new())?;
        let child = Process::spawn(arrive_and_stay, (&barrier, &at))?;
        barrier.wait()?;
        wait(&at, "the child is through");
        killed(child)?;
    }
    let all = waiters(&barrier, 1)?;
    assert_eq!(end_of(barrier.wait()), End::Leader(1));
    assert_eq!(all.into_iter().next().unwrap().join()?, End::Follower(0));
    Ok(())
}

#[test]
fn the_33rd_process_is_told() -> Result<()> {
    let _watch = watchdog(90, "33 processes");
    let barrier = barrier(40)?;
    let all = waiters(&barrier, 32)?;
    assert_eq!(barrier.party().map(drop).unwrap_err(), BarrierError::Crowded);
    assert!(!barrier.is_broken());
    assert_eq!(barrier.wait().unwrap_err(), BarrierError::Crowded);
    // Since it cannot come, nobody waits for it.
    all_broken(all)?;
    Ok(())
}

/// A process that gives up its last handle takes away its own place, and never one that has become another's meanwhile.
#[test]
fn who_leaves_takes_no_others_place_away() -> Result<()> {
    fn come_and_go(barrier: Shared, rounds: u64) -> Result<()> {
        let file = file_of(&barrier);
        drop(barrier);
        for round in 0..rounds {
            let barrier = Shared::try_from(std::os::fd::OwnedFd::from(file.try_clone()?))?;
            barrier.wait_timeout(SOON).map_err(|error| std::io::Error::other(format!("round {round}: {error}")))?;
        }
        Ok(())
    }
    let _watch = watchdog(120, "parties that come and go");
    let barrier = barrier(3)?;
    let all = (0..3).map(|_| Process::spawn(come_and_go, (&barrier, 4000))).collect::<Result<Vec<_>>>()?;
    for process in all {
        process.join()?;
    }
    assert!(!barrier.is_broken());
    Ok(())
}

/// Places of the dead are taken over while others ask who has died.
#[test]
fn a_death_between_rounds_breaks_none() -> Result<()> {
    fn arrive_once(barrier: Shared) -> Result<()> {
        barrier.wait()?;
        kill(std::process::id());
        Ok(())
    }
    let _watch = watchdog(120, "places of the dead");
    let barrier = barrier(3)?;
    for round in 0..200 {
        let all = (0..2).map(|_| Process::spawn(arrive_once, (&barrier,))).collect::<Result<Vec<_>>>()?;
        if let Err(error) = barrier.wait() {
            panic!("round {round}: {error}");
        }
        // Who is let go by the leader does not need to be awake for that: it may find out when the next round is on.
        all.into_iter().for_each(|process| drop(process.join()));
    }
    Ok(())
}

#[test]
fn the_longest_timeout_is_for_ever() -> Result<()> {
    let _watch = watchdog(30, "Duration::MAX");
    let barrier = barrier(2)?;
    std::thread::scope(|scope| {
        let (tell, told) = std::sync::mpsc::channel();
        let barrier = &barrier;
        let waiter = scope.spawn(move || {
            tell.send(thread_id()).unwrap();
            barrier.wait_timeout(Duration::MAX)
        });
        until_thread_asleep(told.recv().unwrap());
        assert_eq!(end_of(barrier.wait()), End::Leader(1));
        assert_eq!(end_of(waiter.join().unwrap()), End::Follower(0));
    });
    Ok(())
}

#[test]
fn in_a_static() {
    static BARRIER: Barrier = Barrier::new(4);
    static SUM: AtomicU64 = AtomicU64::new(0);
    let _watch = watchdog(60, "threads");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let _party = BARRIER.party().unwrap();
                for round in 1..=300 {
                    SUM.fetch_add(1, SeqCst);
                    BARRIER.wait().unwrap();
                    assert_eq!(SUM.load(SeqCst), 4 * round);
                    BARRIER.wait().unwrap();
                }
            });
        }
    });
    assert_eq!(format!("{BARRIER:?}"), "Barrier { parties: 4, waiting: 0, broken: false }");
}

#[test]
fn debug_does_not_wait() -> Result<()> {
    let _watch = watchdog(30, "Debug");
    let barrier = barrier(3)?;
    let all = waiters(&barrier, 2)?;
    assert_eq!(format!("{:?}", *barrier), "Barrier { parties: 3, waiting: 2, broken: false }");
    barrier.abort()?;
    all_broken(all)?;
    assert!(format!("{:?}", *barrier).ends_with("broken: true }"));
    Ok(())
}

#[test]
fn a_forked_child_is_a_party_of_its_own() -> Result<()> {
    fn wait_with_a_fork(barrier: Shared) -> Result<()> {
        let mut party = Some(barrier.party()?);
        let child = fork(|| {
            // Its copy of the announcement is its parent's.
            drop(party.take());
            i32::from(barrier.wait().is_err())
        });
        barrier.wait()?;
        assert_eq!(wait_for(child), 0);
        let child = fork(|| {
            std::mem::forget(barrier.party());
            kill(std::process::id());
            1
        });
        assert_eq!(wait_for(child), -9);
        assert_eq!(barrier.wait().unwrap_err(), BarrierError::Broken);
        drop(party);
        Ok(())
    }
    let _watch = watchdog(30, "a forked child");
    let barrier = barrier(2)?;
    Process::spawn(wait_with_a_fork, (&barrier,))?.join()?;
    Ok(())
}

#[test]
fn strange_words_are_bounded() -> Result<()> {
    let _watch = watchdog(60, "strange words");
    let mut random = Random(17);
    for _ in 0..200 {
        let barrier = barrier(2)?;
        for _ in 0..1 + random.below(4) {
            let word = random.strange_word();
            // The value's lock has a line of its own; behind it the barrier.
            let words = size_of::<Barrier>() as u64 / 8;
            poke(&barrier, LOCK_WORD + 64 + 8 * random.below(words), word);
        }
        let short = Duration::from_millis(1);
        let party = barrier.party();
        let _ = barrier.wait_timeout(short);
        let _ = (barrier.waiting(), barrier.parties(), format!("{:?}", *barrier));
        drop(party);
        let _ = (barrier.abort(), barrier.wait_timeout(short), barrier.reset(), barrier.wait_timeout(short));
    }
    Ok(())
}
