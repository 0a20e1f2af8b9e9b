//! Rounds, medians, pinning, and the table that comes out.

use std::error::Error;
use std::fmt;
use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How many CPUs a contest uses at most, so that figures of a larger machine can be set beside those of a small one.
const MOST_CPUS: usize = 2;

/// What one run gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    /// Wall time per operation.
    pub(crate) ns: f64,
    /// Where several took part: what the one who did least did, as a part of what the one who did most did.
    pub(crate) fairness: Option<f64>,
}

/// One side of a contest.
struct Side<'a> {
    name: String,
    run: Box<dyn FnMut() -> Result<Sample> + 'a>,
    samples: Vec<Sample>,
}

/// Some of ours and some peers that do the same work.
#[derive(Default)]
pub(crate) struct Contest<'a> {
    ours: Vec<Side<'a>>,
    peers: Vec<Side<'a>>,
    /// Peers that this machine does not have.
    absent: Vec<String>,
    goals: Vec<(String, String, f64)>,
    fairness: Vec<(String, f64)>,
}

impl<'a> Contest<'a> {
    /// One of ours, which gives the case its name.
    pub(crate) fn ours(&mut self, case: impl Into<String>, run: impl FnMut() -> Result<Sample> + 'a) {
        self.ours.push(Side { name: case.into(), run: Box::new(run), samples: Vec::new() });
    }

    /// One that ours are compared with.
    pub(crate) fn peer(&mut self, name: impl Into<String>, run: impl FnMut() -> Result<Sample> + 'a) {
        self.peers.push(Side { name: name.into(), run: Box::new(run), samples: Vec::new() });
    }

    /// A peer that cannot run here; its rows say so, and its goals are missed.
    pub(crate) fn absent(&mut self, name: impl Into<String>) {
        self.absent.push(name.into());
    }

    /// In this case, ours take at most `ratio` times as long as the peer.
    pub(crate) fn goal(&mut self, case: impl Into<String>, peer: impl Into<String>, ratio: f64) {
        self.goals.push((case.into(), peer.into(), ratio));
    }

    /// In this case, whoever did least did at least this part of what whoever did most did.
    pub(crate) fn fair(&mut self, case: impl Into<String>, part: f64) {
        self.fairness.push((case.into(), part));
    }

    /// Runs all sides in turns, after one round that does not count.
    fn hold(mut self, rounds: usize) -> Result<Vec<Row>> {
        for round in 0..=rounds {
            for side in self.ours.iter_mut().chain(&mut self.peers) {
                let sample = (side.run)().map_err(|error| format!("{}: {error}", side.name))?;
                if round > 0 {
                    side.samples.push(sample);
                }
            }
        }
        Ok(self.rows())
    }

    fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for ours in &self.ours {
            for peer in &self.peers {
                let goal = self.goal_of(&ours.name, &peer.name);
                rows.push(Row::compare(ours.name.clone(), "ns", &ours.ns(), &peer.name, &peer.ns(), goal));
            }
            for peer in &self.absent {
                rows.push(Row::alone(ours.name.clone(), &ours.ns(), peer, self.goal_of(&ours.name, peer)));
            }
            if let Some((_, part)) = self.fairness.iter().find(|(case, _)| *case == ours.name) {
                rows.extend(self.fairness_rows(ours, *part));
            }
        }
        rows
    }

    /// Ours against the bound, and beside each peer of which it is known.
    fn fairness_rows(&self, ours: &Side<'_>, part: f64) -> Vec<Row> {
        let case = format!("{}: who did least", ours.name);
        let mine = ours.fairness();
        let mut rows = vec![Row::figure(case.clone(), median(mine.iter().copied()), FAIRNESS, Goal::AtLeast(part))];
        for peer in &self.peers {
            let theirs = peer.fairness();
            if !theirs.is_empty() {
                rows.push(Row::compare(case.clone(), FAIRNESS, &mine, &peer.name, &theirs, None));
            }
        }
        rows
    }

    fn goal_of(&self, case: &str, peer: &str) -> Option<f64> {
        self.goals.iter().find(|goal| goal.0 == case && goal.1 == peer).map(|goal| goal.2)
    }
}

