//! One call of a pool, as its workers share it: inputs, results, and who is at what.
//!
//! Every item has a state. A worker claims a run of items with one `fetch_add`, notes the item that it is at, calls the function, stores
//! the result, then the state. So if it dies, the item that it had noted and that is still open is the one that it was running.

#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use coproc::__private::{Kind, Parcel, Plan, Segment};
use coproc::{Error, FrozenArray, Message, Outcome, Reader, Result, SharedArray, Writer};

use crate::call::function;
use crate::channel::Channel;
use crate::child::{guarded, reader, writer};
use crate::image;
use crate::report::Report;

/// Nobody has finished the item.
pub(crate) const OPEN: u8 = 0;
/// Its result is stored.
const STORED: u8 = 1;
/// Its report is in a batch, which the pool has received or will, if the worker lives.
pub(crate) const BATCHED: u8 = 2;
/// The worker that ran it died.
pub(crate) const DEAD: u8 = 3;

/// What begins a packet from a worker. (Words of a panic that aborts begin with a smaller number: they are a `Report`.)
pub(crate) const FINISHED: u8 = 10;
pub(crate) const BATCH: u8 = 11;

/// A batch is sent when it has as many bytes, or its run of items is done.
const BATCH_BYTES: usize = 16 << 10;

/// Words that different workers write are this far apart: one cache line.
const APART: usize = 8;

/// What a worker does with a job: the instance of [`work`] for the function's type, on a seat's behalf.
pub(crate) type Run = fn(&Job, usize, &Channel) -> Result<()>;

/// One call of a pool.
#[derive(Debug, Message)]
pub(crate) struct Job {
    /// Offset of the [`Run`] in the executable.
    run: u64,
    items: usize,
    /// How many items are claimed at once.
    chunk: usize,
    /// The next chunk to claim; then, for each seat, the item that it is at, plus one.
    words: SharedArray<AtomicU64>,
    states: SharedArray<AtomicU8>,
    inputs: Inputs,
    /// Slots for the results, if these have a bounded size.
    results: Option<Slots>,
}

/// The items' bytes and handles.
#[derive(Debug, Message)]
struct Inputs {
    bytes: Raw,
    handles: Handles,
    /// Size of an item's slot, if all have one; else where each begins: byte, handle.
    slot: Option<usize>,
    starts: Option<FrozenArray<[u64; 2]>>,
}

/// A segment of plain bytes.
#[derive(Debug)]
struct Raw(Segment);

impl Message for Raw {
    fn write(&self, to: &mut Writer<'_>) {
        to.segment(&self.0);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let segment = from.segment()?;
        segment.is_frozen().then_some(Self(segment))
    }
}

/// Handles that the items hold.
#[derive(Debug)]
struct Handles(Vec<Segment>);

impl Message for Handles {
    fn write(&self, to: &mut Writer<'_>) {
        self.0.len().write(to);
        self.0.iter().for_each(|segment| to.segment(segment));
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let count = usize::read(from)?;
        (0..count).map(|_| from.segment()).collect::<Option<_>>().map(Self)
    }
}

/// A slot of `size` bytes for each item, in a segment that all workers write, each its own slots.
#[derive(Debug)]
struct Slots {
    segment: Segment,
    size: usize,
}

impl Message for Slots {
    fn write(&self, to: &mut Writer<'_>) {
        to.segment(&self.segment);
        self.size.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let segment = from.segment()?;
        (!segment.is_frozen()).then_some(Self { segment, size: usize::read(from)? })
    }
}

impl Slots {
    fn new(items: usize, size: usize) -> Result<Self> {
        let body = items.checked_mul(size).ok_or(Error::TooLarge { len: items, size })?;
        let segment = Segment::create(Plan { kind: Kind::Parcel, layout: 0, len: items, body })?;
        Ok(Self { segment, size })
    }

    /// Where the slot of an item begins; `None` if the segment has none for it.
    fn at(&self, item: usize) -> Option<*mut u8> {
        let end = item.checked_add(1)?.checked_mul(self.size)?;
        (end <= self.segment.body_size()).then(|| self.segment.body().as_ptr().wrapping_add(end - self.size))
    }

