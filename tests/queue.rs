//! `Queue` between processes that are killed, and over memory that somebody has scribbled on.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use coproc::{
    Error, Event, Flag, Item, Plain, Queue, RecvError, RecvTimeoutError, Result, SendError, SendTimeoutError, SharedArray,
    SharedValue, TryRecvError, TrySendError,
};
use coproc_pool::{Cause, Process};
use coproc_tests::{
    Random, bytes_of, events, file_of, kill, killed, pause, peek, poke, resume, stop, thread_id, until, until_asleep,
    until_thread_asleep, wait, watchdog,
};

const SOON: Duration = Duration::from_secs(20);

/// Where the words of a queue lie in its file.
const SEND_LOCK: u64 = 128;
const SEND_POSITION: u64 = 144;
const RECV_LOCK: u64 = 256;
const RECV_POSITION: u64 = 272;
const SLOTS: u64 = 512;

#[test]
fn first_in_first_out() -> Result<()> {
    let _watch = watchdog(30, "one thread");
    for capacity in [1, 2, 3, 7, 8, 100] {
        let queue = Queue::new(capacity)?;
        assert_eq!(queue.capacity(), capacity);
        let (mut sent, mut received) = (0_u32, 0);
        let mut random = Random(capacity as u64);
        for _ in 0..2000 {
            assert_eq!(queue.len(), (sent - received) as usize);
            assert_eq!((queue.is_empty(), queue.is_full()), (sent == received, queue.len() == capacity));
            if random.below(2) == 0 {
                match queue.try_send(sent) {
                    Ok(()) => sent += 1,
                    Err(error) => assert_eq!((error, queue.len()), (TrySendError::Full(sent), capacity)),
                }
            } else {
                match queue.try_recv() {
                    Ok(item) => {
                        assert_eq!(item, received);
                        received += 1;
                    }
                    Err(error) => assert_eq!((error, sent), (TryRecvError::Empty, received)),
                }
            }
        }
    }
    Ok(())
}

#[test]
fn in_order_between_two_processes() -> Result<()> {
    fn send_all(queue: Queue<u64>) -> Result<()> {
        for n in 0..3000 {
            queue.send(n)?;
        }
        queue.close();
        Ok(())
    }
    let _watch = watchdog(120, "a sender and a receiver");
    for capacity in [1, 3, 7, 100] {
        let queue = Queue::new(capacity)?;
        let sender = Process::spawn(send_all, (&queue,))?;
        assert!(queue.iter().eq(0..3000));
        sender.join()?;
    }
    Ok(())
}

#[test]
fn many_at_once_are_in_order_for_every_capacity() -> Result<()> {
    let _watch = watchdog(120, "bulk");
    for capacity in [1, 2, 3, 7, 8, 100] {
        let queue = Queue::new(capacity)?;
        let items: Vec<u32> = (0..5000).collect();
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| {
                let mut rest = &items[..];
                let mut random = Random(3);
                while !rest.is_empty() {
                    let (some, left) = rest.split_at(rest.len().min(random.below(20) as usize));
                    queue.send_slice(some).unwrap();
                    rest = left;
                }
                queue.close();
            });
            let mut all = Vec::new();
            let mut random = Random(4);
            loop {
                let mut room = vec![0; 1 + random.below(20) as usize];
                match queue.recv_into(&mut room) {
                    Ok(count) => {
                        assert!((1..=room.len().min(capacity)).contains(&count), "{count} of {}", room.len());
                        all.extend_from_slice(&room[..count]);
                    }
                    Err(error) => break assert_eq!(error, RecvError::Closed, "capacity {capacity}, after {}", all.len()),
                }
            }
            assert_eq!(all, items, "capacity {capacity}");
            sender.join().unwrap();
        });
    }
    Ok(())
}

#[test]
fn a_slice_goes_around_the_end_of_the_ring() -> Result<()> {
    let _watch = watchdog(30, "bulk around the end");
    for capacity in 1..=9_usize {
        for start in 0..capacity {
            for count in 1..=capacity {
                let queue = Queue::new(capacity)?;
                for n in 0..start {
                    queue.send(n)?;
                    queue.recv()?;
                }
                let items: Vec<usize> = (100..100 + count).collect();
                queue.send_slice(&items)?;
                assert_eq!(queue.len(), count);
                let mut room = vec![0; count];
                assert_eq!(queue.recv_into(&mut room), Ok(count), "capacity {capacity}, from {start} on, {count} items");
                assert_eq!(room, items, "capacity {capacity}, from {start} on");
                queue.send(7)?;
                assert_eq!(queue.recv()?, 7);
            }
        }
    }
    Ok(())
}

#[test]
fn of_nothing() -> Result<()> {
    let _watch = watchdog(30, "empty slices");
    let queue = Queue::<u32>::new(2)?;
    queue.send_slice(&[])?;
    assert_eq!(queue.recv_into(&mut []), Ok(0));
    assert!(queue.is_empty());
    queue.close();
    queue.send_slice(&[])?;
    assert_eq!(queue.recv_into(&mut []), Ok(0));
    Ok(())
}

#[test]
fn capacity_limits() {
    assert!(matches!(Queue::<u32>::new(0), Err(Error::Empty)));
    assert!(matches!(Queue::<u32>::new(usize::MAX), Err(Error::TooLarge { len: usize::MAX, size: 4 })));
    assert!(matches!(Queue::<u32>::new(usize::MAX / 16), Err(Error::TooLarge { .. } | Error::NoSpace { .. })));
    // A pebibyte: more than every machine that runs this has.
    assert!(matches!(Queue::<[u8; 1016]>::new(1 << 40), Err(Error::NoSpace { wanted, free }) if wanted > free));
}

