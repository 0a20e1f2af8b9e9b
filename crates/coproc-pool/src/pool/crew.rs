//! A pool's workers, as the pool sees them: one thread starts them, notices their deaths, replaces the dead, and ends those that take too long.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use coproc::__private::{Lease, Parcel, SignalMask};
use coproc::{Message, Result};
use rustix::event::{PollFd, PollFlags};

use super::desk::Desk;
use super::line::Line;
use super::worker::{self, Contract};
use crate::context;
use crate::error::{Cause, PoolError};
use crate::keeper::Child;
use crate::launch;
use crate::log;
use crate::process;

/// How long a worker may take to end that has closed its channel, or whose pool goes, before it is killed.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long the crew waits before it tries again to start a worker that the system has refused.
const PAUSE: Duration = Duration::from_millis(20);

/// What the workers of a pool are like.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) processes: usize,
    /// The workers are called so, with a number.
    pub(super) name: String,
    /// Offset of the `Initialize`, or 0, and its arguments.
    pub(super) initializer: (u64, Parcel),
    pub(super) most_tasks: u64,
    pub(super) task_timeout: Option<Duration>,
}

/// What the crew is to do.
const SERVE: u8 = 0;
/// The workers go home when they have nothing to do, and are killed if they do not.
const DISMISS: u8 = 1;
/// The workers are killed.
const TERMINATE: u8 = 2;

/// The workers of a pool.
pub(super) struct Crew {
    desk: Arc<Desk>,
    lease: Arc<Lease>,
    pub(super) settings: Settings,
    /// The signals that the thread which made the pool held back: so do all workers, though later ones are started by a thread that gets none.
    signals: u64,
    order: AtomicU8,
    /// How often a worker was put on each seat.
    starts: Box<[AtomicU64]>,
    /// The last worker on each seat; 0 if there was none.
    pids: Box<[AtomicU32]>,
}

/// What the crew's thread knows about a seat.
#[derive(Debug, Default)]
struct Watch {
    /// When its worker has closed its channel.
    cut_since: Option<Instant>,
    /// The task that it was at, what it had done by then, and when it was seen so first.
    task: Option<(u64, u64, Instant)>,
    timed_out: bool,
}

/// Deaths in a row of which no task is to blame.
#[derive(Debug, Default)]
struct Streak {
    deaths: usize,
    /// How many tasks were settled at the last one.
    settled: u64,
    again_at: Option<Instant>,
}

impl Crew {
    /// Starts all workers.
    pub(super) fn start(desk: Arc<Desk>, lease: Arc<Lease>, settings: Settings) -> Result<Self> {
        let starts = (0..settings.processes).map(|_| AtomicU64::new(0)).collect();
        let pids = (0..settings.processes).map(|_| AtomicU32::new(0)).collect();
        let signals = SignalMask::current().bits();
        let crew = Self { desk, lease, settings, signals, order: AtomicU8::new(SERVE), starts, pids };
        for seat in 0..crew.settings.processes {
            if let Err(error) = crew.hire(seat) {
                crew.kill_all();
                let children = (0..seat).filter_map(|seat| crew.desk.lines.child(seat));
                children.for_each(|child| {
                    child.wait_timeout(PATIENCE);
                });
                return Err(error);
            }
        }
        Ok(crew)
    }

    /// How often a worker was put on this seat.
    pub(super) fn starts(&self, seat: usize) -> u64 {
        self.starts.get(seat).map_or(0, |starts| starts.load(Ordering::Relaxed))
    }

    /// Puts a new worker on a seat.
    fn hire(&self, seat: usize) -> Result<()> {
        let words = &self.desk.board.seats[seat];
        [&words.idle, &words.idle_since, &words.ready, &words.retired].iter().for_each(|word| word.store(0, Ordering::Relaxed));
        // Whoever died here may have left it odd.
        words.beat.store(0, Ordering::Relaxed);
        let (initializer, arguments) = &self.settings.initializer;
        let contract = Contract {
            seat,
            board: self.desk.board.clone(),
            most_tasks: self.settings.most_tasks,
            initializer: *initializer,
            is_timed: self.settings.task_timeout.is_some(),
        };
        let mut parcel = Parcel::of(&contract);
        self.lease.write(&mut parcel.writer());
        parcel.bytes.extend_from_slice(&arguments.bytes);
        parcel.handles.extend_from_slice(&arguments.handles);
        let number = self.starts[seat].fetch_add(1, Ordering::Relaxed);
        let name = if number == 0 {
            format!("{}-{}", self.settings.name, seat + 1)
        } else {
            format!("{}-{}.{number}", self.settings.name, seat + 1)
        };
        // Locked before it runs: who hears of its first result waits for its line.
        let Some(mut line) = self.desk.lines.at(seat) else { return Ok(()) };
        // A daemon: nobody waits for it when the program ends.
        let mut settings = context::Settings::new(name, true);
        settings.context = settings.context.holding_back(self.signals);
        let (child, channel) = launch::start(worker::serve, &settings, parcel)?;
        process::enter(&process::Child::new(settings.name, settings.daemon, Arc::clone(&child)));
        let dead = self.pids[seat].swap(child.pid, Ordering::Relaxed);
        if dead != 0 {
            log::replaced(dead, child.pid);
        }
        *line = Some(Line { child, channel: Arc::new(channel), last_words: None, is_cut: false });
        Ok(())
    }

