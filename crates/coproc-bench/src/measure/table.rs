//! Where figures are printed, and missed goals counted.

use super::row::{Goal, Row};
use super::{Contest, Result};

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
}
