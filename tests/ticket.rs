//! Handles through a queue as tickets, between processes some of which are killed.

use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use coproc::__private::{Parcel, family, socket};
use coproc::{
    Error, Event, FrozenArray, JoinableQueue, Message, Pipe, Queue, Receiver, RecvError, Result, Sender, SharedArray,
    SharedValue, Ticket, TicketError, spsc,
};
use coproc_pool::Process;
use coproc_tests::{
    Random, Seal, descriptors, events, fork, kill, limit_descriptors, memory, outlive_parent, pause, signal, until, wait,
    wait_for, watchdog,
};

type Tickets = Queue<Ticket<SharedValue<u64>>>;

/// Runs a test once more in a process of its own, which is the first of its family, and gives what it prints; there, runs this.
fn in_a_family_of_its_own(test: &str, run: impl FnOnce() -> Result<()>) -> Result<Option<String>> {
    if std::env::var_os("TICKET_TEST").is_some_and(|name| name == test) {
        return run().map(|()| None);
    }
    let mut program = Command::new(std::env::current_exe()?);
    program.args([test, "--exact", "--nocapture", "--test-threads=1"]).env("TICKET_TEST", test);
    // What it starts keeps this open, so all of it has ended when all is read.
    let output = program.stdout(Stdio::piped()).stderr(Stdio::inherit()).output()?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(Some(printed))
}

/// That a test passed there.
fn passed(printed: Option<String>) {
    assert!(printed.as_ref().is_none_or(|printed| printed.contains("1 passed")), "{printed:?}");
}

/// How many descriptors this process has.
fn open_files() -> usize {
    descriptors().len()
}

#[test]
fn a_handle_arrives_though_its_giver_is_dead() -> Result<()> {
    fn give(queue: Tickets, at: SharedArray<Event>) -> Result<()> {
        let n = SharedValue::new(7)?;
        queue.send(queue.ticket(&n)?)?;
        drop(n);
        at[0].set();
        pause()
    }
    fn take(queue: Tickets) -> Result<u64> {
        let n: SharedValue<u64> = queue.recv()?.redeem()?;
        n.update(|n| n * 6)?;
        Ok(n.get()?)
    }
    let _watch = watchdog(60, "a dead giver");
    let (queue, at) = (Queue::new(4)?, events(1)?);
    let giver = Process::spawn(give, (&queue, &at))?;
    wait(&at[0], "the ticket is sent");
    kill(giver.pid());
    assert!(giver.join().is_err());
    assert_eq!(Process::spawn(take, (&queue,))?.join()?, 42);
    Ok(())
}

#[test]
fn a_grandchild_gives_and_takes() -> Result<()> {
    fn middle(queue: Tickets) -> Result<u64> {
        Ok(Process::spawn(last, (&queue,))?.join()?)
    }
    fn last(queue: Tickets) -> Result<u64> {
        let n: SharedValue<u64> = queue.recv()?.redeem()?;
        queue.send(queue.ticket(SharedValue::new(n.get()? + 1)?)?)?;
        Ok(n.get()?)
    }
    let _watch = watchdog(60, "a grandchild");
    let queue = Tickets::new(1)?;
    queue.send(queue.ticket(&SharedValue::new(5)?)?)?;
    assert_eq!(Process::spawn(middle, (&queue,))?.join()?, 5);
    assert_eq!(queue.recv()?.redeem()?.get()?, 6);
    Ok(())
}

#[test]
fn a_ticket_is_redeemed_once() -> Result<()> {
    let _watch = watchdog(60, "twice");
    let queue = Tickets::new(1)?;
    let n = SharedValue::new(1)?;
    let ticket = queue.ticket(&n)?;
    queue.send(ticket)?;
    let twin = queue.recv()?;
    twin.redeem()?.set(2)?;
    assert_eq!(n.get()?, 2);
    assert!(matches!(ticket.redeem(), Err(TicketError::Void)));
    let other = Process::spawn(|ticket: Ticket<SharedValue<u64>>| ticket.redeem().is_err(), (ticket,))?;
    assert!(other.join()?);
    Ok(())
}