#[test]
fn a_sender_waits_for_room() -> Result<()> {
    let _watch = watchdog(30, "a sender that waits");
    for capacity in [1, 3] {
        let queue = Queue::new(capacity)?;
        let sender = Process::spawn(
            |queue: Queue<u32>| -> Result<()> {
                for n in 0..8 {
                    queue.send(n)?;
                }
                Ok(())
            },
            (&queue,),
        )?;
        until("it is full", || queue.is_full());
        until_asleep(sender.pid());
        assert_eq!(queue.len(), capacity);
        for n in 0..8 {
            assert_eq!(queue.recv()?, n);
        }
        sender.join()?;
        assert!(queue.is_empty());
    }
    Ok(())
}

#[test]
fn a_receiver_waits_for_items() -> Result<()> {
    let _watch = watchdog(30, "a receiver that waits");
    let queue = Queue::new(3)?;
    let receiver = Process::spawn(|queue: Queue<u32>| queue.iter().collect::<Vec<_>>(), (&queue,))?;
    for n in 0..5 {
        until_asleep(receiver.pid());
        queue.send(n)?;
        until("it was received", || queue.is_empty());
    }
    until_asleep(receiver.pid());
    queue.close();
    assert_eq!(receiver.join()?, [0, 1, 2, 3, 4]);
    Ok(())
}

#[test]
fn every_sleeper_is_woken() -> Result<()> {
    let _watch = watchdog(120, "sleepers");
    for _ in 0..10 {
        let queue = Queue::new(8)?;
        let receivers = (0..4)
            .map(|_| Process::spawn(|queue: Queue<u32>| queue.recv().map_err(Error::from), (&queue,)))
            .collect::<Result<Vec<_>>>()?;
        receivers.iter().for_each(|receiver| until_asleep(receiver.pid()));
        queue.send_slice(&[1, 2, 3, 4])?;
        let mut got = receivers.into_iter().map(Process::join).collect::<Result<Vec<_>, _>>()?;
        got.sort();
        assert_eq!(got, [1, 2, 3, 4]);
    }
    Ok(())
}

