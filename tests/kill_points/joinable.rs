//! Queues of tasks, of which one waits until all are done.

use coproc::{JoinableQueue, NoTask, Result, TasksLost};
use coproc_tests::rig::{Check, Dead, Operation, Other, Step, ensure, operation};
use coproc_tests::{fork, wait_for};

/// Tasks, and a process that waits until they are done.
struct Tasks {
    tasks: JoinableQueue<u64>,
    sent: Vec<u64>,
    joiner: Option<Other>,
}

/// So many tasks in the queue.
fn tasks(inside: usize) -> impl Fn() -> Result<Tasks> {
    move || {
        let tasks = JoinableQueue::new(3)?;
        let sent: Vec<u64> = (1..=inside as u64).collect();
        tasks.send_slice(&sent)?;
        Ok(Tasks { tasks, sent, joiner: None })
    }
}

/// As [`tasks`], and one more that a process has taken, which died.
fn tasks_of_the_dead(inside: usize) -> impl Fn() -> Result<Tasks> {
    move || {
        let all = tasks(inside)()?;
        all.tasks.send(9)?;
        for _ in 0..inside {
            // The one that dies takes what is first: it is to be the last.
            let task = all.tasks.recv()?;
            all.tasks.send(task)?;
            all.tasks.task_done().map_err(coproc::Error::other)?;
        }
        wait_for(fork(|| i32::from(all.tasks.recv().is_err())));
        Ok(all)
    }
}

/// Exit code of a process that has waited for all tasks: how many were lost.
fn joiner(tasks: &JoinableQueue<u64>) -> Other {
    Other::asleep(|| match tasks.join() {
        Ok(()) => 0,
        Err(TasksLost(lost)) => lost as i32,
    })
}

impl Tasks {
    /// The victim has taken at most so many of the first tasks; the others are done here. Then `join` returns, and says of the dead as many lost as
    /// they had taken and not done, and at most one more; of so many that the victim had done if it has returned, none.
    fn check_joined(mut self, dead: &Dead<'_>, most_taken: usize, lost_in_the_end: u64) -> Check {
        let mut rest = Vec::new();
        while let Ok(task) = dead.bounded("try_recv", || self.tasks.try_recv()) {
            rest.push(task);
            self.tasks.task_done()?;
        }
        let taken = self.sent.len().checked_sub(rest.len()).ok_or("more than were sent")?;
        let good = self.sent.ends_with(&rest) && taken <= most_taken && (taken == most_taken || !dead.finished);
        ensure(good, || format!("{:?} sent, {rest:?} left", self.sent))?;
        let mut lost = 0;
        if let Some(joiner) = self.joiner.take() {
            lost += joiner.ends(dead, "join in another process")? as u64;
        }
        if let Err(TasksLost(more)) = dead.bounded("join", || self.tasks.join()) {
            lost += more;
        }
        // One that it took in hand may be in the queue yet. Several that it took one after the other it had done before.
        let possible = if dead.finished { lost_in_the_end..=lost_in_the_end } else { 0..=1 };
        ensure(possible.contains(&lost), || format!("{lost} lost, {taken} taken"))?;
        let none = self.tasks.task_done();
        ensure(none == Err(NoTask), || format!("done more than there were: {none:?}"))?;
        self.works(dead)
    }

    fn works(&self, dead: &Dead<'_>) -> Check {
        for n in 0..5 {
            dead.bounded("send", || self.tasks.send(n))?;
            let task = dead.bounded("recv", || self.tasks.recv())?;
            ensure(task == n, || format!("{task} instead of {n}"))?;
            let joiner = (n == 0).then(|| joiner(&self.tasks));
            self.tasks.task_done()?;
            if let Some(joiner) = joiner {
                let lost = joiner.ends(dead, "join in a second process")?;
                ensure(lost == 0, || format!("{lost} lost, and nobody had died"))?;
            }
            let join = dead.bounded("join", || self.tasks.join());
            ensure(join.is_ok(), || format!("all done, but {join:?}"))?;
        }
        Ok(())
    }
}

pub(crate) fn lines() -> Vec<Box<dyn Operation>> {
    let recv = |all: Tasks, step: &Step| Ok(step.through(|| all.tasks.recv()).map(drop)?);
    let finish = |all: Tasks, step: &Step| {
        all.tasks.recv()?;
        step.through(|| all.tasks.task_done()).map_err(coproc::Error::other)
    };
    let work = |all: Tasks, step: &Step| {
        step.through(|| {
            while all.tasks.try_recv().is_ok() {
                all.tasks.task_done()?;
            }
            Ok(())
        })
        .map_err(|error: NoTask| coproc::Error::other(error))
    };
    let join = |all: Tasks, step: &Step| {
        let _ = step.through(|| all.tasks.join());
        Ok(())
    };
    vec![
        operation("JoinableQueue: recv, 2 of 3 inside", tasks(2), recv, |all, dead| all.check_joined(dead, 1, 1)).slow().boxed(),
        operation("JoinableQueue: recv, first thing after a fork", tasks(2), recv, |all, dead| all.check_joined(dead, 1, 1))
            .cold()
            .slow()
            .boxed(),
        operation("JoinableQueue: recv, waits", tasks(0), recv, |all, dead| {
            let most = all.sent.len();
            all.check_joined(dead, most, 1)
        })
        .asleep(|all| {
            if all.tasks.try_send(7).is_ok() {
                all.sent.push(7);
            }
        })
        .slow()
        .boxed(),
        operation("JoinableQueue: task_done", tasks(2), finish, |all, dead| all.check_joined(dead, 1, 0)).slow().boxed(),
        operation("JoinableQueue: task_done, another joins", tasks(1), finish, |all, dead| all.check_joined(dead, 1, 0))
            .meanwhile(|all| all.joiner = Some(joiner(&all.tasks)))
            .slow()
            .boxed(),
        operation("JoinableQueue: recv, task_done, three times", tasks(3), work, |all, dead| all.check_joined(dead, 3, 0))
            .slow()
            .boxed(),
        // What a joiner was told before its death is told to nobody else.
        operation("JoinableQueue: join, a worker is dead", tasks_of_the_dead(0), join, |all, dead| all.check_joined(dead, 0, 0))
            .slow()
            .boxed(),
        operation("JoinableQueue: join, another has to work yet", tasks_of_the_dead(1), join, |all, dead| {
            all.check_joined(dead, 0, 0)
        })
        .asleep(|all| {
            all.sent.clear();
            if all.tasks.try_recv().is_ok() {
                all.tasks.task_done().expect("a task");
            }
        })
        .slow()
        .boxed(),
    ]
}
