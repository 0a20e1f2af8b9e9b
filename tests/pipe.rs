//! `Pipe` and `channel` between threads and processes, some of which are killed, and over memory that somebody has scribbled on.

use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use coproc::__private::Parcel;
use coproc::{
    Error, Event, FrozenArray, Message, Pipe, PipeReceiver, PipeSender, Queue, Receiver, RecvError, RecvIntoError,
    RecvTimeoutError, Result, SendError, SendTimeoutError, Sender, SharedArray, SharedValue, TryRecvError, TrySendError, channel,
    channel_with_capacity, spsc,
};
use coproc_pool::Process;
use coproc_tests::{
    Random, bytes_of, descriptors, file_of, fork, kill, limit_descriptors, pause, resume, stop, thread_id, until, until_asleep,
    until_thread_asleep, wait, wait_for, watchdog,
};

const SOON: Duration = Duration::from_secs(20);
/// So long is waited for what does not come.
const SHORT: Duration = Duration::from_millis(30);

/// Where the words of a ring lie in its file, and the kinds of chunks there.
const SENT: u64 = 128;
const SLOTS: u64 = 128 + 384;
const BEGIN: u64 = 1 << 56;
const PART: u64 = 2 << 56;
const ABORT: u64 = 3 << 56;

/// Bytes that tell their length, number and place.
fn bytes(len: usize, number: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(31) + number.wrapping_mul(7) + len) as u8).collect()
}

/// Waits for ever, and has this.
fn pause_with<T>(_it: T) {
    pause()
}

/// In which way an end receives.
fn receive(end: &PipeReceiver, way: usize) -> Result<Vec<u8>, RecvError> {
    match way % 3 {
        0 => end.recv(),
        1 => {
            let mut buffer = Vec::new();
            loop {
                match end.recv_into(&mut buffer) {
                    Ok(len) => break Ok(buffer[..len].to_vec()),
                    Err(RecvIntoError::TooSmall { needed }) => buffer.resize(needed + way % 2, 0),
                    Err(RecvIntoError::Closed) => break Err(RecvError::Closed),
                    Err(RecvIntoError::Disconnected) => break Err(RecvError::Disconnected),
                    Err(error) => panic!("{error:?}"),
                }
            }
        }
        _ => {
            assert!(end.poll(SOON));
            end.recv_timeout(Duration::ZERO).map_err(|error| match error {
                RecvTimeoutError::Closed => RecvError::Closed,
                error => panic!("{error:?}"),
            })
        }
    }
}

#[test]
fn a_message_of_every_size_arrives_whole_and_in_order() -> Result<()> {
    let _watch = watchdog(120, "every size");
    for wanted in [1, 33, 64, 100, 1000, 4096] {
        let (sender, receiver) = channel_with_capacity(wanted)?;
        let capacity = sender.capacity();
        assert!((wanted..wanted + 8).contains(&capacity), "{wanted}: {capacity}");
        let mut sizes: Vec<usize> = (0..26).collect();
        for around in [capacity / 4, capacity / 2, capacity, 2 * capacity, 50 * capacity] {
            sizes.extend(around.saturating_sub(18)..around + 18);
        }
        std::thread::scope(|scope| {
            let sizes = &sizes;
            scope.spawn(move || {
                for (n, &size) in sizes.iter().enumerate() {
                    sender.send(&bytes(size, n)).unwrap();
                }
            });
            for (n, &size) in sizes.iter().enumerate() {
                assert!(receive(&receiver, n) == Ok(bytes(size, n)), "capacity {capacity}, message {n} of {size} bytes");
            }
            assert_eq!(receiver.recv(), Err(RecvError::Closed));
        });
    }
    Ok(())
}

#[test]
fn a_message_goes_around_the_end_of_the_ring() -> Result<()> {
    let _watch = watchdog(60, "around the end");
    let (sender, receiver) = channel_with_capacity(64)?;
    for n in 0..2000 {
        let len = n * 5 % (sender.capacity() + 1);
        sender.try_send(&bytes(len, n)).unwrap();
        assert_eq!(receive(&receiver, n), Ok(bytes(len, n)), "message {n}");
    }
    Ok(())
}

#[test]
fn what_fits_is_sent_though_nobody_receives() -> Result<()> {
    let _watch = watchdog(60, "what fits");
    for wanted in [64, 100, 1000, 4096] {
        for handles in [0, 1] {
            let (sender, receiver) = channel_with_capacity(wanted)?;
            let capacity = sender.capacity();
            if handles == 0 {
                sender.send(&bytes(capacity, 1)).unwrap();
                assert_eq!(receiver.recv(), Ok(bytes(capacity, 1)));
                sender.try_send(&bytes(capacity, 2)).unwrap();
                assert_eq!(sender.try_send(&[1; 100]), Err(TrySendError::Full(())));
                assert_eq!(receiver.try_recv(), Ok(bytes(capacity, 2)));
                assert_eq!(sender.try_send(&bytes(capacity + 1, 3)), Err(TrySendError::Full(())));
                assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
            } else {
                // The length of the vector is written too.
                let some = bytes(capacity - 8, 1);
                sender.send_value(&(some.clone(), SharedValue::new(5_u8)?))?;
                let (got, n) = receiver.recv_value::<(Vec<u8>, SharedValue<u8>)>()?;
                assert_eq!((got, n.get()?), (some, 5));
            }
        }
    }
    Ok(())
}