impl Side<'_> {
    fn ns(&self) -> Vec<f64> {
        self.samples.iter().map(|sample| sample.ns).collect()
    }

    fn fairness(&self) -> Vec<f64> {
        self.samples.iter().filter_map(|sample| sample.fairness).collect()
    }
}

/// What a figure has to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    fn is_met_by(self, figure: f64) -> bool {
        match self {
            Self::AtMost(bound) => figure <= bound,
            Self::AtLeast(bound) => figure >= bound,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(bound) => write!(f, "<= {bound:.2}"),
            Self::AtLeast(bound) => write!(f, ">= {bound:.2}"),
        }
    }
}

/// The unit of fairness.
const FAIRNESS: &str = "of who did most";

/// A line of the table.
#[derive(Debug, PartialEq)]
struct Row {
    case: String,
    ours: f64,
    unit: &'static str,
    beside: Beside,
    goal: Option<Goal>,
}

/// What our figure stands beside.
#[derive(Debug, PartialEq)]
enum Beside {
    /// A peer's figure; the goal is for the ratio of ours to it.
    Peer { name: String, theirs: f64, ratio: f64 },
    /// A peer that this machine does not have.
    Absent(String),
    /// Nothing: the goal is for our figure.
    Nothing,
}

impl Row {
    /// From the figures of both sides, round by round.
    fn compare(case: String, unit: &'static str, ours: &[f64], peer: &str, theirs: &[f64], goal: Option<f64>) -> Self {
        let ratios = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs);
        let ratio = as_printed(median(ratios));
        let beside = Beside::Peer { name: peer.into(), theirs: median(theirs.iter().copied()), ratio };
        Self { case, ours: median(ours.iter().copied()), unit, beside, goal: goal.map(Goal::AtMost) }
    }

    fn alone(case: String, ours: &[f64], peer: &str, goal: Option<f64>) -> Self {
        let beside = Beside::Absent(peer.into());
        Self { case, ours: median(ours.iter().copied()), unit: "ns", beside, goal: goal.map(Goal::AtMost) }
    }

    fn figure(case: String, ours: f64, unit: &'static str, goal: Goal) -> Self {
        Self { case, ours: as_printed(ours), unit, beside: Beside::Nothing, goal: Some(goal) }
    }

    /// Whether what is judged, as it is printed, reaches the goal; `None` if there is no goal.
    fn is_met(&self) -> Option<bool> {
        self.goal.map(|goal| match self.beside {
            Beside::Peer { ratio, .. } => goal.is_met_by(ratio),
            Beside::Absent(_) => false,
            Beside::Nothing => goal.is_met_by(self.ours),
        })
    }
}

/// To the three digits with which a judged figure is printed.
fn as_printed(figure: f64) -> f64 {
    (figure * 1000.0).round() / 1000.0
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { case, ours, unit, .. } = self;
        match &self.beside {
            Beside::Peer { name, theirs, ratio } => write!(f, "{case}\t{ours:.2}\t{unit}\t{name}\t{theirs:.2}\t{ratio:.3}\t")?,
            Beside::Absent(name) => write!(f, "{case}\t{ours:.2}\t{unit}\t{name} (not on this machine)\t-\t-\t")?,
            Beside::Nothing => write!(f, "{case}\t{ours:.3}\t{unit}\t-\t-\t-\t")?,
        }
        match self.goal {
            Some(goal) => write!(f, "{goal}\t")?,
            None => f.write_str("-\t")?,
        }
        f.write_str(match self.is_met() {
            Some(true) => "yes",
            Some(false) => "no",
            None => "-",
        })
    }
}