#[test]
fn timeouts() -> Result<()> {
    let _watch = watchdog(30, "timeouts");
    let queue = Queue::new(1)?;
    let time = Duration::from_millis(60);
    assert_eq!(queue.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
    let start = Instant::now();
    assert_eq!(queue.recv_timeout(time), Err(RecvTimeoutError::Timeout));
    assert!(start.elapsed() >= time);
    queue.send_timeout(1_u32, Duration::ZERO).unwrap();
    assert_eq!(queue.send_timeout(2, Duration::ZERO), Err(SendTimeoutError::Timeout(2)));
    let start = Instant::now();
    assert_eq!(queue.send_timeout(2, time), Err(SendTimeoutError::Timeout(2)));
    assert!(start.elapsed() >= time);
    assert_eq!(queue.recv_timeout(Duration::MAX), Ok(1));
    queue.send_timeout(3, Duration::MAX).unwrap();
    std::thread::scope(|scope| {
        let (tell, told) = std::sync::mpsc::channel();
        let queue = &queue;
        let sender = scope.spawn(move || {
            tell.send(thread_id()).unwrap();
            queue.send_timeout(4, Duration::MAX)
        });
        until_thread_asleep(told.recv().unwrap());
        assert_eq!(queue.recv_timeout(SOON), Ok(3));
        sender.join().unwrap().unwrap();
    });
    assert_eq!(queue.recv_timeout(Duration::ZERO), Ok(4));
    Ok(())
}

#[test]
fn closed_is_closed_for_all() -> Result<()> {
    let _watch = watchdog(30, "close");
    let queue = Queue::new(4)?;
    queue.send_slice(&[1_u32, 2])?;
    assert!(!queue.is_closed());
    Process::spawn(|queue: Queue<u32>| queue.close(), (&queue,))?.join()?;
    assert!(queue.is_closed());
    queue.close();
    assert_eq!(queue.send(3), Err(SendError::Closed(3)));
    assert_eq!(queue.try_send(4), Err(TrySendError::Closed(4)));
    assert_eq!(queue.send_timeout(5, SOON), Err(SendTimeoutError::Closed(5)));
    let error = queue.send_slice(&[6, 7]).unwrap_err();
    assert_eq!((error.sent, error.reason), (0, SendError::Closed(())));
    // What is inside is still received.
    assert_eq!(queue.recv(), Ok(1));
    assert_eq!(queue.len(), 1);
    assert_eq!((&queue).into_iter().collect::<Vec<_>>(), [2]);
    assert_eq!(queue.recv(), Err(RecvError::Closed));
    assert_eq!(queue.try_recv(), Err(TryRecvError::Closed));
    assert_eq!(queue.recv_timeout(SOON), Err(RecvTimeoutError::Closed));
    assert_eq!(queue.recv_into(&mut [0; 2]), Err(RecvError::Closed));
    assert_eq!(queue.iter().next(), None);
    Ok(())
}

#[test]
fn a_full_queue_says_closed_rather_than_full() -> Result<()> {
    let queue = Queue::new(1)?;
    queue.send(1_u32)?;
    queue.close();
    assert_eq!(queue.try_send(2), Err(TrySendError::Closed(2)));
    assert_eq!(queue.send_timeout(2, SOON), Err(SendTimeoutError::Closed(2)));
    assert_eq!(queue.send(2), Err(SendError::Closed(2)));
    Ok(())
}

#[test]
fn sleepers_on_both_sides_are_let_go_when_it_is_closed() -> Result<()> {
    let _watch = watchdog(120, "close with sleepers");
    for _ in 0..20 {
        let (full, empty) = (Queue::new(1)?, Queue::<u32>::new(1)?);
        full.send(0_u32)?;
        let senders = (0..2)
            .map(|_| Process::spawn(|queue: Queue<u32>| queue.send(1).map_err(|error| error.into_inner()), (&full,)))
            .collect::<Result<Vec<_>>>()?;
        let receivers = (0..2)
            .map(|_| Process::spawn(|queue: Queue<u32>| matches!(queue.recv(), Err(RecvError::Closed)), (&empty,)))
            .collect::<Result<Vec<_>>>()?;
        senders.iter().for_each(|sender| until_asleep(sender.pid()));
        receivers.iter().for_each(|receiver| until_asleep(receiver.pid()));
        full.close();
        empty.close();
        for sender in senders {
            assert_eq!(sender.join()?, Err(1));
        }
        for receiver in receivers {
            assert!(receiver.join()?);
        }
        assert_eq!(full.iter().count(), 1);
    }
    Ok(())
}

#[test]
fn close_loses_nothing_that_was_sent() -> Result<()> {
    fn send_until_closed(queue: Queue<u64>, go: SharedValue<Event>) -> u64 {
        go.wait();
        (0..).take_while(|&n| queue.send(n).is_ok()).count() as u64
    }
    fn receive_until_closed(queue: Queue<u64>) -> u64 {
        queue.iter().count() as u64
    }
    let _watch = watchdog(120, "close under load");
    for _ in 0..10 {
        let (queue, go) = (Queue::new(3)?, SharedValue::new(Event::new())?);
        let senders = (0..2).map(|_| Process::spawn(send_until_closed, (&queue, &go))).collect::<Result<Vec<_>>>()?;
        let receivers = (0..2).map(|_| Process::spawn(receive_until_closed, (&queue,))).collect::<Result<Vec<_>>>()?;
        go.set();
        until("it is in use", || !queue.is_empty());
        queue.close();
        let sent: u64 = senders.into_iter().map(Process::join).sum::<Result<u64, _>>()?;
        let received: u64 = receivers.into_iter().map(Process::join).sum::<Result<u64, _>>()?;
        assert_eq!(received, sent);
    }
    Ok(())
}

#[test]
fn two_senders_and_two_receivers_lose_and_double_nothing() -> Result<()> {
    fn send_range(queue: Queue<u64>, from: u64, to: u64) -> Result<()> {
        for n in from..to {
            queue.send(n)?;
        }
        Ok(())
    }
    let _watch = watchdog(120, "2 senders, 2 receivers");
    for capacity in [1, 3, 7, 100] {
        let queue = Queue::new(capacity)?;
        let receivers = (0..2)
            .map(|_| Process::spawn(|queue: Queue<u64>| queue.iter().collect::<Vec<_>>(), (&queue,)))
            .collect::<Result<Vec<_>>>()?;
        let senders =
            (0..2).map(|n| Process::spawn(send_range, (&queue, n * 4000, (n + 1) * 4000))).collect::<Result<Vec<_>>>()?;
        for sender in senders {
            sender.join()?;
        }
        queue.close();
        let mut all = Vec::new();
        for receiver in receivers {
            let got = receiver.join()?;
            // The items of one sender come in its order, also at one of several receivers.
            for sender in [0..4000, 4000..8000] {
                let of_one: Vec<_> = got.iter().filter(|n| sender.contains(*n)).collect();
                assert!(of_one.is_sorted());
            }
            all.extend(got);
        }
        all.sort_unstable();
        assert!(all.iter().copied().eq(0..8000), "{} items", all.len());
    }
    Ok(())
}

#[test]
fn what_was_sent_is_seen_at_once_in_1000_runs() -> Result<()> {
    let _watch = watchdog(30, "1,000 runs of four colours");
    let colours = ["red", "green", "blue", "black"].map(|colour| coproc::Text::<8>::new(colour).unwrap());
    for _ in 0..1000 {
        let queue = Queue::new(10)?;
        for (count, colour) in (1..).zip(colours) {
            queue.send(colour)?;
            assert_eq!((queue.len(), queue.is_empty()), (count, false));
        }
        let mut popped = Vec::new();
        while !queue.is_empty() {
            popped.push(queue.try_recv()?);
        }
        assert!(popped.iter().map(|colour| colour.as_str()).eq(colours.iter().map(|colour| colour.as_str())));
    }
    Ok(())
}

#[test]
fn what_was_sent_is_seen_by_another_process_at_once() -> Result<()> {
    /// Says how often it found nothing although it was told that there is something.
    fn look(queue: Queue<u64>, sent: SharedArray<AtomicU64>) -> Result<u64> {
        let mut missed = 0;
        for n in 1..=1000 {
            while sent[0].load(SeqCst) < n {
                std::thread::yield_now();
            }
            missed += u64::from(queue.is_empty() || queue.len() != 1);
            assert_eq!(queue.try_recv()?, n);
            assert!(queue.is_empty());
            sent[1].store(n, SeqCst);
        }
        Ok(missed)
    }
    let _watch = watchdog(120, "1,000 looks");
    let (queue, sent) = (Queue::new(4)?, SharedArray::<AtomicU64>::zeroed(2)?);
    let child = Process::spawn(look, (&queue, &sent))?;
    for n in 1..=1000 {
        queue.send(n)?;
        sent[0].store(n, SeqCst);
        until("it was received", || sent[1].load(SeqCst) == n);
    }
    assert_eq!(child.join()?, 0);
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Item)]
enum Command {
    Stop,
    Move { x: i32, y: i64 },
    Say(char),
    Both(bool, Option<NonZeroU32>),
    Wait(Duration),
}