#[test]
fn a_capacity_of_nothing_or_too_much_is_an_error() {
    assert!(matches!(Pipe::with_capacity(0), Err(Error::Empty)));
    assert!(matches!(channel_with_capacity(usize::MAX), Err(Error::TooLarge { .. })));
    // A pebibyte: more than every machine that runs this has.
    assert!(matches!(Pipe::with_capacity(1 << 50), Err(Error::NoSpace { wanted, free }) if wanted > free));
}

#[test]
fn a_child_says_hello_and_closes() -> Result<()> {
    fn worker(end: Pipe) -> Result<()> {
        end.send_value(&"Hello from worker".to_string())?;
        end.send_value(&vec!["Hi! This is child info".to_string()])?;
        end.close();
        assert_eq!(end.send(b"more"), Err(SendError::Closed(())));
        Ok(())
    }
    let _watch = watchdog(60, "hello");
    let (parent, child) = Pipe::pair()?;
    let process = Process::spawn(worker, (child,))?;
    assert_eq!(parent.recv_value::<String>()?, "Hello from worker");
    assert_eq!(parent.recv_value::<Vec<String>>()?, ["Hi! This is child info"]);
    assert_eq!(parent.recv(), Err(RecvError::Closed));
    assert_eq!(parent.send(b"anybody?"), Err(SendError::Closed(())));
    Ok(process.join()?)
}

#[test]
fn both_directions_at_once() -> Result<()> {
    fn peer(end: Pipe, first: u64) -> Result<()> {
        const MESSAGES: usize = 2000;
        let size = |n: usize, whose: u64| (n * 37 + whose as usize * 11) % 9000;
        std::thread::scope(|scope| {
            let end = &end;
            let sender = scope.spawn(move || (0..MESSAGES).try_for_each(|n| end.send(&bytes(size(n, first), n))));
            for n in 0..MESSAGES {
                assert!(end.recv()? == bytes(size(n, 1 - first), n), "message {n}");
            }
            sender.join().unwrap()?;
            Ok(())
        })
    }
    let _watch = watchdog(120, "both directions");
    let (here, there) = Pipe::with_capacity(4096)?;
    let process = Process::spawn(peer, (there, 1_u64))?;
    peer(here, 0)?;
    Ok(process.join()?)
}

#[test]
fn a_message_much_larger_than_the_pipe_is_streamed() -> Result<()> {
    let _watch = watchdog(120, "16 MiB");
    let (here, there) = Pipe::pair()?;
    let echo = Process::spawn(|end: Pipe| Ok::<_, Error>(end.send(&end.recv()?)?), (there,))?;
    let large = bytes(16 << 20, 3);
    here.send(&large)?;
    assert!(here.recv()? == large);
    Ok(echo.join()?)
}

#[test]
fn closed_is_closed_for_all() -> Result<()> {
    let _watch = watchdog(60, "close");
    let (here, there) = Pipe::pair()?;
    assert!(!here.is_closed() && !there.is_closed());
    there.send(b"last")?;
    there.close();
    there.close();
    assert!(here.is_closed() && there.is_closed());
    assert_eq!(here.send(b"x"), Err(SendError::Closed(())));
    assert_eq!(here.try_send(b"x"), Err(TrySendError::Closed(())));
    assert_eq!(here.send_timeout(b"x", SOON), Err(SendTimeoutError::Closed(())));
    assert_eq!(here.send_value(&SharedValue::new(1_u8)?), Err(SendError::Closed(())));
    assert!(here.poll(Duration::ZERO));
    assert_eq!(here.recv(), Ok(b"last".to_vec()));
    assert!(here.poll(Duration::ZERO));
    assert_eq!(here.recv(), Err(RecvError::Closed));
    assert_eq!(here.try_recv(), Err(TryRecvError::Closed));
    assert_eq!(here.recv_timeout(SOON), Err(RecvTimeoutError::Closed));
    assert_eq!(here.recv_into(&mut [0; 9]), Err(RecvIntoError::Closed));
    assert_eq!(here.recv_value::<u8>(), Err(RecvError::Closed));
    assert_eq!(there.recv(), Err(RecvError::Closed));
    assert!(there.poll(Duration::ZERO));
    Ok(())
}

#[test]
fn a_killed_peer_is_disconnected_and_what_it_sent_is_received() -> Result<()> {
    fn sends_and_waits(end: Pipe, ready: SharedValue<Event>) -> Result<()> {
        end.send(b"one")?;
        end.send(&bytes(100_000, 2))?;
        ready.set();
        pause()
    }
    let _watch = watchdog(60, "a killed peer");
    for way in 0..4 {
        let (here, there) = Pipe::with_capacity(1 << 17)?;
        let ready = SharedValue::new(Event::new())?;
        let process = Process::spawn(sends_and_waits, (there, &ready))?;
        wait(&ready, "it has sent");
        process.kill()?;
        assert!(process.join().is_err());
        assert_eq!(here.recv(), Ok(b"one".to_vec()));
        assert!(here.recv()? == bytes(100_000, 2));
        // Each finds out by itself, also the calls that do not wait.
        match way {
            0 => assert_eq!(here.recv(), Err(RecvError::Disconnected)),
            1 => assert_eq!(here.try_recv(), Err(TryRecvError::Disconnected)),
            2 => assert_eq!(here.recv_into(&mut []), Err(RecvIntoError::Disconnected)),
            _ => assert!(here.poll(Duration::ZERO)),
        }
        assert_eq!(here.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Disconnected));
        assert_eq!(here.send_value(&SharedValue::new(1_u8)?), Err(SendError::Disconnected(())));
        assert_eq!(here.send(&[0; 1 << 18]), Err(SendError::Disconnected(())));
    }
    Ok(())
}

