//! A line of the table: a figure, what it stands beside, and what it has to reach.

use std::fmt;

use super::statistics::median;

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
            Self::AtMost(bound) => write!(f, "<= {bound:.*}", digits(*bound) - 1),
            Self::AtLeast(bound) => write!(f, ">= {bound:.*}", digits(*bound) - 1),
        }
    }
}

/// The unit of fairness.
pub(super) const FAIRNESS: &str = "of who did most";

/// A line of the table.
#[derive(Debug, PartialEq)]
pub(super) struct Row {
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
    pub(super) fn compare(case: String, unit: &'static str, ours: &[f64], peer: &str, theirs: &[f64], goal: Option<f64>) -> Self {
        let ratios = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs);
        let ratio = as_printed(median(ratios));
        let beside = Beside::Peer { name: peer.into(), theirs: median(theirs.iter().copied()), ratio };
        Self { case, ours: median(ours.iter().copied()), unit, beside, goal: goal.map(Goal::AtMost) }
    }

    pub(super) fn alone(case: String, ours: &[f64], peer: &str, goal: Option<f64>) -> Self {
        let beside = Beside::Absent(peer.into());
        Self { case, ours: median(ours.iter().copied()), unit: "ns", beside, goal: goal.map(Goal::AtMost) }
    }

    pub(super) fn figure(case: String, ours: f64, unit: &'static str, goal: Goal) -> Self {
        Self { case, ours: as_printed(ours), unit, beside: Beside::Nothing, goal: Some(goal) }
    }

    /// Whether what is judged, as it is printed, reaches the goal; `None` if there is no goal.
    pub(super) fn is_met(&self) -> Option<bool> {
        self.goal.map(|goal| match self.beside {
            Beside::Peer { ratio, .. } => goal.is_met_by(ratio),
            Beside::Absent(_) => false,
            Beside::Nothing => goal.is_met_by(self.ours),
        })
    }
}

/// With how many digits after the point a judged figure is printed; its bound has one less.
fn digits(figure: f64) -> usize {
    if figure != 0.0 && figure.abs() < 0.1 { 4 } else { 3 }
}

/// To the digits with which a judged figure is printed.
fn as_printed(figure: f64) -> f64 {
    let unit = if digits(figure) == 4 { 1e4 } else { 1e3 };
    (figure * unit).round() / unit
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { case, ours, unit, .. } = self;
        match &self.beside {
            Beside::Peer { name, theirs, ratio } => {
                write!(f, "{case}\t{ours:.2}\t{unit}\t{name}\t{theirs:.2}\t{ratio:.*}\t", digits(*ratio))?;
            }
            Beside::Absent(name) => write!(f, "{case}\t{ours:.2}\t{unit}\t{name} (not on this machine)\t-\t-\t")?,
            Beside::Nothing => write!(f, "{case}\t{ours:.*}\t{unit}\t-\t-\t-\t", digits(*ours))?,
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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn small_figures_and_bounds_have_more_digits() {
        let row = |ours| Row::compare("case".into(), "ns", &[ours], "peer", &[1.0], Some(0.005));
        assert_eq!(row(0.00504).to_string(), "case\t0.01\tns\tpeer\t1.00\t0.0050\t<= 0.005\tyes");
        assert_eq!(row(0.00506).is_met(), Some(false));
        assert_eq!(Goal::AtMost(1.0 / 30.0).to_string(), "<= 0.033");
        assert_eq!(
            Row::figure("case".into(), 0.0, "more", Goal::AtMost(0.0)).to_string(),
            "case\t0.000\tmore\t-\t-\t-\t<= 0.00\tyes"
        );
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
}
