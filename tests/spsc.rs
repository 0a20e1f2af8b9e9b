//! The ring between one sender and one receiver: between processes that are killed, ends that move, and over memory that somebody has
//! scribbled on.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use coproc::__private::{Handle, Parcel};
use coproc::{
    Error, Event, Item, Message, Reader, Receiver, RecvError, RecvTimeoutError, Result, SendError, SendTimeoutError, Sender,
    SharedArray, TryRecvError, TrySendError, Writer, spsc,
};
use coproc_pool::{Pool, PoolError, Process};
use coproc_tests::{
    Random, descriptors, events, fork, kill, pause, resume, stop, thread_id, until, until_asleep, until_thread_asleep, wait,
    wait_for, watchdog,
};

const SOON: Duration = Duration::from_secs(20);
/// Much longer than the slice after which an end learns that the other one has died, much shorter than a hang.
const PROMPT: Duration = Duration::from_secs(5);

/// Where the words of a ring lie in its file.
const SENT: u64 = 128;
const RECEIVED: u64 = 256;
const CLOSED: u64 = 392;
const HOLDERS: u64 = 400;
const SLOTS: u64 = 512;

/// Counts what each thread allocates.
struct Counting;

thread_local! {
    static ALLOCATED: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: as the system's allocator, which does it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATED.try_with(|count| count.set(count.get() + 1));
        // SAFETY: what the caller says.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: what the caller says.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The file of a ring, to read and write its bytes as no code of coproc would. The end goes away and comes back.
fn opened<M: Message>(end: M) -> (M, File) {
    let parcel = Parcel::of(&end);
    drop(end);
    let Handle::Segment(_) = &parcel.handles[0] else { panic!("the ring's segment comes first") };
    let file = parcel.handles[0].as_fd().try_clone_to_owned().unwrap().into();
    (parcel.open().expect("an end that was given and comes back"), file)
}

fn poke(file: &File, at: u64, word: u64) {
    file.write_all_at(&word.to_le_bytes(), at).unwrap();
}

fn peek(file: &File, at: u64) -> u64 {
    let mut word = [0; 8];
    file.read_exact_at(&mut word, at).unwrap();
    u64::from_le_bytes(word)
}

fn count(mut sender: Sender<u64>, to: u64) -> Result<()> {
    (0..to).try_for_each(|n| Ok(sender.send(n)?))
}

/// Sends 1 and 2, and lives on with the sender.
fn send_and_stay(mut sender: Sender<u64>) -> Result<()> {
    sender.send_slice(&[1, 2])?;
    pause()
}

fn stay_with<T: Message>(_end: T, at: SharedArray<Event>) {
    at[0].set();
    pause()
}

#[test]
fn first_in_first_out() -> Result<()> {
    let _watch = watchdog(30, "one thread");
    for capacity in [1, 2, 3, 7, 8, 100] {
        let (mut sender, mut receiver) = spsc(capacity)?;
        assert_eq!((sender.capacity(), receiver.capacity()), (capacity, capacity));
        let (mut sent, mut received) = (0_u32, 0);
        let mut random = Random(capacity as u64);
        for _ in 0..2000 {
            let inside = (sent - received) as usize;
            assert_eq!((sender.len(), receiver.len()), (inside, inside));
            assert_eq!((sender.is_empty(), sender.is_full()), (inside == 0, inside == capacity));
            assert_eq!((receiver.is_empty(), receiver.is_full()), (inside == 0, inside == capacity));
            if random.below(2) == 0 {
                match sender.try_send(sent) {
                    Ok(()) => sent += 1,
                    Err(error) => assert_eq!((error, inside), (TrySendError::Full(sent), capacity)),
                }
            } else {
                match receiver.try_recv() {
                    Ok(item) => {
                        assert_eq!(item, received);
                        received += 1;
                    }
                    Err(error) => assert_eq!((error, inside), (TryRecvError::Empty, 0)),
                }
            }
        }
    }
    Ok(())
}

#[test]
fn a_child_sends_in_order_and_closes_by_its_end() -> Result<()> {
    let _watch = watchdog(120, "a child that sends");
    for capacity in [1, 3, 7, 100] {
        let (sender, mut receiver) = spsc(capacity)?;
        let child = Process::spawn(count, (sender, 5000))?;
        assert!(receiver.iter().eq(0..5000));
        assert_eq!(receiver.recv(), Err(RecvError::Closed));
        child.join()?;
    }
    Ok(())
}

#[test]
fn a_child_receives_in_order() -> Result<()> {
    let _watch = watchdog(120, "a child that receives");
    let (mut sender, receiver) = spsc(3)?;
    let child = Process::spawn(|mut receiver: Receiver<u64>| (&mut receiver).into_iter().eq(0..3000), (receiver,))?;
    for n in 0..3000 {
        sender.send(n)?;
    }
    drop(sender);
    assert!(child.join()?);
    Ok(())
}

#[test]
fn both_ends_in_children() -> Result<()> {
    let _watch = watchdog(120, "two children");
    let (sender, receiver) = spsc(5)?;
    let from = Process::spawn(count, (sender, 3000))?;
    let to = Process::spawn(|mut receiver: Receiver<u64>| receiver.iter().eq(0..3000), (receiver,))?;
    assert!(to.join()?);
    from.join()?;
    Ok(())
}

#[test]
fn many_at_once_are_in_order_for_every_capacity() -> Result<()> {
    let _watch = watchdog(120, "bulk");
    for capacity in [1, 2, 3, 7, 8, 100] {
        let (mut sender, mut receiver) = spsc(capacity)?;
        let items: Vec<u32> = (0..5000).collect();
        std::thread::scope(|scope| {
            let items = &items;
            scope.spawn(move || {
                let (mut rest, mut random) = (&items[..], Random(3));
                while !rest.is_empty() {
                    let (some, left) = rest.split_at(rest.len().min(random.below(20) as usize));
                    sender.send_slice(some).unwrap();
                    rest = left;
                }
            });
            let (mut all, mut random) = (Vec::new(), Random(4));
            loop {
                let mut room = vec![0; 1 + random.below(20) as usize];
                match receiver.recv_into(&mut room) {
                    Ok(count) => {
                        assert!((1..=room.len().min(capacity)).contains(&count), "{count} of {}", room.len());
                        all.extend_from_slice(&room[..count]);
                    }
                    Err(error) => break assert_eq!(error, RecvError::Closed, "capacity {capacity}, after {}", all.len()),
                }
            }
            assert_eq!(all, *items, "capacity {capacity}");
        });
    }
    Ok(())
}

#[test]
fn slices_claims_and_peeks_go_around_the_end_of_the_ring() -> Result<()> {
    let _watch = watchdog(30, "around the end");
    for capacity in 1..=7_usize {
        for start in 0..capacity {
            for count in 1..=capacity {
                let (mut sender, mut receiver) = spsc(capacity)?;
                for n in 0..start {
                    sender.send(n)?;
                    receiver.recv()?;
                }
                let items: Vec<usize> = (100..100 + count).collect();
                sender.send_slice(&items)?;
                let mut room = vec![0; count];
                assert_eq!(receiver.recv_into(&mut room), Ok(count), "capacity {capacity}, from {start} on, {count} items");
                assert_eq!(room, items, "capacity {capacity}, from {start} on");

                let mut claim = sender.claim(count)?;
                assert_eq!((claim.len(), claim.is_empty()), (count, false));
                let (front, back) = claim.as_mut_slices();
                assert_eq!(front.len() + back.len(), count);
                assert_eq!(back.is_empty(), (start + count) % capacity + count <= capacity);
                front.iter_mut().chain(back).zip(&items).for_each(|(slot, item)| *slot = item + 1);
                claim.commit(count);
                let peek = receiver.peek()?;
                let (front, back) = peek.as_slices();
                assert!(front.iter().chain(back).copied().eq(items.iter().map(|item| item + 1)), "{front:?} {back:?}");
                assert_eq!((peek.len(), peek.is_empty()), (count, false));
                peek.release(count);
                assert!(receiver.is_empty() && sender.is_empty());
            }
        }
    }
    Ok(())
}

#[test]
fn what_is_not_committed_is_not_sent_and_what_is_not_released_stays() -> Result<()> {
    let (mut sender, mut receiver) = spsc::<u32>(4)?;
    let mut claim = sender.claim(3)?;
    claim.as_mut_slices().0.fill(7);
    drop(claim);
    assert!(matches!(receiver.try_peek(), Err(TryRecvError::Empty)));
    let mut claim = sender.try_claim(4).unwrap();
    claim.as_mut_slices().0.copy_from_slice(&[1, 2, 3, 4]);
    claim.commit(2);
    assert!(matches!(sender.try_claim(3), Err(TrySendError::Full(()))));
    drop(receiver.peek()?);
    receiver.peek()?.release(0);
    receiver.try_peek()?.release(1);
    assert_eq!(receiver.try_peek()?.as_slices().0, [2]);
    sender.send(5)?;
    // What came since counts.
    assert_eq!(receiver.peek()?.as_slices().0, [2, 5]);
    // Never is there room for so many.
    assert_eq!(sender.claim(5).map(drop), Err(SendError::Closed(())));
    assert!(sender.claim(0)?.is_empty());
    Ok(())
}

#[test]
fn more_than_was_lent_is_a_panic_and_nothing_is_passed() -> Result<()> {
    let (mut sender, mut receiver) = spsc::<u32>(4)?;
    sender.send(1)?;
    let claim = sender.claim(2)?;
    assert!(catch_unwind(AssertUnwindSafe(|| claim.commit(3))).is_err());
    let peek = receiver.peek()?;
    assert!(catch_unwind(AssertUnwindSafe(|| peek.release(2))).is_err());
    assert_eq!((sender.len(), receiver.recv()), (1, Ok(1)));
    Ok(())
}

#[test]
fn a_claim_waits_for_so_much_room() -> Result<()> {
    let _watch = watchdog(30, "a claim that waits");
    let (mut sender, mut receiver) = spsc::<u32>(3)?;
    sender.send_slice(&[1, 2, 3])?;
    let child = Process::spawn(
        |mut sender: Sender<u32>| -> Result<()> {
            let mut claim = sender.claim(2)?;
            let (front, back) = claim.as_mut_slices();
            front.iter_mut().chain(back).zip([4, 5]).for_each(|(slot, item)| *slot = item);
            claim.commit(2);
            Ok(())
        },
        (sender,),
    )?;
    until_asleep(child.pid());
    assert_eq!(receiver.recv(), Ok(1));
    until_asleep(child.pid());
    assert_eq!(receiver.recv(), Ok(2));
    child.join()?;
    assert!(receiver.iter().eq([3, 4, 5]));
    Ok(())
}

#[test]
fn many_at_once_are_all_that_there_are() -> Result<()> {
    let (mut sender, mut receiver) = spsc::<u8>(4)?;
    sender.send_slice(&[1, 2])?;
    assert_eq!(receiver.recv(), Ok(1));
    sender.send_slice(&[3, 4])?;
    let mut room = [0; 5];
    assert_eq!((receiver.recv_into(&mut room), room), (Ok(3), [2, 3, 4, 0, 0]));
    Ok(())
}

#[test]
fn of_nothing() -> Result<()> {
    let (mut sender, mut receiver) = spsc::<u32>(2)?;
    sender.send_slice(&[])?;
    assert_eq!(receiver.recv_into(&mut []), Ok(0));
    drop(sender);
    assert_eq!(receiver.recv_into(&mut []), Ok(0));
    Ok(())
}

#[test]
fn capacity_limits() {
    assert!(matches!(spsc::<u32>(0), Err(Error::Empty)));
    assert!(matches!(spsc::<u32>(usize::MAX), Err(Error::TooLarge { len: usize::MAX, size: 4 })));
    assert!(matches!(spsc::<()>(usize::MAX), Err(Error::TooLarge { len: usize::MAX, size: 0 })));
    // A pebibyte: more than every machine that runs this has.
    assert!(matches!(spsc::<[u8; 1024]>(1 << 40), Err(Error::NoSpace { wanted, free }) if wanted > free));
}

#[test]
fn an_item_of_no_bytes() -> Result<()> {
    let _watch = watchdog(30, "items of no bytes");
    let (mut sender, mut receiver) = spsc(3)?;
    for _ in 0..10 {
        sender.send_slice(&[(), (), ()])?;
        assert_eq!(sender.try_send(()), Err(TrySendError::Full(())));
        assert_eq!((receiver.len(), receiver.is_full()), (3, true));
        receiver.recv()?;
        assert_eq!(receiver.recv_into(&mut [(); 5]), Ok(2));
        sender.claim(3)?.commit(2);
        assert_eq!(receiver.peek()?.as_slices().0.len() + receiver.peek()?.as_slices().1.len(), 2);
        receiver.peek()?.release(2);
    }
    let child = Process::spawn(|mut receiver: Receiver<()>| receiver.iter().count(), (receiver,))?;
    for () in [(); 1000] {
        sender.send(())?;
    }
    drop(sender);
    assert_eq!(child.join()?, 1000);
    // As many as can be counted, and twice.
    const MOST: usize = isize::MAX as usize;
    let (mut sender, mut receiver) = spsc(MOST)?;
    sender.send(())?;
    for _ in 0..3 {
        sender.claim(MOST - 1)?.commit(MOST - 1);
        assert!(sender.is_full());
        receiver.peek()?.release(MOST - 1);
    }
    Ok(())
}

#[test]
fn an_item_of_a_mebibyte() -> Result<()> {
    const SIZE: usize = 1 << 17;
    fn fill(mut sender: Sender<[u64; SIZE]>) -> Result<()> {
        for n in 1..=5 {
            let mut claim = sender.claim(1)?;
            let (front, back) = claim.as_mut_slices();
            assert_eq!((front.len(), back.len()), (1, 0));
            front[0].fill(n);
            claim.commit(1);
        }
        Ok(())
    }
    fn run() -> Result<()> {
        let (sender, mut receiver) = spsc::<[u64; SIZE]>(2)?;
        let child = Process::spawn(fill, (sender,))?;
        for n in 1..=4 {
            let peek = receiver.peek()?;
            assert!(peek.as_slices().0[0].iter().all(|&word| word == n));
            peek.release(1);
        }
        assert!(receiver.recv()?.iter().all(|&word| word == 5));
        assert!(matches!(receiver.recv(), Err(RecvError::Closed)));
        child.join()?;
        let (mut sender, mut receiver) = spsc::<[u64; SIZE]>(1)?;
        sender.send([9; SIZE])?;
        assert!(matches!(sender.try_send([1; SIZE]), Err(TrySendError::Full(item)) if item[SIZE - 1] == 1));
        assert!(receiver.try_recv()?.iter().all(|&word| word == 9));
        Ok(())
    }
    let _watch = watchdog(60, "large items");
    std::thread::Builder::new().stack_size(64 << 20).spawn(run).unwrap().join().unwrap()
}

#[derive(Clone, Copy, Debug, PartialEq, Item)]
enum Command {
    Stop,
    Move { x: i32, y: i64 },
    Say(char),
    Both(bool, Option<u32>),
}

#[test]
fn items_of_many_kinds() -> Result<()> {
    fn echo<T: Item>(mut from: Receiver<T>, mut to: Sender<T>) -> Result<()> {
        for item in &mut from {
            to.send(item)?;
        }
        Ok(())
    }
    fn there_and_back<T: Item + Copy + PartialEq + std::fmt::Debug + Sync>(items: &[T]) -> Result<()> {
        let (mut there, from) = spsc(2)?;
        let (to, mut back) = spsc(3)?;
        let child = Process::spawn(echo::<T>, (from, to))?;
        for &item in items {
            there.send(item)?;
            assert_eq!(back.recv()?, item);
        }
        std::thread::scope(|scope| {
            scope.spawn(move || there.send_slice(items).unwrap());
            let mut received = Vec::new();
            let mut room = [items[0]; 2];
            while let Ok(count) = back.recv_into(&mut room) {
                received.extend_from_slice(&room[..count]);
            }
            assert_eq!(received, items);
        });
        child.join()?;
        Ok(())
    }
    let _watch = watchdog(120, "items of many kinds");
    let (say, both) = (Command::Say('\u{10ffff}'), Command::Both(true, Some(7)));
    there_and_back(&[Command::Stop, Command::Move { x: -1, y: i64::MIN }, say, both, Command::Both(false, None)])?;
    there_and_back(&[true, false, true])?;
    there_and_back(&['a', '\0', 'ß'])?;
    there_and_back(&[(1_u8, 'x', true), (255, '\0', false)])?;
    there_and_back(&[Some(Ok::<u8, char>(1)), Some(Err('e')), None])?;
    there_and_back(&[[1.5_f64, f64::INFINITY, -0.0]; 3])?;
    there_and_back(&[u128::MAX, 0])?;
    Ok(())
}

#[test]
fn a_sender_waits_for_room_and_a_receiver_for_items() -> Result<()> {
    let _watch = watchdog(60, "ends that wait");
    for capacity in [1, 3] {
        let (sender, mut receiver) = spsc(capacity)?;
        let child = Process::spawn(count, (sender, 8))?;
        until("it is full", || receiver.is_full());
        until_asleep(child.pid());
        assert_eq!(receiver.len(), capacity);
        assert!(receiver.iter().eq(0..8));
        child.join()?;

        let (mut sender, receiver) = spsc(capacity)?;
        let child = Process::spawn(|mut receiver: Receiver<u64>| receiver.iter().collect::<Vec<_>>(), (receiver,))?;
        for n in 0..5 {
            until_asleep(child.pid());
            sender.send(n)?;
            until("it was received", || sender.is_empty());
        }
        until_asleep(child.pid());
        drop(sender);
        assert_eq!(child.join()?, [0, 1, 2, 3, 4]);
    }
    Ok(())
}

#[test]
fn timeouts() -> Result<()> {
    let _watch = watchdog(30, "timeouts");
    let (mut sender, mut receiver) = spsc(1)?;
    let time = Duration::from_millis(60);
    assert_eq!(receiver.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
    let start = Instant::now();
    assert_eq!(receiver.recv_timeout(time), Err(RecvTimeoutError::Timeout));
    assert!(start.elapsed() >= time);
    sender.send_timeout(1_u32, Duration::ZERO).unwrap();
    assert_eq!(sender.send_timeout(2, Duration::ZERO), Err(SendTimeoutError::Timeout(2)));
    let start = Instant::now();
    assert_eq!(sender.send_timeout(2, time), Err(SendTimeoutError::Timeout(2)));
    assert!(start.elapsed() >= time);
    assert_eq!(receiver.recv_timeout(Duration::MAX), Ok(1));
    sender.send_timeout(3, Duration::MAX).unwrap();
    std::thread::scope(|scope| {
        let (tell, told) = std::sync::mpsc::channel();
        let last = scope.spawn(move || {
            tell.send(thread_id()).unwrap();
            sender.send_timeout(4, Duration::MAX).unwrap();
        });
        until_thread_asleep(told.recv().unwrap());
        assert_eq!(receiver.recv_timeout(SOON), Ok(3));
        last.join().unwrap();
    });
    assert_eq!(receiver.recv_timeout(Duration::ZERO), Ok(4));
    assert_eq!(receiver.recv_timeout(SOON), Err(RecvTimeoutError::Closed));
    Ok(())
}

#[test]
fn without_a_sender_all_is_received_and_then_it_is_closed() -> Result<()> {
    let (mut sender, mut receiver) = spsc(4)?;
    sender.send_slice(&[1_u32, 2, 3, 4])?;
    assert!(!receiver.is_closed() && !sender.is_closed());
    drop(sender);
    assert!(receiver.is_closed());
    assert_eq!((receiver.recv(), receiver.try_recv()), (Ok(1), Ok(2)));
    assert_eq!(receiver.peek()?.as_slices().0, [3, 4]);
    assert_eq!((&mut receiver).into_iter().collect::<Vec<_>>(), [3, 4]);
    assert_eq!(receiver.recv(), Err(RecvError::Closed));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
    assert_eq!(receiver.recv_timeout(SOON), Err(RecvTimeoutError::Closed));
    assert_eq!(receiver.recv_into(&mut [0; 2]), Err(RecvError::Closed));
    assert_eq!(receiver.peek().map(drop), Err(RecvError::Closed));
    assert_eq!(receiver.try_peek().map(drop), Err(TryRecvError::Closed));
    assert_eq!(receiver.iter().next(), None);
    Ok(())
}

#[test]
fn without_a_receiver_nothing_is_sent_and_the_item_comes_back() -> Result<()> {
    for inside in [0, 2] {
        let (mut sender, receiver) = spsc(2)?;
        sender.send_slice(&['x'; 2][..inside])?;
        drop(receiver);
        assert!(sender.is_closed());
        assert_eq!(sender.send('a'), Err(SendError::Closed('a')));
        assert_eq!(sender.send('a').unwrap_err().into_inner(), 'a');
        assert_eq!(sender.try_send('b'), Err(TrySendError::Closed('b')));
        assert_eq!(sender.send_timeout('c', SOON), Err(SendTimeoutError::Closed('c')));
        let error = sender.send_slice(&['d', 'e']).unwrap_err();
        assert_eq!((error.sent, error.reason), (0, SendError::Closed(())));
    }
    let (mut sender, receiver) = spsc::<u8>(2)?;
    drop(receiver);
    assert_eq!(sender.claim(1).map(drop), Err(SendError::Closed(())));
    assert_eq!(sender.try_claim(1).map(drop), Err(TrySendError::Closed(())));
    Ok(())
}

#[test]
fn who_sleeps_is_let_go_when_the_other_end_is_dropped() -> Result<()> {
    let _watch = watchdog(60, "drop with sleepers");
    for _ in 0..10 {
        let (sender, mut receiver) = spsc::<u64>(1)?;
        let child = Process::spawn(|mut sender: Sender<u64>| sender.send_slice(&[1, 2, 3]).unwrap_err().sent, (sender,))?;
        assert_eq!(receiver.recv(), Ok(1));
        until("it is full", || receiver.is_full());
        until_asleep(child.pid());
        drop(receiver);
        assert_eq!(child.join()?, 2);

        let (sender, receiver) = spsc::<u64>(1)?;
        let child = Process::spawn(|mut receiver: Receiver<u64>| receiver.recv() == Err(RecvError::Closed), (receiver,))?;
        until_asleep(child.pid());
        drop(sender);
        assert!(child.join()?);
    }
    Ok(())
}

#[test]
fn after_the_senders_death_all_is_received_and_then_it_is_disconnected() -> Result<()> {
    let _watch = watchdog(60, "a killed sender");
    let (sender, mut receiver) = spsc(7)?;
    let child = Process::spawn(send_and_stay, (sender,))?;
    until("it has sent", || receiver.len() == 2);
    child.kill()?;
    assert!(child.join().is_err());
    assert!(!receiver.is_closed());
    assert!(receiver.iter().eq([1, 2]));
    assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
    assert_eq!(receiver.recv_timeout(SOON), Err(RecvTimeoutError::Disconnected));
    assert_eq!(receiver.recv_into(&mut [0; 2]), Err(RecvError::Disconnected));
    assert_eq!(receiver.peek().map(drop), Err(RecvError::Disconnected));
    assert_eq!(receiver.try_peek().map(drop), Err(TryRecvError::Disconnected));
    assert!(matches!(Error::from(receiver.recv().unwrap_err()), Error::Disconnected));
    Ok(())
}

#[test]
fn after_the_receivers_death_a_full_ring_is_disconnected() -> Result<()> {
    let _watch = watchdog(60, "a killed receiver");
    let (mut sender, receiver) = spsc::<u32>(2)?;
    let at = events(1)?;
    let child = Process::spawn(stay_with::<Receiver<u32>>, (receiver, &at))?;
    wait(&at[0], "it has the end");
    child.kill()?;
    assert!(child.join().is_err());
    let error = sender.send_slice(&[1, 2, 3]).unwrap_err();
    assert_eq!((error.sent, error.reason), (2, SendError::Disconnected(())));
    assert_eq!(sender.send(4), Err(SendError::Disconnected(4)));
    assert_eq!(sender.try_send(5), Err(TrySendError::Disconnected(5)));
    assert_eq!(sender.send_timeout(6, SOON), Err(SendTimeoutError::Disconnected(6)));
    assert_eq!(sender.claim(1).map(drop), Err(SendError::Disconnected(())));
    assert_eq!(sender.try_claim(1).map(drop), Err(TrySendError::Disconnected(())));
    assert!(!sender.is_closed());
    Ok(())
}

#[test]
fn who_never_waits_learns_of_a_death_too() -> Result<()> {
    let _watch = watchdog(60, "ends that poll");
    for timeout in [None, Some(Duration::ZERO), Some(Duration::from_micros(100))] {
        let (sender, mut receiver) = spsc::<u64>(7)?;
        let child = Process::spawn(send_and_stay, (sender,))?;
        assert_eq!((receiver.recv(), receiver.recv(), receiver.try_recv()), (Ok(1), Ok(2), Err(TryRecvError::Empty)));
        child.kill()?;
        assert!(child.join().is_err());
        until("it is disconnected", || match timeout {
            None => receiver.try_recv() == Err(TryRecvError::Disconnected),
            Some(time) => receiver.recv_timeout(time) == Err(RecvTimeoutError::Disconnected),
        });

        let (mut sender, receiver) = spsc::<u64>(1)?;
        let at = events(1)?;
        let child = Process::spawn(stay_with::<Receiver<u64>>, (receiver, &at))?;
        wait(&at[0], "it has the end");
        sender.send(1)?;
        assert_eq!(sender.try_send(2), Err(TrySendError::Full(2)));
        child.kill()?;
        assert!(child.join().is_err());
        until("it is disconnected", || match timeout {
            None => sender.try_send(2) == Err(TrySendError::Disconnected(2)),
            Some(time) => sender.send_timeout(2, time) == Err(SendTimeoutError::Disconnected(2)),
        });
    }
    Ok(())
}

#[test]
fn who_sleeps_learns_of_the_others_death_soon() -> Result<()> {
    let _watch = watchdog(120, "death beside sleepers");
    for _ in 0..5 {
        let (sender, mut receiver) = spsc::<u64>(1)?;
        let child = Process::spawn(stay_with::<Sender<u64>>, (sender, &events(1)?))?;
        let sleeper = std::thread::spawn(move || (receiver.recv(), Instant::now()));
        child.kill()?;
        let begin = Instant::now();
        assert!(child.join().is_err());
        let (result, end) = sleeper.join().unwrap();
        assert_eq!(result, Err(RecvError::Disconnected));
        assert!(end.saturating_duration_since(begin) < PROMPT);

        // Killed while it sleeps itself.
        let (sender, mut receiver) = spsc::<u64>(1)?;
        let child = Process::spawn(count, (sender, 9))?;
        until("it is full", || receiver.is_full());
        until_asleep(child.pid());
        child.kill()?;
        assert!(receiver.iter().eq([0]));
        assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
        assert!(child.join().is_err());

        let (mut sender, receiver) = spsc::<u64>(1)?;
        let child = Process::spawn(|mut receiver: Receiver<u64>| receiver.recv().is_ok(), (receiver,))?;
        until_asleep(child.pid());
        child.kill()?;
        assert!(child.join().is_err());
        sender.send(1)?;
        assert_eq!(sender.send(2), Err(SendError::Disconnected(2)));
    }
    Ok(())
}

#[test]
fn a_stopped_process_is_not_dead() -> Result<()> {
    let _watch = watchdog(60, "a stopped peer");
    let (sender, mut receiver) = spsc::<u64>(1)?;
    let child = Process::spawn(count, (sender, 3))?;
    until("it is full", || receiver.is_full());
    until_asleep(child.pid());
    stop(child.pid());
    assert_eq!(receiver.recv(), Ok(0));
    // Several slices, each with a question to the kernel.
    assert_eq!(receiver.recv_timeout(Duration::from_millis(120)), Err(RecvTimeoutError::Timeout));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    resume(child.pid());
    assert!(receiver.iter().eq([1, 2]));
    child.join()?;
    Ok(())
}

#[test]
fn a_forked_childs_copy_sends_nothing_and_closes_nothing() -> Result<()> {
    /// Forks with both kinds of ends in hand. A process of one thread, as a test is not.
    fn forks(mut sender: Sender<u64>, receiver: Receiver<u64>) -> Result<i32> {
        sender.send(1)?;
        let mut ends = Some((sender, receiver));
        let child = fork(|| {
            let (mut sender, mut receiver) = ends.take().unwrap();
            let sends = sender.send(7) == Err(SendError::Closed(7)) && sender.try_send(7) == Err(TrySendError::Closed(7));
            let receives = receiver.recv() == Err(RecvError::Closed) && receiver.try_peek().is_err();
            let gives = Parcel::of(&sender).handles.is_empty() && Parcel::of(&receiver).handles.is_empty();
            // The other end is not this process's either, also when the identities are drawn.
            let own = spsc::<u64>(1).is_ok_and(|(mut sender, _receiver)| sender.send(1).is_ok());
            let still = sender.is_closed() && sender.send(8) == Err(SendError::Closed(8));
            drop(sender);
            drop(receiver);
            i32::from(!(sends && receives && gives && own && still))
        });
        let code = wait_for(child);
        // The child took its copy.
        let (mut sender, mut receiver) = ends.take().unwrap();
        sender.send(2)?;
        assert_eq!(receiver.recv(), Ok(5));
        Ok(code)
    }
    let _watch = watchdog(60, "forks");
    let (sender, mut from) = spsc(4)?;
    let (mut to, receiver) = spsc(4)?;
    let child = Process::spawn(forks, (sender, receiver))?;
    to.send(5)?;
    assert!(from.iter().eq([1, 2]));
    assert_eq!(from.recv(), Err(RecvError::Closed));
    assert_eq!(child.join()?, 0);
    Ok(())
}

#[test]
fn a_forked_childs_copy_of_a_loan_is_nothing() -> Result<()> {
    fn forks(mut sender: Sender<u64>, mut receiver: Receiver<u64>) -> Result<i32> {
        let mut loans = Some((sender.claim(2)?, receiver.peek()?));
        let child = fork(|| {
            let (mut claim, peek) = loans.take().unwrap();
            let nothing = claim.as_mut_slices().0.is_empty() && peek.as_slices().0.is_empty();
            claim.commit(2);
            peek.release(1);
            i32::from(!nothing)
        });
        let code = wait_for(child);
        let (mut claim, peek) = loans.take().unwrap();
        assert_eq!(peek.as_slices().0, [5, 6]);
        drop(peek);
        assert_eq!(receiver.recv(), Ok(5));
        claim.as_mut_slices().0.fill(7);
        claim.commit(1);
        Ok(code)
    }
    let _watch = watchdog(60, "forks with loans");
    let (sender, mut from) = spsc(4)?;
    let (mut to, receiver) = spsc(4)?;
    to.send_slice(&[5, 6])?;
    let child = Process::spawn(forks, (sender, receiver))?;
    assert!(from.iter().eq([7]));
    assert_eq!(child.join()?, 0);
    assert_eq!(to.len(), 1);
    Ok(())
}

#[test]
fn a_forked_child_that_lives_on_hides_neither_its_parents_death_nor_a_lost_message() -> Result<()> {
    fn forks(mut sender: Sender<u64>, loses: bool) -> Result<()> {
        let child = fork(|| pause());
        sender.send(child.into())?;
        if loses {
            drop(Parcel::of(&sender));
        }
        pause()
    }
    let _watch = watchdog(60, "a child that outlives its parent");
    for loses in [false, true] {
        let (sender, mut receiver) = spsc(1)?;
        let parent = Process::spawn(forks, (sender, loses))?;
        let child = receiver.recv()?;
        if !loses {
            parent.kill()?;
        }
        assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
        parent.kill()?;
        assert!(parent.join().is_err());
        kill(child as u32);
    }
    Ok(())
}

#[test]
fn an_end_that_was_given_away_is_closed_here() -> Result<()> {
    let (mut sender, mut receiver) = spsc::<u32>(2)?;
    sender.send(1)?;
    let parcel = Parcel::of(&sender);
    assert!(sender.is_closed() && !receiver.is_closed());
    assert_eq!(sender.send(2), Err(SendError::Closed(2)));
    assert_eq!(sender.claim(1).map(drop), Err(SendError::Closed(())));
    assert!(format!("{sender:?}").contains("closed: true"));
    // Given twice it comes once.
    assert!(Parcel::of(&sender).handles.is_empty());
    drop(sender);
    let mut sender: Sender<u32> = parcel.open().expect("the end");
    assert!(parcel.open::<Sender<u32>>().is_none() && parcel.clone().open::<Sender<u32>>().is_none());
    drop(parcel);
    sender.send(2)?;
    assert!(!receiver.is_closed());
    assert_eq!((receiver.recv(), receiver.recv()), (Ok(1), Ok(2)));
    let parcel = Parcel::of(&receiver);
    assert_eq!(receiver.recv(), Err(RecvError::Closed));
    assert!(receiver.is_closed());
    sender.send(3)?;
    let mut receiver: Receiver<u32> = parcel.open().expect("the end");
    assert_eq!(receiver.recv(), Ok(3));
    Ok(())
}

#[test]
fn an_end_that_is_given_twice_is_an_error_where_it_should_arrive() -> Result<()> {
    let _watch = watchdog(60, "an end given twice");
    let (sender, mut receiver) = spsc(1)?;
    let both = vec![sender];
    let first = Process::spawn(|mut senders: Vec<Sender<u64>>| senders[0].send(1).is_ok(), (&both,))?;
    assert_eq!(receiver.recv(), Ok(1));
    let second = Process::spawn(|mut senders: Vec<Sender<u64>>| senders[0].send(2).is_ok(), (&both,))?;
    assert!(second.join().is_err());
    assert!(first.join()?);
    assert_eq!(receiver.recv(), Err(RecvError::Closed));
    Ok(())
}

#[test]
fn the_givers_copy_does_not_hide_the_death_of_who_got_the_end() -> Result<()> {
    let _watch = watchdog(60, "a giver that keeps what it gave");
    let (sender, mut receiver) = spsc(1)?;
    let given = vec![sender];
    let child = Process::spawn(
        |mut senders: Vec<Sender<u64>>| -> Result<()> {
            senders[0].send(1)?;
            pause()
        },
        (&given,),
    )?;
    assert_eq!(receiver.recv(), Ok(1));
    child.kill()?;
    assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
    assert!(child.join().is_err());
    drop(given);
    assert!(!receiver.is_closed());
    Ok(())
}

#[test]
fn an_end_that_never_arrives_is_disconnected() -> Result<()> {
    let _watch = watchdog(60, "lost messages");
    let (sender, mut receiver) = spsc::<u64>(1)?;
    let parcel = Parcel::of(&sender);
    drop(sender);
    // On its way.
    assert_eq!(receiver.recv_timeout(Duration::from_millis(60)), Err(RecvTimeoutError::Timeout));
    drop(parcel);
    assert_eq!(receiver.recv(), Err(RecvError::Disconnected));

    // To a child that is killed at any moment of its start.
    for _ in 0..5 {
        let (sender, mut receiver) = spsc::<u64>(1)?;
        let child = Process::spawn(count, (sender, u64::MAX))?;
        child.kill()?;
        assert!(child.join().is_err());
        assert!(receiver.iter().count() < 2);
        assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
    }
    Ok(())
}

#[test]
fn an_end_read_as_one_of_another_type_is_none() -> Result<()> {
    for choice in 0..4 {
        let (mut sender, receiver) = spsc::<u64>(1)?;
        let parcel = Parcel::of(&receiver);
        let opens = match choice {
            0 => parcel.open::<Receiver<i64>>().is_some(),
            1 => parcel.open::<Receiver<char>>().is_some(),
            2 => parcel.open::<coproc::Queue<u64>>().is_some(),
            _ => parcel.open::<coproc::SharedArray<u64>>().is_some(),
        };
        assert!(!opens, "{choice}");
        drop(parcel);
        sender.send(1)?;
        assert_eq!(sender.send(2), Err(SendError::Disconnected(2)));
    }
    Ok(())
}

#[test]
fn ends_given_to_a_childs_child() -> Result<()> {
    fn child(sender: Sender<u64>) -> Result<()> {
        let grandchild = Process::spawn(count, (sender, 100))?;
        Ok(grandchild.join()?)
    }
    let _watch = watchdog(60, "a child's child");
    let (sender, mut receiver) = spsc(3)?;
    let child = Process::spawn(child, (sender,))?;
    assert!(receiver.iter().eq(0..100));
    assert_eq!(receiver.recv(), Err(RecvError::Closed));
    child.join()?;
    Ok(())
}

#[test]
fn an_end_goes_on_where_the_last_process_left_it() -> Result<()> {
    fn send_two(mut sender: Sender<u64>, from: u64) -> Result<Sender<u64>> {
        sender.send_slice(&[from, from + 1])?;
        Ok(sender)
    }
    let _watch = watchdog(60, "an end that goes from child to child");
    let (mut sender, mut receiver) = spsc(3)?;
    for round in 0..5 {
        sender = Process::spawn(send_two, (sender, 2 * round))?.join()?;
        assert_eq!((receiver.recv(), receiver.recv()), (Ok(2 * round), Ok(2 * round + 1)));
    }
    let mut receiver = Process::spawn(|receiver: Receiver<u64>| receiver, (receiver,))?.join()?;
    sender.send(9)?;
    assert_eq!(receiver.recv(), Ok(9));
    Ok(())
}

#[test]
fn ends_as_items_and_results_of_a_pool() -> Result<()> {
    let _watch = watchdog(60, "a pool");
    let pool = Pool::new(2)?;
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..3).map(|_| spsc::<u64>(8)).collect::<Result<Vec<_>>>()?.into_iter().unzip();
    let senders = pool.map(
        |mut sender: Sender<u64>| -> Result<Sender<u64>> {
            sender.send(1)?;
            Ok(sender)
        },
        senders,
    )?;
    for (mut sender, mut receiver) in senders.into_iter().zip(receivers) {
        sender.send(2)?;
        drop(sender);
        assert!(receiver.iter().eq([1, 2]));
        assert_eq!(receiver.recv(), Err(RecvError::Closed));
    }
    Ok(())
}

#[derive(Message)]
enum Half {
    Sends(Sender<u64>),
    Receives(Receiver<u64>),
}

#[test]
fn a_worker_that_dies_with_an_end_lets_the_other_worker_go() -> Result<()> {
    let _watch = watchdog(60, "two workers, one of which dies");
    let pool = Pool::new(2)?;
    let (sender, receiver) = spsc(8)?;
    // The pool and both workers have copies of the sockets of both ends until the call is over.
    let result = pool.map(
        |half: Half| match half {
            Half::Sends(mut sender) => {
                sender.send(1).unwrap();
                kill(std::process::id());
                pause()
            }
            Half::Receives(mut receiver) => {
                assert_eq!(receiver.recv(), Ok(1));
                assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
            }
        },
        [Half::Sends(sender), Half::Receives(receiver)],
    );
    assert!(matches!(result, Err(PoolError::WorkerDied { task: 0, .. } | PoolError::Task { task: 0, .. })), "{result:?}");
    Ok(())
}

#[test]
fn nothing_is_allocated_after_creation() -> Result<()> {
    let _watch = watchdog(30, "allocations");
    let (mut sender, mut receiver) = spsc::<(u32, char)>(3)?;
    let (mut bytes, mut peeked) = spsc::<u8>(3)?;
    // Where the other end is asked for, too.
    let _ = (receiver.recv_timeout(Duration::from_millis(30)), receiver.try_recv());
    let before = ALLOCATED.get();
    for n in 0..100 {
        sender.send((n, 'x')).unwrap();
        sender.send_slice(&[(n, 'y'); 2]).unwrap();
        assert!(sender.send_timeout((n, 'z'), Duration::ZERO).is_err() && sender.try_send((n, 'z')).is_err());
        assert!(receiver.recv().is_ok() && receiver.try_recv().is_ok() && receiver.recv_into(&mut [(0, ' '); 4]) == Ok(1));
        assert!(receiver.try_recv().is_err());
        bytes.claim(2).unwrap().commit(2);
        peeked.peek().unwrap().release(2);
    }
    assert_eq!(receiver.recv_timeout(Duration::from_millis(50)), Err(RecvTimeoutError::Timeout));
    assert_eq!(ALLOCATED.get(), before);
    Ok(())
}

#[test]
fn no_descriptor_and_no_mapping_is_left() -> Result<()> {
    /// In a process of its own, since other tests open descriptors meanwhile.
    fn all() -> Result<Vec<String>> {
        let once = || -> Result<()> {
            let (sender, mut receiver) = spsc::<u64>(3)?;
            Process::spawn(count, (sender, 2))?.join()?;
            assert!(receiver.iter().eq([0, 1]));
            let (sender, receiver) = spsc::<u64>(3)?;
            let parcel = Parcel::of(&(sender, receiver));
            drop(parcel.open::<(Sender<u64>, Receiver<u64>)>());
            let (sender, receiver) = spsc::<u64>(3)?;
            let _lost = Parcel::of(&(sender, receiver));
            let (_, receiver) = spsc::<u64>(3)?;
            let child = Process::spawn(stay_with::<Receiver<u64>>, (receiver, &events(1)?))?;
            child.kill()?;
            assert!(child.join().is_err());
            Ok(())
        };
        once()?;
        let before = descriptors();
        (0..5).try_for_each(|_| once())?;
        until("the descriptors are back", || descriptors().len() <= before.len());
        let maps = std::fs::read_to_string("/proc/self/maps")?;
        Ok(maps.lines().filter(|line| line.contains("/memfd:coproc ")).map(String::from).collect())
    }
    let _watch = watchdog(60, "descriptors");
    assert_eq!(Process::spawn(all, ())?.join()?, Vec::<String>::new());
    Ok(())
}

/// Panics while it is written, or read, if it says so.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Shy(u8);

const WRITTEN: u8 = 100;
const READ: u8 = 101;

impl Message for Shy {
    const BOUND: Option<usize> = Some(2);

    fn write(&self, to: &mut Writer<'_>) {
        to.bytes(&[self.0]);
        assert!(self.0 != WRITTEN);
        to.bytes(&[self.0]);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let (one, other) = (from.plain::<u8>()?, from.plain::<u8>()?);
        assert!(one != READ);
        (one == other).then_some(Self(one))
    }
}

impl Item for Shy {
    const LAYOUT: u64 = 1;
}

#[test]
fn a_panic_while_an_item_is_written_sends_nothing() -> Result<()> {
    let (mut sender, mut receiver) = spsc(4)?;
    sender.send(Shy(1))?;
    assert!(catch_unwind(AssertUnwindSafe(|| sender.send(Shy(WRITTEN)))).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| sender.send_slice(&[Shy(2), Shy(WRITTEN)]))).is_err());
    assert_eq!(receiver.len(), 1);
    sender.send(Shy(3))?;
    drop(sender);
    assert!(receiver.iter().eq([Shy(1), Shy(3)]));
    Ok(())
}

