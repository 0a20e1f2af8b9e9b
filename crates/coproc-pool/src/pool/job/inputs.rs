//! The items of a call on their way into memory that its workers read.

#![allow(unsafe_code)]

use std::ops::{Range, RangeInclusive};

use coproc::__private::{Handle, Parcel, Segment};
use coproc::{Error, FrozenArray, Message, Reader, Result, Writer};

use super::block::{self, Block, Inputs, Plan, Scene};
use super::integer;
use super::marks::{self, Marks};
use super::memory::Spare;

/// Items of any size: their bytes one after the other, the handles that they hold, and where each begins: byte, handle.
#[derive(Debug, Message)]
pub(crate) struct Packed {
    bytes: Raw,
    handles: Handles,
    starts: FrozenArray<[u64; 2]>,
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

impl Packed {
    /// A reader of an item.
    pub(crate) fn input(&self, item: usize) -> Option<Reader<'_>> {
        let &[byte, handle] = self.starts.get(item)?;
        let left = self.bytes.0.body_size().checked_sub(byte as usize)?;
        let at = self.bytes.0.body().as_ptr().wrapping_add(byte as usize);
        // SAFETY: `left` bytes from there on are in the segment, which is mapped while `self` lives.
        Some(unsafe { Reader::raw(at, left, self.handles.0.get(handle as usize..)?) })
    }
}

/// Items that were taken from an iterator.
pub(crate) struct Taken {
    pub(crate) block: Block,
    /// Those that have no place in the block.
    pub(crate) packed: Option<Packed>,
    /// What else the helpers need.
    pub(crate) extra: Parcel,
}

/// Integers, each one more than the one before: they need not be stored.
struct Sequence {
    first: u64,
    len: usize,
}

impl Sequence {
    /// As many items as are in sequence, `most` at most; and the next one that was taken and is not.
    fn at_start_of<P: Message, I: Iterator<Item = P>>(items: &mut I, most: usize) -> (Self, Option<P>) {
        let mut sequence = Self { first: 0, len: 0 };
        if !integer::is::<P>() || most == 0 {
            return (sequence, None);
        }
        let Some(item) = items.next() else { return (sequence, None) };
        sequence = Self { first: integer::bits(&item), len: 1 };
        if [typeid::of::<Range<P>>(), typeid::of::<RangeInclusive<P>>()].contains(&typeid::of::<I>()) {
            // No other items than these, so there is no need to look at each.
            if let Some(before_last) = most.checked_sub(2) {
                items.nth(before_last);
            }
            return (Self { len: most, ..sequence }, None);
        }
        let first = sequence.first;
        let mut different = None;
        let mut next = 1;
        for item in items.take(most - 1) {
            if integer::bits(&item) != integer::nth::<P>(first, next) {
                different = Some(item);
                break;
            }
            next += 1;
        }
        sequence.len = next;
        (sequence, different)
    }

    fn item<P: Message>(&self, index: usize) -> Option<P> {
        P::read(&mut Reader::new(&integer::nth::<P>(self.first, index).to_le_bytes(), &[]))
    }
}

/// How a call is to be laid out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) seats: usize,
    /// How many items are claimed at once, if somebody has said.
    pub(crate) chunk: Option<usize>,
    /// Bytes of a result, if that is bounded.
    pub(crate) output: Option<usize>,
    /// Whether results can be told from a mark.
    pub(crate) has_marks: bool,
}

impl Shape {
    /// Ranges are at most so many: each takes a cache line.
    const MOST_RANGES: usize = 1 << 18;
    /// Ranges of so many items may have some more.
    const MANY: usize = 1 << 12;

    /// How many items are claimed at once: enough ranges to even out their times, few enough to cost nothing.
    pub(crate) fn chunk(&self, items: usize) -> usize {
        let share = items.div_ceil(4 * self.seats);
        // So many that the ends do not matter: whole cache lines of results.
        let good = if share < Self::MANY { share } else { share.next_multiple_of(64) };
        self.chunk.unwrap_or(good).max(items.div_ceil(Self::MOST_RANGES)).clamp(1, block::Range::MOST)
    }