#[test]
fn ends_of_rings_and_pipes_arrive() -> Result<()> {
    #[derive(Message)]
    struct Ends {
        sender: Sender<u32>,
        pipe: Pipe,
        text: String,
    }
    fn serve(queue: Queue<(u8, Ticket<Ends>)>) -> Result<()> {
        let (number, ticket) = queue.recv()?;
        let mut ends = ticket.redeem()?;
        ends.sender.send(u32::from(number))?;
        ends.pipe.send(ends.text.as_bytes())?;
        assert_eq!(ends.pipe.recv()?, b"bye");
        Ok(())
    }
    let _watch = watchdog(60, "ends");
    let queue = Queue::new(1)?;
    let (sender, mut receiver) = spsc(4)?;
    let (here, pipe) = Pipe::pair()?;
    here.send(b"bye")?;
    queue.send((9, queue.ticket(Ends { sender, pipe, text: "hello".into() })?))?;
    // While they are kept, they are not gone.
    assert!(receiver.try_recv().is_err_and(|error| error == coproc::TryRecvError::Empty));
    assert!(!here.is_closed());
    let child = Process::spawn(serve, (&queue,))?;
    assert_eq!((receiver.recv()?, here.recv()?), (9, b"hello".to_vec()));
    child.join()?;
    // The first process has let go of them too.
    assert_eq!((receiver.recv(), here.recv()), (Err(RecvError::Closed), Err(RecvError::Closed)));
    Ok(())
}

/// Redeems the end of a ring, and has it until it is killed.
fn hold(queue: Queue<Ticket<Receiver<u8>>>, at: SharedValue<Event>) -> Result<()> {
    let _end = queue.recv()?.redeem()?;
    at.set();
    pause()
}

#[test]
fn the_other_end_finds_a_killed_receiver_disconnected() -> Result<()> {
    let _watch = watchdog(60, "a killed receiver");
    let (queue, at) = (Queue::new(1)?, SharedValue::new(Event::new())?);
    let (mut sender, receiver) = spsc::<u8>(1)?;
    queue.send(queue.ticket(receiver)?)?;
    let child = Process::spawn(hold, (&queue, &at))?;
    wait(&at, "the end is redeemed");
    sender.send(1)?;
    kill(child.pid());
    assert!(child.join().is_err());
    assert!(matches!(sender.send(2), Err(coproc::SendError::Disconnected(2))));
    Ok(())
}

#[test]
fn three_hundred_at_once() -> Result<()> {
    fn take(queue: Tickets) -> Result<u64> {
        let mut sum = 0;
        for ticket in &queue {
            sum += ticket.redeem()?.get()?;
        }
        Ok(sum)
    }
    let _watch = watchdog(60, "three hundred");
    let queue = Tickets::new(300)?;
    let n = SharedValue::new(0)?;
    for i in 0..300 {
        queue.send(if i % 2 == 0 { queue.ticket(&n)? } else { queue.ticket(SharedValue::new(i)?)? })?;
    }
    n.set(2)?;
    queue.close();
    assert_eq!(Process::spawn(take, (&queue,))?.join()?, 300 + (1..300).step_by(2).sum::<u64>());
    Ok(())
}

#[test]
fn many_handles_and_long_bytes_in_one() -> Result<()> {
    type Much = (Vec<SharedValue<usize>>, String, FrozenArray<u8>);
    let _watch = watchdog(60, "much");
    let queue = Queue::<Ticket<Much>>::new(1)?;
    let n = SharedValue::new(3)?;
    let text = "long".repeat(1 << 20);
    queue.send(queue.ticket((vec![n.clone(); 600], text.clone(), FrozenArray::from_slice(&[1, 2])?))?)?;
    let (all, said, frozen) = queue.recv()?.redeem()?;
    assert!(all.len() == 600 && all[599].get()? == 3 && said == text && frozen[..] == [1, 2]);
    Ok(())
}