#[test]
fn of_a_message_half_sent_by_a_killed_sender_nothing_is_seen() -> Result<()> {
    let _watch = watchdog(60, "a half sent message");
    for way in 0..3 {
        let (sender, receiver) = channel_with_capacity(1000)?;
        let large = |sender: PipeSender| sender.send(&bytes(100_000, 1)).map_err(Error::from);
        let process = Process::spawn(large, (sender,))?;
        until_asleep(process.pid());
        if way == 1 {
            // Some of it is received; the sender is not fast enough to send all meanwhile.
            stop(process.pid());
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        }
        process.kill()?;
        assert!(process.join().is_err());
        if way == 2 {
            assert_eq!(receiver.recv_into(&mut vec![0; 100_000]), Err(RecvIntoError::Disconnected));
        }
        assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
    }
    Ok(())
}

#[test]
fn a_waiting_end_learns_of_the_death_of_the_other() -> Result<()> {
    let _watch = watchdog(60, "waiting ends");
    let (here, there) = Pipe::with_capacity(100)?;
    let process = Process::spawn(pause_with::<Pipe>, (there,))?;
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| here.send(&bytes(10_000, 1)));
        let receiver = scope.spawn(|| here.recv());
        process.kill().unwrap();
        assert_eq!(sender.join().unwrap(), Err(SendError::Disconnected(())));
        assert_eq!(receiver.join().unwrap(), Err(RecvError::Disconnected));
    });
    Ok(())
}

#[test]
fn a_buffer_that_is_too_small_leaves_the_message() -> Result<()> {
    let _watch = watchdog(60, "a small buffer");
    let (sender, receiver) = channel_with_capacity(1000)?;
    sender.send(&bytes(20, 1))?;
    for len in [0, 1, 19] {
        assert_eq!(receiver.recv_into(&mut vec![0; len]), Err(RecvIntoError::TooSmall { needed: 20 }));
    }
    assert_eq!(receiver.recv(), Ok(bytes(20, 1)));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            sender.send(&bytes(5000, 2)).unwrap();
            sender.send_value(&(SharedValue::new(1_u8).unwrap(), 7_u8)).unwrap();
        });
        let mut buffer = [0; 5000];
        assert_eq!(receiver.recv_into(&mut buffer[..4999]), Err(RecvIntoError::TooSmall { needed: 5000 }));
        assert_eq!(receiver.recv_into(&mut buffer), Ok(5000));
        assert!(buffer[..] == bytes(5000, 2));
        // With its handles.
        assert_eq!(receiver.recv_into(&mut []), Err(RecvIntoError::TooSmall { needed: 1 }));
        let (n, seven) = receiver.recv_value::<(SharedValue<u8>, u8)>().unwrap();
        assert_eq!((n.get().unwrap(), seven), (1, 7));
    });
    let text = RecvIntoError::TooSmall { needed: 5000 }.to_string();
    assert!(text.contains("5000"), "{text}");
    Ok(())
}

#[test]
fn poll_says_whether_a_whole_message_is_there() -> Result<()> {
    let _watch = watchdog(60, "poll");
    let (sender, receiver) = channel_with_capacity(1000)?;
    let start = Instant::now();
    assert!(!receiver.poll(SHORT));
    assert!(start.elapsed() >= SHORT);
    assert!(!receiver.poll(Duration::ZERO));
    sender.send(b"")?;
    assert!(receiver.poll(Duration::ZERO) && receiver.poll(Duration::MAX));
    assert_eq!(receiver.recv(), Ok(vec![]));
    let process = Process::spawn(|sender: PipeSender| sender.send(&bytes(100_000, 1)).is_ok(), (sender,))?;
    until_asleep(process.pid());
    // While it stands, no more of the message comes than is there.
    stop(process.pid());
    assert!(!receiver.poll(Duration::ZERO));
    resume(process.pid());
    assert!(receiver.poll(SOON));
    assert!(receiver.try_recv() == Ok(bytes(100_000, 1)));
    assert!(process.join()?);
    assert!(receiver.poll(Duration::ZERO));
    Ok(())
}