#[test]
fn a_panic_while_an_item_is_read_leaves_it_inside() -> Result<()> {
    let (mut sender, mut receiver) = spsc(4)?;
    sender.send_slice(&[Shy(READ), Shy(2)])?;
    assert!(catch_unwind(AssertUnwindSafe(|| receiver.recv())).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| receiver.recv_into(&mut [Shy(0); 2]))).is_err());
    assert_eq!(receiver.len(), 2);
    Ok(())
}

#[test]
fn bytes_that_are_no_item_are_an_error_and_the_next_item_comes() -> Result<()> {
    let (mut sender, receiver) = spsc(4)?;
    let (mut receiver, file) = opened(receiver);
    sender.send_slice(&['a', 'b', 'c'])?;
    file.write_all_at(&0xd800_u32.to_le_bytes(), SLOTS + 4).unwrap();
    assert_eq!(receiver.recv(), Ok('a'));
    assert_eq!(receiver.recv(), Err(RecvError::Corrupted));
    assert_eq!(receiver.recv(), Ok('c'));
    sender.send_slice(&['d', 'e', 'f'])?;
    file.write_all_at(&u32::MAX.to_le_bytes(), SLOTS).unwrap();
    assert_eq!(receiver.recv_into(&mut ['-'; 4]), Err(RecvError::Corrupted));
    assert!(receiver.is_empty());
    sender.send_slice(&['g', 'h'])?;
    file.write_all_at(&u32::MAX.to_le_bytes(), SLOTS + 8).unwrap();
    drop(sender);
    assert_eq!(receiver.iter().collect::<Vec<_>>(), ['h']);
    Ok(())
}