#[test]
fn tasks_carry_tickets() -> Result<()> {
    let _watch = watchdog(60, "tasks");
    let tasks = JoinableQueue::new(1)?;
    tasks.send(tasks.ticket(&SharedValue::new(8_u64)?)?)?;
    assert_eq!(tasks.recv()?.redeem()?.get()?, 8);
    assert_eq!(tasks.task_done(), Ok(()));
    Ok(())
}

#[test]
fn a_ticket_of_another_type_is_none() -> Result<()> {
    let _watch = watchdog(60, "another type");
    let queue = Queue::<Ticket<SharedValue<u64>>>::new(1)?;
    queue.send(queue.ticket(&SharedValue::new(8_u64)?)?)?;
    let other = Queue::<Ticket<SharedValue<i64>>>::try_from(queue.as_fd().try_clone_to_owned()?)?;
    assert!(matches!(other.recv(), Err(RecvError::Corrupted)));
    Ok(())
}

/// Until this process has so many descriptors.
fn until_open(files: usize, what: &str) {
    until(what, || open_files() == files);
}

#[test]
fn a_closed_queue_frees_what_nobody_took() -> Result<()> {
    let run = || {
        let queue = Tickets::new(4)?;
        let before = open_files();
        queue.ticket(&SharedValue::new(1)?)?.redeem()?;
        // Both ends of the door are there for good.
        let before = before + 2;
        until_open(before, "a redeemed one is let go");
        for _ in 0..3 {
            queue.send(queue.ticket(&SharedValue::new(1)?)?)?;
        }
        until_open(before + 4, "three are kept, and a look at the queue");
        queue.close();
        // Who has taken what is inside may redeem it yet.
        let ticket = queue.recv()?;
        queue.drain().count();
        // Provokes: the keeper looks every second, and sees that the queue is over.
        std::thread::sleep(Duration::from_millis(1500));
        ticket.redeem()?;
        until_open(before + 3, "the others are kept");
        until_open(before, "the others are let go");
        Ok(())
    };
    let _watch = watchdog(60, "a closed queue");
    in_a_family_of_its_own("a_closed_queue_frees_what_nobody_took", run).map(passed)
}

#[test]
fn what_a_killed_receiver_had_taken_is_freed_with_the_queue() -> Result<()> {
    fn take(queue: Tickets, at: SharedArray<Event>) -> Result<()> {
        let _ticket = queue.recv()?;
        at[0].set();
        pause()
    }
    let run = || {
        let at = events(1)?;
        Process::spawn(|| (), ())?.join()?;
        let before = open_files();
        let queue = Tickets::new(4)?;
        queue.send(queue.ticket(&SharedValue::new(1)?)?)?;
        let child = Process::spawn(take, (&queue, &at))?;
        wait(&at[0], "it has the ticket");
        kill(child.pid());
        assert!(child.join().is_err());
        drop(queue);
        until_open(before + 2, "it is kept, and a look at the queue");
        until_open(before, "nobody has the queue");
        Ok(())
    };
    let _watch = watchdog(60, "a killed receiver");
    in_a_family_of_its_own("what_a_killed_receiver_had_taken_is_freed_with_the_queue", run).map(passed)
}