#[test]
fn a_receiver_that_times_out_in_the_middle_keeps_its_part() -> Result<()> {
    let _watch = watchdog(60, "a late sender");
    for way in 0..3 {
        let (sender, receiver) = channel_with_capacity(1000)?;
        let large = |sender: PipeSender| sender.send(&bytes(200_000, 5)).map_err(Error::from);
        let process = Process::spawn(large, (sender,))?;
        for _ in 0..3 {
            until_asleep(process.pid());
            stop(process.pid());
            let start = Instant::now();
            assert!(receiver.recv_timeout(SHORT) == Err(RecvTimeoutError::Timeout));
            assert!(start.elapsed() >= SHORT);
            resume(process.pid());
        }
        assert!(receive(&receiver, way) == Ok(bytes(200_000, 5)));
        process.join()?;
    }
    Ok(())
}

#[test]
fn of_a_message_that_was_not_sent_in_time_nothing_is_seen() -> Result<()> {
    let _watch = watchdog(60, "an abort");
    for way in 0..3 {
        let (sender, receiver) = channel_with_capacity(1000)?;
        let start = Instant::now();
        assert_eq!(sender.send_timeout(&bytes(5000, 1), SHORT), Err(SendTimeoutError::Timeout(())));
        assert!(start.elapsed() >= SHORT);
        if way > 0 {
            assert!(!receiver.poll(Duration::ZERO));
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
            assert_eq!(receiver.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
        }
        // Room for it again, as soon as the receiver has taken what is void.
        std::thread::scope(|scope| {
            scope.spawn(|| sender.send(b"next").unwrap());
            let mut buffer = [0; 5000];
            match way {
                2 => assert_eq!(receiver.recv_into(&mut buffer), Ok(4)),
                _ => assert_eq!(receiver.recv(), Ok(b"next".to_vec())),
            }
        });
        assert_eq!(sender.send_timeout(&bytes(5000, 1), SHORT), Err(SendTimeoutError::Timeout(())));
        drop(sender);
        assert_eq!(receiver.recv(), Err(RecvError::Closed));
    }
    Ok(())
}

#[test]
fn threads_of_one_end_take_turns() -> Result<()> {
    const THREADS: usize = 3;
    const EACH: usize = 400;
    let _watch = watchdog(120, "threads");
    let (here, there) = Pipe::with_capacity(1000)?;
    let seen = SharedArray::<AtomicU64>::zeroed(THREADS * EACH)?;
    std::thread::scope(|scope| {
        let (here, there, seen) = (&here, &there, &seen);
        for thread in 0..THREADS {
            scope.spawn(move || {
                for n in 0..EACH {
                    let number = thread * EACH + n;
                    let mut message = bytes(number % 1500, number);
                    message.extend_from_slice(&number.to_ne_bytes());
                    here.send(&message).unwrap();
                }
            });
            scope.spawn(move || {
                for _ in 0..EACH {
                    let message = there.recv().unwrap();
                    let (body, number) = message.split_last_chunk().unwrap();
                    let number = usize::from_ne_bytes(*number);
                    assert!(body == bytes(number % 1500, number));
                    seen[number].fetch_add(1, SeqCst);
                }
            });
        }
    });
    assert!(seen.iter().all(|count| count.load(SeqCst) == 1));
    assert_eq!(there.try_recv(), Err(TryRecvError::Empty));
    Ok(())
}

#[test]
fn a_thread_that_waits_is_not_waited_for() -> Result<()> {
    let _watch = watchdog(60, "a thread that waits");
    let (here, there) = Pipe::with_capacity(1000)?;
    std::thread::scope(|scope| {
        let (tell, told) = std::sync::mpsc::channel();
        let (here, tell_too) = (&here, tell.clone());
        let receiver = scope.spawn(move || {
            tell.send(thread_id()).unwrap();
            here.recv()
        });
        until_thread_asleep(told.recv().unwrap());
        let sender = scope.spawn(move || {
            tell_too.send(thread_id()).unwrap();
            here.send(&bytes(5000, 1))
        });
        until_thread_asleep(told.recv().unwrap());
        assert_eq!(here.try_recv(), Err(TryRecvError::Busy));
        assert_eq!(here.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
        assert!(!here.poll(Duration::ZERO) && !here.poll(SHORT));
        assert_eq!(here.try_send(b"x"), Err(TrySendError::Busy(())));
        assert_eq!(here.send_timeout(b"x", SHORT), Err(SendTimeoutError::Timeout(())));
        here.close();
        assert_eq!(receiver.join().unwrap(), Err(RecvError::Closed));
        assert_eq!(sender.join().unwrap(), Err(SendError::Closed(())));
    });
    assert_eq!(there.recv(), Err(RecvError::Closed));
    Ok(())
}

/// A value of every kind that has handles.
#[derive(Message)]
struct All {
    value: SharedValue<u64>,
    array: SharedArray<u32>,
    frozen: FrozenArray<u8>,
    queue: Queue<u8>,
    sender: Sender<u16>,
    receiver: Receiver<u16>,
    pipe: Pipe,
    out: PipeSender,
    inside: PipeReceiver,
}

impl All {
    fn new() -> Result<Self> {
        let (sender, receiver) = spsc(4)?;
        let (out, inside) = channel()?;
        let (pipe, other) = Pipe::pair()?;
        other.send(b"before")?;
        Ok(Self {
            value: SharedValue::new(1)?,
            array: SharedArray::from_slice(&[1, 2, 3])?,
            frozen: SharedArray::from_slice(b"frozen")?.freeze()?,
            queue: Queue::new(3)?,
            sender,
            receiver,
            pipe,
            out,
            inside,
        })
    }

    fn check(mut self) -> Result<()> {
        assert_eq!((self.value.get()?, self.array.to_vec()?, &self.frozen[..]), (1, vec![1, 2, 3], &b"frozen"[..]));
        self.queue.send(1)?;
        self.sender.send(2)?;
        self.out.send(b"three")?;
        assert_eq!((self.queue.recv()?, self.receiver.recv()?, self.inside.recv()?), (1, 2, b"three".to_vec()));
        assert_eq!((self.pipe.recv(), self.pipe.recv()), (Ok(b"before".to_vec()), Err(RecvError::Closed)));
        Ok(())
    }
}

#[test]
fn handles_of_every_kind_arrive_though_their_sender_drops_its_own() -> Result<()> {
    let _watch = watchdog(60, "handles");
    let before = descriptors();
    let (here, there) = Pipe::pair()?;
    here.send_value(&All::new()?)?;
    here.send(b"plain")?;
    here.send_value(&(7_u8, All::new()?))?;
    drop(here);
    there.recv_value::<All>()?.check()?;
    assert_eq!(there.recv(), Ok(b"plain".to_vec()));
    let (seven, all) = there.recv_value::<(u8, All)>()?;
    assert_eq!(seven, 7);
    all.check()?;
    drop(there);
    assert_eq!(before, descriptors());
    Ok(())
}

#[test]
fn handles_arrive_though_their_sender_dies() -> Result<()> {
    fn sends(end: PipeSender, ready: SharedValue<Event>) -> Result<()> {
        end.send_value(&All::new()?)?;
        ready.set();
        pause()
    }
    let _watch = watchdog(60, "handles of the dead");
    let ready = SharedValue::new(Event::new())?;
    let (sender, receiver) = channel()?;
    let process = Process::spawn(sends, (sender, &ready))?;
    wait(&ready, "it has sent");
    process.kill()?;
    assert!(process.join().is_err());
    let mut all = receiver.recv_value::<All>()?;
    // All that these were connected with came along.
    assert_eq!(all.pipe.recv(), Ok(b"before".to_vec()));
    all.sender.send(4)?;
    assert_eq!(all.receiver.recv(), Ok(4));
    assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
    Ok(())
}

#[test]
fn handles_sent_both_ways_arrive_though_both_die_with_some_unread() -> Result<()> {
    let _watch = watchdog(60, "handles both ways");
    let (here, there) = Pipe::pair()?;
    there.send_value(&SharedValue::new(3_u8)?)?;
    here.send_value(&SharedValue::new(4_u8)?)?;
    drop(there);
    assert_eq!(here.recv_value::<SharedValue<u8>>()?.get()?, 3);
    Ok(())
}

#[test]
fn handles_that_nobody_wants_are_dropped() -> Result<()> {
    let _watch = watchdog(60, "unwanted handles");
    let (here, there) = Pipe::pair()?;
    let before = descriptors();
    for _ in 0..3 {
        here.send_value(&SharedValue::new(7_u8)?)?;
        assert_eq!(there.recv(), Ok(vec![]));
        here.send_value(&(1_u8, SharedValue::new(7_u8)?))?;
        assert_eq!(there.recv_into(&mut [0; 4]), Ok(1));
        // No value of that type: it is dropped, and the next is received.
        here.send_value(&SharedValue::new(7_u8)?)?;
        assert!(matches!(there.recv_value::<SharedArray<u64>>(), Err(RecvError::Corrupted)));
        here.send(&[2])?;
        assert_eq!(there.recv_value::<bool>(), Err(RecvError::Corrupted));
    }
    assert_eq!(before, descriptors());
    here.send_value(&true)?;
    assert_eq!(there.recv_value(), Ok(true));
    Ok(())
}

#[test]
fn a_message_of_600_handles() -> Result<()> {
    fn sum(end: Pipe) -> Result<()> {
        let all = end.recv_value::<Vec<SharedValue<u64>>>()?;
        let sum = all.iter().map(|value| value.get()).sum::<Result<u64, _>>()?;
        Ok(end.send_value(&(sum, all.len()))?)
    }
    let _watch = watchdog(60, "600 handles");
    let (here, there) = Pipe::pair()?;
    let process = Process::spawn(sum, (there,))?;
    let all = (0..600_u64).map(SharedValue::new).collect::<Result<Vec<_>>>()?;
    here.send_value(&all)?;
    let sum = here.recv_value::<(u64, usize)>();
    process.join()?;
    assert_eq!(sum, Ok((599 * 300, 600)));
    Ok(())
}

#[test]
fn a_receiver_without_descriptors_says_so_and_receives_the_next() -> Result<()> {
    fn poor(end: Pipe) -> Result<()> {
        limit_descriptors(descriptors().len() as u64 + 100);
        assert!(matches!(end.recv_value::<Vec<SharedValue<u64>>>(), Err(RecvError::TooManyDescriptors)));
        let error = Error::from(RecvError::TooManyDescriptors);
        assert!(matches!(error, Error::TooManyDescriptors { limit } if limit > 100), "{error}");
        let few = end.recv_value::<Vec<SharedValue<u64>>>()?;
        assert_eq!((few.len(), few[2].get()?), (3, 9));
        Ok(end.send(&[])?)
    }
    let _watch = watchdog(60, "few descriptors");
    let (here, there) = Pipe::pair()?;
    let process = Process::spawn(poor, (there,))?;
    let value = SharedValue::new(9_u64)?;
    here.send_value(&vec![value.clone(); 600])?;
    here.send_value(&vec![value; 3])?;
    assert_eq!(here.recv(), Ok(vec![]));
    Ok(process.join()?)
}

#[test]
fn a_sender_of_handles_waits_for_the_receiver_to_take_some() -> Result<()> {
    let _watch = watchdog(120, "a full socket");
    let (sender, receiver) = channel_with_capacity(1 << 20)?;
    let value = SharedValue::new(1_u64)?;
    let mut sent = 0;
    // There is room for the bytes of many more.
    while sender.send_value_timeout(&(sent, value.clone()), SHORT) == Ok(()) {
        sent += 1;
        assert!(sent < 10_000, "the socket is never full");
    }
    assert!(sent > 10, "{sent}");
    std::thread::scope(|scope| {
        let (tell, told) = std::sync::mpsc::channel();
        let (sender, value) = (&sender, &value);
        let last = scope.spawn(move || {
            tell.send(thread_id()).unwrap();
            sender.send_value(&(sent, value.clone()))
        });
        until_thread_asleep(told.recv().unwrap());
        for n in 0..=sent {
            let (got, value) = receiver.recv_value::<(u64, SharedValue<u64>)>().unwrap();
            assert_eq!((got, value.get().unwrap()), (n, 1));
        }
        last.join().unwrap().unwrap();
    });
    // The second packet of this one finds no room: what was sent of it is dropped.
    while sender.send_value_timeout(&(0_u64, value.clone()), Duration::ZERO) == Ok(()) {}
    receiver.recv_value::<(u64, SharedValue<u64>)>()?;
    let many = (1_u64, vec![value.clone(); 100_000]);
    assert_eq!(sender.send_value_timeout(&many, SHORT), Err(SendTimeoutError::Timeout(())));
    while receiver.poll(Duration::ZERO) {
        let (zero, one) = receiver.recv_value::<(u64, SharedValue<u64>)>()?;
        assert_eq!((zero, one.get()?), (0, 1));
    }
    sender.send_value(&(2_u64, value))?;
    assert_eq!(receiver.recv_value::<(u64, SharedValue<u64>)>()?.0, 2);
    Ok(())
}

#[test]
fn an_end_that_is_given_away_is_closed_here() -> Result<()> {
    let _watch = watchdog(60, "a gift");
    let (here, there) = Pipe::pair()?;
    let (to, from) = Pipe::pair()?;
    here.send(b"before")?;
    to.send_value(&there)?;
    assert!(there.is_closed() && !here.is_closed());
    assert_eq!(there.recv(), Err(RecvError::Closed));
    assert_eq!(there.send(b"x"), Err(SendError::Closed(())));
    // Given once: what was given away before cannot be read.
    to.send_value(&there)?;
    drop(there);
    let there = from.recv_value::<Pipe>()?;
    assert!(matches!(from.recv_value::<Pipe>(), Err(RecvError::Corrupted)));
    assert_eq!(there.recv(), Ok(b"before".to_vec()));
    there.send(b"after")?;
    assert_eq!(here.recv(), Ok(b"after".to_vec()));
    Ok(())
}

#[test]
fn a_half_received_message_goes_along_with_its_end() -> Result<()> {
    fn goes_on(receiver: PipeReceiver) -> Result<usize> {
        let (all, n) = receiver.recv_value::<(Vec<u8>, SharedValue<u8>)>()?;
        assert!(all == bytes(100_000, 4) && n.get()? == 6);
        Ok(receiver.recv()?.len())
    }
    let _watch = watchdog(60, "a half received message");
    let (sender, receiver) = channel_with_capacity(1000)?;
    let value = (bytes(100_000, 4), SharedValue::new(6_u8)?);
    std::thread::scope(|scope| {
        let (tell, told) = std::sync::mpsc::channel();
        let sender = scope.spawn(move || {
            tell.send(thread_id()).unwrap();
            sender.send_value(&value).and_then(|()| sender.send(&[1; 5]))
        });
        until_thread_asleep(told.recv().unwrap());
        // Takes the part that is there; all of it, where the sender keeps up.
        receiver.poll(Duration::ZERO);
        let process = Process::spawn(goes_on, (receiver,)).unwrap();
        assert_eq!(process.join().unwrap(), 5);
        sender.join().unwrap().unwrap();
    });
    Ok(())
}

#[test]
fn an_end_given_away_while_a_thread_receives_takes_the_part_along() -> Result<()> {
    let _watch = watchdog(60, "given while it receives");
    for into in [false, true] {
        let (sender, receiver) = channel_with_capacity(1000)?;
        let large = |sender: PipeSender| sender.send(&bytes(200_000, 5)).map_err(Error::from);
        let process = Process::spawn(large, (sender,))?;
        until_asleep(process.pid());
        stop(process.pid());
        let parcel = std::thread::scope(|scope| {
            let (tell, told) = std::sync::mpsc::channel();
            let receiver = &receiver;
            let thread = scope.spawn(move || {
                tell.send(thread_id()).unwrap();
                if into { receiver.recv_into(&mut [0; 200_000]).map(drop) } else { receiver.recv().map(drop).map_err(closed) }
            });
            until_thread_asleep(told.recv().unwrap());
            let parcel = Parcel::of(receiver);
            assert_eq!(thread.join().unwrap(), Err(RecvIntoError::Closed));
            parcel
        });
        drop(receiver);
        resume(process.pid());
        assert!(parcel.open::<PipeReceiver>().expect("the end").recv()? == bytes(200_000, 5));
        process.join()?;
    }
    Ok(())
}

fn closed(error: RecvError) -> RecvIntoError {
    assert_eq!(error, RecvError::Closed);
    RecvIntoError::Closed
}

#[test]
fn an_end_given_away_in_the_middle_of_sending_goes_on_with_the_next_message() -> Result<()> {
    let _watch = watchdog(60, "given while it sends");
    let (sender, receiver) = channel_with_capacity(1000)?;
    std::thread::scope(|scope| {
        let (tell, told) = std::sync::mpsc::channel();
        let sender = &sender;
        let half = scope.spawn(move || {
            tell.send(thread_id()).unwrap();
            sender.send(&bytes(5000, 1))
        });
        until_thread_asleep(told.recv().unwrap());
        let process = Process::spawn(|sender: PipeSender| Ok::<_, Error>(sender.send(b"whole")?), (&Given(sender),)).unwrap();
        assert_eq!(half.join().unwrap(), Err(SendError::Closed(())));
        assert_eq!(receiver.recv(), Ok(b"whole".to_vec()));
        process.join().unwrap();
    });
    assert_eq!(receiver.recv(), Err(RecvError::Closed));
    Ok(())
}

/// An end that is given though others refer to it.
struct Given<'a, T>(&'a T);

impl<T: Message> coproc::Arg<T> for &Given<'_, T> {
    fn put(&self, to: &mut coproc::Writer<'_>) {
        self.0.write(to);
    }
}

