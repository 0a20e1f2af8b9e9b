//! Operations that are too long to be stepped through.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use super::report::{MOST_FAULTS, Progress, Report};
use super::{Check, Dead, Operation};

/// An operation that is too long to be stepped through: processes are killed at some moments of it.
#[allow(missing_debug_implementations, reason = "functions")]
struct Sampled {
    name: String,
    moments: u64,
    kill: fn(u64, &Dead<'_>) -> Check,
}

/// An operation of so many moments. `kill` runs it, kills somebody at this one, and checks; the dead one that it is given only keeps the time.
pub fn sampled(name: &str, moments: u64, kill: fn(u64, &Dead<'_>) -> Check) -> Box<dyn Operation> {
    Box::new(Sampled { name: name.into(), moments, kill })
}

impl Operation for Sampled {
    fn name(&self) -> &str {
        &self.name
    }

    fn kill_everywhere(&self, progress: &Progress) -> Report {
        let begin = Instant::now();
        let mut report = Report::default();
        for moment in 0..self.moments {
            progress.point(moment);
            let dead = Dead::new(0, false, progress);
            let kill = AssertUnwindSafe(|| (self.kill)(moment, &dead));
            let result = catch_unwind(kill).unwrap_or_else(|_| Err("the check panicked".into()));
            report.points += 1;
            report.slowest = report.slowest.max(dead.slowest.get().as_micros() as u64);
            if let Err(error) = result {
                report.note_fault(&format!("killed at moment {moment}"), &*error);
            }
            if report.hangs + report.losses >= MOST_FAULTS as u64 {
                break;
            }
        }
        report.took = begin.elapsed().as_millis() as u64;
        report
    }
}
