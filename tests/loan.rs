//! `LoanQueue` between processes that are killed, and over memory that somebody has scribbled on.

use std::mem;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use coproc::{
    Error, Event, Loan, LoanError, LoanQueue, Queue, RecvError, RecvTimeoutError, Result, SendError, SharedArray, SharedValue,
    TryLoanError, TryRecvError,
};
use coproc_pool::Process;
use coproc_tests::{
    Random, Seal, bytes_of, events, fork, kill, killed, memory, pause, peek, poke, resume, stop, thread_id, until, until_asleep,
    until_thread_asleep, wait, wait_for, watchdog,
};

const SOON: Duration = Duration::from_secs(20);

/// Where the words of a queue of up to 2 buffers lie in its file.
const SEND_POSITION: u64 = 144;
const RECV_LOCK: u64 = 256;
const RECV_POSITION: u64 = 272;
const CLOSED: u64 = 128 + 256 + 8;
const SLOTS: u64 = 512;
const OWNERS: u64 = 576;
const FIRST_BUFFER: u64 = 4096;

const HELD: u64 = 1;
const SENT: u64 = 2;
const KIND: u64 = (1 << 24) - 1;

fn send(frames: &LoanQueue, bytes: &[u8]) -> Result<()> {
    let mut frame = frames.loan(bytes.len())?;
    frame.copy_from_slice(bytes);
    Ok(frames.send(frame)?)
}

/// All buffers are free, and can be had by this process at the same time; they are apart from each other.
fn all_come_back(frames: &LoanQueue) {
    let mut all: Vec<_> = (0..frames.buffers())
        .map(|n| frames.loan_timeout(frames.size(), SOON).unwrap_or_else(|error| panic!("buffer {n}: {error}")))
        .collect();
    assert_eq!(frames.try_loan(0).unwrap_err(), TryLoanError::WouldBlock);
    for (n, frame) in all.iter_mut().enumerate() {
        frame.fill(n as u8);
    }
    for (n, frame) in all.iter().enumerate() {
        assert!(frame.len() == frames.size() && frame.iter().all(|&byte| byte == n as u8), "buffer {n} is another's too");
    }
    drop(all);
    assert_eq!(frames.available(), frames.buffers());
}

#[test]
fn a_buffer_goes_there_and_comes_back() -> Result<()> {
    let _watch = watchdog(30, "one thread");
    for (buffers, size) in [(1, 1), (2, 63), (3, 64), (5, 65), (4, 4095), (4, 4096), (3, 4097), (2, 1 << 20)] {
        let frames = LoanQueue::new(buffers, size)?;
        assert_eq!((frames.buffers(), frames.size(), frames.available(), frames.len()), (buffers, size, buffers, 0));
        assert!(frames.is_empty());
        for round in 0..3 * buffers {
            let mut frame = frames.loan(size)?;
            assert_eq!((frame.len(), frames.available()), (size, buffers - 1));
            let alignment = if size >= 4096 { 4096 } else { 64 };
            assert_eq!(frame.as_ptr().addr() % alignment, 0, "{size}");
            frame.fill(round as u8);
            frames.send(frame)?;
            assert_eq!((frames.len(), frames.is_empty(), frames.available()), (1, false, buffers - 1));
            let frame = frames.recv()?;
            assert!(frame.len() == size && frame.iter().all(|&byte| byte == round as u8));
            assert_eq!((frames.len(), frames.available()), (0, buffers - 1));
        }
        all_come_back(&frames);
    }
    Ok(())
}

#[test]
fn a_fresh_buffer_is_zero_and_a_used_one_is_as_it_was_left() -> Result<()> {
    let frames = LoanQueue::new(1, 100)?;
    let mut frame = frames.loan(100)?;
    assert!(frame.iter().all(|&byte| byte == 0));
    frame.fill(7);
    drop(frame);
    assert!(frames.loan(50)?.iter().all(|&byte| byte == 7));
    Ok(())
}

#[test]
fn as_many_bytes_come_as_were_sent() -> Result<()> {
    let frames = LoanQueue::new(3, 1000)?;
    send(&frames, b"")?;
    send(&frames, b"abc")?;
    let mut frame = frames.loan(1000)?;
    frame[..5].copy_from_slice(b"hello");
    frame.truncate(5);
    frame.truncate(7);
    frames.send(frame)?;
    assert_eq!(&*frames.recv()?, b"");
    assert_eq!(&*frames.recv()?, b"abc");
    assert_eq!(frames.recv()?.as_ref(), b"hello");
    Ok(())
}

