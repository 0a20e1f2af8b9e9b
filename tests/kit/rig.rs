//! The kill rig: a child is stepped through an operation, killed after its k-th instruction, for every k, and the survivor looks.
//!
//! Each operation has a process of its own, the survivor, of one thread. For each kill point the survivor makes the shared objects anew,
//! forks a victim, steps it with `ptrace(2)` from one mark to the other, kills it on the way, and checks what is left. The test process
//! watches that the survivors come on: a survivor that hangs is killed, and the row says where.
//!
//! The first victim is stepped to the end, and its way written down. The others run to a breakpoint shortly before their last
//! instruction, so that a kill point costs as much at the end of an operation as at its begin. That a later victim goes another way, because
//! time or the scheduler had a say in it, is no fault, and its death is checked like any other; the row says how many did (`strayed`).
//!
//! A system call is one step. A victim that sleeps in one is killed there if that is the kill point; otherwise it is waited for, after
//! the operation's `asleep` has had its chance to wake it.
//!
//! Where stepping all would take too long, there is a stride, chosen from the number of instructions. Then a victim is killed
//! nevertheless right before and right after every instruction that changed the survivor's objects (their first page) or was a system
//! call, which is what another process can see of it. `COPROC_KILL_STRIDE=1` forces every instruction.
//!
//! On aarch64 without the LSE atomics, an exchange is a loop that a stepped process never gets out of; the row then says that the
//! operation has no end.

mod parties;
mod report;
mod sampled;
mod system;
mod victim;

pub use parties::{Dead, Other, Step};
pub use report::{Progress, Report, drive};
pub use sampled::sampled;
pub use system::{adopt_orphans, busy, has_own_group, is_anyone_left, own_group, shared_memory};

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use coproc::{Result, SharedArray, SharedValue};

use super::descriptors;
use report::{MOST_FAULTS, PROMISED};
use system::{die_with_parent, hold_back_children, stay_on_processor};
use victim::{Stop, Survey, Victim, place};

/// What is a hang, of a single call.
const HANG: Duration = Duration::from_secs(2);

/// So many kill points are enough for an operation, beside those where something can be seen of it.
const MOST_POINTS: u64 = if cfg!(debug_assertions) { 60 } else { 5000 };

/// How often a call must be slower than promised after the same death, until it counts.
const TRIES: u32 = 3;

/// The code with which a victim says that it may not be traced.
const NOT_TRACEABLE: i32 = 77;

/// The code with which a victim says that its preparation failed.
const FAILED: i32 = 78;

/// What was seen where a promise is not kept.
pub type Fault = Box<dyn Error + Send + Sync>;

/// Whether the promises are kept.
pub type Check = Result<(), Fault>;

/// A call, or another process, that did not come back in time.
#[derive(Debug)]
struct Hang(String);

impl fmt::Display for Hang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hangs: {}", self.0)
    }
}

impl Error for Hang {}

/// An error that says what was seen, unless it is so.
///
/// # Errors
/// As said.
pub fn ensure(condition: bool, seen: impl FnOnce() -> String) -> Check {
    if condition { Ok(()) } else { Err(seen().into()) }
}

/// A line of the table.
pub trait Operation {
    /// What is done.
    fn name(&self) -> &str;
    /// Kills a process at every point of it. Called in a process of one thread that does nothing else.
    fn kill_everywhere(&self, progress: &Progress) -> Report;
}

type Run<W> = Box<dyn Fn(W, &Step) -> Result<()>>;
type Look<W> = Box<dyn Fn(W, &Dead<'_>) -> Check>;

/// An operation that is stepped through.
#[allow(missing_debug_implementations, reason = "functions")]
pub struct Stepped<W> {
    name: String,
    setup: Box<dyn Fn() -> Result<W>>,
    run: Run<W>,
    check: Look<W>,
    meanwhile: Box<dyn Fn(&mut W)>,
    asleep: Box<dyn Fn(&mut W)>,
    warm: bool,
    has_threads: bool,
    most_points: u64,
}

/// An operation. The survivor sets it up; the victim runs it, with the part to step through in [`Step::through`]; the survivor checks.
pub fn operation<W: 'static>(
    name: impl Into<String>,
    setup: impl Fn() -> Result<W> + 'static,
    run: impl Fn(W, &Step) -> Result<()> + 'static,
    check: impl Fn(W, &Dead<'_>) -> Check + 'static,
) -> Stepped<W> {
    Stepped {
        name: name.into(),
        setup: Box::new(setup),
        run: Box::new(run),
        check: Box::new(check),
        meanwhile: Box::new(|_| ()),
        asleep: Box::new(|_| ()),
        warm: true,
        has_threads: false,
        most_points: MOST_POINTS,
    }
}

impl<W: 'static> Stepped<W> {
    /// The survivor does this when the victim has prepared itself and stands at the first mark.
    #[must_use]
    pub fn meanwhile(self, act: impl Fn(&mut W) + 'static) -> Self {
        Self { meanwhile: Box::new(act), ..self }
    }

    /// The survivor does this whenever the victim is found asleep in the kernel and is not to be killed there.
    #[must_use]
    pub fn asleep(self, act: impl Fn(&mut W) + 'static) -> Self {
        Self { asleep: Box::new(act), ..self }
    }

    /// The victim has used nothing of the library since it was forked.
    #[must_use]
    pub fn cold(self) -> Self {
        Self { warm: false, ..self }
    }

    /// The victim starts threads.
    #[must_use]
    pub fn with_threads(self) -> Self {
        Self { has_threads: true, ..self }
    }

    /// Each death costs somebody a slice of sleep, so fewer of them do.
    #[must_use]
    pub fn slow(self) -> Self {
        Self { most_points: MOST_POINTS / 8, ..self }
    }

    /// As a line of the table.
    pub fn boxed(self) -> Box<dyn Operation> {
        Box::new(self)
    }
}

