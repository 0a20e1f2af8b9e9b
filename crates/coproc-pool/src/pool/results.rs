//! Arrays of results that nobody has any more, for the next call: their memory is there already, here and in the workers.

use std::sync::{Mutex, PoisonError};

use coproc::__private::Segment;
use coproc::{Plain, Result, SharedArray};

/// The last arrays that calls have returned. Of each the pool has a handle; when that is the only one, the next call may have the array.
#[derive(Debug, Default)]
pub(super) struct Results(Mutex<Vec<Segment>>);

impl Results {
    /// So many at most.
    const COUNT: usize = 4;
    /// More is not kept, in bytes.
    const MOST: usize = 64 << 20;

    /// An array of so many elements, of any content.
    pub(super) fn take<T: Plain>(&self, len: usize) -> Result<SharedArray<T>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for index in (0..kept.len()).rev() {
            if kept[index].len() != len || !kept[index].is_sole() {
                continue;
            }
            let Ok(array) = SharedArray::of_segment(kept[index].clone()) else { continue };
            kept.remove(index);
            // Not one that was left locked, or poisoned.
            if array.try_lock().is_ok() {
                return Ok(array);
            }
        }
        drop(kept);
        SharedArray::zeroed(len)
    }

    /// Takes note of an array that a call returns now: only the pool and its workers have it.
    pub(super) fn keep<T: Plain>(&self, array: &SharedArray<T>) {
        let segment = array.segment();
        if segment.body_size() > Self::MOST {
            return;
        }
        segment.forget_given();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(segment.clone());
        while kept.len() > Self::COUNT || kept.iter().map(Segment::body_size).sum::<usize>() > Self::MOST {
            kept.remove(0);
        }
    }
}
