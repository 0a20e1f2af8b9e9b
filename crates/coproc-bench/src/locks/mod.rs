//! Locks and signals: alone, contended, worked with, handed over; after a death; while they wait.

mod contended;
mod counter;
mod gate;
mod handover;
mod idle;
mod recovery;
mod scaling;
mod uncontended;
mod workers;

use std::time::Duration;

use crate::measure::{Result, Table, cpus};

/// How long a run waits for those who take part in it.
const PATIENCE: Duration = Duration::from_secs(10);

/// What lies on the stack, away from its neighbours' cache lines (which come in pairs).
#[repr(align(128))]
struct Apart<T>(T);

pub(crate) fn run(table: &mut Table) -> Result<()> {
    let cpus = cpus()?;
    uncontended::run(table, &cpus)?;
    contended::run(table, &cpus)?;
    workers::run(table, &cpus)?;
    handover::run(table, &cpus)?;
    scaling::run(table, &cpus)?;
    recovery::run(table)?;
    idle::run(table)
}
