//! What lies in a ring of a pipe: words of 8 bytes, in chunks.
//!
//! ```text
//! header   kind in the upper 8 bits, how many bytes follow in the lower 56
//! bytes    filled up to a whole word
//! ```
//!
//! A message is one `Whole`; or a `Begin`, which says how many bytes and handles it has, and then `Part`s until it has these, or an `Abort`.
//! A chunk is passed by one store, so it is there entirely or not at all, and so is what was passed together with it.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use crate::message::{Reader, Writer};
use crate::ring::{Receives, Sends, Track};

/// Size of a slot of the ring, in bytes.
pub(super) const WORD: usize = 8;
/// Words of a header.
pub(super) const HEADER: usize = 1;
/// Words of a `Begin`.
pub(super) const BEGIN: usize = HEADER + 2;
/// So many words does a message take more than its bytes, at most, if all of it is in the ring: a `Begin`, and six `Part`s, of which each but the last
/// has an eighth of the ring, and the last what is less than a half; and a word for an `Abort`.
pub(super) const SLACK: usize = BEGIN + 6 * HEADER + HEADER;

/// What a chunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Whole = 0,
    Begin = 1,
    Part = 2,
    /// The message that has begun ends here, and is none.
    Abort = 3,
}

/// The first word of a chunk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) kind: Kind,
    /// How many bytes follow.
    pub(super) len: usize,
}

const KIND: u32 = 56;

/// How many words so many bytes take.
#[inline]
pub(super) fn words(len: usize) -> usize {
    len.div_ceil(WORD)
}

impl Header {
    #[inline]
    fn from_word(word: u64) -> Option<Self> {
        let kind = match word >> KIND {
            0 => Kind::Whole,
            1 => Kind::Begin,
            2 => Kind::Part,
            3 => Kind::Abort,
            _ => return None,
        };
        Some(Self { kind, len: (word & ((1 << KIND) - 1)) as usize })
    }

    /// How many words the chunk takes.
    #[inline]
    pub(super) fn words(self) -> usize {
        HEADER + words(self.len)
    }
}

/// Writes a chunk into the sender's words, so many behind its next. Not passed yet.
///
/// # Panics
/// If it is more than is known to be the sender's.
#[inline]
pub(super) fn put(track: &mut Track<Sends>, skipped: usize, kind: Kind, bytes: &[u8]) {
    let header = (kind as u64) << KIND | bytes.len() as u64;
    let [(first, count), (second, _)] = track.slots_behind(skipped, HEADER + words(bytes.len()));
    // SAFETY: a word of this end's, of which there is one at least; nobody else has it until it is passed, for which one needs the track.
    unsafe { Writer::slot(first, WORD) }.plain(&header);
    let (before, after) = bytes.split_at(bytes.len().min((count - HEADER) * WORD));
    // SAFETY: as above; `count - 1` words follow the first in one piece, and `before` is not longer.
    unsafe { Writer::slot(first.wrapping_add(WORD), before.len()) }.bytes(before);
    // SAFETY: as above; `after` is what the words of the second piece are for.
    unsafe { Writer::slot(second, after.len()) }.bytes(after);
}

/// The header of the receiver's next chunk, if it is one and the chunk is there. At least a word is known to be the receiver's.
#[inline]
pub(super) fn header(track: &Track<Receives>) -> Option<Header> {
    Header::from_word(word(track, 0)).filter(|header| header.words() <= track.known())
}

/// The two numbers of a `Begin`.
pub(super) fn numbers(track: &Track<Receives>) -> [u64; 2] {
    [HEADER, HEADER + 1].map(|skipped| word(track, skipped))
}

#[inline]
fn word(track: &Track<Receives>, skipped: usize) -> u64 {
    let [(at, _), _] = track.slots_behind(skipped, 1);
    // SAFETY: a word of this end's. A peer that writes it at this moment gives us another number.
    unsafe { Reader::raw(at, WORD, &[]) }.plain().unwrap_or_default()
}

/// Reads the bytes of the receiver's next chunk, of which there are as many. Not passed yet.
///
/// # Panics
/// If they are more than are known to be the receiver's.
#[inline]
pub(super) fn get(track: &Track<Receives>, to: &mut [MaybeUninit<u8>]) {
    let [(first, count), (second, _)] = track.slots_behind(HEADER, words(to.len()));
    let (before, after) = to.split_at_mut(to.len().min(count * WORD));
    // SAFETY: these words are this end's, in one piece, and hold as many bytes.
    let read = unsafe { Reader::raw(first, before.len(), &[]) }.bytes(before);
    debug_assert!(read.is_some());
    // SAFETY: as above, in the second piece.
    let read = unsafe { Reader::raw(second, after.len(), &[]) }.bytes(after);
    debug_assert!(read.is_some());
}
