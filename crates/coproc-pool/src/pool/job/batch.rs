//! Results that have no place in the memory of a call, and failures: they are sent, many together.

use coproc::__private::Parcel;
use coproc::{Message, Result};

use crate::pool::line;
use crate::pool::worker::Worker;
use crate::report::Report;

/// A batch is sent when it has as many bytes, or its range is done.
const FULL: usize = 16 << 10;

/// Reports that are sent together: how many, then each with the number of its item.
pub(super) struct Batch {
    position: u64,
    reports: usize,
    parcel: Parcel,
    /// Whether one was sent.
    pub(super) sent: bool,
}

impl Batch {
    /// For the task at this position.
    pub(super) fn new(position: u64) -> Self {
        Self { position, reports: 0, parcel: Parcel::default(), sent: false }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.reports == 0
    }

    pub(super) fn is_full(&self) -> bool {
        self.parcel.bytes.len() >= FULL
    }

    pub(super) fn push<M: Message>(&mut self, item: usize, report: &Report<M>) {
        self.reports += 1;
        item.write(&mut self.parcel.writer());
        report.write(&mut self.parcel.writer());
    }

    pub(super) fn send(&mut self, worker: &Worker<'_>) -> Result<()> {
        if self.reports == 0 {
            return Ok(());
        }
        let reports = std::mem::take(&mut self.parcel);
        let mut parcel = Parcel::of(&(line::SENT, std::mem::take(&mut self.reports)));
        parcel.bytes.extend_from_slice(&reports.bytes);
        parcel.handles = reports.handles;
        self.position.write(&mut parcel.writer());
        self.sent = true;
        worker.send(&parcel)
    }
}

/// The reports of a batch, by item. `None` if it is none.
pub(crate) fn open_batch<M: Message>(batch: &Parcel, mut give: impl FnMut(usize, Report<M>)) -> Option<()> {
    let mut reader = batch.reader();
    let (_, reports) = <(u8, usize)>::read(&mut reader)?;
    for _ in 0..reports {
        let item = usize::read(&mut reader)?;
        give(item, Report::read(&mut reader)?);
    }
    Some(())
}