#[test]
fn without_the_first_process_it_is_an_error_at_once() -> Result<()> {
    fn survive(queue: Tickets, at: SharedArray<Event>) -> Result<()> {
        outlive_parent();
        let keeper = std::os::unix::process::parent_id();
        let (one, other) = (queue.recv()?, queue.recv()?);
        signal(keeper, libc::SIGSTOP);
        at[0].set();
        // One waits for the stopped process; it, too, gets its answer.
        let waiting = std::thread::spawn(move || one.redeem());
        kill(keeper);
        let gone = |result: Result<SharedValue<u64>, TicketError>| matches!(result, Err(TicketError::KeeperGone));
        assert!(gone(waiting.join().unwrap()));
        let began = Instant::now();
        assert!(matches!(other.redeem(), Err(TicketError::KeeperGone)));
        assert!(matches!(queue.ticket(&SharedValue::new(1)?), Err(TicketError::KeeperGone)));
        assert!(began.elapsed() < Duration::from_secs(1));
        println!("all is gone, as it should be");
        Ok(())
    }
    let run = || {
        let (queue, at) = (Tickets::new(2)?, events(1)?);
        for _ in 0..2 {
            queue.send(queue.ticket(&SharedValue::new(1)?)?)?;
        }
        let child = Process::spawn(survive, (&queue, &at))?;
        Err(Error::other(format!("not killed: {:?}", child.join())))
    };
    let _watch = watchdog(60, "no keeper");
    let printed = in_a_family_of_its_own("without_the_first_process_it_is_an_error_at_once", run)?.unwrap_or_default();
    assert!(printed.contains("all is gone, as it should be"), "{printed}");
    Ok(())
}

#[test]
fn a_full_keeper_refuses_and_later_takes() -> Result<()> {
    fn fill(queue: Tickets) -> Result<()> {
        let n = SharedValue::new(1)?;
        let mut sent = 0;
        let refused = loop {
            match queue.ticket(&n) {
                Ok(ticket) => queue.send(ticket)?,
                Err(error) => break error,
            }
            sent += 1;
            assert!(sent < 100, "no limit");
        };
        assert!(matches!(refused, TicketError::KeeperFull), "{refused:?} after {sent}");
        assert!(refused.to_string().contains("RLIMIT_NOFILE"));
        for _ in 0..4 {
            queue.recv()?.redeem()?;
        }
        let again = queue.ticket(&n)?;
        assert_eq!(again.redeem()?.get()?, 1);
        Ok(())
    }
    let run = || {
        let queue = Tickets::new(100)?;
        let child = Process::spawn(fill, (&queue,))?;
        limit_descriptors(open_files() as u64 + 20);
        Ok(child.join()?)
    };
    let _watch = watchdog(60, "a full keeper");
    in_a_family_of_its_own("a_full_keeper_refuses_and_later_takes", run).map(passed)
}

#[test]
fn a_full_receiver_may_try_again() -> Result<()> {
    fn take(queue: Queue<Ticket<Vec<SharedValue<u64>>>>) -> Result<u64> {
        let ticket = queue.recv()?;
        let mut kept: Vec<_> = (0..9).map(|_| memory(b"", Seal::Nothing)).collect();
        limit_descriptors(open_files() as u64 + 5);
        let full = ticket.redeem();
        assert!(matches!(full, Err(TicketError::TooManyDescriptors)), "{full:?}");
        kept.clear();
        Ok(ticket.redeem()?.len() as u64)
    }
    let _watch = watchdog(60, "a full receiver");
    let queue = Queue::new(1)?;
    let all = (0..6).map(SharedValue::new).collect::<Result<Vec<_>>>()?;
    queue.send(queue.ticket(all)?)?;
    assert_eq!(Process::spawn(take, (&queue,))?.join()?, 6);
    Ok(())
}

#[test]
fn a_ticket_of_another_family_is_an_error() -> Result<()> {
    let run = || {
        let queue = Tickets::new(1)?;
        let ticket: Ticket<SharedValue<u64>> = queue.ticket(&SharedValue::new(1)?)?;
        let bytes = Parcel::of(&ticket).bytes;
        println!("ticket {bytes:?}.");
        Ok(())
    };
    let _watch = watchdog(60, "another family");
    let Some(printed) = in_a_family_of_its_own("a_ticket_of_another_family_is_an_error", run)? else { return Ok(()) };
    assert!(printed.contains("1 passed"));
    let bytes = printed.split_once("ticket [").and_then(|(_, rest)| rest.split_once("].")).expect("it prints one").0;
    let bytes = bytes.split(", ").map(|byte| byte.parse().unwrap()).collect();
    let ticket: Ticket<SharedValue<u64>> = Parcel { bytes, handles: vec![] }.open().expect("a ticket");
    assert!(matches!(ticket.redeem(), Err(TicketError::Stranger)));
    Ok(())
}

