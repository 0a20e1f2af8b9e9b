//! Where the parts of the body lie.
//!
//! ```text
//! body + 0      the ring of what was sent; slot: sequence, number of the buffer, length of what is in it
//!      + words  who has each buffer, a u64 each
//!      + first  buffer 0; buffer 1: `stride` bytes behind it; ...
//! ```
//!
//! The first buffer lies at the start of a page, the others at multiples of 64 bytes, or of pages where a buffer is larger than
//! one. After the last there is nothing. So the length of the file, which is sealed, says how large a buffer is, and no word in
//! shared memory does.

use crate::queue;
use crate::segment::BODY;

/// Size of what a slot of the ring carries: two words.
pub(super) const ITEM: usize = 16;

const LINE: usize = 64;
const PAGE: usize = 4096;

/// How many buffers of what size, and where: checked once, kept in private memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) buffers: usize,
    pub(super) size: usize,
    /// From the start of the body, in bytes.
    pub(super) words: usize,
    /// From the start of the body, in bytes.
    first: usize,
}

impl Shape {
    /// So many buffers of so many bytes, both at least 1, if that can be counted.
    pub(super) fn new(buffers: usize, size: usize) -> Option<Self> {
        let words = queue::Shape::new(buffers, ITEM).body()?.checked_next_multiple_of(LINE)?;
        let end = buffers.checked_mul(size_of::<u64>())?.checked_add(words)?;
        let first = end.checked_add(BODY)?.checked_next_multiple_of(PAGE)? - BODY;
        let stride = size.checked_next_multiple_of(alignment(size))?;
        let body = (buffers - 1).checked_mul(stride)?.checked_add(size)?.checked_add(first)?;
        (body <= isize::MAX as usize - BODY).then_some(Self { buffers, size, words, first })
    }

    /// The shape of which a body of that size is, with so many buffers, if there is one.
    pub(super) fn of_body(buffers: usize, body: usize) -> Option<Self> {
        let room = body.checked_sub(Self::new(buffers, 1)?.first)?;
        // What the last buffer lacks to a stride is less than the alignment, and so is its share in that.
        let share = room.div_ceil(buffers);
        let stride = share.checked_next_multiple_of(alignment(share))?;
        let size = room.checked_sub((buffers - 1).checked_mul(stride)?).filter(|&size| size > 0)?;
        Self::new(buffers, size).filter(|shape| shape.body() == body)
    }

    /// From one buffer to the next, in bytes.
    pub(super) fn stride(&self) -> usize {
        self.size.next_multiple_of(alignment(self.size))
    }

    /// From the start of the body to this buffer, in bytes.
    pub(super) fn buffer(&self, index: usize) -> usize {
        self.first + index * self.stride()
    }

    /// Size of the body, in bytes.
    pub(super) fn body(&self) -> usize {
        self.buffer(self.buffers - 1) + self.size
    }
}

fn alignment(size: usize) -> usize {
    if size > PAGE { PAGE } else { LINE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_is_pinned() {
        let shape = Shape::new(4, 1000).unwrap();
        assert_eq!(
            (shape.words, shape.first, shape.stride(), shape.body()),
            (512, 4096 - 128, 1024, 4096 - 128 + 3 * 1024 + 1000)
        );
        let shape = Shape::new(1, 4097).unwrap();
        assert_eq!((shape.words, shape.first, shape.stride(), shape.body()), (448, 4096 - 128, 8192, 4096 - 128 + 4097));
        let shape = Shape::new(1000, 1 << 20).unwrap();
        assert_eq!((shape.words, shape.first, shape.stride()), (24_384, 32_768 - 128, 1 << 20));
    }

    #[test]
    fn the_size_of_the_body_says_the_size_of_a_buffer() {
        for buffers in [1, 2, 3, 7, 64, 65, 1000] {
            for size in (1..200).chain(4000..4200).chain(8100..8300).chain([1 << 20, (1 << 20) + 1, 6_220_800]) {
                let made = Shape::new(buffers, size).unwrap();
                let found = Shape::of_body(buffers, made.body()).unwrap();
                assert_eq!((found.size, found.stride(), found.body()), (size, made.stride(), made.body()), "{buffers} of {size}");
            }
        }
    }

    #[test]
    fn every_size_of_a_body_is_of_one_shape_or_of_none() {
        for buffers in [1, 2, 3, 100] {
            for body in 0..20_000 {
                let Some(shape) = Shape::of_body(buffers, body) else { continue };
                assert_eq!((shape.buffers, shape.body()), (buffers, body));
                assert!(shape.buffer(buffers - 1) + shape.size <= body);
            }
        }
    }

    #[test]
    fn what_cannot_be_counted_is_no_shape() {
        for (buffers, size) in [(usize::MAX, 1), (1, usize::MAX), (1 << 40, 1 << 40), (1, isize::MAX as usize)] {
            assert!(Shape::new(buffers, size).is_none(), "{buffers} of {size}");
        }
        assert!(Shape::of_body(usize::MAX, usize::MAX).is_none());
        assert!(Shape::of_body(1, usize::MAX).is_none());
    }
}