#[test]
fn limits() {
    assert!(matches!(LoanQueue::new(0, 8), Err(Error::Empty)));
    assert!(matches!(LoanQueue::new(8, 0), Err(Error::Empty)));
    assert!(matches!(LoanQueue::new(usize::MAX, 8), Err(Error::TooLarge { len: usize::MAX, size: 8 })));
    assert!(matches!(LoanQueue::new(3, usize::MAX), Err(Error::TooLarge { len: 3, size: usize::MAX })));
    // A pebibyte: more than every machine that runs this has.
    assert!(matches!(LoanQueue::new(1 << 20, 1 << 30), Err(Error::NoSpace { wanted, free }) if wanted > free));
    let frames = LoanQueue::new(1, 10).unwrap();
    let error = frames.loan(11).unwrap_err();
    assert_eq!(error, LoanError::TooLong { len: 11, size: 10 });
    assert_eq!(error.to_string(), "a loan of 11 bytes was asked for, but a buffer has 10");
    assert_eq!(frames.try_loan(11).unwrap_err(), TryLoanError::Loan(error));
    assert_eq!(frames.loan_timeout(11, SOON).unwrap_err(), TryLoanError::Loan(error));
}

#[test]
fn plain_data_in_place() -> Result<()> {
    let frames = LoanQueue::new(2, 96)?;
    let mut frame = frames.loan(96)?;
    frame.as_plain_mut::<u64>().unwrap().copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    frames.send(frame)?;
    let frame = frames.recv()?;
    assert_eq!(frame.as_plain::<[u64; 4]>().unwrap()[2], [9, 10, 11, 12]);
    assert!(frame.as_plain::<[u64; 5]>().is_none());
    assert!(frame.as_plain::<()>().is_none());
    let mut odd = frames.loan(95)?;
    assert!(odd.as_plain::<u16>().is_none() && odd.as_plain_mut::<u16>().is_none());
    assert_eq!(odd.as_plain::<u8>().unwrap().len(), 95);
    Ok(())
}

#[test]
fn in_order_between_two_processes() -> Result<()> {
    fn send_all(frames: LoanQueue) -> Result<()> {
        for n in 0..3000_u64 {
            let mut frame = frames.loan(5000)?;
            frame.as_plain_mut::<u64>().unwrap().fill(n);
            frames.send(frame)?;
        }
        frames.close();
        Ok(())
    }
    let _watch = watchdog(120, "a sender and a receiver");
    for buffers in [1, 2, 7] {
        let frames = LoanQueue::new(buffers, 5000)?;
        let sender = Process::spawn(send_all, (&frames,))?;
        let mut next = 0;
        for frame in frames.iter() {
            assert!(frame.as_plain::<u64>().unwrap().iter().all(|&n| n == next));
            next += 1;
        }
        assert_eq!(next, 3000);
        sender.join()?;
    }
    Ok(())
}

#[test]
fn a_buffer_goes_on_without_a_copy() -> Result<()> {
    fn double(frames: LoanQueue, done: SharedArray<Event>) -> Result<()> {
        let mut frame = frames.recv()?;
        frame.as_plain_mut::<u32>().unwrap().iter_mut().for_each(|n| *n *= 2);
        frames.send(frame)?;
        done[0].set();
        Ok(())
    }
    let _watch = watchdog(30, "there and back");
    let (frames, done) = (LoanQueue::new(1, 64)?, events(1)?);
    let mut frame = frames.loan(64)?;
    let place = frame.as_ptr();
    frame.as_plain_mut::<u32>().unwrap().fill(21);
    frames.send(frame)?;
    let child = Process::spawn(double, (&frames, &done))?;
    wait(&done[0], "the child has sent it on");
    let frame = frames.recv()?;
    assert_eq!((frame.as_plain::<u32>().unwrap(), frame.as_ptr()), (&[42; 16][..], place));
    child.join()?;
    Ok(())
}

#[test]
fn a_loan_outlives_the_handles_and_goes_to_other_threads() -> Result<()> {
    let frames = LoanQueue::new(2, 64)?;
    let mut frame = frames.loan(64)?;
    drop(frames);
    let frame = std::thread::spawn(move || {
        frame.fill(9);
        frame
    })
    .join()
    .unwrap();
    assert!(frame.iter().all(|&byte| byte == 9));
    Ok(())
}

