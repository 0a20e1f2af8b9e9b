//! The same by a program with much memory, which a fork of it would have to map anew.

use super::spawn::TIMES;
use super::{checked, fresh};
use crate::measure::{Contest, Goal, Result, Table};
use crate::procfs;

const GIB: u64 = 1 << 30;

pub(super) fn run(table: &mut Table) -> Result<()> {
    const CASE: &str = "start and join an empty process, 1 GiB resident in the parent";
    const WITHOUT: &str = "without the 1 GiB";

    if procfs::available_memory()? < 2 * GIB {
        table.figure(format!("{CASE} (2 GiB are not free)"), f64::NAN, "ns", Goal::AtMost(0.0));
        return Ok(());
    }
    let spawn = format!("spawn {TIMES}");
    let (mut small, mut large) = (fresh::start()?, fresh::start()?);
    checked(large.time(&format!("hold {GIB}"))?, GIB, 1)?;
    let mut contest = Contest::default();
    contest.ours(CASE, || checked(large.time(&spawn)?, TIMES, TIMES));
    contest.peer(WITHOUT, || checked(small.time(&spawn)?, TIMES, TIMES));
    contest.goal(CASE, WITHOUT, 1.3);
    table.hold(contest)
}