#[test]
fn the_words_lie_where_these_tests_write_them() -> Result<()> {
    let (mut sender, receiver) = spsc::<u64>(4)?;
    let (mut receiver, file) = opened(receiver);
    sender.send_slice(&[7, 8, 9])?;
    receiver.recv()?;
    assert_eq!((peek(&file, SENT), peek(&file, RECEIVED)), (3, 1));
    let slots: Vec<u64> = (0..4).map(|n| peek(&file, SLOTS + 8 * n)).collect();
    assert_eq!(slots, [7, 8, 9, 0]);
    let holders = [0, 8].map(|at| peek(&file, HOLDERS + at));
    assert!(holders[0] != 0 && holders[0] == holders[1] && holders[0] < 1 << 40, "{holders:x?}");
    let parcel = Parcel::of(&receiver);
    assert_eq!(peek(&file, HOLDERS + 8), 0, "on its way");
    assert_eq!(peek(&file, CLOSED), 0);
    drop(sender);
    assert_eq!(peek(&file, CLOSED), 1);
    drop(parcel.open::<Receiver<u64>>());
    assert_eq!(peek(&file, CLOSED), 1 | 1 << 32);
    Ok(())
}

#[test]
fn a_position_that_goes_back_or_too_far_is_an_error_and_takes_nothing_away() -> Result<()> {
    let _watch = watchdog(30, "strange positions");
    let (sender, receiver) = spsc::<u64>(4)?;
    let (mut sender, file) = opened(sender);
    let mut receiver = receiver;
    sender.send_slice(&[1, 2, 3])?;
    assert_eq!(receiver.peek()?.len(), 3);
    for position in [0, 2, 5, 100, 1 << 63, u64::MAX] {
        poke(&file, SENT, position);
        assert_eq!(receiver.peek().map(drop), Err(RecvError::Corrupted), "{position}");
        assert_eq!(receiver.try_peek().map(drop), Err(TryRecvError::Corrupted));
        assert!(receiver.len() <= 4 && sender.len() <= 4);
    }
    // Three were there for sure.
    assert_eq!(receiver.recv_into(&mut [0; 4]), Err(RecvError::Corrupted));
    assert_eq!((receiver.recv(), receiver.recv_into(&mut [0; 2])), (Ok(1), Ok(2)));
    assert_eq!(receiver.recv(), Err(RecvError::Corrupted));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Corrupted));
    assert_eq!(receiver.recv_timeout(SOON), Err(RecvTimeoutError::Corrupted));
    assert_eq!(receiver.iter().next(), None);
    // The other side.
    sender.send(4)?;
    for position in [5, 6, u64::MAX] {
        poke(&file, RECEIVED, position);
        assert_eq!(sender.send(9), Err(SendError::Corrupted(9)), "{position}");
        assert_eq!(sender.try_send(9), Err(TrySendError::Corrupted(9)));
        assert_eq!(sender.send_timeout(9, SOON), Err(SendTimeoutError::Corrupted(9)));
        assert_eq!(sender.claim(4).map(drop), Err(SendError::Corrupted(())));
        assert_eq!(sender.send_slice(&[1]).unwrap_err().reason, SendError::Corrupted(()));
    }
    // Who comes anew does not believe them either.
    let parcel = Parcel::of(&sender);
    assert!(parcel.open::<Sender<u64>>().is_none());
    Ok(())
}