    fn store<M: Message>(&self, item: usize, value: &M) -> bool {
        let Some(at) = self.at(item).filter(|_| M::BOUND == Some(self.size)) else { return false };
        // SAFETY: the slot lies in the segment (`at`), which is mapped and writable; the item is this worker's, so its slot too.
        value.write(&mut unsafe { Writer::slot(at, self.size) });
        true
    }

    fn load<M: Message>(&self, item: usize) -> Option<M> {
        let at = self.at(item)?;
        // SAFETY: the slot lies in the segment (`at`), which is mapped while `self` lives.
        M::read(&mut unsafe { Reader::raw(at, self.size, &[]) })
    }
}

impl Inputs {
    fn pack<P: Message>(items: impl Iterator<Item = P>) -> Result<(Self, usize)> {
        let mut parcel = Parcel::default();
        let mut starts = Vec::new();
        let mut count = 0;
        parcel.bytes.reserve(P::BOUND.unwrap_or(0).saturating_mul(items.size_hint().0.min(1 << 24)));
        for item in items {
            if P::BOUND.is_none() {
                starts.push([parcel.bytes.len() as u64, parcel.segments.len() as u64]);
            }
            item.write(&mut writer(&mut parcel));
            count += 1;
            if let Some(slot) = P::BOUND {
                parcel.bytes.resize(count * slot, 0);
            }
        }
        let starts = if starts.is_empty() { None } else { Some(FrozenArray::from_slice(&starts)?) };
        Ok((
            Self { bytes: Raw(Segment::parcel(&parcel.bytes)?), handles: Handles(parcel.segments), slot: P::BOUND, starts },
            count,
        ))
    }

    /// A reader that begins at an item.
    fn reader(&self, item: usize) -> Option<Reader<'_>> {
        let (byte, handle) = match (self.slot, &self.starts) {
            (Some(slot), _) => (item.checked_mul(slot)?, 0),
            (None, Some(starts)) => {
                let &[byte, handle] = starts.get(item)?;
                (byte as usize, handle as usize)
            }
            (None, None) => return None,
        };
        let left = self.bytes.0.body_size().checked_sub(byte)?;
        let at = self.bytes.0.body().as_ptr().wrapping_add(byte);
        // SAFETY: `left` bytes from there on are in the segment, which is mapped while `self` lives.
        Some(unsafe { Reader::raw(at, left, self.handles.0.get(handle..)?) })
    }
}

impl Job {
    /// Lays a call out for as many workers.
    pub(crate) fn new<F, P, R>(_: F, items: impl Iterator<Item = P>, seats: usize) -> Result<Self>
    where
        F: Fn(P) -> R + Copy + Send + 'static,
        P: Message,
        R: Outcome,
    {
        let run: Run = work::<F, P, R>;
        let (inputs, items) = Inputs::pack(items)?;
        Ok(Self {
            run: image::offset_of(run as usize)?,
            items,
            chunk: items.div_ceil(4 * seats).max(1),
            words: SharedArray::zeroed(APART * (1 + seats))?,
            states: SharedArray::zeroed(items.max(1))?,
            inputs,
            results: R::Output::BOUND.map(|size| Slots::new(items, size)).transpose()?,
        })
    }

    pub(crate) fn items(&self) -> usize {
        self.items
    }

    /// What a worker does with it.
    pub(crate) fn run(&self) -> Option<Run> {
        let address = image::address_of(self.run)?;
        // SAFETY: the pool is a parent of the same build and copy of this crate; it computed the offset from a `Run`, and there is code.
        Some(unsafe { std::mem::transmute::<usize, Run>(address) })
    }

    pub(crate) fn states(&self) -> &[AtomicU8] {
        &self.states
    }

    /// The result that was stored for an item; `None` if what is there is none.
    pub(crate) fn stored<M: Message>(&self, item: usize) -> Option<M> {
        self.results.as_ref()?.load(item)
    }