#[test]
fn items_of_many_kinds() -> Result<()> {
    fn echo<T: Item>(from: Queue<T>, to: Queue<T>) -> Result<()> {
        for item in &from {
            to.send(item)?;
        }
        Ok(())
    }
    fn there_and_back<T: Item + Clone + PartialEq + std::fmt::Debug + Sync>(items: Vec<T>) -> Result<()> {
        let (there, back) = (Queue::new(2)?, Queue::new(3)?);
        let child = Process::spawn(echo::<T>, (&there, &back))?;
        for item in items {
            there.send(item.clone())?;
            assert_eq!(back.recv()?, item);
        }
        there.close();
        child.join()?;
        Ok(())
    }
    let _watch = watchdog(120, "items of many kinds");
    let wait = Command::Wait(Duration::new(u64::MAX, 999_999_999));
    let (say, both) = (Command::Say('\u{10ffff}'), Command::Both(true, NonZeroU32::new(7)));
    there_and_back(vec![Command::Stop, Command::Move { x: -1, y: i64::MIN }, say, both, Command::Both(false, None), wait])?;
    there_and_back(vec![(1_u8, 'x', true), (255, '\0', false)])?;
    there_and_back(vec![Some(Ok::<u8, char>(1)), Some(Err('e')), None])?;
    there_and_back(vec![[1.5_f64, f64::INFINITY, -0.0]; 3])?;
    there_and_back(vec![u128::MAX, 0])?;
    there_and_back(vec![coproc::Text::<16>::new("häßlich").unwrap().as_str()?.len()])?;
    Ok(())
}

#[test]
fn an_item_of_no_bytes() -> Result<()> {
    let _watch = watchdog(30, "items of no bytes");
    let queue = Queue::new(3)?;
    for _ in 0..10 {
        queue.send_slice(&[(), (), ()])?;
        assert_eq!(queue.try_send(()), Err(TrySendError::Full(())));
        assert_eq!((queue.len(), queue.is_full()), (3, true));
        queue.recv()?;
        assert_eq!(queue.recv_into(&mut [(); 5]), Ok(2));
    }
    let receiver = Process::spawn(|queue: Queue<()>| queue.iter().count(), (&queue,))?;
    for () in [(); 1000] {
        queue.send(())?;
    }
    queue.close();
    assert_eq!(receiver.join()?, 1000);
    Ok(())
}

#[derive(Clone, Copy, Plain)]
#[repr(C)]
struct Large {
    words: [u64; 1 << 17],
}

#[test]
fn an_item_of_one_mebibyte() {
    fn sums(queue: Queue<Large>) -> Vec<u64> {
        fn run(queue: &Queue<Large>) -> Vec<u64> {
            queue.iter().map(|large| large.words.iter().sum()).collect()
        }
        std::thread::Builder::new().stack_size(64 << 20).spawn(move || run(&queue)).unwrap().join().unwrap()
    }
    fn run() -> Result<()> {
        let queue = Queue::new(2)?;
        let receiver = Process::spawn(sums, (&queue,))?;
        for n in 0..5 {
            queue.send(Large { words: [n; 1 << 17] })?;
        }
        queue.close();
        assert_eq!(receiver.join()?, [0, 1, 2, 3, 4].map(|n| n << 17));
        Ok(())
    }
    let _watch = watchdog(120, "large items");
    std::thread::Builder::new().stack_size(64 << 20).spawn(run).unwrap().join().unwrap().unwrap();
}

/// Sends its own numbers in order, and counts each in `sent` after `send` has returned.
fn send_and_count(queue: Queue<[u64; 2]>, sent: SharedArray<AtomicU64>, me: u64) -> Result<()> {
    let first = sent[me as usize].load(SeqCst);
    for n in first.. {
        queue.send([me, n])?;
        sent[me as usize].store(n + 1, SeqCst);
    }
    Ok(())
}

#[test]
fn a_sender_killed_anywhere_loses_and_doubles_nothing() -> Result<()> {
    const LIVES: usize = 120;
    let _watch = watchdog(120, "senders under kills");
    for capacity in [1, 3, 100] {
        let lives = LIVES / 3;
        let (queue, sent) = (Queue::new(capacity)?, SharedArray::<AtomicU64>::zeroed(lives + 1)?);
        let receiver = Process::spawn(|queue: Queue<[u64; 2]>| queue.iter().collect::<Vec<_>>(), (&queue,))?;
        let mut random = Random(5);
        let steady = Process::spawn(send_and_count, (&queue, &sent, lives as u64))?;
        let mut all = Vec::new();
        for me in 0..lives {
            let sender = Process::spawn(send_and_count, (&queue, &sent, me as u64))?;
            let enough = 1 + random.below(40);
            until("it has sent some", || sent[me].load(SeqCst) >= enough);
            // A few instructions more or less, so that the kill comes anywhere.
            for _ in 0..random.below(2000) {
                std::hint::spin_loop();
            }
            killed(sender)?;
            // The steady sender goes on.
            let seen = sent[lives].load(SeqCst);
            until("the other sender goes on", || sent[lives].load(SeqCst) > seen);
        }
        all.push(steady);
        for sender in all {
            sender.kill()?;
            sender.join().unwrap_err();
        }
        queue.close();
        let mut received = BTreeMap::<u64, u64>::new();
        for [me, n] in receiver.join()? {
            let next = received.entry(me).or_default();
            assert_eq!(n, *next, "sender {me}: out of order, lost or doubled");
            *next += 1;
        }
        for me in 0..=lives {
            let (acknowledged, got) = (sent[me].load(SeqCst), received.get(&(me as u64)).copied().unwrap_or(0));
            // The one that it was at may be there or not.
            assert!(got == acknowledged || got == acknowledged + 1, "sender {me}: {acknowledged} sent, {got} received");
        }
    }
    Ok(())
}

