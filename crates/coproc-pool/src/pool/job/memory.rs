//! Memory of calls with many items, and what is kept of it between calls.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use coproc::{Result, SharedArray};

/// Memory that is, or was, a call's.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    pub(crate) number: u64,
    pub(crate) words: SharedArray<AtomicU64>,
}

/// Memory of calls that are over, for the next one: it is mapped already, here and in the workers.
#[derive(Debug, Default)]
pub(crate) struct Spare(Mutex<Vec<Memory>>);

impl Spare {
    /// More is not kept, in words.
    const MOST: usize = (64 << 20) / 8;
    /// So many at most.
    const COUNT: usize = 4;
    /// What is kept is not used for a need this many times smaller.
    const WASTE: usize = 8;

    /// At least so many words, of any content.
    pub(super) fn take(&self, words: usize) -> Result<Memory> {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let fits = |memory: &Memory| (words..=words.saturating_mul(Self::WASTE).max(1 << 13)).contains(&memory.words.len());
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = kept.iter().rposition(fits) {
            return Ok(kept.remove(found));
        }
        drop(kept);
        let words = SharedArray::zeroed(words)?;
        Ok(Memory { number: NUMBER.fetch_add(1, Ordering::Relaxed), words })
    }

    /// Keeps the memory of a call that no worker is at any more, unless it is too much; the oldest goes.
    pub(crate) fn keep(&self, memory: Memory) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(memory);
        while kept.len() > Self::COUNT || kept.iter().map(|memory| memory.words.len()).sum::<usize>() > Self::MOST {
            kept.remove(0);
        }
    }
}
