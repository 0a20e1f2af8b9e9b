//! The memory of a call with many items, which its workers share: who is at which items, the inputs and the results.

#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

use coproc::__private::Segment;
use coproc::{Error, Message, Reader, Result, Writer};

use super::marks::{Marks, STRETCH};
use super::memory::{Memory, Spare};
use super::places::{Places, Room};

/// Words that different workers write are this far apart: one cache line.
const LINE: usize = 8;

/// What a call is laid out like, as its workers are told.
#[derive(Clone, Copy, Debug, Message)]
pub(crate) struct Plan {
    /// The number of the block.
    pub(crate) block: u64,
    pub(crate) items: usize,
    /// How many helpers there are at most.
    helpers: usize,
    /// Room for so many ranges.
    ranges: usize,
    pub(crate) input: Inputs,
    /// Bytes of a result; `None` if results are sent.
    pub(crate) output: Option<usize>,
    /// What the calls reach beside the items, if anything.
    pub(crate) scene: Option<Scene>,
    /// What is in the place of a result that is not there yet, if that can be told from one.
    pub(crate) mark: Option<u64>,
}

/// What calls reach beside their items: arrays, by the ids of their segments, and how they are divided. If two calls of one function have equal ones, they reach the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Message)]
pub(crate) struct Scene {
    arrays: [[u64; 2]; 2],
    size: usize,
}

impl Scene {
    pub(crate) fn new(arrays: [&Segment; 2], size: usize) -> Self {
        let halves = |segment: &Segment| [segment.header().id as u64, (segment.header().id >> 64) as u64];
        Self { arrays: arrays.map(halves), size }
    }
}

/// Where the inputs are.
#[derive(Clone, Copy, Debug, Message)]
pub(crate) enum Inputs {
    /// In the block, each in a slot of this many bytes.
    Slots { size: usize },
    /// Nowhere: they are integers, each one more than the one before.
    Counted { first: u64 },
    /// In a parcel.
    Packed,
}

impl Inputs {
    fn size(self) -> usize {
        if let Self::Slots { size } = self { size } else { 0 }
    }
}

impl Plan {
    pub(crate) fn new(items: usize, helpers: usize, ranges: usize, input: Inputs, output: Option<usize>) -> Self {
        Self { block: 0, items, helpers, ranges, input, output, scene: None, mark: None }
    }

    /// How many ranges can be laid out.
    pub(crate) fn ranges_at_most(&self) -> usize {
        self.ranges
    }

    /// Words before the inputs.
    fn words(&self) -> Option<usize> {
        // The first line: the next range, and how many there are. Then a line for each helper, then one for each range, then a word for each range.
        let lines = self.helpers.checked_add(self.ranges)?.checked_add(1)?;
        lines.checked_add(self.ranges.div_ceil(LINE))?.checked_mul(LINE)
    }

    /// Where inputs begin, where results begin, and where all ends: in bytes.
    fn parts(&self) -> Option<[usize; 3]> {
        let inputs = self.words()?.checked_mul(8)?;
        let size = |size: usize| self.items.checked_mul(size).map(|size| size.next_multiple_of(64));
        let outputs = inputs.checked_add(size(self.input.size())?)?;
        Some([inputs, outputs, outputs.checked_add(size(self.output.unwrap_or(0))?)?])
    }
}

/// A call in its memory.
///
/// 1. `parts` are within `words`: inputs, results, end, in bytes.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) plan: Plan,
    pub(crate) memory: Memory,
    parts: [usize; 3],
    /// If they tell by themselves how far their worker has come.
    pub(crate) marks: Option<Marks>,
}

/// A run of items that a worker claims at once.
///
/// | word | content |
/// |---|---|
/// | `first`, `last` | the items, the last one not among them |
/// | `progress` | bits 0–30: how many are done; 31: the results of a stretch behind these tell by themselves whether they are; 32–63: of how many of these the results are where the pool finds them, whoever dies |
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub(crate) first: usize,
    pub(crate) last: usize,
    pub(crate) done: usize,
    pub(crate) safe: usize,
}

