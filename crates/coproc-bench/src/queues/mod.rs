//! Queues: round trips, streams, waits and copies, beside what others carry numbers with.
//!
//! Ours go between two processes, each pinned to a CPU; peers between threads where they know no processes. What arrives is added up.

mod alone;
mod blocking;
mod crew;
mod ends;
mod loan;
mod long;
mod memory;
mod queue;
mod stream;
mod trips;

use crate::measure::{Result, Table, cpus};

pub(crate) fn run(table: &mut Table) -> Result<()> {
    let cpus = cpus()?;
    queue::contests(table, &cpus)?;
    alone::contest(table, &cpus)?;
    blocking::contests(table, &cpus)?;
    long::contest(table, &cpus)?;
    loan::contest(table, &cpus)?;
    memory::contest(table)
}