/// What the survivor needs for stepping, made once.
struct Tracer {
    memory: File,
    warm: SharedValue<u32>,
}

/// Why a victim is stepped.
enum Goal<'a> {
    Survey(&'a mut Survey),
    /// To be killed after so many instructions.
    Point(u64, &'a Survey),
}

impl Goal<'_> {
    /// Where the first victim was before this point.
    fn position(&self, point: u64) -> Option<u64> {
        let Self::Point(_, survey) = self else { return None };
        survey.way.get(usize::try_from(point).ok()?.checked_sub(1)?).map(|&(at, _)| at)
    }
}

/// How a victim was killed.
struct Shot {
    finished: bool,
    asleep: bool,
    strayed: bool,
    slowest: Duration,
    /// Where it stood.
    at: String,
    result: Check,
    not_permitted: bool,
}

impl<W> Stepped<W> {
    /// One victim, killed after this many instructions, and what was seen after it.
    fn shoot(&self, tracer: &Tracer, goal: &mut Goal<'_>, progress: &Progress) -> Result<Shot> {
        let point = if let Goal::Point(point, _) = goal { *point } else { u64::MAX };
        progress.point(point);
        progress.label("setup");
        let before = descriptors();
        let mut world = (self.setup)()?;
        let mut shot = Shot {
            finished: false,
            asleep: false,
            strayed: false,
            slowest: Duration::ZERO,
            at: String::new(),
            result: Ok(()),
            not_permitted: false,
        };
        // SAFETY: this is a process of one thread, so all that the child does is allowed in it.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let code = catch_unwind(AssertUnwindSafe(|| self.be_victim(world, tracer))).unwrap_or(FAILED);
            // SAFETY: ends the process, which has nothing to clean up.
            unsafe { libc::_exit(code) };
        }
        if pid < 0 {
            return Err(io::Error::last_os_error().into());
        }
        let mut victim = Victim { pid: pid.cast_unsigned(), steps: 0, finished: false, asleep: false };
        progress.label("preparation of the victim");
        let ready = loop {
            match victim.stop() {
                Stop::Asleep => {}
                stop => break stop,
            }
        };
        match ready {
            Stop::Marked => {}
            Stop::Else(status) if libc::WIFEXITED(status) => {
                victim.pid = 0;
                shot.not_permitted = libc::WEXITSTATUS(status) == NOT_TRACEABLE;
                shot.result = ensure(shot.not_permitted, || "the victim could not prepare itself".into());
                return Ok(shot);
            }
            _ => return Err(coproc::Error::other("the victim did not come to the first mark")),
        }
        victim.request(libc::PTRACE_SETOPTIONS, libc::PTRACE_O_EXITKILL)?;
        progress.label("meanwhile");
        (self.meanwhile)(&mut world);
        progress.label("stepping");
        let act = &mut || (self.asleep)(&mut world);
        let stepped = match goal {
            Goal::Survey(survey) => survey.follow(&mut victim, &tracer.memory, act, progress),
            Goal::Point(point, survey) => survey.repeat(&mut victim, *point, self.has_threads, act),
        };
        (shot.finished, shot.asleep) = (victim.finished, victim.asleep);
        let at = if victim.asleep { None } else { victim.position() };
        if let Goal::Point(point, survey) = goal {
            let expected = survey.way.get(*point as usize).map(|&(at, _)| at);
            shot.strayed = !shot.asleep && expected != at.filter(|_| expected.is_some() || !shot.finished);
        }
        let position = at.or_else(|| goal.position(point));
        let dead = Dead::new(victim.pid, victim.finished, progress);
        victim.kill();
        progress.label("check");
        let check =
            || catch_unwind(AssertUnwindSafe(|| (self.check)(world, &dead))).unwrap_or_else(|_| Err("the check panicked".into()));
        shot.result = stepped.and_then(|()| check()).and_then(|()| {
            let after = descriptors();
            ensure(before == after, || format!("descriptors before: {before:?}, after: {after:?}"))?;
            let slowest = dead.slowest.get();
            if slowest < HANG { Ok(()) } else { Err(Hang(format!("a call that took {slowest:?}")).into()) }
        });
        shot.slowest = dead.slowest.get();
        if shot.result.is_err() {
            shot.at = position.map_or_else(String::new, place);
        }
        Ok(shot)
    }

    fn be_victim(&self, world: W, tracer: &Tracer) -> i32 {
        die_with_parent();
        let none = ptr::null_mut::<libc::c_void>();
        // SAFETY: takes no memory; from now on the parent is told of every signal of this process.
        if unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, none, none) } == -1 {
            return NOT_TRACEABLE;
        }
        if self.warm && tracer.warm.set(1).is_err() {
            return FAILED;
        }
        match (self.run)(world, &Step(std::process::id().cast_signed())) {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("{}: the victim: {error}", self.name);
                FAILED
            }
        }
    }

    fn shoot_all(&self, progress: &Progress, report: &mut Report) -> Result<()> {
        let tracer = Tracer { memory: File::open("/proc/self/mem")?, warm: SharedValue::new(0)? };
        let mut survey = Survey::default();
        let first = self.shoot(&tracer, &mut Goal::Survey(&mut survey), progress)?;
        if first.not_permitted {
            report.not_permitted = true;
            return Ok(());
        }
        report.instructions = survey.instructions();
        if let Err(error) = &first.result {
            report.note_fault("not killed before its end", &**error);
            return Ok(());
        }
        report.stride = stride(survey.instructions(), self.most_points);
        for point in points(&survey, report.stride) {
            // The machine may have been busy with something else: what the library does, it does again.
            let mut late = 0;
            while late < TRIES && report.hangs + report.losses < MOST_FAULTS as u64 {
                let shot = self.shoot(&tracer, &mut Goal::Point(point, &survey), progress)?;
                report.points += 1;
                report.asleep += u64::from(shot.asleep);
                report.strayed += u64::from(shot.strayed);
                report.slowest = report.slowest.max(shot.slowest.as_micros() as u64);
                if let Err(error) = &shot.result {
                    let how = match (shot.finished, shot.asleep) {
                        (true, _) => "behind its end",
                        (_, true) => "asleep",
                        _ => "on its way",
                    };
                    report.note_fault(&format!("killed after instruction {point} {how}, at {}", shot.at), &**error);
                }
                if shot.result.is_err() || shot.slowest <= PROMISED {
                    break;
                }
                late += 1;
            }
            report.late += u64::from(late == TRIES);
        }
        Ok(())
    }
}