impl Range {
    /// In a progress word: the places behind those that are done are marked.
    pub(crate) const MARKED: u64 = 1 << 31;
    /// More items cannot be counted.
    pub(crate) const MOST: usize = (1 << 31) - 1;

    /// The progress word of a range of which so many items are done.
    pub(crate) fn progress(safe: usize, done: usize) -> u64 {
        (safe as u64) << 32 | done as u64
    }
}

impl Block {
    /// Memory for this plan, used before or new.
    pub(crate) fn new(mut plan: Plan, spare: &Spare) -> Result<Self> {
        let too_large = || Error::TooLarge { len: plan.items, size: plan.input.size().max(plan.output.unwrap_or(0)) };
        let [.., end] = plan.parts().ok_or_else(too_large)?;
        let memory = spare.take(end.div_ceil(8))?;
        plan.block = memory.number;
        Self::open(plan, memory).ok_or(Error::Corrupted)
    }

    /// The call of this plan; `None` if the memory is too small for it.
    pub(crate) fn open(plan: Plan, memory: Memory) -> Option<Self> {
        let parts = plan.parts()?;
        (parts[2].div_ceil(8) <= memory.words.len()).then_some(Self { plan, memory, parts, marks: None })
    }

    /// The results here, which are numbers, tell from now on by themselves whether they are there.
    pub(crate) fn mark_outputs(&mut self) {
        let [_, first, _] = self.parts;
        let here = self.plan.mark.filter(|_| self.plan.output == Some(8));
        self.marks = here.and_then(|mark| Marks::of_memory(&self.memory.words, first / 8, self.plan.items, mark));
    }

    fn word(&self, line: usize, word: usize) -> &AtomicU64 {
        &self.memory.words[LINE * line + word]
    }

    /// The next range to claim.
    fn next(&self) -> &AtomicU64 {
        self.word(0, 0)
    }