#[test]
fn positions_count_on_past_the_largest_number() -> Result<()> {
    let (sender, receiver) = spsc::<u64>(4)?;
    let parcel = Parcel::of(&(sender, receiver));
    let file: File = parcel.handles[0].as_fd().try_clone_to_owned().unwrap().into();
    poke(&file, SENT, u64::MAX - 2);
    poke(&file, RECEIVED, u64::MAX - 2);
    let (mut sender, mut receiver) = parcel.open::<(Sender<u64>, Receiver<u64>)>().unwrap();
    for n in 0..20 {
        sender.send_slice(&[n, n + 1, n + 2])?;
        assert_eq!((sender.len(), receiver.len()), (3, 3));
        assert_eq!([receiver.recv()?, receiver.recv()?, receiver.recv()?], [n, n + 1, n + 2]);
    }
    assert_eq!(peek(&file, SENT), 57);
    Ok(())
}

#[test]
fn a_hostile_peer_cannot_give_a_process_the_same_end_twice() -> Result<()> {
    let (sender, receiver) = spsc::<u64>(4)?;
    let parcel = Parcel::of(&sender);
    let socket = parcel.handles[1].as_fd().try_clone_to_owned().unwrap();
    let again = || {
        let socket = Handle::of(parcel.handles[1].kind(), socket.try_clone().unwrap()).unwrap();
        Parcel { bytes: Vec::new(), handles: vec![parcel.handles[0].clone(), socket] }
    };
    let first = parcel.open::<Sender<u64>>().expect("the end");
    assert!(again().open::<Sender<u64>>().is_none());
    drop(first);
    // Dropped is dropped.
    assert!(again().open::<Sender<u64>>().is_none());
    assert!(receiver.is_closed());
    Ok(())
}