impl<W: 'static> Operation for Stepped<W> {
    fn name(&self) -> &str {
        &self.name
    }

    fn kill_everywhere(&self, progress: &Progress) -> Report {
        let begin = Instant::now();
        let mut report = Report::default();
        hold_back_children();
        if let Err(error) = self.shoot_all(progress, &mut report) {
            report.note_fault("the rig", &error);
        }
        report.took = begin.elapsed().as_millis() as u64;
        report
    }
}

/// The stride for an operation of so many instructions: what the environment says, or one that gives few enough points.
fn stride(instructions: u64, most_points: u64) -> u64 {
    let wanted = std::env::var("COPROC_KILL_STRIDE").ok().and_then(|stride| stride.parse().ok());
    wanted.unwrap_or(instructions / most_points + 1).max(1)
}

/// After how many instructions to kill, in order; the last is past the end.
fn points(survey: &Survey, stride: u64) -> BTreeSet<u64> {
    let regular = (0..survey.instructions()).step_by(usize::try_from(stride).unwrap_or(usize::MAX));
    let around = survey.visible.iter().flat_map(|&instruction| [instruction - 1, instruction]);
    regular.chain(around).chain([survey.instructions(), u64::MAX]).collect()
}

/// What a survivor is: a child process that does one operation of the table.
pub fn survive(table: &[Box<dyn Operation>], index: u64, processor: u64, progress: SharedArray<AtomicU64>) -> Report {
    stay_on_processor(processor as usize);
    table[index as usize].kill_everywhere(&Progress(progress))
}
