//! How many items of a call are done while it goes on.

use coproc::Message;

use super::Job;
use crate::pool::progress::Tally;

impl<M: Message + Send> Tally for Job<M> {
    fn done(&self) -> Option<u64> {
        // Whoever holds it lays out another round or ends the call: there will be better moments. It is held until the call is ready, so if it
        // is not, the memory is this call's yet.
        let course = self.course.try_lock().ok()?;
        if self.cell.is_ready() {
            return None;
        }
        let ranges = (0..self.block.count()).filter_map(|range| self.block.range(range));
        let left: usize = ranges.map(|range| range.last - range.first - range.done).sum();
        let later: usize = course.later.iter().map(|(first, last)| last - first).sum();
        Some(self.block.plan.items.saturating_sub(left + later) as u64)
    }
}