    fn kill_all(&self) {
        for seat in 0..self.desk.lines.len() {
            if let Some(child) = self.desk.lines.child(seat) {
                let _ = child.signal(libc::SIGKILL);
            }
        }
    }

    /// Lets the workers go home; they are killed if they take long. The crew's thread ends when all have gone.
    pub(super) fn dismiss(&self) {
        self.order.fetch_max(DISMISS, Ordering::Relaxed);
        self.desk.bell.ring();
    }

    /// Kills the workers. The crew's thread ends when all have gone.
    pub(super) fn terminate(&self) {
        self.order.store(TERMINATE, Ordering::Relaxed);
        self.desk.bell.ring();
    }

    /// What the crew's thread does.
    pub(super) fn run(&self) {
        let seats = self.settings.processes;
        let mut watches: Vec<Watch> = (0..seats).map(|_| Watch::default()).collect();
        let mut streak = Streak::default();
        let mut leaving = None;
        loop {
            let lines = self.living();
            if self.order.load(Ordering::Relaxed) != SERVE {
                if lines.is_empty() {
                    return;
                }
                self.see_off(&mut leaving);
            }
            let (said, ended) = self.wait(&lines, self.pause(&watches, &streak, leaving));
            for (&(seat, ..), said) in lines.iter().zip(&said) {
                if *said {
                    self.desk.drain(seat);
                    self.note_cut(seat, &mut watches[seat]);
                }
            }
            for ((seat, child, _), ended) in lines.iter().zip(ended) {
                if ended {
                    self.bury(*seat, child, &mut watches[*seat], &mut streak);
                }
            }
            self.kill_the_late(&mut watches);
            self.fill_vacancies(&mut streak);
        }
    }

    /// The seats that have a worker, and their workers.
    fn living(&self) -> Vec<(usize, Arc<Child>, Arc<crate::channel::Channel>)> {
        let line = |seat| {
            let line = self.desk.lines.at(seat)?;
            line.as_ref().map(|line| (seat, Arc::clone(&line.child), Arc::clone(&line.channel)))
        };
        (0..self.settings.processes).filter_map(line).collect()
    }

    /// Waits until something happens: who has said something, and who has ended.
    fn wait(
        &self,
        lines: &[(usize, Arc<Child>, Arc<crate::channel::Channel>)],
        pause: Option<Duration>,
    ) -> (Vec<bool>, Vec<bool>) {
        let mut files = vec![PollFd::new(&self.desk.bell, PollFlags::IN)];
        for (seat, child, channel) in lines {
            files.push(PollFd::from_borrowed_fd(child.pidfd.as_fd(), PollFlags::IN));
            // One that is cut has nothing more to say, and would say that again and again.
            let is_cut = self.desk.lines.at(*seat).is_none_or(|line| line.as_ref().is_none_or(|line| line.is_cut));
            files.push(PollFd::from_borrowed_fd(channel.as_fd(), if is_cut { PollFlags::empty() } else { PollFlags::IN }));
        }
        let pause = pause.map(|pause| rustix::event::Timespec {
            tv_sec: pause.as_secs().min(3600) as i64,
            tv_nsec: pause.subsec_nanos().into(),
        });
        match rustix::event::poll(&mut files, pause.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            // No memory, or more files than the limit allows now.
            Err(_) => std::thread::sleep(PAUSE),
        }
        let ready: Vec<bool> = files.iter().map(|file| file.revents().contains(PollFlags::IN)).collect();
        let cut: Vec<bool> = files.iter().map(|file| !file.revents().is_empty()).collect();
        drop(files);
        if ready[0] {
            self.desk.bell.silence();
        }
        let said = (0..lines.len()).map(|n| ready[2 + 2 * n] || cut[2 + 2 * n]).collect();
        let ended = (0..lines.len()).map(|n| ready[1 + 2 * n]).collect();
        (said, ended)
    }

    /// How long nothing needs to be looked at.
    fn pause(&self, watches: &[Watch], streak: &Streak, leaving: Option<Instant>) -> Option<Duration> {
        let now = Instant::now();
        let cuts = watches.iter().filter_map(|watch| watch.cut_since).map(|since| since + PATIENCE);
        let until = cuts.chain(streak.again_at).chain(leaving.map(|since| since + PATIENCE)).min();
        let timeout = self.settings.task_timeout.filter(|_| self.desk.outstanding() > 0);
        let looks = timeout.map(|timeout| (timeout / 8).clamp(Duration::from_millis(1), Duration::from_secs(1)));
        let until = until.map(|until| until.saturating_duration_since(now));
        match (until, looks) {
            (Some(until), Some(looks)) => Some(until.min(looks)),
            (until, looks) => until.or(looks),
        }
    }