    /// Lets the chunks be claimed from the first on. Only while no worker is at it.
    pub(crate) fn rewind(&self) {
        self.words[0].store(0, Ordering::Relaxed);
    }

    /// Whether there is something left to claim.
    pub(crate) fn has_unclaimed(&self) -> bool {
        (self.words[0].load(Ordering::Relaxed) as usize).saturating_mul(self.chunk) < self.items
    }

    /// The item at which the worker of a seat died, if it was at one; the seat is at none after that.
    pub(crate) fn take_current(&self, seat: usize) -> Option<usize> {
        let item = (self.seat(seat).swap(0, Ordering::Relaxed) as usize).checked_sub(1)?;
        (self.states.get(item)?.load(Ordering::Relaxed) == OPEN).then_some(item)
    }

    fn seat(&self, seat: usize) -> &AtomicU64 {
        &self.words[APART * (1 + seat)]
    }
}

/// A worker's part of a job: claims chunks until there are none.
fn work<F, P, R>(job: &Job, seat: usize, channel: &Channel) -> Result<()>
where
    F: Fn(P) -> R + Copy + Send + 'static,
    P: Message,
    R: Outcome,
{
    let f = function::<F>();
    let states = job.states();
    let (next, current) = (&job.words[0], job.words.get(APART * (1 + seat)).ok_or(Error::Corrupted)?);
    let mut batch = Batch::default();
    loop {
        let chunk = next.fetch_add(1, Ordering::Relaxed) as usize;
        let first = chunk.saturating_mul(job.chunk);
        if first >= job.items {
            break;
        }
        let last = first.saturating_add(job.chunk).min(job.items);
        for (item, state) in (first..last).zip(states.get(first..last).ok_or(Error::Corrupted)?) {
            if state.load(Ordering::Relaxed) != OPEN {
                continue;
            }
            // Only this process's death makes anybody read it, and then the kernel stands in between.
            current.store(item as u64 + 1, Ordering::Relaxed);
            let report = guarded(|| Some(f(P::read(&mut job.inputs.reader(item)?)?).settle()));
            let stored = match (&report, &job.results) {
                (Report::Returned(value), Some(results)) => results.store(item, value),
                _ => false,
            };
            if !stored {
                batch.push(item, &report);
            }
            // Relaxed: the packet that says that the job is done comes after it.
            state.store(if stored { STORED } else { BATCHED }, Ordering::Relaxed);
            if batch.reports.bytes.len() >= BATCH_BYTES {
                batch.send(channel)?;
            }
        }
        batch.send(channel)?;
    }
    current.store(0, Ordering::Relaxed);
    Ok(())
}

/// Reports that are sent together: a tag, the items' numbers, then the reports.
#[derive(Default)]
struct Batch {
    items: Vec<usize>,
    reports: Parcel,
}

impl Batch {
    fn push<M: Message>(&mut self, item: usize, report: &Report<M>) {
        self.items.push(item);
        report.write(&mut writer(&mut self.reports));
    }

    fn send(&mut self, channel: &Channel) -> Result<()> {
        if self.items.is_empty() {
            return Ok(());
        }
        let mut parcel = Parcel::of(&(BATCH, std::mem::take(&mut self.items)));
        let reports = std::mem::take(&mut self.reports);
        parcel.bytes.extend_from_slice(&reports.bytes);
        parcel.segments = reports.segments;
        channel.send(&parcel)
    }
}

/// The numbers of the items in a batch.
pub(crate) fn batched_items(batch: &Parcel) -> Option<Vec<usize>> {
    let (tag, items) = <(u8, Vec<usize>)>::read(&mut reader(batch))?;
    (tag == BATCH).then_some(items)
}

/// The reports of a batch, by item.
pub(crate) fn open_batch<M: Message>(batch: &Parcel, mut give: impl FnMut(usize, Report<M>)) -> Option<()> {
    let mut reader = reader(batch);
    let (_, items) = <(u8, Vec<usize>)>::read(&mut reader)?;
    for item in items {
        give(item, Report::read(&mut reader)?);
    }
    Some(())
}