/// Everything that one can do to a ring, each call bounded.
fn use_all(sender: &mut Sender<u64>, receiver: &mut Receiver<u64>) {
    let short = Duration::from_millis(1);
    let _ = (sender.is_closed(), receiver.is_closed(), format!("{sender:?} {receiver:?}"));
    let capacity = sender.capacity();
    let _ = sender.try_send(1);
    let _ = sender.send_timeout(2, short);
    if let Ok(mut claim) = sender.try_claim(capacity.div_ceil(2)) {
        let (front, back) = claim.as_mut_slices();
        front.iter_mut().chain(back).for_each(|slot| *slot = 3);
        claim.commit(1);
    }
    let _ = receiver.try_recv();
    if let Ok(peek) = receiver.try_peek() {
        let (front, back) = peek.as_slices();
        assert!(front.len() + back.len() <= capacity);
        let some = front.len().min(1);
        peek.release(some);
    }
    let _ = receiver.recv_timeout(short);
    if !receiver.is_empty() && receiver.try_peek().is_ok() {
        let _ = receiver.recv_into(&mut [0; 3]);
    }
    assert!(sender.len() <= capacity && receiver.len() <= capacity);
}

#[test]
fn random_bytes_are_errors_or_items_but_no_crash_and_no_hang() -> Result<()> {
    let _watch = watchdog(120, "random bytes");
    let mut random = Random(7);
    for _ in 0..600 {
        let capacity = 1 + random.below(9);
        let (sender, receiver) = spsc::<u64>(capacity as usize)?;
        let (mut sender, file) = opened(sender);
        let mut receiver = receiver;
        for n in 0..random.below(2 * capacity) {
            let _ = sender.try_send(n);
            if random.below(2) == 0 {
                let _ = receiver.try_recv();
            }
        }
        for _ in 0..1 + random.below(6) {
            let at = SENT + 8 * random.below((SLOTS - SENT) / 8 + capacity);
            poke(&file, at, random.strange_word());
        }
        use_all(&mut sender, &mut receiver);
        let parcel = Parcel::of(&(sender, receiver));
        if let Some((mut sender, mut receiver)) = parcel.open::<(Sender<u64>, Receiver<u64>)>() {
            use_all(&mut sender, &mut receiver);
            drop(sender);
            // It must end: with an error, or after as many items as fit.
            assert!(receiver.iter().take(capacity as usize + 1).count() <= capacity as usize);
        }
    }
    Ok(())
}

#[test]
fn the_ends_are_moved_and_shared_as_threads_like() {
    fn is_both<T: Send + Sync>() {}
    is_both::<Sender<u64>>();
    is_both::<Receiver<char>>();
}
