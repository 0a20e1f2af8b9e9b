//! A worker's part in a call with many items: it claims ranges until there are none.

use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use coproc::__private::{Failure, Lease, Parcel};
use coproc::{Error, Message, Outcome, Reader, Result};

use super::block::{Block, Claim, Inputs, Plan, Range, integer};
use super::inputs::Packed;
use super::marks::{Marks, STRETCH, Unmarked, are_told_apart, begin_stretch};
use super::memory::Memory;
use super::places::Room;
use crate::call::{Call, function};
use crate::child::last_panic;
use crate::pool::board::Record;
use crate::pool::line;
use crate::pool::worker::Worker;
use crate::report::Report;

/// A batch of reports is sent when it has as many bytes, or its range is done.
const BATCH_BYTES: usize = 16 << 10;

/// What is done with an item.
pub(crate) trait Work: Sized + 'static {
    /// What the caller gets for it.
    type Output: Message;

    /// What each item needs of it, small enough to stay in registers.
    type View<'a>: Copy;

    /// Opens what it reaches beside the items.
    fn open(from: &mut Reader<'_>, lease: &Lease) -> Option<Self>;

    /// Whether it may reach that, now as when it was opened.
    fn is_open(&self, lease: &Lease) -> bool {
        let _ = lease;
        true
    }

    fn view(&self) -> Self::View<'_>;

    /// Whether its results are numbers that can be told from a mark: in the call's memory, if not elsewhere.
    fn has_marks() -> bool {
        false
    }

    /// Its results elsewhere, with this mark.
    fn marks(&self, mark: u64) -> Option<Marks> {
        let _ = mark;
        None
    }

    /// From this item on there are none.
    fn end(view: Self::View<'_>) -> usize {
        let _ = view;
        usize::MAX
    }

    /// Reads the item of this index and does it; `None` if it is none.
    fn item(view: Self::View<'_>, index: usize, from: Reader<'_>) -> Option<Result<Self::Output, Failure>>;
}

/// A function of one parameter.
pub(crate) struct One<F, P, R>(PhantomData<fn(F, P) -> R>);

impl<F, P, R> Work for One<F, P, R>
where
    F: Fn(P) -> R + Copy + Send + 'static,
    P: Message,
    R: Outcome,
{
    type Output = R::Output;
    type View<'a> = ();

    fn view(&self) {}

    fn has_marks() -> bool {
        are_told_apart::<R::Output, R>()
    }

    fn open(_: &mut Reader<'_>, _: &Lease) -> Option<Self> {
        Some(Self(PhantomData))
    }

    #[inline]
    fn item((): (), _: usize, mut from: Reader<'_>) -> Option<Result<R::Output, Failure>> {
        let item = P::read(&mut from)?;
        Some(function::<F>()(item).settle())
    }
}

/// A function of several parameters.
pub(crate) struct Many<F, Args, Sig>(PhantomData<fn(F, Args) -> Sig>);

impl<F, Args, Sig> Work for Many<F, Args, Sig>
where
    F: Call<Args, Sig>,
    Args: 'static,
    Sig: 'static,
{
    type Output = F::Output;
    type View<'a> = ();

    fn view(&self) {}

    fn open(_: &mut Reader<'_>, _: &Lease) -> Option<Self> {
        Some(Self(PhantomData))
    }

    #[inline]
    fn item((): (), _: usize, from: Reader<'_>) -> Option<Result<F::Output, Failure>> {
        function::<F>().call_with(from)
    }
}

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
            let mut batch = Batch { position, reports: 0, parcel: Parcel::default(), sent: false };
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

