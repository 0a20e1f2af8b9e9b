//! What the copies of a message cost alone: into a buffer and out of it, in one thread, with nobody to wait for.

use std::hint::black_box;

/// A buffer through which messages of any length go piece by piece.
#[derive(Debug)]
pub(crate) struct Through(Vec<u64>);

impl Through {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(vec![0; bytes / size_of::<u64>()])
    }

    /// Copies all of `from` to `to`, which is as long.
    pub(crate) fn pass(&mut self, from: &[u64], to: &mut [u64]) {
        assert_eq!(from.len(), to.len());
        let pieces = from.chunks(self.0.len()).zip(to.chunks_mut(self.0.len()));
        for (from, to) in pieces {
            let room = &mut self.0[..from.len()];
            room.copy_from_slice(from);
            to.copy_from_slice(black_box(room));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_longer_than_the_buffer_passes_whole() {
        let from: Vec<u64> = (0..10).collect();
        let mut to = vec![0; 10];
        Through::new(32).pass(&from, &mut to);
        assert_eq!(to, from);
    }
}