#[test]
fn a_forked_child_gives_and_takes() -> Result<()> {
    // In a child, which has one thread.
    fn forks(queue: Tickets) -> Result<i32> {
        let ticket = queue.recv()?;
        Ok(wait_for(fork(|| {
            let n = ticket.redeem().unwrap().get().unwrap();
            queue.send(queue.ticket(SharedValue::new(n + 1).unwrap()).unwrap()).unwrap();
            0
        })))
    }
    let _watch = watchdog(60, "a forked child");
    let queue = Tickets::new(1)?;
    queue.send(queue.ticket(&SharedValue::new(1)?)?)?;
    assert_eq!(Process::spawn(forks, (&queue,))?.join()?, 0);
    assert_eq!(queue.recv()?.redeem()?.get()?, 2);
    Ok(())
}

#[test]
fn a_fork_of_the_keeper_keeps_nothing() -> Result<()> {
    let run = || {
        let (queue, at) = (Queue::new(1)?, SharedValue::new(Event::new())?);
        let (mut sender, receiver) = spsc::<u8>(1)?;
        queue.send(queue.ticket(receiver)?)?;
        let copy = fork(|| pause());
        let child = Process::spawn(hold, (&queue, &at))?;
        wait(&at, "the end is redeemed");
        sender.send(1)?;
        kill(child.pid());
        assert!(child.join().is_err());
        // Were the end in the copy, it would be one that lives.
        assert!(matches!(sender.send(2), Err(coproc::SendError::Disconnected(2))));
        kill(copy);
        wait_for(copy);
        Ok(())
    };
    let _watch = watchdog(60, "a fork of the keeper");
    in_a_family_of_its_own("a_fork_of_the_keeper_keeps_nothing", run).map(passed)
}

#[test]
fn strange_callers_are_sent_away() -> Result<()> {
    let _watch = watchdog(60, "strange callers");
    let queue = Tickets::new(1)?;
    let ticket = queue.ticket(&SharedValue::new(3)?)?;
    let files = family()?;
    let door = files[1].as_fd();
    let nothing = memory(b"nothing", Seal::All);
    let mut random = Random(11);
    socket::send(door, b"hello", &[], true)?;
    socket::send(door, &[], &[], true)?;
    socket::send(door, &[0], &[nothing.as_fd(), nothing.as_fd()], true)?;
    for round in 0..300 {
        let (ours, theirs) = socket::pair()?;
        socket::send(door, &[0], &[theirs.as_fd()], true)?;
        drop(theirs);
        // What is asked, a number, the size of an item; some of it makes sense.
        let mut packet = vec![(round % 5) as u8];
        packet.extend((0..23 + round % 3).map(|_| random.next() as u8));
        if round % 2 == 0 && packet.len() == 25 {
            packet[17..].copy_from_slice(&random.strange_word().to_le_bytes());
        }
        let file = [nothing.as_fd(), queue.as_fd(), door][round % 3];
        let _ = socket::send(ours.as_fd(), &packet, &[file][..usize::from(round % 7 != 0)], true);
        for _ in 0..random.below(3) {
            let junk: Vec<u8> = (0..random.below(20)).map(|_| random.below(4) as u8).collect();
            let _ = socket::send(ours.as_fd(), &junk, &[file][..usize::from(round % 4 != 0)], true);
        }
    }
    assert_eq!(ticket.redeem()?.get()?, 3);
    Ok(())
}

