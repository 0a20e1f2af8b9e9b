//! Rounds, medians, pinning, and the table that comes out.

mod contest;
mod cpus;
mod row;
mod statistics;
mod table;

use std::error::Error;
use std::time::Duration;

pub(crate) use contest::Contest;
pub(crate) use cpus::{Pinned, cpus};
pub(crate) use row::Goal;
pub(crate) use statistics::{median, quantile};
pub(crate) use table::Table;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What one run gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    /// Wall time per operation.
    pub(crate) ns: f64,
    /// Where several took part: what the one who did least did, as a part of what the one who did most did.
    pub(crate) fairness: Option<f64>,
}

impl Sample {
    /// So many operations took this long.
    pub(crate) fn of(time: Duration, operations: u64) -> Self {
        Self { ns: time.as_nanos() as f64 / operations as f64, fairness: None }
    }
}