#[test]
fn a_killed_receiver_costs_one_item_at_most() -> Result<()> {
    fn receive_and_note(queue: Queue<u64>, seen: SharedArray<AtomicU64>, alive: SharedValue<AtomicU64>) -> Result<()> {
        for n in &queue {
            seen[n as usize].fetch_add(1, SeqCst);
            alive.fetch_add(1, SeqCst);
        }
        Ok(())
    }
    const ITEMS: u64 = 400_000;
    let _watch = watchdog(120, "receivers under kills");
    let queue = Queue::new(3)?;
    let (seen, alive) = (SharedArray::<AtomicU64>::zeroed(ITEMS as usize)?, SharedValue::new(AtomicU64::new(0))?);
    let sent = SharedValue::new(AtomicU64::new(0))?;
    let stop_sending = SharedValue::new(coproc::AtomicFlag::new(false))?;
    let sender = Process::spawn(
        |queue: Queue<u64>, sent: SharedValue<AtomicU64>, stop: SharedValue<coproc::AtomicFlag>| -> Result<()> {
            for n in 0..ITEMS {
                if stop.load(SeqCst) {
                    break;
                }
                queue.send(n)?;
                sent.store(n + 1, SeqCst);
            }
            queue.close();
            Ok(())
        },
        (&queue, &sent, &stop_sending),
    )?;
    let steady = Process::spawn(receive_and_note, (&queue, &seen, &alive))?;
    let mut random = Random(6);
    let mut killed = 0;
    while killed < 100 && !queue.is_closed() {
        let receiver = Process::spawn(receive_and_note, (&queue, &seen, &alive))?;
        let before = alive.load(SeqCst);
        let steps = 1 + random.below(60);
        until("items are received", || alive.load(SeqCst) > before + steps || queue.is_closed());
        for _ in 0..random.below(2000) {
            std::hint::spin_loop();
        }
        receiver.kill()?;
        killed += u64::from(receiver.join().is_err());
    }
    stop_sending.store(true, SeqCst);
    sender.join()?;
    steady.join()?;
    let sent = sent.load(SeqCst);
    let counts: Vec<u64> = seen[..sent as usize].iter().map(|count| count.load(SeqCst)).collect();
    let (lost, twice) = (counts.iter().filter(|&&count| count == 0).count() as u64, counts.iter().any(|&count| count > 1));
    assert!(!twice, "something was received twice");
    assert!(lost <= killed, "{lost} of {sent} items lost with {killed} receivers");
    assert!(killed > 20, "{killed} kills are too few");
    Ok(())
}

#[test]
fn a_killed_bulk_receiver_costs_what_it_took_at_most() -> Result<()> {
    fn receive_and_note(queue: Queue<u64>, seen: SharedArray<AtomicU64>, alive: SharedValue<AtomicU64>) -> Result<()> {
        let mut room = [0; 5];
        while let Ok(count) = queue.recv_into(&mut room) {
            for &n in &room[..count] {
                seen[n as usize].fetch_add(1, SeqCst);
            }
            alive.fetch_add(1, SeqCst);
        }
        Ok(())
    }
    const ITEMS: usize = 20_000;
    let _watch = watchdog(120, "bulk receivers under kills");
    let queue = Queue::new(7)?;
    let (seen, alive) = (SharedArray::<AtomicU64>::zeroed(ITEMS)?, SharedValue::new(AtomicU64::new(0))?);
    let sender = Process::spawn(
        |queue: Queue<u64>| -> Result<()> {
            let items: Vec<u64> = (0..ITEMS as u64).collect();
            items.chunks(11).try_for_each(|some| queue.send_slice(some))?;
            queue.close();
            Ok(())
        },
        (&queue,),
    )?;
    let mut killed = 0;
    for _ in 0..20 {
        let receiver = Process::spawn(receive_and_note, (&queue, &seen, &alive))?;
        let before = alive.load(SeqCst);
        until("items are received", || alive.load(SeqCst) > before + 10 || queue.is_closed());
        receiver.kill()?;
        killed += u64::from(receiver.join().is_err());
    }
    receive_and_note(queue, seen.clone(), alive)?;
    sender.join()?;
    let counts: Vec<u64> = seen.iter().map(|count| count.load(SeqCst)).collect();
    let lost = counts.iter().filter(|&&count| count == 0).count() as u64;
    assert!(counts.iter().all(|&count| count <= 1), "something was received twice");
    assert!(lost <= 5 * killed, "{lost} items lost with {killed} receivers of 5 at once");
    Ok(())
}

#[test]
fn a_killed_bulk_sender_leaves_a_prefix() -> Result<()> {
    fn send_slices(queue: Queue<[u64; 2]>, started: SharedValue<AtomicU64>, me: u64) -> Result<()> {
        for slice in 0.. {
            started.store(slice + 1, SeqCst);
            let items: Vec<[u64; 2]> = (0..10).map(|n| [me, slice * 10 + n]).collect();
            queue.send_slice(&items)?;
        }
        Ok(())
    }
    let _watch = watchdog(120, "bulk senders under kills");
    let queue = Queue::new(7)?;
    let receiver = Process::spawn(|queue: Queue<[u64; 2]>| queue.iter().collect::<Vec<_>>(), (&queue,))?;
    let mut started = Vec::new();
    for me in 0..30 {
        let slices = SharedValue::new(AtomicU64::new(0))?;
        let sender = Process::spawn(send_slices, (&queue, &slices, me))?;
        until("it has sent some", || slices.load(SeqCst) > 3 + me % 5);
        sender.kill()?;
        sender.join().unwrap_err();
        started.push(slices.load(SeqCst));
    }
    queue.close();
    let mut received = vec![0; 30];
    for [me, n] in receiver.join()? {
        assert_eq!(n, received[me as usize], "sender {me}: no prefix");
        received[me as usize] += 1;
    }
    for (got, slices) in received.into_iter().zip(started) {
        assert!(got >= (slices - 1) * 10 && got <= slices * 10, "{got} items of {slices} slices");
    }
    Ok(())
}