#[test]
fn a_stopped_caller_holds_up_nobody() -> Result<()> {
    fn asks(queue: Tickets, at: SharedArray<Event>) -> Result<()> {
        at[0].set();
        loop {
            queue.ticket(&SharedValue::new(1)?)?.redeem()?;
        }
    }
    let _watch = watchdog(60, "a stopped caller");
    let queue = Tickets::new(1)?;
    let mut random = Random(5);
    for _ in 0..20 {
        let at = events(1)?;
        let child = Process::spawn(asks, (&queue, &at))?;
        wait(&at[0], "it asks");
        let spins = random.below(200_000);
        (0..spins).for_each(|_| std::hint::spin_loop());
        coproc_tests::stop(child.pid());
        assert_eq!(queue.ticket(&SharedValue::new(4)?)?.redeem()?.get()?, 4);
        kill(child.pid());
        assert!(child.join().is_err());
    }
    Ok(())
}

#[test]
fn each_is_redeemed_once_whoever_is_killed() -> Result<()> {
    const MOST: usize = 1 << 16;
    const KILLS: usize = 60;
    type Numbered = Queue<Ticket<(u64, SharedValue<u64>)>>;
    /// Next number; how many were refused; then for each number: 1 if it was sent, and 1000 for each time it was redeemed.
    type Book = SharedArray<AtomicU64>;

    fn give(queue: Numbered, book: Book, end: SharedValue<Event>) -> Result<()> {
        while !end.is_set() {
            let number = book[0].fetch_add(1, SeqCst);
            assert!((number as usize) < MOST - 2, "no room in the book");
            let ticket = queue.ticket((number, SharedValue::new(number)?))?;
            queue.send(ticket)?;
            book[2 + number as usize].fetch_add(1, SeqCst);
        }
        Ok(())
    }
    fn take(queue: Numbered, book: Book) -> Result<()> {
        for ticket in &queue {
            match ticket.redeem() {
                Ok((number, value)) if value.get()? == number => book[2 + number as usize].fetch_add(1000, SeqCst),
                _ => book[1].fetch_add(1, SeqCst),
            };
            if !matches!(ticket.redeem(), Err(TicketError::Void)) {
                book[1].fetch_add(1, SeqCst);
            }
        }
        Ok(())
    }
    let _watch = watchdog(120, "killed givers and takers");
    let (queue, book, end) = (Numbered::new(8)?, Book::zeroed(MOST)?, SharedValue::new(Event::new())?);
    let giver = || Process::spawn(give, (&queue, &book, &end));
    let taker = || Process::spawn(take, (&queue, &book));
    let mut givers = [giver()?, giver()?];
    let mut takers = [taker()?, taker()?];
    let mut random = Random(3);
    let mut killed = 0;
    for _ in 0..KILLS {
        let so_far = book[0].load(SeqCst);
        until("some go through", || book[0].load(SeqCst) > so_far + 5);
        let spins = random.below(100_000);
        (0..spins).for_each(|_| std::hint::spin_loop());
        let seat = random.below(2) as usize;
        let dead = if random.below(2) == 0 {
            std::mem::replace(&mut givers[seat], giver()?)
        } else {
            killed += 1;
            std::mem::replace(&mut takers[seat], taker()?)
        };
        kill(dead.pid());
        assert!(dead.join().is_err());
    }
    end.set();
    for giver in givers {
        giver.join()?;
    }
    queue.close();
    for taker in takers {
        taker.join()?;
    }
    let numbers = book[0].load(SeqCst) as usize;
    let entries: Vec<_> = book[2..2 + numbers].iter().map(|entry| entry.load(SeqCst)).collect();
    assert_eq!(book[1].load(SeqCst), 0, "a ticket was refused to the one that had received it, or given twice");
    assert!(entries.iter().all(|&entry| entry <= 1001), "redeemed twice");
    let lost = entries.iter().filter(|&&entry| entry == 1).count();
    assert!(lost <= killed, "{lost} of {numbers} were lost, and {killed} receivers killed");
    assert!(entries.iter().filter(|&&entry| entry == 1001).count() > KILLS);
    Ok(())
}