#[test]
fn who_gave_an_end_away_keeps_nobody_alive() -> Result<()> {
    let _watch = watchdog(60, "the giver");
    let ready = SharedValue::new(Event::new())?;
    let (here, there) = Pipe::pair()?;
    let holds = |end: Pipe, ready: SharedValue<Event>| {
        ready.set();
        pause_with(end)
    };
    let process = Process::spawn(holds, (&Given(&there), &ready))?;
    wait(&ready, "it has it");
    process.kill()?;
    assert_eq!(here.recv(), Err(RecvError::Disconnected));
    drop(there);
    let (sender, mut receiver) = spsc::<u8>(3)?;
    let holds = |end: Sender<u8>, ready: SharedValue<Event>| {
        ready.set();
        pause_with(end)
    };
    ready.clear();
    let process = Process::spawn(holds, (&Given(&sender), &ready))?;
    wait(&ready, "it has it");
    process.kill()?;
    assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
    drop(sender);
    Ok(())
}

#[test]
fn an_end_that_is_lost_on_its_way_is_disconnected() -> Result<()> {
    let _watch = watchdog(60, "a lost end");
    let (here, there) = Pipe::pair()?;
    let (to, from) = Pipe::pair()?;
    to.send_value(&there)?;
    drop(there);
    assert_eq!(here.try_recv(), Err(TryRecvError::Empty));
    drop((to, from));
    assert_eq!(here.recv(), Err(RecvError::Disconnected));
    Ok(())
}

