//! Waiting for the first of several: in a call, by a descriptor, in a task.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use coproc::{
    Event, Pipe, Queue, Receiver, RecvError, SendError, Sender, SharedValue, TryRecvError, Watch, ready, spsc, wait_any,
    wait_any_timeout,
};
use coproc_pool::Process;
use coproc_tests::{fork, kill, until, wait_for, watchdog};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

const LONG: Duration = Duration::from_secs(20);

/// An executor of one task.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

fn is_readable(watch: &Watch, time: Duration) -> bool {
    let time = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
    poll(&mut [PollFd::new(watch, PollFlags::IN)], Some(&time)).unwrap() == 1
}

#[test]
fn the_first_that_is_ready_in_their_order() {
    let (a, b) = (Queue::<u8>::new(1).unwrap(), Queue::<u8>::new(1).unwrap());
    assert_eq!(wait_any_timeout(&[&a, &b], Duration::ZERO), None);
    assert_eq!(wait_any_timeout(&[], Duration::ZERO), None);
    b.send(1).unwrap();
    assert_eq!(wait_any(&[&a, &b]), 1);
    a.send(1).unwrap();
    assert_eq!(wait_any(&[&a, &b]), 0);
    assert_eq!(wait_any_timeout(&[&b, &a], Duration::MAX), Some(0));
}

#[test]
#[should_panic(expected = "none")]
fn none_at_all_is_refused() {
    wait_any(&[]);
}

#[test]
fn a_closed_queue_is_ready() {
    let queue = Queue::<u8>::new(1).unwrap();
    queue.close();
    assert_eq!(wait_any(&[&queue]), 0);
}

#[test]
fn a_sleeper_is_woken_by_each_of_several() {
    fn sender(queue: Queue<u8>, event: SharedValue<Event>, go: Queue<u8>) {
        for order in &go {
            if order == 0 {
                queue.send(7).unwrap();
            } else {
                event.set();
            }
        }
    }
    let _watchdog = watchdog(60, "waiting for a queue, an event and a process");
    let queue = Queue::<u8>::new(1).unwrap();
    let event = SharedValue::new(Event::new()).unwrap();
    let go = Queue::new(1).unwrap();
    let process = Process::spawn(sender, (&queue, &event, &go)).unwrap();
    for round in 0..200 {
        go.send(round % 2).unwrap();
        match wait_any(&[&process, &queue, &*event]) {
            1 => assert_eq!((round % 2, queue.try_recv()), (0, Ok(7))),
            2 => {
                assert_eq!(round % 2, 1);
                event.clear();
            }
            index => panic!("index {index}"),
        }
    }
    go.close();
    // Not that queue: it is at its end too when the other process dies, and either may be seen first.
    let own = Queue::<u8>::new(1).unwrap();
    assert_eq!(wait_any(&[&own, &*event, &process]), 2);
    process.join().unwrap();
}

#[test]
fn a_killed_process_is_ready() {
    let _watchdog = watchdog(60, "waiting for the end of a killed process");
    let process = Process::spawn(thread::park, ()).unwrap();
    let queue = Queue::<u8>::new(1).unwrap();
    kill(process.pid());
    assert_eq!(wait_any(&[&queue, &process]), 1);
    assert!(process.join().is_err());
}

#[test]
fn a_death_is_told_though_another_queue_is_always_busy() {
    let _watchdog = watchdog(60, "waiting for a busy queue and one of the dead");
    let (busy, quiet) = (Queue::<u8>::new(1).unwrap(), Queue::<u8>::new(1).unwrap());
    let process = Process::spawn(|_: Queue<u8>| thread::park(), (&quiet,)).unwrap();
    kill(process.pid());
    assert!(process.join().is_err());
    let told = (0..1000).any(|_| {
        // Looked at, empty, and woken before a slice is over.
        thread::scope(|scope| {
            scope.spawn(|| busy.send(1).unwrap());
            let index = wait_any(&[&busy, &quiet]);
            busy.recv().unwrap();
            index == 1
        })
    });
    assert!(told);
    assert!((0..100).any(|_| quiet.try_recv() == Err(TryRecvError::Disconnected)));
}

