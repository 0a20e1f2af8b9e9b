//! Where figures are printed, and missed goals counted.

use super::row::{Goal, Row};
use super::{Contest, Result};

/// The table on standard output, tab-separated.
#[derive(Debug)]
pub(crate) struct Table {
    rounds: usize,
    /// What a case must have in its name to be measured.
    only: String,
    missed: usize,
}

impl Table {
    /// Prints the header.
    pub(crate) fn new(rounds: usize) -> Self {
        println!("case\tours\tunit\tpeer\ttheirs\tratio\tgoal\tmet");
        Self { rounds, only: String::new(), missed: 0 }
    }

    /// The same table, with just the cases that have this in their names.
    pub(crate) fn only(self, word: &str) -> Self {
        Self { only: word.to_owned(), ..self }
    }

    /// Whether this case is to be measured. Asked before it is where that takes long.
    pub(crate) fn wants(&self, case: &str) -> bool {
        case.contains(&self.only)
    }

    /// Holds a contest and prints its rows, if any of its cases is wanted.
    pub(crate) fn hold(&mut self, contest: Contest<'_>) -> Result<()> {
        if contest.cases().any(|case| self.wants(case)) {
            for row in contest.hold(self.rounds)? {
                self.print(&row);
            }
        }
        Ok(())
    }

    /// Prints a figure that is held against a bound and not against a peer.
    pub(crate) fn figure(&mut self, case: impl Into<String>, figure: f64, unit: &'static str, goal: Goal) {
        let case = case.into();
        if self.wants(&case) {
            self.print(&Row::figure(case, figure, unit, goal));
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_goals_are_counted() {
        let mut table = Table::new(1);
        table.figure("case", 2.0, "ms", Goal::AtMost(1.0));
        table.figure("case", 2.0, "ms", Goal::AtLeast(1.0));
        assert_eq!(table.missed(), 1);
    }

    #[test]
    fn only_what_is_wanted_is_measured() {
        let mut table = Table::new(1).only("a lock");
        let mut contest = Contest::default();
        contest.ours("a queue", || panic!("nobody asked for this"));
        table.hold(contest).unwrap();
        table.figure("a queue", 2.0, "ms", Goal::AtMost(1.0));
        assert_eq!(table.missed(), 0);
        table.figure("a lock held", 2.0, "ms", Goal::AtMost(1.0));
        assert_eq!(table.missed(), 1);
    }
}