#[test]
fn an_end_can_be_sent_through_its_own_pipe_to_nobody() -> Result<()> {
    let _watch = watchdog(60, "its own pipe");
    let (here, there) = Pipe::pair()?;
    assert_eq!(here.send_value(&here), Err(SendError::Closed(())));
    assert_eq!(there.recv(), Err(RecvError::Disconnected));
    Ok(())
}

#[test]
fn a_forked_child_has_no_end() -> Result<()> {
    let _watch = watchdog(60, "a fork");
    // A process of one thread is one that may fork.
    let process = Process::spawn(
        || -> Result<()> {
            let (here, there) = Pipe::pair()?;
            let child = fork(|| {
                let closed = (here.recv(), here.send(b"x"), here.is_closed());
                let right = closed == (Err(RecvError::Closed), Err(SendError::Closed(())), true) && here.poll(SOON);
                drop((here, there));
                i32::from(!right)
            });
            assert_eq!(wait_for(child), 0);
            Ok(())
        },
        (),
    )?;
    Ok(process.join()?)
}

#[test]
fn strange_words_in_the_rings_are_no_panic_and_no_large_memory() -> Result<()> {
    let _watch = watchdog(240, "strange words");
    let mut random = Random(11);
    let (mut received, mut corrupted) = (0, 0);
    for round in 0..3000 {
        let (here, there) = Pipe::with_capacity(256)?;
        here.send(&bytes(20, round))?;
        let _ = here.send_value_timeout(&(1_u8, SharedValue::new(2_u8)?, bytes(40, 1)), Duration::ZERO);
        // What is in the rings is to be found through the segment.
        let parcel = Parcel::of(&there);
        let file = file_of(&parcel.handles[0]);
        let end = bytes_of(&parcel.handles[0]).len() as u64 / 8;
        for _ in 0..1 + random.below(8) {
            // The header of the segment is read once, when it is attached.
            let at = match random.below(4) {
                0 => 16 + random.below(end - 16),
                1 => 16 + 16 * random.below(2),
                _ => 64 + random.below(8),
            };
            let word = match random.below(3) {
                0 => random.below(4) << 56 | random.below(64),
                _ => random.strange_word(),
            };
            file.write_all_at(&word.to_le_bytes(), at * 8).unwrap();
        }
        let Some(there) = parcel.open::<Pipe>() else { continue };
        drop(parcel);
        for way in 0..6 {
            let result = match way % 3 {
                0 => there.recv_value_timeout::<(u8, SharedValue<u8>, Vec<u8>)>(Duration::ZERO).map(drop),
                1 => there.recv_timeout(Duration::ZERO).map(drop),
                _ if there.poll(Duration::ZERO) => match there.recv_into(&mut [0; 64]) {
                    Ok(_) => Ok(()),
                    Err(RecvIntoError::TooSmall { .. }) => continue,
                    Err(_) => Err(RecvTimeoutError::Corrupted),
                },
                _ => continue,
            };
            received += u32::from(result.is_ok());
            corrupted += u32::from(result == Err(RecvTimeoutError::Corrupted));
        }
        let _ = there.send_timeout(&bytes(30, 1), Duration::ZERO);
        let _ = there.send_value_timeout(&SharedValue::new(1_u8)?, Duration::ZERO);
        let _ = here.try_recv();
    }
    assert!(received > 100 && corrupted > 100, "{received} received, {corrupted} corrupted");
    Ok(())
}