#[test]
fn killed_sleepers_cost_nothing() -> Result<()> {
    let _watch = watchdog(120, "killed sleepers");
    for _ in 0..5 {
        let (full, empty) = (Queue::new(1)?, Queue::<u32>::new(1)?);
        full.send(1_u32)?;
        let senders =
            (0..3).map(|_| Process::spawn(|queue: Queue<u32>| queue.send(2).is_ok(), (&full,))).collect::<Result<Vec<_>>>()?;
        let receivers =
            (0..3).map(|_| Process::spawn(|queue: Queue<u32>| queue.recv().ok(), (&empty,))).collect::<Result<Vec<_>>>()?;
        for pid in senders.iter().map(Process::pid).chain(receivers.iter().map(Process::pid)) {
            until_asleep(pid);
        }
        let (mut senders, mut receivers) = (senders.into_iter(), receivers.into_iter());
        for sender in senders.by_ref().take(2) {
            sender.kill()?;
            sender.join().unwrap_err();
        }
        for receiver in receivers.by_ref().take(2) {
            receiver.kill()?;
            receiver.join().unwrap_err();
        }
        assert_eq!(full.recv()?, 1);
        assert_eq!(full.recv()?, 2);
        empty.send(3)?;
        for sender in senders {
            sender.join()?;
        }
        for receiver in receivers {
            assert_eq!(receiver.join()?, Some(3));
        }
    }
    Ok(())
}

/// Stops the child inside the queue's code: it sends or receives without end, and is let go on until it stands with this lock held.
fn stop_with_lock(pid: u32, queue: &Queue<Large>, lock: u64) {
    until("it stands with the lock", || {
        stop(pid);
        let held = peek(queue, lock) & ((1 << 22) - 1) != 0;
        if !held {
            resume(pid);
        }
        held
    });
}

#[test]
fn a_stopped_process_at_the_queue_is_not_robbed() {
    fn flood(queue: Queue<Large>, running: SharedValue<Event>) {
        let run = move || {
            running.set();
            while queue.try_send(Large { words: [0; 1 << 17] }).is_ok() || queue.try_recv().is_ok() {}
        };
        std::thread::Builder::new().stack_size(64 << 20).spawn(run).unwrap().join().unwrap();
    }
    fn run() -> Result<()> {
        for (lock, mine) in [(SEND_LOCK, true), (RECV_LOCK, false)] {
            let (queue, running) = (Queue::new(2)?, SharedValue::new(Event::new())?);
            let child = Process::spawn(flood, (&queue, &running))?;
            wait(&running, "the child is at it");
            stop_with_lock(child.pid(), &queue, lock);
            let large = Large { words: [1; 1 << 17] };
            if mine && !queue.is_full() {
                assert!(matches!(queue.try_send(large), Err(TrySendError::Busy(_))));
                assert!(matches!(queue.send_timeout(large, Duration::from_millis(50)), Err(SendTimeoutError::Timeout(_))));
            }
            if !mine && !queue.is_empty() {
                assert!(matches!(queue.try_recv(), Err(TryRecvError::Busy)));
                assert!(matches!(queue.recv_timeout(Duration::from_millis(50)), Err(RecvTimeoutError::Timeout)));
            }
            // Killed where it stands: the next one takes over.
            killed(child)?;
            while queue.recv_timeout(Duration::ZERO).is_ok() {}
            assert!(queue.send_timeout(large, SOON).is_ok());
            assert!(queue.recv_timeout(SOON).is_ok_and(|large| large.words[0] == 1));
            assert!(queue.is_empty());
        }
        Ok(())
    }
    let _watch = watchdog(120, "a stopped process at the queue");
    std::thread::Builder::new().stack_size(64 << 20).spawn(run).unwrap().join().unwrap().unwrap();
}

#[test]
fn close_does_not_wait_for_a_stopped_process() -> Result<()> {
    let _watch = watchdog(30, "close beside a stopped process");
    let (queue, at) = (Queue::<u32>::new(1)?, events(1)?);
    let receiver = Process::spawn(
        |queue: Queue<u32>, at: SharedArray<Event>| {
            at[0].set();
            queue.recv().is_err()
        },
        (&queue, &at),
    )?;
    wait(&at[0], "the child is there");
    until_asleep(receiver.pid());
    stop(receiver.pid());
    queue.close();
    assert_eq!(queue.recv(), Err(RecvError::Closed));
    resume(receiver.pid());
    assert!(receiver.join()?);
    Ok(())
}

#[test]
fn bytes_that_are_no_item_are_an_error_and_the_next_item_comes() -> Result<()> {
    let _watch = watchdog(30, "a bad item");
    let queue = Queue::new(4)?;
    queue.send_slice(&['a', 'b', 'c'])?;
    // A slot: the sequence, then the item.
    file_of(&queue).write_all_at(&0xd800_u32.to_le_bytes(), SLOTS + 8 + 16).unwrap();
    assert_eq!(queue.recv(), Ok('a'));
    assert_eq!(queue.recv(), Err(RecvError::Corrupted));
    assert_eq!(queue.recv(), Ok('c'));
    queue.send_slice(&['d', 'e', 'f'])?;
    file_of(&queue).write_all_at(&u32::MAX.to_le_bytes(), SLOTS + 8).unwrap();
    let mut room = ['-'; 4];
    assert_eq!(queue.recv_into(&mut room), Err(RecvError::Corrupted));
    assert!(queue.is_empty());
    queue.send('g')?;
    assert_eq!(queue.recv(), Ok('g'));
    Ok(())
}