/// The table on standard output, tab-separated.
#[derive(Debug)]
pub(crate) struct Table {
    rounds: usize,
    missed: usize,
}

impl Table {
    /// Prints the header.
    pub(crate) fn new(rounds: usize) -> Self {
        println!("case\tours\tunit\tpeer\ttheirs\tratio\tgoal\tmet");
        Self { rounds, missed: 0 }
    }

    /// Holds a contest and prints its rows.
    pub(crate) fn hold(&mut self, contest: Contest<'_>) -> Result<()> {
        for row in contest.hold(self.rounds)? {
            self.print(&row);
        }
        Ok(())
    }

    /// Prints a figure that is held against a bound and not against a peer.
    pub(crate) fn figure(&mut self, case: impl Into<String>, figure: f64, unit: &'static str, goal: Goal) {
        self.print(&Row::figure(case.into(), figure, unit, goal));
    }

    fn print(&mut self, row: &Row) {
        println!("{row}");
        self.missed += usize::from(row.is_met() == Some(false));
    }

    /// How often each side of a contest runs.
    pub(crate) fn rounds(&self) -> usize {
        self.rounds
    }

    /// How many goals were not reached, or could not be measured.
    pub(crate) fn missed(&self) -> usize {
        self.missed
    }
}

/// The middle one, or the mean of the two in the middle; not a number if there is none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let values = sorted(values);
    let upper = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => values[upper],
        _ => f64::midpoint(values[upper - 1], values[upper]),
    }
}

/// The smallest value that at least this part of them do not exceed; not a number if there is none.
pub(crate) fn quantile(values: impl IntoIterator<Item = f64>, part: f64) -> f64 {
    let values = sorted(values);
    let rank = (values.len() as f64 * part).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The CPUs that contests run on: the first that this program may use.
pub(crate) fn cpus() -> io::Result<Vec<usize>> {
    let allowed = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).take(MOST_CPUS).collect())
}

/// While this lives, the thread that made it runs on some CPUs only, and what it starts too.
#[must_use = "the thread is free again when this is dropped"]
#[derive(Debug)]
pub(crate) struct Pinned {
    before: CpuSet,
}

impl Pinned {
    pub(crate) fn to(cpus: &[usize]) -> io::Result<Self> {
        let before = sched_getaffinity(None)?;
        let mut set = CpuSet::new();
        cpus.iter().for_each(|&cpu| set.set(cpu));
        sched_setaffinity(None, &set)?;
        Ok(Self { before })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // A CPU that is gone by now is no reason to stop.
        let _ = sched_setaffinity(None, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ns(ns: f64) -> Sample {
        Sample { ns, fairness: None }
    }

    #[test]
    fn median_of_odd_even_and_none() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median([]).is_nan());
    }

    #[test]
    fn quantile_is_one_of_the_values() {
        let hundred = || (1..=100).rev().map(f64::from);
        assert_eq!(quantile(hundred(), 0.99), 99.0);
        assert_eq!(quantile(hundred().take(20), 0.99), 100.0);
        assert!(quantile([], 0.99).is_nan());
    }

    #[test]
    fn the_ratio_is_the_median_of_the_rounds_and_not_that_of_medians() {
        let row = Row::compare("case".into(), "ns", &[1.0, 6.0, 9.0], "peer", &[2.0, 3.0, 10.0], None);
        assert_eq!(row.to_string(), "case\t6.00\tns\tpeer\t3.00\t0.900\t-\t-");
    }

    #[test]
    fn a_goal_is_judged_as_printed() {
        let row = |ours| Row::compare("case".into(), "ns", &[ours], "peer", &[1.0], Some(1.0));
        assert_eq!(row(1.0004).is_met(), Some(true));
        assert_eq!(row(1.0004).to_string(), "case\t1.00\tns\tpeer\t1.00\t1.000\t<= 1.00\tyes");
        assert_eq!(row(1.0006).is_met(), Some(false));
        assert_eq!(Row { goal: None, ..row(2.0) }.is_met(), None);
    }