/// A pipe into which somebody has written these words, as the next of the ring.
fn forged(words: &[u64]) -> Result<(PipeSender, PipeReceiver)> {
    let (sender, receiver) = channel_with_capacity(256)?;
    let parcel = Parcel::of(&receiver);
    let file = file_of(&parcel.handles[0]);
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    file.write_all_at(&bytes, SLOTS).unwrap();
    file.write_all_at(&(words.len() as u64).to_ne_bytes(), SENT).unwrap();
    Ok((sender, parcel.open().expect("the end")))
}

#[test]
fn a_sender_is_believed_only_as_its_bytes_come() -> Result<()> {
    let _watch = watchdog(60, "forged words");
    // Nobody has as much memory.
    let (_sender, receiver) = forged(&[BEGIN | 16, 1 << 62, 0, PART | 8, 7])?;
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(receiver.recv_into(&mut [0; 8]), Err(RecvIntoError::TooSmall { needed: 1 << 62 }));
    let (_sender, receiver) = forged(&[BEGIN | 16, 8, 1 << 62, PART | 8, 7])?;
    assert_eq!(receiver.try_recv(), Ok(vec![7, 0, 0, 0, 0, 0, 0, 0]));
    let (_sender, receiver) = forged(&[BEGIN | 16, 8, 1, PART | 8, 7])?;
    assert_eq!(receiver.recv_value::<u64>(), Err(RecvError::Corrupted));
    let strange: [&[u64]; 11] = [
        &[4 << 56],
        &[u64::MAX],
        &[8],
        &[9, 0],
        &[PART | 8, 0],
        &[ABORT],
        &[BEGIN | 16, 0],
        &[BEGIN | 17, 0, 0, 0],
        &[BEGIN | 16, u64::MAX, 0],
        &[BEGIN | 16, 8, 0, PART | 16, 0, 0],
        &[BEGIN | 16, 8, 0, BEGIN | 16, 8, 0],
    ];
    for words in strange {
        let (_sender, receiver) = forged(words)?;
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Corrupted), "{words:x?}");
        assert!(receiver.poll(Duration::ZERO));
    }
    Ok(())
}

