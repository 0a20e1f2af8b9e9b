//! Doing the items of a range, one after the other, so that it is known how far a worker came that dies at it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use coproc::__private::Failure;
use coproc::{Message, Result};

use super::batch::Batch;
use super::block::{Claim, Range};
use super::marks::{Marks, STRETCH, Unmarked, begin_stretch};
use super::places::Room;
use super::wide::{self, Wide};
use super::work::Work;
use crate::child::last_panic;
use crate::pool::worker::Worker;
use crate::report::Report;

/// Does the items of a range that this process has claimed. `do_item`: the item of this index; there is none from `end` on.
pub(super) fn run_range<W: Work>(
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
        let step = if batch.is_empty() { 1 << 32 | 1 } else { 1 };
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
            Some(mut room) => {
                let mut from = done;
                if let Some(marks) = marks.filter(|marks| batch.is_empty() && last <= marks.count()) {
                    match wide::run(Marked { claim, done, end, room: &mut room, marks, do_item }) {
                        Ok(done) => from = done,
                        Err(report) => return Some(report),
                    }
                }
                run_items::<W>(first + from, end, room, progress, step, do_item)
            }
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
        if batch.is_full() || done == count {
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
            Some(Ok(output)) => place.store(output),
            other => return Some(report_of(other)),
        }
        // Wraps only where another process has written strange bits.
        done = done.wrapping_add(step);
        // Release: the result before the count, for who looks after this process's death.
        progress.store(done, Ordering::Release);
    }
    (end < last).then(|| report_of(do_item(end.max(first))))
}

/// Items whose results tell by themselves whether they are there, from the `done`th of the range on, as long as there are two stretches of them: a worker
/// marks the next one while it does the first.
struct Marked<'a, 'r, M, D> {
    claim: &'a Claim<'a>,
    done: usize,
    end: usize,
    room: &'a mut Room<'r, M>,
    marks: &'a Marks,
    do_item: D,
}

impl<M, D> Wide for Marked<'_, '_, M, D>
where
    M: Message,
    D: Fn(usize) -> Option<Result<M, Failure>> + Copy,
{
    type Output = Result<usize, Report<M>>;

    /// How many items of the range are done then; or the report of the first that has no result of this kind.
    #[inline(always)]
    fn run(self) -> Self::Output {
        let Self { claim, done, end, room, marks, do_item } = self;
        let (first, progress) = (claim.range.first, claim.progress());
        let mut item = first + done;
        let known = end.min(item + room.len());
        if item + 2 * STRETCH <= known {
            marks.places(item, item + STRETCH).for_each(Unmarked::set);
        }
        while item + 2 * STRETCH <= known {
            let done = item - first;
            // Release: the marks before the word, for who looks while this process lives.
            begin_stretch(|| progress.store(Range::MARKED | Range::progress(done, done), Ordering::Release));
            let next = marks.places(item + STRETCH, item + 2 * STRETCH);
            for ((item, place), next) in (item..item + STRETCH).zip(room.split_off_first(STRETCH)).zip(next) {
                match do_item(item) {
                    Some(Ok(output)) => place.store(output),
                    other => return Err(report_of(other)),
                }
                next.set();
            }
            item += STRETCH;
        }
        let done = item - first;
        // Release: as in `run_items`.
        begin_stretch(|| progress.store(Range::progress(done, done), Ordering::Release));
        Ok(done)
    }
}

fn report_of<M>(result: Option<Result<M, Failure>>) -> Report<M> {
    match result {
        Some(Ok(output)) => Report::Returned(output),
        Some(Err(failure)) => Report::Failed(failure),
        None => Report::Unreadable("the item is no value of the function's parameter".into()),
    }
}