fn run_range<W: Work>(
    worker: &Worker<'_>,
    claim: &Claim<'_>,
    end: usize,
    do_item: impl Fn(usize) -> Option<Result<W::Output, Failure>> + Copy,
    batch: &mut Batch,
    marks: Option<&Marks>,
) -> Result<()> {
    let Range { first, last, .. } = claim.range;
    let (progress, count) = (claim.progress(), last - first);
    let mut done = 0;
    while done < count {
        // While no report is in hand, what is done is safe.
        let step = if batch.reports == 0 { 1 << 32 | 1 } else { 1 };
        // Many items under one guard. How far it came, `claim` knows, also after a panic.
        let stopped = catch_unwind(AssertUnwindSafe(|| match claim.results::<W::Output>(done) {
            None => Some(report_of(do_item(first + done))),
            Some(room) if worker.is_timed() => {
                let do_item = |item| {
                    worker.beat();
                    do_item(item)
                };
                run_items::<W>(first + done, end, room, progress, step, do_item)
            }
            Some(room) => match marks.filter(|marks| batch.reports == 0 && last <= marks.count()) {
                Some(marks) => run_marked::<W>(claim, done, end, room, marks, do_item),
                None => run_items::<W>(first + done, end, room, progress, step, do_item),
            },
        }));
        let report = match stopped {
            Ok(None) => break,
            Ok(Some(report)) => report,
            Err(payload) => last_panic(payload),
        };
        let (reached, mut safe) = claim.reached()?;
        done = reached.clamp(done, count - 1);
        batch.push(first + done, &report);
        worker.beat_if_timed();
        done += 1;
        if batch.parcel.bytes.len() >= BATCH_BYTES || done == count {
            batch.send(worker)?;
            safe = done;
        }
        // Release: as in `run_items`.
        progress.store(Range::progress(safe, done), Ordering::Release);
    }
    batch.send(worker)?;
    claim.finish();
    worker.count(count as u64);
    Ok(())
}

/// Does the items from `first` on, up to `end`, for whose results there is room, and adds `step` to `progress` when a result is there: so if this process dies, it is known at
/// which item. Stops at the first item that has no result of this kind, and says what it has.
#[inline(never)]
fn run_items<W: Work>(
    first: usize,
    end: usize,
    room: Room<'_, W::Output>,
    progress: &AtomicU64,
    step: u64,
    do_item: impl Fn(usize) -> Option<Result<W::Output, Failure>> + Copy,
) -> Option<Report<W::Output>> {
    let last = first + room.len();
    let mut done = progress.load(Ordering::Relaxed);
    // Up to `end` in a loop of its own, where the compiler can tell that each item is there.
    for (item, place) in (first..last.min(end)).zip(room) {
        match do_item(item) {
            Some(Ok(output)) => place.store(&output),
            other => return Some(report_of(other)),
        }
        // Wraps only where another process has written strange bits.
        done = done.wrapping_add(step);
        // Release: the result before the count, for who looks after this process's death.
        progress.store(done, Ordering::Release);
    }
    (end < last).then(|| report_of(do_item(end.max(first))))
}

/// As [`run_items`], and counts nothing: the results tell by themselves which are there.
#[inline(never)]
fn run_marked<W: Work>(
    claim: &Claim<'_>,
    done: usize,
    end: usize,
    mut room: Room<'_, W::Output>,
    marks: &Marks,
    do_item: impl Fn(usize) -> Option<Result<W::Output, Failure>> + Copy,
) -> Option<Report<W::Output>> {
    let first = claim.range.first;
    let mut item = first + done;
    let last = item + room.len();
    let known = last.min(end);
    marks.places(item, last.min(item + STRETCH)).for_each(Unmarked::set);
    while item < known {
        let done = item - first;
        begin_stretch(|| claim.progress().store(Range::MARKED | Range::progress(done, done), Ordering::Relaxed));
        let to = known.min(item + STRETCH);
        // Those that have a place a stretch behind theirs.
        let some = last.saturating_sub(item + STRETCH).min(to - item);
        let next = marks.places(item + STRETCH, item + STRETCH + some);
        for ((item, place), next) in (item..item + some).zip(room.split_off_first(some)).zip(next) {
            match do_item(item) {
                Some(Ok(output)) => place.store(&output),
                other => return Some(report_of(other)),
            }
            next.set();
        }
        for (item, place) in (item + some..to).zip(room.split_off_first(to - item - some)) {
            match do_item(item) {
                Some(Ok(output)) => place.store(&output),
                other => return Some(report_of(other)),
            }
        }
        item = to;
    }
    (end < last).then(|| report_of(do_item(end.max(first + done))))
}

fn report_of<M>(result: Option<Result<M, Failure>>) -> Report<M> {
    match result {
        Some(Ok(output)) => Report::Returned(output),
        Some(Err(failure)) => Report::Failed(failure),
        None => Report::Unreadable("the item is no value of the function's parameter".into()),
    }
}

/// Reports that are sent together: how many, then each with the number of its item.
struct Batch {
    position: u64,
    reports: usize,
    parcel: Parcel,
    /// Whether one was sent.
    sent: bool,
}

impl Batch {
    fn push<M: Message>(&mut self, item: usize, report: &Report<M>) {
        self.reports += 1;
        item.write(&mut self.parcel.writer());
        report.write(&mut self.parcel.writer());
    }

    fn send(&mut self, worker: &Worker<'_>) -> Result<()> {
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