#[test]
fn nothing_is_left_behind() -> Result<()> {
    let _watch = watchdog(60, "leftovers");
    drop(Pipe::pair()?);
    let before = descriptors();
    for _ in 0..20 {
        let (here, there) = Pipe::pair()?;
        here.send_value(&Pipe::pair()?.0)?;
        let (sender, receiver) = channel()?;
        there.send_value(&sender)?;
        drop((here, receiver));
    }
    assert_eq!(before, descriptors());
    Ok(())
}

#[test]
fn a_killed_holder_of_many_ends_lets_all_go() -> Result<()> {
    let _watch = watchdog(60, "many ends");
    let all = (0..50).map(|_| Pipe::pair()).collect::<Result<Vec<_>>>()?;
    let (here, there): (Vec<_>, Vec<_>) = all.into_iter().unzip();
    let ready = SharedValue::new(Event::new())?;
    let holds = |ends: Vec<Pipe>, ready: SharedValue<Event>| {
        ready.set();
        pause_with(ends)
    };
    let process = Process::spawn(holds, (there, &ready))?;
    wait(&ready, "it has them");
    kill(process.pid());
    for end in &here {
        assert_eq!(end.recv_timeout(SOON), Err(RecvTimeoutError::Disconnected));
    }
    until("it is gone", || !process.is_alive());
    Ok(())
}