    #[test]
    fn a_figure_is_held_against_its_bound() {
        let row = |ours, goal| Row::figure("case".into(), ours, "ms", goal);
        assert_eq!(row(4.9996, Goal::AtMost(5.0)).to_string(), "case\t5.000\tms\t-\t-\t-\t<= 5.00\tyes");
        assert_eq!(row(5.001, Goal::AtMost(5.0)).is_met(), Some(false));
        assert_eq!(row(1.7996, Goal::AtLeast(1.8)).to_string(), "case\t1.800\tms\t-\t-\t-\t>= 1.80\tyes");
        assert_eq!(row(1.799, Goal::AtLeast(1.8)).is_met(), Some(false));
    }

    #[test]
    fn what_was_not_measured_reaches_no_bound() {
        for goal in [Goal::AtMost(1.0), Goal::AtLeast(1.0)] {
            assert_eq!(Row::figure("case".into(), f64::NAN, "ms", goal).is_met(), Some(false));
        }
    }

    #[test]
    fn missed_goals_are_counted() {
        let mut table = Table::new(1);
        table.figure("case", 2.0, "ms", Goal::AtMost(1.0));
        table.figure("case", 2.0, "ms", Goal::AtLeast(1.0));
        assert_eq!(table.missed(), 1);
    }

    #[test]
    fn sides_run_in_turns_and_the_first_round_does_not_count() {
        let turns = std::cell::RefCell::new(String::new());
        let run = |name, slow| {
            let turns = &turns;
            move || {
                turns.borrow_mut().push(name);
                Ok(ns(if turns.borrow().len() < 3 { slow } else { 1.0 }))
            }
        };
        let mut contest = Contest::default();
        contest.ours("case", run('a', 100.0));
        contest.peer("peer", run('b', 900.0));
        let rows = contest.hold(2).unwrap();
        assert_eq!(turns.into_inner(), "ababab");
        assert_eq!(rows[0].to_string(), "case\t1.00\tns\tpeer\t1.00\t1.000\t-\t-");
    }

    #[test]
    fn each_of_ours_meets_each_peer_and_goals_are_found_by_name() {
        let mut contest = Contest::default();
        for case in ["one", "two"] {
            contest.ours(case, || Ok(Sample { ns: 2.0, fairness: Some(0.5) }));
        }
        contest.peer("fast", || Ok(Sample { ns: 1.0, fairness: Some(1.0) }));
        contest.absent("away");
        contest.goal("two", "fast", 1.0);
        contest.goal("one", "away", 1.0);
        contest.fair("one", 0.5);
        let rows: Vec<_> = contest.hold(1).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(
            rows,
            [
                "one\t2.00\tns\tfast\t1.00\t2.000\t-\t-",
                "one\t2.00\tns\taway (not on this machine)\t-\t-\t<= 1.00\tno",
                "one: who did least\t0.500\tof who did most\t-\t-\t-\t>= 0.50\tyes",
                "one: who did least\t0.50\tof who did most\tfast\t1.00\t0.500\t-\t-",
                "two\t2.00\tns\tfast\t1.00\t2.000\t<= 1.00\tno",
                "two\t2.00\tns\taway (not on this machine)\t-\t-\t-\t-",
            ]
        );
    }

    #[test]
    fn a_failed_run_names_its_side() {
        let mut contest = Contest::default();
        contest.ours("case", || Err("wrong sum".into()));
        assert_eq!(contest.hold(1).unwrap_err().to_string(), "case: wrong sum");
    }

    #[test]
    fn pinning_ends_with_its_guard() {
        let before = cpus().unwrap();
        let pinned = Pinned::to(&before[..1]).unwrap();
        assert_eq!(cpus().unwrap(), before[..1]);
        drop(pinned);
        assert_eq!(cpus().unwrap(), before);
    }
}