#[test]
fn the_words_lie_where_these_tests_write_them() -> Result<()> {
    let queue = Queue::<u64>::new(4)?;
    queue.send_slice(&[7, 8, 9])?;
    queue.recv()?;
    assert_eq!((peek(&queue, SEND_POSITION), peek(&queue, RECV_POSITION)), (3, 1));
    // Slots: free for the second lap; full in the first lap, with its item.
    let words: Vec<u64> = (0..4).map(|n| peek(&queue, SLOTS + 8 * n)).collect();
    assert_eq!(words, [2, 7, 1, 8]);
    Ok(())
}

/// Everything that one can do to a queue, each call bounded.
fn use_all(queue: &Queue<u64>) {
    let short = Duration::from_millis(1);
    let _ = (queue.len(), queue.is_empty(), queue.is_full(), queue.is_closed(), format!("{queue:?}"));
    let _ = queue.try_send(1);
    let _ = queue.try_recv();
    let _ = queue.send_timeout(2, short);
    let _ = queue.recv_timeout(short);
    if !queue.is_full() {
        // It may be at the end of its room in between; then it would wait, so only one.
        let _ = queue.try_send(3);
    }
    assert!(queue.len() <= queue.capacity());
}

#[test]
fn strange_positions_and_sequences_are_errors() -> Result<()> {
    let _watch = watchdog(120, "strange positions");
    let strange = [0, 1, 2, 3, 5, 1 << 31, 1 << 32, 1 << 62, 1 << 63, u64::MAX >> 1, u64::MAX - 1, u64::MAX];
    for capacity in [1, 3, 4, 100] {
        for position in strange {
            for sequence in strange.into_iter().chain([position << 1, (position << 1).wrapping_add(1), position >> 1]) {
                for (at, slot) in [(SEND_POSITION, 0), (RECV_POSITION, 0), (SEND_POSITION, capacity as u64 - 1)] {
                    let queue = Queue::new(capacity)?;
                    queue.try_send(7)?;
                    poke(&queue, at, position);
                    poke(&queue, SLOTS + 16 * slot, sequence);
                    use_all(&queue);
                    queue.close();
                    use_all(&queue);
                }
            }
        }
    }
    Ok(())
}

#[test]
fn random_bytes_are_errors_or_items_but_no_crash_and_no_hang() -> Result<()> {
    let _watch = watchdog(120, "random bytes");
    let mut random = Random(7);
    for round in 0..600 {
        let capacity = 1 + random.below(9) as usize;
        let queue = Queue::new(capacity)?;
        for n in 0..random.below(2 * capacity as u64) {
            let _ = queue.try_send(n);
        }
        let file = file_of(&queue);
        let size = bytes_of(&queue).len() as u64;
        for _ in 0..1 + random.below(6) {
            // Small numbers, numbers near the ends, single bits and noise; the header is read only when it is attached.
            let word = random.strange_word();
            let at = 128 + 8 * random.below((size - 128) / 8);
            file.write_all_at(&word.to_le_bytes(), at).unwrap();
        }
        use_all(&queue);
        let copy = Queue::<u64>::try_from(coproc_tests::memory(&bytes_of(&queue), coproc_tests::Seal::Length))
            .unwrap_or_else(|error| panic!("round {round}: {error}"));
        use_all(&copy);
        copy.close();
        // Closed, so it must end: with an error, or after as many items as fit, even if the words lie.
        assert!(copy.iter().take(3 * capacity + 3).count() <= 3 * capacity + 2, "round {round} does not end");
    }
    Ok(())
}

#[test]
fn a_queue_given_to_a_childs_child() -> Result<()> {
    fn child(queue: Queue<u32>) -> Result<()> {
        let grandchild = Process::spawn(grandchild, (&queue, 1))?;
        queue.send(2)?;
        drop(queue);
        grandchild.join()?;
        Ok(())
    }
    fn grandchild(queue: Queue<u32>, item: u32) -> Result<()> {
        queue.send(item)?;
        Ok(())
    }
    let _watch = watchdog(30, "a child's child");
    let queue = Queue::new(2)?;
    Process::spawn(child, (&queue,))?.join()?;
    queue.close();
    assert_eq!(queue.iter().collect::<BTreeSet<_>>(), BTreeSet::from([1, 2]));
    Ok(())
}

#[test]
fn errors_show_the_reason_not_the_item() {
    struct Silent;
    assert_eq!(format!("{:?}", SendError::Closed(Silent)), "Closed(..)");
    assert_eq!(format!("{:?} {}", TrySendError::Full(Silent), TrySendError::Busy(Silent)), "Full(..) another sender is at it");
    assert!(matches!(Error::from(TrySendError::Full(1)), Error::WouldBlock));
    assert!(matches!(Error::from(SendTimeoutError::Timeout(1)), Error::TimedOut));
    assert!(matches!(Error::from(SendError::Closed(1)), Error::Closed));
    assert!(matches!(Error::from(TryRecvError::Closed), Error::Closed));
    assert!(matches!(Error::from(RecvTimeoutError::Timeout), Error::TimedOut));
    assert!(matches!(Error::from(RecvError::Corrupted), Error::Corrupted));
}