#[test]
fn a_forked_child_drops_a_watch_and_leaves_the_parents_alone() {
    fn parent() -> bool {
        let (queue, event) = (Queue::<u8>::new(1).unwrap(), SharedValue::new(Event::new()).unwrap());
        let watch = Watch::new(queue.observe()).unwrap();
        watch.arm().unwrap();
        queue.send(1).unwrap();
        assert!(is_readable(&watch, LONG));
        let other = Watch::new(event.clone()).unwrap();
        other.arm().unwrap();
        let mut all = Some((watch, other));
        let child = fork(|| {
            let refused = all.take().is_some_and(|(watch, _)| watch.arm().is_err());
            // It starts a thread of its own.
            let own = Watch::new(queue.observe()).unwrap();
            own.arm().unwrap();
            i32::from(!(refused && is_readable(&own, LONG)))
        });
        let good = wait_for(child) == 0;
        event.set();
        good && all.is_some_and(|(watch, other)| is_readable(&watch, Duration::ZERO) && is_readable(&other, LONG))
    }
    let _watchdog = watchdog(60, "a forked child with watches");
    assert!(Process::spawn(parent, ()).unwrap().join().unwrap());
}

#[test]
fn more_than_the_kernel_takes_at_once() {
    let _watchdog = watchdog(60, "waiting for two hundred queues");
    let queues: Vec<_> = (0..200).map(|_| Queue::<u8>::new(1).unwrap()).collect();
    let all: Vec<_> = queues.iter().map(|queue| -> &dyn coproc::Waitable { queue }).collect();
    thread::scope(|scope| {
        scope.spawn(|| queues[199].send(1).unwrap());
        assert_eq!(wait_any(&all), 199);
    });
}

#[test]
fn many_waiters_share_what_comes() {
    let _watchdog = watchdog(60, "four threads waiting for two queues");
    let (a, b) = (Queue::<u32>::new(4).unwrap(), Queue::<u32>::new(4).unwrap());
    let taken = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let queue = [&a, &b][wait_any(&[&a, &b])];
                    match queue.try_recv() {
                        Ok(_) => taken.fetch_add(1, Ordering::Relaxed),
                        Err(TryRecvError::Closed) => break,
                        Err(_) => 0,
                    };
                }
            });
        }
        for n in 0..2000 {
            [&a, &b][n as usize % 2].send(n).unwrap();
        }
        until("all are taken", || taken.load(Ordering::Relaxed) == 2000);
        a.close();
        b.close();
    });
}

#[test]
fn a_descriptor_is_readable_once_for_each_arming() {
    let _watchdog = watchdog(60, "watching a queue");
    let queue = Queue::<u8>::new(2).unwrap();
    let watch = Watch::new(queue.observe()).unwrap();
    queue.send(1).unwrap();
    assert!(!is_readable(&watch, Duration::ZERO), "it was not armed");
    watch.arm().unwrap();
    assert!(is_readable(&watch, LONG));
    assert_eq!(queue.try_recv(), Ok(1));
    watch.arm().unwrap();
    assert!(!is_readable(&watch, Duration::ZERO));
    queue.send(2).unwrap();
    assert!(is_readable(&watch, LONG));
}

#[test]
fn a_descriptor_tells_of_another_process() {
    let _watchdog = watchdog(60, "watching an event that a child sets");
    let event = SharedValue::new(Event::new()).unwrap();
    let watch = Watch::new(event.clone()).unwrap();
    watch.arm().unwrap();
    Process::spawn(|event: SharedValue<Event>| event.set(), (&event,)).unwrap().join().unwrap();
    assert!(is_readable(&watch, LONG));
}

#[test]
fn tasks_send_and_receive_between_processes() {
    fn echo(requests: Queue<u32>, answers: Queue<u32>) {
        for n in &requests {
            answers.send(n + 1).unwrap();
        }
    }
    let _watchdog = watchdog(60, "tasks");
    let (requests, answers) = (Queue::new(1).unwrap(), Queue::new(1).unwrap());
    let process = Process::spawn(echo, (&requests, &answers)).unwrap();
    block_on(async {
        for n in 0..500 {
            requests.send_async(n).await.unwrap();
            assert_eq!(answers.recv_async().await, Ok(n + 1));
        }
        requests.close();
        answers.close();
        assert_eq!(answers.recv_async().await, Err(RecvError::Closed));
        assert_eq!(requests.send_async(1).await, Err(SendError::Closed(1)));
    });
    process.join().unwrap();
}

