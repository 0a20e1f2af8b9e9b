//! A queue of tasks that somebody waits for.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use coproc::{
    Event, Item, JoinTimeoutError, JoinableQueue, Message, NoTask, Reader, RecvError, Result, SharedArray, SharedValue,
    TasksLost, TryRecvError, Writer,
};
use coproc_pool::Process;
use coproc_tests::{kill, pause, watchdog};

const SHORT: Duration = Duration::from_millis(30);
const SOON: Duration = Duration::from_secs(20);

#[test]
fn join_waits_for_what_is_inside_and_what_is_taken() -> Result<()> {
    let _watch = watchdog(30, "join in one thread");
    let tasks = JoinableQueue::new(4)?;
    tasks.join().unwrap();
    tasks.send(1_u32)?;
    assert_eq!(tasks.join_timeout(SHORT), Err(JoinTimeoutError::Timeout));
    assert_eq!(tasks.recv(), Ok(1));
    assert_eq!((tasks.len(), tasks.join_timeout(SHORT)), (0, Err(JoinTimeoutError::Timeout)));
    tasks.task_done().unwrap();
    tasks.join().unwrap();
    assert_eq!(tasks.task_done(), Err(NoTask));
    assert_eq!(tasks.try_recv(), Err(TryRecvError::Empty));
    tasks.close();
    assert_eq!(tasks.recv(), Err(RecvError::Closed));
    Ok(())
}

#[test]
fn four_processes_do_all_tasks_before_join_returns() -> Result<()> {
    fn work(tasks: JoinableQueue<u64>, done: SharedArray<AtomicU64>) -> Result<()> {
        while let Ok(task) = tasks.recv() {
            done[task as usize].fetch_add(1, Ordering::Relaxed);
            tasks.task_done().map_err(coproc::Error::other)?;
        }
        Ok(())
    }
    let _watch = watchdog(60, "four workers");
    let (tasks, done) = (JoinableQueue::new(8)?, SharedArray::<AtomicU64>::zeroed(1000)?);
    let workers = [(); 4].map(|()| Process::spawn(work, (&tasks, &done)).unwrap());
    for round in 1..=3 {
        for task in 0..1000 {
            tasks.send(task)?;
        }
        tasks.join().unwrap();
        assert!(done.iter().all(|count| count.load(Ordering::Relaxed) == round));
    }
    tasks.close();
    for worker in workers {
        worker.join()?;
    }
    Ok(())
}

#[test]
fn what_the_dead_had_taken_is_lost_and_said_once() -> Result<()> {
    fn take_two(tasks: JoinableQueue<u32>, ready: SharedValue<Event>) {
        tasks.recv().unwrap();
        tasks.recv().unwrap();
        ready.set();
        pause()
    }
    let _watch = watchdog(60, "joining the dead");
    let (tasks, ready) = (JoinableQueue::new(4)?, SharedValue::new(Event::new())?);
    tasks.send_slice(&[1, 2, 3])?;
    let worker = Process::spawn(take_two, (&tasks, &ready))?;
    ready.wait();
    assert_eq!(tasks.recv(), Ok(3));
    kill(worker.pid());
    assert_eq!(tasks.join_timeout(SHORT), Err(JoinTimeoutError::Timeout), "one is at work yet");
    tasks.task_done().unwrap();
    assert_eq!(tasks.join_timeout(SOON), Err(JoinTimeoutError::Lost(TasksLost(2))));
    tasks.join().unwrap();
    Ok(())
}

#[test]
fn threads_of_one_process_may_say_it_for_each_other() -> Result<()> {
    let _watch = watchdog(30, "threads");
    let tasks = JoinableQueue::new(100)?;
    tasks.send_slice(&[0_u8; 100])?;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| while tasks.try_recv().is_ok() {});
        }
    });
    for _ in 0..100 {
        tasks.task_done().unwrap();
    }
    tasks.join().unwrap();
    assert_eq!(tasks.task_done(), Err(NoTask));
    Ok(())
}

/// A task may send another before it is done: there is always one, in the queue or in hand.
#[test]
fn join_does_not_return_between_a_task_and_the_one_that_it_sends() -> Result<()> {
    const TASKS: u64 = 200_000;
    fn work(tasks: JoinableQueue<u64>, done: SharedArray<AtomicU64>) -> Result<()> {
        while let Ok(task) = tasks.recv() {
            spin();
            if task > 1 {
                tasks.send(task - 1)?;
            }
            done[0].fetch_add(1, Ordering::Relaxed);
            tasks.task_done().map_err(coproc::Error::other)?;
            spin();
        }
        Ok(())
    }
    /// So that who looks meets each state.
    fn spin() {
        (0..20).for_each(|_| std::hint::spin_loop());
    }
    const DEAD: u64 = 4;
    let _watch = watchdog(120, "a task that sends itself");
    for workers in [1, 2] {
        let (tasks, done) = (JoinableQueue::new(2)?, SharedArray::<AtomicU64>::zeroed(1)?);
        for task in 0..DEAD {
            // Who looks at what the workers have in hand asks the kernel about these first, which takes it a moment.
            tasks.send(task)?;
            Process::spawn(|tasks: JoinableQueue<u64>| tasks.recv().unwrap(), (&tasks,))?.join()?;
        }
        let workers = (0..workers).map(|_| Process::spawn(work, (&tasks, &done))).collect::<Result<Vec<_>>>()?;
        tasks.send(TASKS)?;
        let end = loop {
            match tasks.join_timeout(Duration::ZERO) {
                Err(JoinTimeoutError::Timeout) => {}
                end => break end,
            }
        };
        assert_eq!((end, done[0].load(Ordering::Relaxed)), (Err(JoinTimeoutError::Lost(TasksLost(DEAD))), TASKS));
        tasks.join().unwrap();
        tasks.close();
        for worker in workers {
            worker.join()?;
        }
    }
    Ok(())
}

/// Panics when it is read.
#[derive(Debug, PartialEq)]
struct Unreadable;

impl Message for Unreadable {
    const BOUND: Option<usize> = Some(1);

    fn write(&self, to: &mut Writer<'_>) {
        to.bytes(&[1]);
    }

    fn read(_: &mut Reader<'_>) -> Option<Self> {
        panic!("not to be read")
    }
}

impl Item for Unreadable {
    const LAYOUT: u64 = 1;
}

#[test]
fn a_task_that_panics_when_it_is_read_is_not_taken() -> Result<()> {
    let tasks = JoinableQueue::new(1)?;
    tasks.send(Unreadable)?;
    assert!(catch_unwind(AssertUnwindSafe(|| tasks.recv())).is_err());
    assert_eq!((tasks.len(), tasks.task_done()), (1, Err(NoTask)));
    Ok(())
}
