//! Streams: some send as fast as they can, others receive. A tenth of what counts goes before.

use std::ops::Range;

use coproc::{Message, SharedValue};
use coproc_pool::Process;

use super::crew::{Start, now};
use super::ends::{Plug, Receives, Sends};
use crate::measure::{Pinned, Result, Sample};

/// What a receiver tells: when it had what does not count, when it had all, and the sum of all.
#[derive(Clone, Copy, Debug, Message)]
struct Report {
    began: u64,
    ended: u64,
    sum: u64,
}

/// The shares of a stream.
#[derive(Clone, Copy, Debug)]
struct Stream {
    counts: u64,
    warm: u64,
    senders: u64,
    receivers: u64,
}

impl Stream {
    /// Counts and warm-up are what everybody's share divides without rest.
    fn new(counts: u64, senders: usize, receivers: usize) -> Self {
        let (senders, receivers) = (senders as u64, receivers as u64);
        let even = |count: u64| count.next_multiple_of(senders * receivers);
        Self { counts: even(counts), warm: even(counts / 10), senders, receivers }
    }

    fn crew(self) -> usize {
        (self.senders + self.receivers) as usize
    }

    fn numbers(self, sender: usize) -> Range<u64> {
        let share = (self.warm + self.counts) / self.senders;
        sender as u64 * share..(sender as u64 + 1) * share
    }

    /// What each receiver receives: before the clock starts, and after.
    fn share(self) -> (u64, u64) {
        (self.warm / self.receivers, self.counts / self.receivers)
    }

    fn sample(self, reports: &[Report]) -> Result<Sample> {
        let all = self.warm + self.counts;
        let right = (0..all).sum::<u64>();
        let sum = reports.iter().map(|report| report.sum).sum::<u64>();
        if sum != right {
            return Err(format!("the sum is {sum} where {right} is right").into());
        }
        let began = reports.iter().map(|report| report.began).min().ok_or("nobody received")?;
        let ended = reports.iter().map(|report| report.ended).max().ok_or("nobody received")?;
        Ok(Sample { ns: (ended - began) as f64 / self.counts as f64, fairness: None })
    }
}

fn send(start: &Start, crew: usize, mut end: impl Sends, numbers: Range<u64>) -> Result<()> {
    start.meet(crew)?;
    end.send_all(numbers);
    Ok(())
}

fn receive(start: &Start, crew: usize, mut end: impl Receives, (warm, counts): (u64, u64)) -> Result<Report> {
    start.meet(crew)?;
    let before = end.recv_all(warm);
    let began = now();
    let sum = before + end.recv_all(counts);
    Ok(Report { began, ended: now(), sum })
}

/// One sender and one receiver share no CPU; of two each, every CPU has one and one.
fn cpu_of(cpus: &[usize], receives: bool, number: usize) -> usize {
    cpus[(number + usize::from(receives)) % cpus.len()]
}

/// Runs in a thread that is pinned to this CPU.
fn pinned<R>(cpu: usize, run: impl FnOnce() -> Result<R>) -> std::result::Result<R, String> {
    let pinned = Pinned::to(&[cpu]).map_err(|error| error.to_string())?;
    let result = run().map_err(|error| error.to_string());
    drop(pinned);
    result
}

pub(super) fn between_threads<S, R>(cpus: &[usize], counts: u64, senders: Vec<S>, receivers: Vec<R>) -> Result<Sample>
where
    S: Sends + Send,
    R: Receives + Send,
{
    let stream = Stream::new(counts, senders.len(), receivers.len());
    let start = &Start::default();
    std::thread::scope(|scope| {
        let mut sending = Vec::new();
        for (number, end) in senders.into_iter().enumerate() {
            let cpu = cpu_of(cpus, false, number);
            sending.push(scope.spawn(move || pinned(cpu, || send(start, stream.crew(), end, stream.numbers(number)))));
        }
        let mut receiving = Vec::new();
        for (number, end) in receivers.into_iter().enumerate() {
            let cpu = cpu_of(cpus, true, number);
            receiving.push(scope.spawn(move || pinned(cpu, || receive(start, stream.crew(), end, stream.share()))));
        }
        let mut reports = Vec::new();
        for thread in receiving {
            reports.push(thread.join().map_err(|_| "a receiver panicked")??);
        }
        for thread in sending {
            thread.join().map_err(|_| "a sender panicked")??;
        }
        stream.sample(&reports)
    })
}