#[test]
fn who_waits_for_a_buffer_gets_the_next_that_is_given_back() -> Result<()> {
    let _watch = watchdog(60, "waiting for a buffer");
    let frames = LoanQueue::new(2, 64)?;
    let (one, two) = (frames.loan(1)?, frames.loan(1)?);
    assert_eq!(frames.try_loan(1).unwrap_err(), TryLoanError::WouldBlock);
    let children = (0..2)
        .map(|n| {
            Process::spawn(
                |frames: LoanQueue, n: u8| -> Result<()> {
                    let mut frame = frames.loan(1)?;
                    frame[0] = n;
                    Ok(frames.send(frame)?)
                },
                (&frames, n),
            )
        })
        .collect::<Result<Vec<_>>>()?;
    children.iter().for_each(|child| until_asleep(child.pid()));
    drop(one);
    let first = frames.recv()?;
    assert_eq!(frames.available(), 0);
    drop(two);
    let second = frames.recv()?;
    assert_eq!(first[0] + second[0], 1);
    for child in children {
        child.join()?;
    }
    drop((first, second));
    all_come_back(&frames);
    Ok(())
}

#[test]
fn timeouts() -> Result<()> {
    let _watch = watchdog(30, "timeouts");
    let frames = LoanQueue::new(1, 8)?;
    let time = Duration::from_millis(60);
    assert!(matches!(frames.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout)));
    assert!(matches!(frames.try_recv(), Err(TryRecvError::Empty)));
    let start = Instant::now();
    assert!(matches!(frames.recv_timeout(time), Err(RecvTimeoutError::Timeout)));
    assert!(start.elapsed() >= time);
    let frame = frames.loan_timeout(8, Duration::ZERO)?;
    assert_eq!(frames.loan_timeout(8, Duration::ZERO).unwrap_err(), TryLoanError::TimedOut);
    let start = Instant::now();
    assert_eq!(frames.loan_timeout(8, time).unwrap_err(), TryLoanError::TimedOut);
    assert!(start.elapsed() >= time);
    std::thread::scope(|scope| {
        let (tell, told) = std::sync::mpsc::channel();
        let frames = &frames;
        let borrower = scope.spawn(move || {
            tell.send(thread_id()).unwrap();
            frames.loan_timeout(8, Duration::MAX).map(drop)
        });
        until_thread_asleep(told.recv().unwrap());
        drop(frame);
        assert_eq!(borrower.join().unwrap(), Ok(()));
    });
    send(&frames, b"late")?;
    assert_eq!(&*frames.recv_timeout(Duration::MAX)?, b"late");
    Ok(())
}

#[test]
fn closed_is_closed_for_all() -> Result<()> {
    let _watch = watchdog(60, "close");
    let frames = LoanQueue::new(3, 8)?;
    let frame = frames.loan(3)?;
    send(&frames, b"one")?;
    send(&frames, b"two")?;
    let borrower = Process::spawn(|frames: LoanQueue| matches!(frames.loan(1), Err(LoanError::Closed)), (&frames,))?;
    until_asleep(borrower.pid());
    frames.close();
    assert!(borrower.join()? && frames.is_closed());
    let Err(SendError::Closed(frame)) = frames.send(frame) else { panic!("closed, but sent") };
    assert_eq!(frame.len(), 3);
    assert_eq!(frames.loan(1).unwrap_err(), LoanError::Closed);
    assert_eq!(frames.try_loan(1).unwrap_err(), TryLoanError::Loan(LoanError::Closed));
    assert!(matches!(Error::from(LoanError::Closed), Error::Closed));
    // What is inside is still received.
    assert_eq!(frames.iter().map(|frame| frame.to_vec()).collect::<Vec<_>>(), [b"one", b"two"]);
    assert!(matches!(frames.recv(), Err(RecvError::Closed)));
    assert!(matches!(frames.try_recv(), Err(TryRecvError::Closed)));
    assert!(matches!(frames.recv_timeout(SOON), Err(RecvTimeoutError::Closed)));
    drop(frame);
    assert_eq!(frames.available(), 3);
    Ok(())
}

