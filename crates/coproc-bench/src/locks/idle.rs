//! What a process costs that only waits.

use std::time::{Duration, Instant};

use coproc::{Event, Mutex, Queue, Semaphore, SharedValue};
use coproc_pool::Process;
use rustix::time::{ClockId, clock_gettime};

use super::PATIENCE;
use crate::measure::{Goal, Result, Table};

/// How long they wait.
const WAIT: Duration = Duration::from_secs(2);

/// The CPU time that a call took, and all its time.
type Cost = (Duration, Duration);

const CASE: &str = "CPU time of a process asleep";

/// All wait at the same time, each in a process of its own.
pub(super) fn run(table: &mut Table) -> Result<()> {
    if !table.wants(CASE) {
        return Ok(());
    }
    for (call, share) in shares(WAIT)? {
        table.figure(format!("{CASE} in {call}"), share * 100.0, "% of a core", Goal::AtMost(0.1));
    }
    Ok(())
}

/// The part of a core that each of the calls uses that wait this long.
fn shares(wait: Duration) -> Result<Vec<(&'static str, f64)>> {
    let ready = SharedValue::new(Semaphore::new(0))?;
    let mutex = SharedValue::new(Mutex::new(0_u64))?;
    let event = SharedValue::new(Event::new())?;
    let semaphore = SharedValue::new(Semaphore::new(0))?;
    let queue = Queue::<u64>::new(1)?;

    let held = mutex.lock()?;
    let waiting = [
        ("Mutex::lock", Process::spawn(in_lock, (&ready, &mutex))?),
        ("Event::wait", Process::spawn(in_wait, (&ready, &event))?),
        ("Semaphore::acquire", Process::spawn(in_acquire, (&ready, &semaphore))?),
        ("Queue::recv", Process::spawn(in_recv, (&ready, &queue))?),
    ];
    for _ in &waiting {
        ready.acquire_timeout(PATIENCE)?.forget();
    }
    std::thread::sleep(wait);
    drop(held);
    event.set();
    semaphore.release(1)?;
    queue.send(1)?;
    let shares = waiting.into_iter().map(|(call, process)| {
        let (used, passed) = process.join()?;
        if passed < wait {
            return Err(format!("{call} waited only {passed:?}").into());
        }
        Ok((call, used.as_secs_f64() / passed.as_secs_f64()))
    });
    shares.collect()
}

/// What this call costs, which waits.
fn cost<T>(ready: &Semaphore, call: impl FnOnce() -> coproc::Result<T>) -> coproc::Result<Cost> {
    let (start, used) = (Instant::now(), cpu_time());
    ready.release(1)?;
    drop(call()?);
    Ok((cpu_time() - used, start.elapsed()))
}

/// The CPU time of this process until now.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn in_lock(ready: SharedValue<Semaphore>, mutex: SharedValue<Mutex<u64>>) -> coproc::Result<Cost> {
    cost(&ready, || Ok(mutex.lock()?))
}

fn in_wait(ready: SharedValue<Semaphore>, event: SharedValue<Event>) -> coproc::Result<Cost> {
    cost(&ready, || {
        event.wait();
        Ok(())
    })
}

fn in_acquire(ready: SharedValue<Semaphore>, semaphore: SharedValue<Semaphore>) -> coproc::Result<Cost> {
    cost(&ready, || Ok(semaphore.acquire()?))
}

fn in_recv(ready: SharedValue<Semaphore>, queue: Queue<u64>) -> coproc::Result<Cost> {
    cost(&ready, || Ok(queue.recv()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_uses_a_part_of_a_core() {
        let shares = shares(Duration::from_millis(50)).unwrap();
        assert_eq!(shares.len(), 4);
        for (call, share) in shares {
            assert!(share > 0.0 && share < 1.0, "{call}: {share}");
        }
    }
}
