//! A buffer in the hands of one process.

#![allow(unsafe_code)]

use std::fmt;
use std::ops::{Deref, DerefMut};

use super::LoanQueue;
use crate::liveness;
use crate::plain::Plain;

/// A buffer of a [`LoanQueue`], in the hands of this process: bytes to read and write in place, in shared memory.
///
/// It goes on with [`LoanQueue::send`], and back when it is dropped. It keeps the queue's memory, so it may outlive every handle,
/// and go to other threads. The bytes are what somebody last left there, or zero; they begin at a multiple of 64, or of 4096 if a
/// buffer has as many or more.
///
/// **When this process dies**, the buffer comes back: at the latest when somebody waits for one, within one slice (20 ms) of the
/// kernel closing the descriptors. One that was given to [`std::mem::forget`] comes back then too, and not before. In a forked
/// child a copy of a loan is its parent's still: to drop it does nothing.
pub struct Loan {
    pub(super) of: LoanQueue,
    /// Below the number of buffers.
    pub(super) index: usize,
    /// At most the size of a buffer.
    pub(super) len: usize,
    /// Identity of the process that has it; 0 once it was sent.
    pub(super) holder: u64,
}

impl Loan {
    /// Whether it is this process's, and of this queue.
    pub(super) fn is_mine_and_of(&self, queue: &LoanQueue) -> bool {
        self.holder == liveness::known_identity() && self.of.segment.is_same(&queue.segment)
    }

    /// Cuts it down to this many bytes, before it is sent. Does nothing if it has no more.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// The bytes as plain data; `None` if their number is no multiple of its size, or its alignment is more than theirs.
    ///
    /// ```
    /// let mut loan = coproc::LoanQueue::new(1, 800)?.loan(80)?;
    /// loan.as_plain_mut::<f64>().unwrap()[9] = 1.5;
    /// assert_eq!(loan.as_plain::<f64>().unwrap().len(), 10);
    /// assert!(loan.as_plain::<[f64; 3]>().is_none());
    /// # Ok::<(), coproc::Error>(())
    /// ```
    pub fn as_plain<T: Plain>(&self) -> Option<&[T]> {
        // SAFETY: every bit pattern of plain data is a value.
        let (before, all, after) = unsafe { self.align_to() };
        (before.is_empty() && after.is_empty()).then_some(all)
    }

    /// As [`as_plain`](Self::as_plain), to write.
    pub fn as_plain_mut<T: Plain>(&mut self) -> Option<&mut [T]> {
        // SAFETY: every bit pattern of plain data is a value; and every value has all its bytes, since there is no padding.
        let (before, all, after) = unsafe { self.align_to_mut() };
        (before.is_empty() && after.is_empty()).then_some(all)
    }
}

impl Deref for Loan {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: these bytes are inside the buffer, which is mapped as long as `of`, was zero when made, and is this process's
        // alone by its word; in this process it has one loan, which is borrowed.
        unsafe { std::slice::from_raw_parts(self.of.buffer(self.index), self.len) }
    }
}

impl DerefMut for Loan {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; the loan is borrowed to write.
        unsafe { std::slice::from_raw_parts_mut(self.of.buffer(self.index), self.len) }
    }
}

impl AsRef<[u8]> for Loan {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl AsMut<[u8]> for Loan {
    fn as_mut(&mut self) -> &mut [u8] {
        self
    }
}

/// Shows its length, not its bytes, which may be many.
impl fmt::Debug for Loan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loan").field("len", &self.len).finish_non_exhaustive()
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        // Not in a forked child that drops its copy.
        if self.holder != 0 && self.holder == liveness::known_identity() {
            self.of.give_back(self.index, self.holder);
        }
    }
}
