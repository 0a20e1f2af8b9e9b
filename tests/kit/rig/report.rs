//! What was seen of the operations, and the process that watches those that see it.

use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use coproc::{Message, Result, SharedArray};
use coproc_pool::Process;

use super::{Hang, Operation};

/// What the library promises, of 99 in 100 calls that meet a death.
pub(super) const PROMISED: Duration = Duration::from_millis(25);

/// What is a hang, of a survivor that does not say which call it is in.
const SURVIVOR_HANGS: Duration = Duration::from_secs(20);

/// How many broken promises of one operation are shown.
pub(super) const MOST_FAULTS: usize = 8;

/// What was seen of one operation.
#[derive(Debug, Default, Message)]
pub struct Report {
    /// From mark to mark.
    pub instructions: u64,
    /// Between two kill points.
    pub stride: u64,
    /// Victims killed.
    pub points: u64,
    /// Of these, killed while they slept in the kernel.
    pub asleep: u64,
    /// Of these, killed after other instructions than the first victim went through.
    pub strayed: u64,
    /// Calls or processes that did not come back in time.
    pub hangs: u64,
    /// Other broken promises.
    pub losses: u64,
    /// Kill points after which a call took longer than is promised for 99 in 100, three times in a row.
    pub late: u64,
    /// The slowest call of a survivor, in microseconds.
    pub slowest: u64,
    /// How long it all took, in milliseconds.
    pub took: u64,
    /// This process may not trace its children, so nothing was seen.
    pub not_permitted: bool,
    /// What was broken, a line each.
    pub faults: String,
}

impl Report {
    /// Whether all promises were kept. One call in a hundred may be late, and a few of a small number.
    pub fn is_good(&self) -> bool {
        self.hangs == 0 && self.losses == 0 && self.late <= 3 + self.points / 100
    }

    /// What was wrong with the operation of this name.
    pub fn told(&self, name: &str) -> String {
        let late =
            format!("{} of {} kill points were followed by a call that took longer than {PROMISED:?}", self.late, self.points);
        let late = if self.hangs + self.losses == 0 { late.as_str() } else { "" };
        self.faults.lines().chain([late]).filter(|line| !line.is_empty()).map(|line| format!("{name}: {line}\n")).collect()
    }

    /// The names of the columns.
    pub fn head() -> String {
        format!(
            "{:<52} {:>12} {:>6} {:>6} {:>6} {:>7} {:>5} {:>6} {:>4} {:>8} {:>7}",
            "operation", "instructions", "stride", "points", "asleep", "strayed", "hangs", "losses", "late", "slowest", "took"
        )
    }

    /// This as a line.
    pub fn row(&self, name: &str) -> String {
        let Self { instructions, stride, points, asleep, strayed, hangs, losses, late, .. } = self;
        let (slowest, took) = (self.slowest as f64 / 1000.0, self.took as f64 / 1000.0);
        format!(
            "{name:<52} {instructions:>12} {stride:>6} {points:>6} {asleep:>6} {strayed:>7} {hangs:>5} {losses:>6} {late:>4} {slowest:>5.1} ms {took:>5.1} s"
        )
    }

    pub(super) fn note_fault(&mut self, point: &str, error: &(dyn Error + Send + Sync + 'static)) {
        match error.is::<Hang>() {
            true => self.hangs += 1,
            false => self.losses += 1,
        }
        if self.faults.lines().count() < MOST_FAULTS {
            self.faults += &format!("{point}: {error}\n");
        }
    }
}

/// How far a survivor has come, for the process that watches it: kill point, a count that goes up, and the call that it is in.
#[derive(Debug)]
pub struct Progress(pub(super) SharedArray<AtomicU64>);

impl Progress {
    const LABEL: usize = 2;

    fn new() -> Result<Self> {
        SharedArray::zeroed(8).map(Self)
    }

    /// Where it lies.
    pub(super) fn place(&self) -> u64 {
        self.0.as_ptr().addr() as u64
    }

    pub(super) fn beat(&self) {
        self.0[1].fetch_add(1, Relaxed);
    }

    pub(super) fn point(&self, point: u64) {
        self.0[0].store(point, Relaxed);
        self.beat();
    }

    pub(super) fn label(&self, label: &str) {
        let mut bytes = label.bytes().chain(std::iter::repeat(0));
        for word in &self.0[Self::LABEL..] {
            word.store(u64::from_le_bytes(std::array::from_fn(|_| bytes.next().unwrap_or(0))), Relaxed);
        }
        self.beat();
    }

    fn beats(&self) -> u64 {
        self.0[1].load(Relaxed)
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label: Vec<u8> = self.0[Self::LABEL..].iter().flat_map(|word| word.load(Relaxed).to_le_bytes()).collect();
        let label = String::from_utf8_lossy(&label);
        write!(f, "killed after instruction {}, then in `{}`", self.0[0].load(Relaxed), label.trim_end_matches('\0'))
    }
}

/// Does all operations of the table whose names contain `COPROC_KILL_ONLY`, two at a time, and prints a row for each. `start` starts a
/// process that calls [`survive`](super::survive) with these arguments.
///
/// # Panics
/// If a thread of it does.
pub fn drive(
    table: &[Box<dyn Operation>],
    start: impl Fn(u64, u64, &SharedArray<AtomicU64>) -> Result<Process<Report>> + Sync,
) -> Vec<(String, Report)> {
    let only = std::env::var("COPROC_KILL_ONLY").unwrap_or_default();
    let names: Vec<&str> = table.iter().map(|operation| operation.name()).collect();
    let next = AtomicUsize::new(0);
    println!("{}", Report::head());
    let work = |processor: u64| {
        let mut reports = Vec::new();
        loop {
            let index = next.fetch_add(1, Relaxed);
            let Some(name) = names.get(index) else { return reports };
            if name.contains(&only) {
                let report = one(|progress| start(index as u64, processor, progress));
                println!("{}", report.row(name));
                reports.push(((*name).to_owned(), report));
            }
        }
    };
    thread::scope(|scope| {
        let workers = [0, 1].map(|processor| scope.spawn(move || work(processor)));
        workers.into_iter().flat_map(|worker| worker.join().expect("a driver")).collect()
    })
}

fn one(start: impl FnOnce(&SharedArray<AtomicU64>) -> Result<Process<Report>>) -> Report {
    let failed = |error| Report { losses: 1, faults: format!("the rig: {error}\n"), ..Report::default() };
    match Progress::new().and_then(|progress| Ok((start(&progress.0)?, progress))) {
        Ok((process, progress)) => watch(process, &progress),
        Err(error) => failed(error),
    }
}

fn watch(process: Process<Report>, progress: &Progress) -> Report {
    let mut beats = progress.beats();
    let mut since = Instant::now();
    while process.is_alive() {
        thread::park_timeout(Duration::from_millis(5));
        if progress.beats() != beats {
            (beats, since) = (progress.beats(), Instant::now());
        } else if since.elapsed() > SURVIVOR_HANGS {
            let at = progress.to_string();
            let _ = process.kill();
            let _ = process.join();
            return Report { hangs: 1, faults: format!("{at}: hangs\n"), ..Report::default() };
        }
    }
    process.join().unwrap_or_else(|error| Report { losses: 1, faults: format!("{progress}: {error}\n"), ..Report::default() })
}
