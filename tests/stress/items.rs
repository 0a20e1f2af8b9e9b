//! Items that can be told apart, and what became of each.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use coproc::Shareable;

use crate::Score;

/// So many items can be told apart at a time; many more than can be on their way.
const ITEMS: u64 = 1 << 16;
const DRAWN: u64 = 1;
const SENT: u64 = 2;
const SEEN: u64 = 3;

#[derive(Shareable)]
#[repr(C)]
pub(crate) struct Items {
    pub(crate) score: Score,
    next: AtomicU64,
    lost: AtomicU64,
    /// Number of the item, times four, and what has become of it.
    fate: [AtomicU64; ITEMS as usize],
}

impl Items {
    fn fate(&self, item: u64) -> &AtomicU64 {
        &self.fate[(item % ITEMS) as usize]
    }

    /// The next item, that nobody has sent.
    pub(crate) fn draw(&self) -> u64 {
        let item = self.next.fetch_add(1, SeqCst);
        let before = self.fate(item).swap(item * 4 + DRAWN, SeqCst);
        self.lost.fetch_add(u64::from(before % 4 == SENT), SeqCst);
        item
    }

    pub(crate) fn note_sent(&self, item: u64) {
        let _ = self.fate(item).compare_exchange(item * 4 + DRAWN, item * 4 + SENT, SeqCst, SeqCst);
    }

    pub(crate) fn note_seen(&self, item: u64) {
        let before = self.fate(item).swap(item * 4 + SEEN, SeqCst);
        // Seen already, or never sent.
        self.score.never(before != item * 4 + DRAWN && before != item * 4 + SENT);
    }

    pub(crate) fn lost_at_most(&self, what: &str, dead: u64) {
        let lost = self.lost.load(SeqCst) + self.fate.iter().filter(|fate| fate.load(SeqCst) % 4 == SENT).count() as u64;
        println!("{what}: {lost} items lost with {dead} dead receivers");
        assert!(lost <= dead);
    }
}