#[test]
fn receivers_that_sleep_are_let_go_when_it_is_closed() -> Result<()> {
    let _watch = watchdog(60, "close with sleepers");
    let frames = LoanQueue::new(1, 8)?;
    let receivers = (0..2)
        .map(|_| Process::spawn(|frames: LoanQueue| matches!(frames.recv(), Err(RecvError::Closed)), (&frames,)))
        .collect::<Result<Vec<_>>>()?;
    receivers.iter().for_each(|receiver| until_asleep(receiver.pid()));
    frames.close();
    for receiver in receivers {
        assert!(receiver.join()?);
    }
    Ok(())
}

#[test]
fn a_loan_of_another_queue_comes_back() -> Result<()> {
    let (one, other) = (LoanQueue::new(1, 8)?, LoanQueue::new(1, 8)?);
    let mut frame = one.loan(8)?;
    frame.fill(5);
    let Err(SendError::Foreign(frame)) = other.send(frame) else { panic!("sent by another queue") };
    assert!(matches!(Error::from(SendError::Foreign(())), Error::Other(_)));
    // Another handle of the same queue will do.
    LoanQueue::clone(&one).send(frame)?;
    assert!(one.recv()?.iter().all(|&byte| byte == 5));
    assert_eq!((one.available(), other.available()), (1, 1));
    Ok(())
}

#[test]
fn other_objects_are_refused() -> Result<()> {
    let frames = LoanQueue::new(2, 100)?;
    let file = memory(&bytes_of(&frames), Seal::Length);
    let copy = LoanQueue::try_from(file)?;
    assert_eq!((copy.buffers(), copy.size(), copy.available()), (2, 100, 2));
    let bytes = bytes_of(&frames);
    let shorter = &bytes[..bytes.len() - 1];
    assert!(matches!(LoanQueue::try_from(memory(shorter, Seal::Length)), Err(Error::Unfit(_))));
    let queue = memory(&bytes_of(&Queue::<u64>::new(3)?), Seal::Length);
    assert!(matches!(LoanQueue::try_from(queue), Err(Error::Unfit(_))));
    assert!(Queue::<u64>::try_from(memory(&bytes, Seal::Length)).is_err());
    Ok(())
}

/// Does this in a process that keeps what it gets, and is killed then.
fn in_a_process_that_dies(frames: &LoanQueue, act: Act) -> Result<()> {
    fn run(frames: LoanQueue, at: SharedArray<Event>, act: u64) -> Result<()> {
        let _kept = ACTS[act as usize](frames)?;
        at[0].set();
        pause()
    }
    let at = events(1)?;
    let number = ACTS.iter().position(|&known| std::ptr::fn_addr_eq(known, act)).expect("one of the acts");
    let child = Process::spawn(run, (frames, &at, number as u64))?;
    wait(&at[0], "the child has done it");
    killed(child)?;
    Ok(())
}

type Act = fn(LoanQueue) -> Result<Vec<Loan>>;
const ACTS: [Act; 5] = [hold_one, hold_two, hold_one_send_one, receive_one, receive_one_send_it_on];

fn hold_one(frames: LoanQueue) -> Result<Vec<Loan>> {
    Ok(vec![frames.loan(8)?])
}

fn hold_two(frames: LoanQueue) -> Result<Vec<Loan>> {
    Ok(vec![frames.loan(8)?, frames.loan(8)?])
}

fn hold_one_send_one(frames: LoanQueue) -> Result<Vec<Loan>> {
    send(&frames, b"last word")?;
    Ok(vec![frames.loan(8)?])
}

fn receive_one(frames: LoanQueue) -> Result<Vec<Loan>> {
    Ok(vec![frames.recv()?])
}

fn receive_one_send_it_on(frames: LoanQueue) -> Result<Vec<Loan>> {
    frames.send(frames.recv()?)?;
    Ok(vec![])
}

#[test]
fn what_a_dead_process_had_on_loan_comes_back() -> Result<()> {
    let _watch = watchdog(60, "a dead borrower");
    let frames = LoanQueue::new(2, 16)?;
    for _ in 0..5 {
        in_a_process_that_dies(&frames, hold_two)?;
        assert_eq!(frames.available(), 0);
        // At once: who does not wait looks too.
        drop(frames.try_loan(16)?);
        all_come_back(&frames);
    }
    Ok(())
}