#[test]
fn a_receiver_in_the_middle_of_a_chain_may_die() -> Result<()> {
    fn forward(from: Queue<u64>, to: Queue<u64>) -> Result<()> {
        for n in &from {
            if n == 5 {
                kill(std::process::id());
                pause();
            }
            to.send(n)?;
        }
        Ok(())
    }
    let _watch = watchdog(30, "a chain");
    let (from, to) = (Queue::new(2)?, Queue::new(20)?);
    let first = Process::spawn(forward, (&from, &to))?;
    let feeder = Process::spawn(
        |from: Queue<u64>| -> Result<()> {
            (0..10).try_for_each(|n| from.send(n))?;
            from.close();
            Ok(())
        },
        (&from,),
    )?;
    assert_eq!(first.join().unwrap_err().cause, Cause::Killed { signal: 9 });
    Process::spawn(forward, (&from, &to))?.join()?;
    feeder.join()?;
    to.close();
    assert!(to.iter().eq([0, 1, 2, 3, 4, 6, 7, 8, 9]));
    Ok(())
}

fn stay(_: Queue<u32>) {
    pause()
}

#[test]
fn disconnected_when_every_other_process_has_died() -> Result<()> {
    fn send_and_stay(queue: Queue<u32>) {
        queue.send(1).unwrap();
        pause()
    }
    let _watch = watchdog(60, "a receiver of dead senders");
    let queue = Queue::new(4)?;
    let processes = [(); 2].map(|()| Process::spawn(send_and_stay, (&queue,)).unwrap());
    assert_eq!((queue.recv(), queue.recv()), (Ok(1), Ok(1)));
    assert_eq!(queue.recv_timeout(Duration::from_millis(50)), Err(RecvTimeoutError::Timeout));
    processes.iter().for_each(|process| kill(process.pid()));
    assert_eq!(queue.recv(), Err(RecvError::Disconnected));
    assert_eq!(queue.recv_timeout(SOON), Err(RecvTimeoutError::Disconnected));
    assert_eq!(queue.recv_into(&mut [0; 2]), Err(RecvError::Disconnected));
    assert!((0..1000).any(|_| queue.try_recv() == Err(TryRecvError::Disconnected)));
    assert_eq!(queue.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Disconnected), "who never sleeps learns it too");

    // There is room, so who sends needs nobody; then there is none.
    queue.send_slice(&[1, 2, 3, 4])?;
    assert_eq!(queue.send(5), Err(SendError::Disconnected(5)));
    assert_eq!(queue.send_timeout(5, SOON), Err(SendTimeoutError::Disconnected(5)));
    assert!((0..1000).any(|_| queue.try_send(5) == Err(TrySendError::Disconnected(5))));
    assert!(queue.drain().eq([1, 2, 3, 4]));

    // It is as good as new for who gets it next.
    let process = Process::spawn(|queue: Queue<u32>| queue.send(6).unwrap(), (&queue,))?;
    assert_eq!(queue.recv(), Ok(6));
    process.join()?;
    Ok(())
}

#[test]
fn what_the_dead_sent_is_received_before_disconnected() -> Result<()> {
    let _watch = watchdog(60, "the last items of dead senders");
    for _ in 0..50 {
        let queue = Queue::new(8)?;
        let process = Process::spawn(|queue: Queue<u32>| queue.send_slice(&[1, 2, 3]).unwrap(), (&queue,))?;
        let mut items = Vec::new();
        let end = loop {
            match queue.recv() {
                Ok(item) => items.push(item),
                Err(error) => break error,
            }
        };
        assert_eq!((items, end), (vec![1, 2, 3], RecvError::Disconnected));
        process.join()?;
    }
    Ok(())
}

#[test]
fn nobody_is_disconnected_who_is_not() -> Result<()> {
    let _watch = watchdog(60, "receivers that still have somebody");
    let short = Duration::from_millis(60);
    // Never given away: another thread may send by reference.
    let queue = Queue::<u32>::new(1)?;
    assert_eq!(queue.recv_timeout(short), Err(RecvTimeoutError::Timeout));
    Process::spawn(|queue: Queue<u32>| drop(queue), (&queue,))?.join()?;
    // Another handle in this process.
    let other = queue.clone();
    assert_eq!(queue.recv_timeout(short), Err(RecvTimeoutError::Timeout));
    drop(other);
    assert_eq!(queue.recv_timeout(SOON), Err(RecvTimeoutError::Disconnected));
    // A stopped process is one.
    let process = Process::spawn(stay, (&queue,))?;
    stop(process.pid());
    assert_eq!(queue.recv_timeout(short), Err(RecvTimeoutError::Timeout));
    resume(process.pid());
    process.kill()?;
    assert_eq!(queue.recv(), Err(RecvError::Disconnected));
    Ok(())
}

#[test]
fn a_handle_on_its_way_counts() -> Result<()> {
    let _watch = watchdog(60, "a handle in the hands of nobody yet");
    let (queue, go) = (Queue::<u32>::new(1)?, Queue::<Flag>::new(1)?);
    // The child is at its first instruction of ours only after a while; what it was given waits for it.
    let process = Process::spawn(
        |go: Queue<Flag>, queue: Queue<u32>| {
            go.recv().unwrap();
            queue.send(1).unwrap();
        },
        (&go, &queue),
    )?;
    assert_eq!(queue.recv_timeout(Duration::from_millis(60)), Err(RecvTimeoutError::Timeout));
    go.send(Flag::new(true))?;
    assert_eq!(queue.recv(), Ok(1));
    process.join()?;
    Ok(())
}

#[test]
fn tasks_and_who_waits_for_several_hear_of_it() -> Result<()> {
    let _watch = watchdog(60, "waiting with others for the dead");
    let queue = Queue::<u32>::new(1)?;
    let process = Process::spawn(stay, (&queue,))?;
    let watch = coproc::Watch::new(queue.observe())?;
    watch.arm()?;
    kill(process.pid());
    assert_eq!(coproc::wait_any(&[&queue]), 0);
    assert_eq!(queue.try_recv(), Err(TryRecvError::Disconnected));
    until("the watch is ready", || watch.is_ready());
    Ok(())
}
