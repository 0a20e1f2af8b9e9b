//! A worker's part in a call with many items: it claims ranges until there are none.

use std::sync::atomic::Ordering;

use coproc::{Error, Message, Reader, Result};

use super::batch::Batch;
use super::block::{Block, Inputs, Plan};
use super::inputs::Packed;
use super::integer;
use super::items::run_range;
use super::memory::Memory;
use super::work::Work;
use crate::pool::board::Record;
use crate::pool::worker::Worker;
use crate::report::Report;

/// What a helper is told: the plan, and which helper it is.
#[derive(Debug, Message)]
pub(crate) struct Errand {
    pub(crate) plan: Plan,
    pub(crate) helper: usize,
}

/// What a helper gets on demand: the memory, and the inputs that have no place in it.
#[derive(Debug, Message)]
pub(crate) struct Supplies {
    pub(crate) words: coproc::SharedArray<std::sync::atomic::AtomicU64>,
    pub(crate) packed: Option<Packed>,
}

/// Does a helper's task.
pub(crate) fn help<W: Work>(worker: &mut Worker<'_>, record: &Record, position: u64) {
    let report = match begin::<W>(worker, record, position) {
        Ok(Part { block, packed, work, helper }) => {
            let mut batch = Batch::new(position);
            let result = work_through(worker, &*work, &block, packed.as_ref(), helper, &mut batch);
            if let Some(scene) = block.plan.scene {
                worker.keep(scene, work);
            }
            match result {
                Ok(()) if batch.sent => return record.store_elsewhere(),
                Ok(()) => Report::Returned(()),
                Err(error) => Report::Unreadable(error.to_string()),
            }
        }
        Err(error) => Report::Unreadable(error.to_string()),
    };
    worker.answer(record, position, &report);
}

/// What a helper needs for its part.
struct Part<W> {
    block: Block,
    packed: Option<Packed>,
    work: Box<W>,
    helper: usize,
}

fn begin<W: Work>(worker: &mut Worker<'_>, record: &Record, position: u64) -> Result<Part<W>> {
    let Errand { plan, helper } = Errand::read(&mut record.reader()).ok_or(Error::Corrupted)?;
    let opened = |memory, packed, work: Box<W>| {
        let mut block = Block::open(plan, memory).ok_or(Error::Corrupted)?;
        block.mark_outputs();
        block.marks = plan.mark.and_then(|mark| work.marks(mark)).or(block.marks);
        Ok(Part { block, packed, work, helper })
    };
    let memory = worker.memories.iter().find(|memory| memory.number == plan.block).cloned();
    if let Some(memory) = memory.filter(|_| !matches!(plan.input, Inputs::Packed)) {
        let known = match plan.scene {
            None => W::open(&mut Reader::new(&[], &[]), &worker.lease).map(Box::new),
            Some(scene) => worker.take_kept::<W>(scene),
        };
        if let Some(work) = known.filter(|work| work.is_open(&worker.lease)) {
            return opened(memory, None, work);
        }
    }
    let parcel = worker.fetch(position)?;
    let mut reader = parcel.reader();
    let supplies = Supplies::read(&mut reader).ok_or(Error::Corrupted)?;
    let work = W::open(&mut reader, &worker.lease);
    let work =
        work.ok_or_else(|| Error::other("an array that the call works on could not be opened, or is not locked for it"))?;
    let memory = Memory { number: plan.block, words: supplies.words };
    worker.remember(&memory);
    opened(memory, supplies.packed, Box::new(work))
}

fn work_through<W: Work>(
    worker: &mut Worker<'_>,
    work: &W,
    block: &Block,
    packed: Option<&Packed>,
    helper: usize,
    batch: &mut Batch,
) -> Result<()> {
    let current = block.current(helper).ok_or(Error::Corrupted)?;
    while let Some(claim) = block.claim()? {
        // Only this process's death makes anybody read it, and then the kernel stands in between.
        current.store(claim.index as u64 + 1, Ordering::Relaxed);
        worker.beat();
        let view = work.view();
        let end = W::end(view);
        let marks = block.marks.as_ref();
        match (block.plan.input, packed) {
            (Inputs::Slots { .. }, _) => {
                let places = block.inputs_here().ok_or(Error::Corrupted)?;
                let item = move |item| W::item(view, item, places.reader(item)?);
                run_range::<W>(worker, &claim, end.min(places.count()), item, batch, marks)?;
            }
            (Inputs::Counted { first }, _) => {
                let item = move |item| W::item(view, item, Reader::new(&integer::nth::<u64>(first, item).to_le_bytes(), &[]));
                run_range::<W>(worker, &claim, end, item, batch, marks)?;
            }
            (Inputs::Packed, Some(packed)) => {
                run_range::<W>(worker, &claim, end, move |item| W::item(view, item, packed.input(item)?), batch, marks)?;
            }
            (Inputs::Packed, None) => return Err(Error::Corrupted),
        }
        if block.is_worth_taking::<W::Output>(claim.index) {
            // The caller may wait for this processor, to take the results while others are at work.
            std::thread::yield_now();
        }
        // A range is a task; the last one is counted with the errand.
        if worker.left <= 1 {
            break;
        }
        worker.left -= u64::from(worker.left != u64::MAX);
    }
    current.store(0, Ordering::Relaxed);
    Ok(())
}