fn sender<P: Plug<End: Sends>>(start: SharedValue<Start>, crew: usize, end: P, cpu: usize, numbers: (u64, u64)) -> Result<()> {
    let _pinned = Pinned::to(&[cpu])?;
    send(&start, crew, end.plug()?, numbers.0..numbers.1)
}

fn receiver<P: Plug<End: Receives>>(
    start: SharedValue<Start>,
    crew: usize,
    end: P,
    cpu: usize,
    share: (u64, u64),
) -> Result<Report> {
    let _pinned = Pinned::to(&[cpu])?;
    receive(&start, crew, end.plug()?, share)
}

pub(super) fn between_processes<S, R>(cpus: &[usize], counts: u64, senders: Vec<S>, receivers: Vec<R>) -> Result<Sample>
where
    S: Plug<End: Sends>,
    R: Plug<End: Receives>,
{
    let stream = Stream::new(counts, senders.len(), receivers.len());
    let crew = stream.crew();
    let start = SharedValue::new(Start::default())?;
    let mut sending = Vec::new();
    for (number, end) in senders.into_iter().enumerate() {
        let numbers = stream.numbers(number);
        let cpu = cpu_of(cpus, false, number);
        sending.push(Process::spawn(sender::<S>, (&start, crew, end, cpu, (numbers.start, numbers.end)))?);
    }
    let mut receiving = Vec::new();
    for (number, end) in receivers.into_iter().enumerate() {
        let cpu = cpu_of(cpus, true, number);
        receiving.push(Process::spawn(receiver::<R>, (&start, crew, end, cpu, stream.share()))?);
    }
    let mut reports = Vec::new();
    for process in receiving {
        reports.push(process.join()?);
    }
    for process in sending {
        process.join()?;
    }
    stream.sample(&reports)
}

#[cfg(test)]
mod tests {
    use coproc::Queue;

    use super::*;
    use crate::measure::cpus;
    use crate::queues::ends::Bulk;

    #[test]
    fn shares_are_even_and_cover_all() {
        let stream = Stream::new(101, 2, 3);
        assert_eq!((stream.counts, stream.warm), (102, 12));
        assert_eq!((stream.numbers(0), stream.numbers(1)), (0..57, 57..114));
        assert_eq!(stream.share(), (4, 34));
    }

    #[test]
    fn the_time_is_from_the_first_to_the_last_and_the_sum_is_checked() {
        let stream = Stream::new(10, 1, 2);
        let report = |began, ended, sum| Report { began, ended, sum };
        let sample = stream.sample(&[report(100, 150, 60), report(110, 200, 6)]).unwrap();
        assert_eq!(sample, Sample { ns: 10.0, fairness: None });
        assert!(stream.sample(&[report(100, 150, 60), report(110, 200, 7)]).is_err());
    }

    #[test]
    fn streams_arrive_between_processes_and_threads() {
        let cpus = cpus().unwrap();
        let queue = Queue::<[u64; 8]>::new(3).unwrap();
        assert!(between_processes(&cpus, 100, vec![queue.clone(); 2], vec![queue; 2]).unwrap().ns > 0.0);
        let bulk = Bulk(Queue::new(3).unwrap());
        assert!(between_processes(&cpus, 1000, vec![bulk.clone()], vec![bulk]).unwrap().ns > 0.0);
        let (to, from) = kanal::bounded::<u64>(3);
        assert!(between_threads(&cpus, 100, vec![to; 2], vec![from; 2]).unwrap().ns > 0.0);
    }
}