#[test]
fn who_waits_for_the_buffer_of_a_process_gets_it_when_that_dies() -> Result<()> {
    let _watch = watchdog(60, "waiting for a dead borrower");
    let (frames, at) = (LoanQueue::new(1, 16)?, events(1)?);
    let holder = Process::spawn(
        |frames: LoanQueue, at: SharedArray<Event>| -> Result<()> {
            let _frame = frames.loan(1)?;
            at[0].set();
            pause()
        },
        (&frames, &at),
    )?;
    wait(&at[0], "it has it");
    let waiter = Process::spawn(|frames: LoanQueue| frames.loan(16).is_ok(), (&frames,))?;
    until_asleep(waiter.pid());
    kill(holder.pid());
    assert!(waiter.join()?);
    holder.join().unwrap_err();
    all_come_back(&frames);
    Ok(())
}

#[test]
fn what_a_dead_process_had_sent_is_received() -> Result<()> {
    let _watch = watchdog(60, "a dead sender");
    let frames = LoanQueue::new(2, 16)?;
    in_a_process_that_dies(&frames, hold_one_send_one)?;
    // One of its buffers is inside, and stays there; the other comes back.
    let frame = frames.loan(16)?;
    assert_eq!(frames.try_loan(1).unwrap_err(), TryLoanError::WouldBlock);
    assert_eq!(frames.len(), 1);
    assert_eq!(&*frames.recv()?, b"last word");
    drop(frame);
    all_come_back(&frames);
    Ok(())
}

#[test]
fn a_dead_receiver_costs_one_item() -> Result<()> {
    let _watch = watchdog(60, "a dead receiver");
    let frames = LoanQueue::new(3, 16)?;
    for text in [b"one", b"two", b"six"] {
        send(&frames, text)?;
    }
    in_a_process_that_dies(&frames, receive_one)?;
    in_a_process_that_dies(&frames, receive_one_send_it_on)?;
    assert_eq!(frames.len(), 2);
    send(&frames, b"new")?;
    let got: Vec<_> = (0..3).map(|_| frames.try_recv().unwrap().to_vec()).collect();
    assert_eq!(got, [b"six", b"two", b"new"]);
    all_come_back(&frames);
    Ok(())
}

#[test]
fn a_process_that_ends_with_forgotten_loans_gives_them_back() -> Result<()> {
    let _watch = watchdog(60, "forgotten loans");
    let frames = LoanQueue::new(2, 16)?;
    Process::spawn(
        |frames: LoanQueue| -> Result<()> {
            mem::forget(frames.loan(1)?);
            mem::forget(frames.loan(1)?);
            Ok(())
        },
        (&frames,),
    )?
    .join()?;
    all_come_back(&frames);
    Ok(())
}

#[test]
fn a_forked_childs_copy_of_a_loan_is_the_parents() -> Result<()> {
    let _watch = watchdog(60, "a forked child");
    let frames = LoanQueue::new(2, 16)?;
    // A process of one thread, in which a fork may do what it likes.
    Process::spawn(
        |frames: LoanQueue| -> Result<()> {
            let mut frame = Some(frames.loan(3)?);
            let child = fork(|| {
                let Err(SendError::Foreign(copy)) = frames.send(frame.take().unwrap()) else { return 1 };
                drop(copy);
                if frames.available() != 1 {
                    return 2;
                }
                // A loan of its own is its own.
                i32::from(send(&frames, b"child").is_err())
            });
            assert_eq!(wait_for(child), 0);
            assert_eq!(frames.available(), 0);
            assert_eq!(&*frames.recv()?, b"child");
            let mut frame = frame.take().unwrap();
            frame.copy_from_slice(b"own");
            frames.send(frame)?;
            assert_eq!(&*frames.recv()?, b"own");
            assert_eq!(frames.available(), 2);
            Ok(())
        },
        (&frames,),
    )?
    .join()?;
    all_come_back(&frames);
    Ok(())
}

