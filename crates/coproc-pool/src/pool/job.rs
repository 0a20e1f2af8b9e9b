//! One call of a pool, as its workers share it: inputs, results, and who is at what.
//!
//! Every item has a state. A worker claims a run of items with one `fetch_add`, notes the item that it is at, calls the function, stores
//! the result, then the state. So if it dies, the item that it had noted and that is still open is the one that it was running.

#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use coproc::__private::{Handle, Parcel, Segment};
use coproc::{Error, FrozenArray, Message, Outcome, Reader, Result, SharedArray, Writer};

use crate::call::function;
use crate::channel::Channel;
use crate::child::guarded;
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

/// The items, as they are read by the workers.
#[derive(Debug, Message)]
enum Inputs {
    /// Items of a bounded size.
    Slots(Slots),
    /// Items of any size: their bytes one after the other, the handles that they hold, and where each begins: byte, handle.
    Packed { bytes: Raw, handles: Handles, starts: FrozenArray<[u64; 2]> },
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
struct Handles(Vec<Handle>);

impl Message for Handles {
    fn write(&self, to: &mut Writer<'_>) {
        self.0.len().write(to);
        self.0.iter().for_each(|handle| to.handle(handle.clone()));
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let count = usize::read(from)?;
        (0..count).map(|_| from.handle().cloned()).collect::<Option<_>>().map(Self)
    }
}

/// A slot of `size` bytes for each item, in memory that all workers write, each its own slots.
#[derive(Debug, Message)]
struct Slots {
    bytes: SharedArray<AtomicU8>,
    size: usize,
}

impl Slots {
    fn new(items: usize, size: usize, spare: &mut Spare) -> Result<Self> {
        let bytes = items.checked_mul(size).ok_or(Error::TooLarge { len: items, size })?;
        Ok(Self { bytes: spare.take(bytes)?, size })
    }

    /// The bytes of an item's slot; `None` if there is none for it.
    #[inline]
    fn at(&self, item: usize) -> Option<*mut u8> {
        let first = item.checked_mul(self.size)?;
        let slot = self.bytes.get(first..first.checked_add(self.size)?)?;
        Some(slot.as_ptr().cast::<u8>().cast_mut())
    }

    #[inline]
    fn store<M: Message>(&self, item: usize, value: &M) -> bool {
        let Some(at) = self.at(item).filter(|_| M::BOUND == Some(self.size)) else { return false };
        // SAFETY: the slot's bytes are atomics, so they may be written through a shared reference, which `self` keeps valid; the item is
        // this process's to write, so its slot too.
        value.write(&mut unsafe { Writer::slot(at, self.size) });
        true
    }

    #[inline]
    fn load<M: Message>(&self, item: usize) -> Option<M> {
        let at = self.at(item)?;
        // SAFETY: the slot's bytes are valid while `self` lives.
        M::read(&mut unsafe { Reader::raw(at, self.size, &[]) })
    }
}

/// Memory of calls that are over, for the next one: it is mapped already, here and in the workers.
#[derive(Debug, Default)]
pub(crate) struct Spare(Vec<SharedArray<AtomicU8>>);

impl Spare {
    /// More is not kept, in bytes.
    const MOST: usize = 64 << 20;
    /// What is kept is not used for a need this many times smaller.
    const WASTE: usize = 8;

    /// At least this many bytes, of any content.
    fn take(&mut self, bytes: usize) -> Result<SharedArray<AtomicU8>> {
        let bytes = bytes.max(1);
        let fits = |array: &SharedArray<AtomicU8>| (bytes..=bytes.saturating_mul(Self::WASTE)).contains(&array.len());
        match self.0.iter().position(fits) {
            Some(found) => Ok(self.0.swap_remove(found)),
            None => SharedArray::zeroed(bytes),
        }
    }

    /// Keeps the memory of a call that no worker is at any more, unless it is too much.
    pub(crate) fn keep(&mut self, job: Job) {
        let memory = Self::of(job);
        if memory.0.iter().map(SharedArray::len).sum::<usize>() <= Self::MOST {
            *self = memory;
        }
    }

    /// The memory of a call, without what the items hold.
    pub(crate) fn of(job: Job) -> Self {
        let inputs = match job.inputs {
            Inputs::Slots(slots) => Some(slots),
            Inputs::Packed { .. } => None,
        };
        Self(job.results.into_iter().chain(inputs).map(|slots| slots.bytes).chain([job.states]).collect())
    }
}

impl Inputs {
    /// Takes all items; also returns how many.
    fn pack<P: Message>(items: impl Iterator<Item = P>, spare: &mut Spare) -> Result<(Self, usize)> {
        let Some(size) = P::BOUND else { return Self::pack_one_by_one(items) };
        match items.size_hint() {
            (len, Some(most)) if len == most => Self::pack_slots(len, size, items, spare),
            _ => {
                let items: Vec<P> = items.collect();
                Self::pack_slots(items.len(), size, items.into_iter(), spare)
            }
        }
    }

