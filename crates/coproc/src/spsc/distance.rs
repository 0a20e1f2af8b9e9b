//! How far an end keeps behind the other one.

/// So many bytes at once are far enough: eight cache lines.
const FAR: usize = 512;
/// So many slots are few.
const FEW: usize = 16;

/// After so many looks in a row that found few slots, but found them at once, an end pauses: at first, and at most.
const SOON: u32 = 8;
const LATE: u32 = 1 << 12;

/// How long a pause is: a microsecond or two.
const PAUSES: u32 = 50;

/// Notices that an end has come close to the other.
///
/// Where items come in a stream, an end close behind the other takes the same cache lines from it at every slot, and both are several times slower than with some
/// distance. So who finds few bytes, time after time, and without having to wait for them, pauses for a moment. If that has brought no more, this is no stream, and it pauses
/// ever more seldom.
#[derive(Debug)]
pub(super) struct Distance {
    /// So many slots are far enough.
    far: usize,
    /// How many more such looks there may be before the next pause.
    left: u32,
    /// How many there were before the last one.
    grace: u32,
}

impl Distance {
    /// In a ring of so many slots of so many bytes.
    pub(super) fn new(capacity: usize, stride: usize) -> Self {
        // In a small ring half of it; but in one of a few slots it is not far to anywhere, and a pause is of no use.
        let far = FAR.div_ceil(stride.max(1)).min((capacity / 2).max(FEW));
        Self { far, left: SOON, grace: SOON }
    }

    /// Whether an end that has found so many slots at once goes on with them. Else it pauses first.
    #[inline]
    pub(super) fn is_kept(&mut self, found: usize) -> bool {
        if found >= self.far {
            self.left = self.grace;
            return true;
        }
        self.left = self.left.saturating_sub(1);
        self.left > 0
    }

    pub(super) fn pause() {
        (0..PAUSES).for_each(|_| std::hint::spin_loop());
    }

    /// Takes note of how many slots there were after a pause.
    pub(super) fn paused(&mut self, found: usize) {
        self.grace = if found >= self.far { SOON } else { (2 * self.grace).min(LATE) };
        self.left = self.grace;
    }
}