#[test]
fn a_killed_sender_or_receiver_leaves_the_others_going() -> Result<()> {
    fn work(from: LoanQueue, turns: SharedValue<AtomicU64>) -> Result<()> {
        for frame in from.iter() {
            let words = frame.as_plain::<u64>().unwrap();
            assert!(words.iter().all(|&word| word == words[0]), "a torn buffer");
            turns.fetch_add(1, SeqCst);
        }
        Ok(())
    }
    fn feed(to: LoanQueue, n: u64) -> Result<()> {
        loop {
            let mut frame = to.loan(512)?;
            frame.as_plain_mut::<u64>().unwrap().fill(n);
            match to.send(frame) {
                Ok(()) => {}
                Err(SendError::Closed(_)) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
    let _watch = watchdog(120, "kills");
    let (frames, turns) = (LoanQueue::new(3, 512)?, SharedValue::new(AtomicU64::new(0))?);
    let (receiver, sender) = (Process::spawn(work, (&frames, &turns))?, Process::spawn(feed, (&frames, 7))?);
    let mut random = Random(9);
    for n in 0..60 {
        let victim = if n % 2 == 0 { Process::spawn(work, (&frames, &turns))? } else { Process::spawn(feed, (&frames, n))? };
        let seen = turns.load(SeqCst);
        let steps = 1 + random.below(60);
        until("items are received", || turns.load(SeqCst) > seen + steps);
        for _ in 0..random.below(2000) {
            std::hint::spin_loop();
        }
        killed(victim)?;
    }
    sender.kill()?;
    sender.join().unwrap_err();
    frames.close();
    receiver.join()?;
    assert_eq!(frames.len(), 0);
    // Closed, it lends nothing; the words say that the buffers are free, or of the dead.
    let copy = LoanQueue::try_from(memory(&open_again(&frames), Seal::Length))?;
    all_come_back(&copy);
    Ok(())
}

/// The bytes of a queue that was closed, as if it were not.
fn open_again(frames: &LoanQueue) -> Vec<u8> {
    let mut bytes = bytes_of(frames);
    bytes[CLOSED as usize] = 0;
    bytes
}

#[test]
fn a_receiver_stopped_with_the_lock_holds_up_only_what_it_must() -> Result<()> {
    fn flood(frames: LoanQueue, running: SharedValue<Event>) -> Result<()> {
        running.set();
        loop {
            let frame = frames.loan(8)?;
            frames.send(frame)?;
            drop(frames.try_recv());
        }
    }
    let _watch = watchdog(120, "a stopped receiver");
    let (frames, running) = (LoanQueue::new(2, 16)?, SharedValue::new(Event::new())?);
    let child = Process::spawn(flood, (&frames, &running))?;
    wait(&running, "the child is at it");
    until("it stands with the lock", || {
        stop(child.pid());
        let held = peek(&frames, RECV_LOCK) & ((1 << 22) - 1) != 0;
        if !held {
            resume(child.pid());
        }
        held
    });
    // One buffer is the child's, or inside. The other one can be had, and given back.
    drop(frames.loan(1)?);
    // Not after the death of who has it: nobody can look inside.
    in_a_process_that_dies(&frames, hold_one)?;
    assert_eq!(frames.try_loan(1).unwrap_err(), TryLoanError::WouldBlock);
    assert_eq!(frames.loan_timeout(1, Duration::from_millis(100)).unwrap_err(), TryLoanError::TimedOut);
    // Killed where it stands: all comes back.
    killed(child)?;
    while let Ok(frame) = frames.recv_timeout(Duration::from_millis(50)) {
        drop(frame);
    }
    all_come_back(&frames);
    Ok(())
}

#[test]
fn the_words_lie_where_these_tests_write_them() -> Result<()> {
    let frames = LoanQueue::new(2, 100)?;
    send(&frames, b"abc")?;
    let frame = frames.loan(7)?;
    let identity = peek(&frames, OWNERS) >> 24;
    assert_ne!(identity, 0);
    assert_eq!([0, 1].map(|n| peek(&frames, OWNERS + 8 * n)), [identity << 24 | SENT, identity << 24 | HELD]);
    // The slot: full in the first lap; the number of the buffer, its length.
    assert_eq!([0, 1, 2].map(|n| peek(&frames, SLOTS + 8 * n)), [1, 0, 3]);
    assert_eq!((peek(&frames, SEND_POSITION), peek(&frames, RECV_POSITION)), (1, 0));
    assert_eq!(peek(&frames, FIRST_BUFFER) & 0xff_ffff, u64::from_le_bytes(*b"abc\0\0\0\0\0"));
    drop(frame);
    assert_eq!(peek(&frames, OWNERS + 8), 0);
    drop(frames.recv()?);
    assert_eq!(peek(&frames, OWNERS), 0);
    frames.close();
    assert_eq!(peek(&frames, CLOSED) & 0xffff_ffff, 1);
    Ok(())
}

#[test]
fn an_item_that_is_no_buffer_is_an_error_and_the_next_one_comes() -> Result<()> {
    let _watch = watchdog(60, "bad items");
    for (at, word) in [(8, 2), (8, u64::MAX), (8, 1 << 32), (16, 101), (16, u64::MAX), (16, 1 << 63)] {
        let frames = LoanQueue::new(2, 100)?;
        send(&frames, b"bad")?;
        send(&frames, b"good")?;
        poke(&frames, SLOTS + at, word);
        assert!(matches!(frames.recv(), Err(RecvError::Corrupted)), "{at}: {word:#x}");
        assert_eq!(&*frames.recv()?, b"good");
        assert!(frames.is_empty());
    }
    Ok(())
}

#[test]
fn a_buffer_is_never_lent_twice() -> Result<()> {
    let _watch = watchdog(60, "one buffer, two items");
    let frames = LoanQueue::new(2, 100)?;
    send(&frames, b"one")?;
    send(&frames, b"two")?;
    // Both items say buffer 0.
    poke(&frames, SLOTS + 24 + 8, 0);
    let one = frames.recv()?;
    assert!(matches!(frames.recv(), Err(RecvError::Corrupted)));
    assert_eq!(&*one, b"one");
    drop(one);
    // An item says a buffer that nobody has.
    let frames = LoanQueue::new(2, 100)?;
    send(&frames, b"one")?;
    poke(&frames, OWNERS, 0);
    assert!(matches!(frames.try_recv(), Err(TryRecvError::Corrupted)));
    Ok(())
}

/// Everything that one can do to it, each call bounded.
fn use_all(frames: &LoanQueue, random: &mut Random) {
    let short = Duration::from_millis(1);
    let _ = (frames.len(), frames.is_empty(), frames.is_closed(), frames.available(), format!("{frames:?}"));
    let mut held = Vec::new();
    held.extend(frames.try_loan(frames.size()));
    held.extend(frames.loan_timeout(1, short));
    held.extend(frames.try_recv());
    held.extend(frames.recv_timeout(short));
    for (n, frame) in held.iter_mut().enumerate() {
        frame.fill(n as u8);
    }
    for (n, frame) in held.iter().enumerate() {
        assert!(frame.len() <= frames.size() && frame.iter().all(|&byte| byte == n as u8), "a buffer of two loans");
    }
    for frame in held {
        if random.below(2) == 0 {
            let _ = frames.send(frame);
        }
    }
    assert!(frames.len() <= frames.buffers() && frames.available() <= frames.buffers());
}

#[test]
fn random_bytes_are_errors_or_buffers_but_no_crash_and_no_hang() -> Result<()> {
    let _watch = watchdog(120, "random bytes");
    let mut random = Random(11);
    for round in 0..600 {
        let buffers = 1 + random.below(9) as usize;
        let frames = LoanQueue::new(buffers, 1 + random.below(200) as usize)?;
        for _ in 0..random.below(2 * buffers as u64) {
            if let Ok(frame) = frames.try_loan(1) {
                frames.send(frame)?;
            }
            if random.below(3) == 0 {
                drop(frames.try_recv());
            }
        }
        // The words and slots, not the buffers: these may hold anything anyhow.
        let words = (FIRST_BUFFER - 128) / 8;
        for _ in 0..1 + random.below(8) {
            let mut word = random.strange_word();
            if random.below(3) == 0 {
                word = word & !KIND | (1 + random.below(2));
            }
            poke(&frames, 128 + 8 * random.below(words), word);
            // More often where something lies.
            poke(&frames, 512 + 8 * random.below(4 * buffers as u64 + 8), random.strange_word());
        }
        use_all(&frames, &mut random);
        let copy = LoanQueue::try_from(memory(&bytes_of(&frames), Seal::Length))
            .unwrap_or_else(|error| panic!("round {round}: {error}"));
        use_all(&copy, &mut random);
        copy.close();
        // Closed, so it must end: with an error, or after as many items as fit, even if the words lie.
        assert!(copy.iter().take(3 * buffers + 3).count() <= 3 * buffers + 2, "round {round} does not end");
    }
    Ok(())
}