    /// Claims a range for this process; `None` if there is none left.
    ///
    /// # Errors
    /// If it is none.
    pub(crate) fn claim(&self) -> Result<Option<Claim<'_>>> {
        // Relaxed: the ranges were laid out before the workers were told of the call, by the board, whose words order it.
        let index = self.next().fetch_add(1, Ordering::Relaxed) as usize;
        if index >= self.count() {
            return Ok(None);
        }
        let range = self.range(index).ok_or(Error::Corrupted)?;
        Ok(Some(Claim { block: self, index, range }))
    }

    /// How many ranges there are.
    pub(crate) fn count(&self) -> usize {
        (self.word(0, 1).load(Ordering::Relaxed) as usize).min(self.plan.ranges)
    }

    /// Whether there is something left to claim.
    pub(crate) fn has_unclaimed(&self) -> bool {
        self.next().load(Ordering::Relaxed) < self.count() as u64
    }

    /// The range that a helper is at, plus one. `None` if there is no such helper.
    pub(crate) fn current(&self, helper: usize) -> Option<&AtomicU64> {
        (helper < self.plan.helpers).then(|| self.word(1 + helper, 0))
    }

    fn range_line(&self, range: usize) -> usize {
        1 + self.plan.helpers + range
    }

    /// The progress word of a range. Who stores a higher one has stored the results before.
    fn progress(&self, range: usize) -> &AtomicU64 {
        self.word(self.range_line(range), 2)
    }

    /// Whether a range is finished: its results are where the caller finds them. Not beside its progress, which is stored again and again: whoever looks for this again and again would take
    /// that line from the worker each time.
    fn finished(&self, range: usize) -> &AtomicU64 {
        self.word(self.range_line(self.plan.ranges), range)
    }

    /// What is known about a range; `None` if there is none of that number, or it is none.
    pub(crate) fn range(&self, range: usize) -> Option<Range> {
        if range >= self.count() {
            return None;
        }
        let line = self.range_line(range);
        let [first, last] = [0, 1].map(|word| self.word(line, word).load(Ordering::Relaxed));
        // Acquire: pairs with the Release of whoever is at it, if it lives: the marks.
        let progress = self.progress(range).load(Ordering::Acquire);
        let (first, last) = (first as usize, last as usize);
        let (mut done, mut safe) = ((progress & (Range::MARKED - 1)) as usize, (progress >> 32) as usize);
        if first > last || last > self.plan.items || done > last - first || safe > done {
            return None;
        }
        if let Some(marks) = self.marks.as_ref().filter(|_| progress & Range::MARKED != 0) {
            let from = first + done;
            let reached = marks.first_without(from, last.min(from + STRETCH)).max(from) - first;
            // Nobody has reports in hand who marks.
            (done, safe) = (reached, reached);
        }
        Some(Range { first, last, done, safe })
    }

    /// Lays ranges out to be claimed; those that do not fit are left. Only while no worker is at it.
    pub(crate) fn lay_out(&self, ranges: impl Iterator<Item = (usize, usize)>) {
        let mut count = 0;
        for (first, last) in ranges.take(self.plan.ranges) {
            let line = self.range_line(count);
            self.word(line, 0).store(first as u64, Ordering::Relaxed);
            self.word(line, 1).store(last as u64, Ordering::Relaxed);
            self.word(line, 2).store(0, Ordering::Relaxed);
            self.finished(count).store(0, Ordering::Relaxed);
            count += 1;
        }
        (0..self.plan.helpers).for_each(|helper| self.word(1 + helper, 0).store(0, Ordering::Relaxed));
        self.word(0, 1).store(count as u64, Ordering::Relaxed);
        // Relaxed: workers learn of it by the board, whose words order it.
        self.next().store(0, Ordering::Relaxed);
    }

    fn at(&self, part: usize, item: usize, size: usize) -> Option<*mut u8> {
        if item >= self.plan.items {
            return None;
        }
        let base = self.memory.words.as_ptr().cast::<u8>().cast_mut();
        // Within the part: `item` is below the number of items, whose sizes were added up without overflow.
        Some(base.wrapping_add(self.parts[part] + item * size))
    }

    /// Stores items from the first input on, as many as there is room for. How many there were.
    pub(crate) fn store_inputs<M: Message>(&self, items: impl Iterator<Item = M>) -> usize {
        let size = self.plan.input.size();
        let Some(mut at) = self.at(0, 0, size).filter(|_| M::BOUND == Some(size)) else { return 0 };
        let mut stored = 0;
        for item in items.take(self.plan.items) {
            // SAFETY: as in `Place::store`; there are as many slots as items are taken.
            item.write(&mut unsafe { Writer::slot(at, size) });
            at = at.wrapping_add(size);
            stored += 1;
        }
        stored
    }

    /// The places of the results; `None` if they have none here.
    pub(crate) fn outputs_here<M: Message>(&self) -> Option<Places<'_>> {
        let size = M::BOUND.filter(|_| self.plan.output == M::BOUND)?;
        Some(Places { first: self.at(1, 0, 0)?, size, items: self.plan.items, of: PhantomData })
    }

    /// The places of the inputs; `None` if they have none here.
    pub(crate) fn inputs_here(&self) -> Option<Places<'_>> {
        let Inputs::Slots { size } = self.plan.input else { return None };
        Some(Places { first: self.at(0, 0, 0)?, size, items: self.plan.items, of: PhantomData })
    }

    /// The result of an item; `None` if what is there is none.
    #[inline]
    pub(crate) fn output<M: Message>(&self, item: usize) -> Option<M> {
        let size = M::BOUND.filter(|_| self.plan.output == M::BOUND)?;
        let at = self.at(1, item, size)?;
        // SAFETY: `size` bytes from there on are in the memory (invariant 1, `at`), which is mapped while `self` lives.
        M::read(&mut unsafe { Reader::raw(at, size, &[]) })
    }

    /// The results of all items, of which some are taken; an item whose result is none is the error.
    pub(crate) fn outputs<M: Message>(&self, mut taken: Vec<M>) -> Result<Vec<M>, usize> {
        if self.copy_outputs(&mut taken, self.plan.items) {
            return Ok(taken);
        }
        (0..self.plan.items).map(|item| self.output(item).ok_or(item)).collect()
    }

    /// Whether the results of this range are plain, and so many that it takes long to copy them.
    pub(crate) fn is_worth_taking<M: Message>(&self, range: usize) -> bool {
        const MUCH: usize = 64 << 10;
        let bytes = |range: Range| (range.last - range.first).saturating_mul(self.plan.output.unwrap_or(0));
        M::PLAIN.is_some() && self.range(range).is_some_and(|range| bytes(range) >= MUCH)
    }

    /// Takes the results of the next range after those that are taken, if its items are all done. `false` if they are not.
    pub(crate) fn take_next<M: Message>(&self, range: usize, taken: &mut Vec<M>) -> bool {
        // Acquire: pairs with the Release in `finish`; the results.
        if range >= self.plan.ranges || self.finished(range).load(Ordering::Acquire) == 0 {
            return false;
        }
        let found = self.range(range).filter(|range| range.first == taken.len() && range.safe == range.last - range.first);
        found.is_some_and(|range| self.copy_outputs(taken, range.last))
    }

    /// Copies plain results up to this item to those that are taken. `false` if they are no plain data, or not here.
    fn copy_outputs<M: Message>(&self, taken: &mut Vec<M>, last: usize) -> bool {
        let size = size_of::<M>();
        if M::PLAIN.is_none() || M::BOUND != Some(size) || self.plan.output != M::BOUND {
            return false;
        }
        let (Some(at), Some(count)) = (self.at(1, taken.len(), size), last.min(self.plan.items).checked_sub(taken.len())) else {
            return taken.len() == self.plan.items;
        };
        taken.reserve_exact(self.plan.items - taken.len());
        let room = taken.spare_capacity_mut().as_mut_ptr().cast::<u8>();
        // SAFETY: so many results are in the memory from there on (invariant 1, `at`), which is mapped while `self` lives; there is room for as many,
        // which is nobody else's.
        unsafe { std::ptr::copy_nonoverlapping(at, room, count * size) };
        // SAFETY: within the capacity; their bytes were copied, and any bytes are values of plain data, as `PLAIN` proves.
        unsafe { taken.set_len(taken.len() + count) };
        true
    }
}

/// A range that this process has claimed, and nobody else.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    block: &'a Block,
    pub(crate) index: usize,
    pub(crate) range: Range,
}

impl<'a> Claim<'a> {
    /// How far this process has come, for itself and others.
    pub(crate) fn progress(&self) -> &'a AtomicU64 {
        self.block.progress(self.index)
    }

    /// How far this process has come: how many items are done, and how many of these are safe.
    pub(crate) fn reached(&self) -> Result<(usize, usize)> {
        let range = self.block.range(self.index).ok_or(Error::Corrupted)?;
        Ok((range.done, range.safe))
    }

    /// Says that all its items are done, and their results where the caller finds them.
    pub(crate) fn finish(&self) {
        let count = self.range.last - self.range.first;
        // Release: as in `run_items`.
        self.progress().store(Range::progress(count, count), Ordering::Release);
        // Release: pairs with the Acquire in `take_next`; the results.
        self.block.finished(self.index).store(1, Ordering::Release);
    }

    /// Room for the results of the items behind the first `done` ones; `None` if there is none for messages of this type.
    pub(crate) fn results<M: Message>(&self, done: usize) -> Option<Room<'a, M>> {
        self.block.outputs_here::<M>()?.part(self.range.first + done, self.range.last)
    }
}