    fn pack_slots<P: Message>(
        len: usize,
        size: usize,
        mut items: impl Iterator<Item = P>,
        spare: &mut Spare,
    ) -> Result<(Self, usize)> {
        let slots = Slots::new(len, size, spare)?;
        let stored = items.by_ref().take(len).enumerate().filter(|(index, item)| slots.store(*index, item)).count();
        if stored != len || items.next().is_some() {
            return Err(Error::other(format!("the iterator promised {len} items (size_hint) and gave another number")));
        }
        Ok((Self::Slots(slots), len))
    }

    fn pack_one_by_one<P: Message>(items: impl Iterator<Item = P>) -> Result<(Self, usize)> {
        let mut parcel = Parcel::default();
        let mut starts = Vec::new();
        for item in items {
            starts.push([parcel.bytes.len() as u64, parcel.handles.len() as u64]);
            item.write(&mut parcel.writer());
        }
        let len = starts.len();
        // A frozen array has an element at least.
        starts.push([parcel.bytes.len() as u64, parcel.handles.len() as u64]);
        let starts = FrozenArray::from_slice(&starts)?;
        Ok((Self::Packed { bytes: Raw(Segment::parcel(&parcel.bytes)?), handles: Handles(parcel.handles), starts }, len))
    }

    fn load<P: Message>(&self, item: usize) -> Option<P> {
        match self {
            Self::Slots(slots) => slots.load(item),
            Self::Packed { bytes: Raw(bytes), handles, starts } => {
                let &[byte, handle] = starts.get(item)?;
                let left = bytes.body_size().checked_sub(byte as usize)?;
                let at = bytes.body().as_ptr().wrapping_add(byte as usize);
                // SAFETY: `left` bytes from there on are in the segment, which is mapped while `self` lives.
                P::read(&mut unsafe { Reader::raw(at, left, handles.0.get(handle as usize..)?) })
            }
        }
    }
}

impl Job {
    /// Lays a call out for as many workers.
    pub(crate) fn new<F, P, R>(_: F, items: impl Iterator<Item = P>, seats: usize, spare: &mut Spare) -> Result<Self>
    where
        F: Fn(P) -> R + Copy + Send + 'static,
        P: Message,
        R: Outcome,
    {
        let run: Run = work::<F, P, R>;
        let (inputs, items) = Inputs::pack(items, spare)?;
        let states = spare.take(items)?;
        states[..items].iter().for_each(|state| state.store(OPEN, Ordering::Relaxed));
        Ok(Self {
            run: image::offset_of(run as usize)?,
            items,
            chunk: items.div_ceil(4 * seats).max(1),
            words: SharedArray::zeroed(APART * (1 + seats))?,
            states,
            inputs,
            results: R::Output::BOUND.map(|size| Slots::new(items, size, spare)).transpose()?,
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
        self.states.get(..self.items).unwrap_or(&[])
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
        (self.states().get(item)?.load(Ordering::Relaxed) == OPEN).then_some(item)
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
            let report = guarded(|| Some(f(job.inputs.load(item)?).settle()));
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
        report.write(&mut self.reports.writer());
    }

    fn send(&mut self, channel: &Channel) -> Result<()> {
        if self.items.is_empty() {
            return Ok(());
        }
        let mut parcel = Parcel::of(&(BATCH, std::mem::take(&mut self.items)));
        let reports = std::mem::take(&mut self.reports);
        parcel.bytes.extend_from_slice(&reports.bytes);
        parcel.handles = reports.handles;
        channel.send(&parcel)
    }
}

/// The numbers of the items in a batch.
pub(crate) fn batched_items(batch: &Parcel) -> Option<Vec<usize>> {
    let (tag, items) = <(u8, Vec<usize>)>::read(&mut batch.reader())?;
    (tag == BATCH).then_some(items)
}

/// The reports of a batch, by item.
pub(crate) fn open_batch<M: Message>(batch: &Parcel, mut give: impl FnMut(usize, Report<M>)) -> Option<()> {
    let mut reader = batch.reader();
    let (_, items) = <(u8, Vec<usize>)>::read(&mut reader)?;
    for item in items {
        give(item, Report::read(&mut reader)?);
    }
    Some(())
}