    fn block(&self, items: usize, input: Inputs, spare: &Spare) -> Result<Block> {
        let ranges = items.div_ceil(self.chunk(items));
        let helpers = self.seats.min(ranges).max(1);
        // Later rounds have what the dead have left: two ranges for each death, or another round.
        let mut plan = Plan::new(items, helpers, ranges + 2 * helpers, input, self.output);
        plan.mark = self.has_marks.then(marks::new_mark);
        let mut block = Block::new(plan, spare)?;
        block.mark_outputs();
        Ok(block)
    }

    /// Takes items that are messages.
    pub(crate) fn take<P: Message>(&self, items: impl Iterator<Item = P>, spare: &Spare) -> Result<Taken> {
        let Some(size) = P::BOUND else { return self.pack(items, |item, to| item.write(to), spare) };
        match items.size_hint() {
            (len, Some(most)) if len == most => self.fill(len, size, items, spare),
            _ => {
                let items: Vec<P> = items.collect();
                self.fill(items.len(), size, items.into_iter(), spare)
            }
        }
    }

    /// Takes the numbers from 0 on, for calls that reach what these stand for. If their results are in an array, `outputs` says where by its mark.
    pub(crate) fn count(
        &self,
        items: usize,
        scene: Scene,
        extra: Parcel,
        outputs: impl FnOnce(u64) -> Option<Marks>,
        spare: &Spare,
    ) -> Result<Taken> {
        let mut block = self.block(items, Inputs::Counted { first: 0 }, spare)?;
        block.plan.scene = Some(scene);
        block.marks = block.plan.mark.and_then(outputs);
        Ok(Taken { block, packed: None, extra })
    }

    fn fill<P: Message>(&self, len: usize, size: usize, mut items: impl Iterator<Item = P>, spare: &Spare) -> Result<Taken> {
        let liar = || Error::other(format!("the iterator promised {len} items (size_hint) and gave another number"));
        let (sequence, different) = Sequence::at_start_of(&mut items, len);
        if sequence.len == len && len > 0 {
            if different.is_some() || items.next().is_some() {
                return Err(liar());
            }
            return Ok(Taken {
                block: self.block(len, Inputs::Counted { first: sequence.first }, spare)?,
                packed: None,
                extra: Parcel::default(),
            });
        }
        let block = self.block(len, Inputs::Slots { size }, spare)?;
        let again = (0..sequence.len).map_while(|index| sequence.item(index));
        let mut all = again.chain(different).chain(items.by_ref());
        let stored = block.store_inputs(all.by_ref().take(len));
        if stored != len || all.next().is_some() {
            return Err(liar());
        }
        Ok(Taken { block, packed: None, extra: Parcel::default() })
    }

    /// Takes items that this writes.
    pub(crate) fn pack<A>(
        &self,
        items: impl Iterator<Item = A>,
        write: impl Fn(&A, &mut Writer<'_>),
        spare: &Spare,
    ) -> Result<Taken> {
        let mut parcel = Parcel::default();
        let mut starts = Vec::new();
        for item in items {
            starts.push([parcel.bytes.len() as u64, parcel.handles.len() as u64]);
            write(&item, &mut parcel.writer());
        }
        let len = starts.len();
        // A frozen array has an element at least.
        starts.push([parcel.bytes.len() as u64, parcel.handles.len() as u64]);
        let starts = FrozenArray::from_slice(&starts)?;
        let packed = Packed { bytes: Raw(Segment::parcel(&parcel.bytes)?), handles: Handles(parcel.handles), starts };
        Ok(Taken { block: self.block(len, Inputs::Packed, spare)?, packed: Some(packed), extra: Parcel::default() })
    }
}