#[test]
fn tokio_waits_for_queues_beside_its_own() {
    let _watchdog = watchdog(60, "tasks in tokio");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let queue = Queue::<u32>::new(1).unwrap();
        let short = tokio::time::timeout(Duration::from_millis(5), queue.recv_async()).await;
        assert!(short.is_err(), "nothing was sent, but {short:?}");
        let other = queue.clone();
        let sender = tokio::spawn(async move {
            for n in 0..100 {
                other.send_async(n).await.unwrap();
            }
        });
        for n in 0..100 {
            assert_eq!(queue.recv_async().await, Ok(n));
        }
        sender.await.unwrap();
    });
}

#[test]
fn a_dropped_task_takes_nothing() {
    let queue = Queue::<u32>::new(1).unwrap();
    let mut task = Box::pin(queue.recv_async());
    assert!(task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(task);
    queue.send(1).unwrap();
    assert_eq!(queue.try_recv(), Ok(1));
    queue.send(2).unwrap();
    block_on(ready(queue.observe())).unwrap();
    assert_eq!(queue.len(), 1, "being ready takes nothing");
}

#[test]
fn ends_of_rings_and_pipes_are_ready_with_others() {
    fn send(mut sender: Sender<u32>, pipe: Pipe, go: Queue<u32>) {
        for order in &go {
            match order {
                0 => sender.send(7).unwrap(),
                _ => pipe.send(b"seven").unwrap(),
            }
        }
    }
    let _watchdog = watchdog(60, "waiting for a ring and a pipe");
    let (sender, mut receiver) = spsc::<u32>(1).unwrap();
    let (here, there) = Pipe::pair().unwrap();
    let go = Queue::new(1).unwrap();
    let process = Process::spawn(send, (sender, there, &go)).unwrap();
    assert_eq!(wait_any_timeout(&[&receiver, &here], Duration::ZERO), None);
    for round in 0..200 {
        go.send(round % 2).unwrap();
        match wait_any(&[&receiver, &here]) {
            0 => assert_eq!((round % 2, receiver.try_recv()), (0, Ok(7))),
            _ => assert_eq!((round % 2, here.try_recv()), (1, Ok(b"seven".to_vec()))),
        }
    }
    let watches = [Watch::new(receiver.observe()).unwrap(), Watch::new(here.observe()).unwrap()];
    watches.iter().for_each(|watch| watch.arm().unwrap());
    assert!(watches.iter().all(|watch| !is_readable(watch, Duration::ZERO)));
    kill(process.pid());
    assert!(watches.iter().all(|watch| is_readable(watch, LONG)), "the other ends have died");
    assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
    assert_eq!(here.recv(), Err(RecvError::Disconnected));
    assert_eq!(wait_any(&[&receiver]), 0);
    assert_eq!(wait_any(&[&here]), 0);
}

#[test]
fn tasks_send_and_receive_by_rings_and_pipes() {
    fn echo(mut from: Receiver<u32>, mut to: Sender<u32>, pipe: Pipe) {
        for n in &mut from {
            to.send(n + 1).unwrap();
            pipe.send(&n.to_ne_bytes()).unwrap();
        }
    }
    let _watchdog = watchdog(60, "tasks at rings and pipes");
    let ((mut to, from), (back, mut answers)) = (spsc(1).unwrap(), spsc(1).unwrap());
    let (here, there) = Pipe::pair().unwrap();
    let process = Process::spawn(echo, (from, back, there)).unwrap();
    block_on(async {
        for n in 0..200_u32 {
            to.send_async(n).await.unwrap();
            assert_eq!(answers.recv_async().await, Ok(n + 1));
            assert_eq!(here.recv_async().await, Ok(n.to_ne_bytes().to_vec()));
        }
        drop(to);
        assert_eq!(answers.recv_async().await, Err(RecvError::Closed));
        assert_eq!(here.recv_async().await, Err(RecvError::Closed));
    });
    process.join().unwrap();
}
