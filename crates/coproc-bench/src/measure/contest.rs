//! Ours and peers that run in turns.

use super::row::{FAIRNESS, Goal, Row};
use super::statistics::median;
use super::{Result, Sample};

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

    /// The names of ours.
    pub(super) fn cases(&self) -> impl Iterator<Item = &str> {
        self.ours.iter().map(|ours| ours.name.as_str())
    }

    /// Runs all sides in turns, after one round that does not count.
    pub(super) fn hold(mut self, rounds: usize) -> Result<Vec<Row>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn ns(ns: f64) -> Sample {
        Sample { ns, fairness: None }
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
}