    /// The pool goes: tells its workers, and kills those who do not go.
    fn see_off(&self, leaving: &mut Option<Instant>) {
        let since = *leaving.get_or_insert_with(Instant::now);
        self.desk.board.stop.store(1, Ordering::Relaxed);
        self.desk.board.work.notify_all();
        if self.order.load(Ordering::Relaxed) == TERMINATE || since.elapsed() >= PATIENCE {
            self.kill_all();
        }
    }

    /// A worker that has closed its channel is about to end, or is of no use any more.
    fn note_cut(&self, seat: usize, watch: &mut Watch) {
        let is_cut = self.desk.lines.at(seat).is_some_and(|line| line.as_ref().is_some_and(|line| line.is_cut));
        if is_cut {
            watch.cut_since.get_or_insert_with(Instant::now);
        }
    }

    /// A worker has died: what it was at is lost, and its seat is vacant.
    fn bury(&self, seat: usize, child: &Child, watch: &mut Watch, streak: &mut Streak) {
        let status = child.wait();
        self.desk.drain(seat);
        let line = self.desk.lines.at(seat).and_then(|mut line| line.take());
        let retired = self.desk.board.seats[seat].retired.load(Ordering::Relaxed) != 0;
        let cause = match self.settings.task_timeout.filter(|_| watch.timed_out) {
            Some(after) => Cause::TimedOut { after },
            None => line.and_then(|line| line.last_words).unwrap_or(Cause::of(status)),
        };
        *watch = Watch::default();
        let lost = self.desk.lose(seat, child.pid, &cause);
        if lost == 0 && !retired && self.order.load(Ordering::Relaxed) == SERVE {
            self.count(streak, cause);
        }
    }

    /// A worker has died, and no task is to blame: too many in a row are an error for all who wait.
    fn count(&self, streak: &mut Streak, cause: Cause) {
        let settled = self.desk.settled.load(Ordering::Relaxed);
        if std::mem::replace(&mut streak.settled, settled) != settled {
            streak.deaths = 0;
        }
        streak.deaths += 1;
        if streak.deaths > 3 * self.settings.processes {
            self.give_up(streak, PoolError::CrashLoop { deaths: streak.deaths, cause });
        }
    }

    /// No worker is started until there is a new task; those who wait for one are told why.
    fn give_up(&self, streak: &mut Streak, why: PoolError) {
        *streak = Streak { settled: streak.settled, ..Streak::default() };
        self.desk.is_starved.store(true, Ordering::SeqCst);
        self.desk.fail_waiting(&why);
    }

    /// Kills workers that are at a task for too long, or closed their channel and did not end.
    fn kill_the_late(&self, watches: &mut [Watch]) {
        let now = Instant::now();
        for (seat, watch) in watches.iter_mut().enumerate() {
            if watch.cut_since.is_some_and(|since| now >= since + PATIENCE) {
                watch.cut_since = Some(now);
                self.kill(seat);
            }
        }
        let Some(timeout) = self.settings.task_timeout else { return };
        let running = self.desk.running();
        for (seat, watch) in watches.iter_mut().enumerate() {
            let Some(&(_, position)) = running.iter().find(|&&(at, _)| at == seat) else {
                watch.task = None;
                continue;
            };
            let beat = self.desk.board.seats[seat].beat.load(Ordering::Relaxed);
            match watch.task {
                Some((task, done, since)) if (task, done) == (position, beat) => {
                    if now >= since + timeout && !watch.timed_out {
                        watch.timed_out = true;
                        self.kill(seat);
                    }
                }
                _ => watch.task = Some((position, beat, now)),
            }
        }
    }

    fn kill(&self, seat: usize) {
        if let Some(child) = self.desk.lines.child(seat) {
            let _ = child.signal(libc::SIGKILL);
        }
    }

    /// Puts new workers on the seats that have none.
    fn fill_vacancies(&self, streak: &mut Streak) {
        if self.order.load(Ordering::Relaxed) != SERVE || streak.again_at.is_some_and(|at| Instant::now() < at) {
            return;
        }
        if self.desk.is_starved.load(Ordering::SeqCst) {
            if self.desk.outstanding() == 0 {
                return;
            }
            self.desk.is_starved.store(false, Ordering::SeqCst);
        }
        streak.again_at = None;
        for seat in 0..self.settings.processes {
            if self.desk.lines.child(seat).is_some() {
                continue;
            }
            if let Err(error) = self.hire(seat) {
                streak.again_at = Some(Instant::now() + PAUSE);
                streak.deaths += 1;
                if streak.deaths > 3 * self.settings.processes {
                    self.give_up(streak, error.into());
                }
                return;
            }
        }
    }
}
