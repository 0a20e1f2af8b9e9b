//! A string of bounded length that any bytes are a value of.

#![allow(unsafe_code)]

use std::fmt;

use crate::layout::Layout;
use crate::plain::Plain;
use crate::shareable::{Locked, Shareable};

/// A string of at most `N` bytes as plain data.
///
/// Since any bytes may lie in shared memory, what it holds is checked when it is read.
///
/// ```
/// let name = coproc::Text::<16>::new("Asia")?;
/// assert_eq!(name.as_str(), Ok("Asia"));
/// # Ok::<(), coproc::TextTooLong>(())
/// ```
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Text<const N: usize> {
    /// Length in bytes, little-endian: an array, so that the alignment is 1 and there is no padding for any `N`.
    len: [u8; 4],
    bytes: [u8; N],
}

/// The string has more bytes than the [`Text`] has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextTooLong {
    /// Length of the string, in bytes.
    pub len: usize,
    /// Room in the text, in bytes.
    pub room: usize,
}

impl fmt::Display for TextTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a string of {} bytes does not fit a `Text<{}>`", self.len, self.room)
    }
}

impl std::error::Error for TextTooLong {}

impl<const N: usize> Text<N> {
    const FITS: () = assert!(N <= u32::MAX as usize, "a `Text<N>` has at most 2^32 - 1 bytes");

    /// A text with this content.
    ///
    /// # Errors
    /// [`TextTooLong`] if the string has more than `N` bytes.
    pub fn new(text: &str) -> Result<Self, TextTooLong> {
        let () = Self::FITS;
        let mut bytes = [0; N];
        let room = bytes.get_mut(..text.len()).ok_or(TextTooLong { len: text.len(), room: N })?;
        room.copy_from_slice(text.as_bytes());
        Ok(Self { len: (text.len() as u32).to_le_bytes(), bytes })
    }

    /// The content.
    ///
    /// # Errors
    /// [`Corrupted`](crate::Corrupted) if the bytes are no text, because a process was killed while it wrote them or wrote something else.
    pub fn as_str(&self) -> Result<&str, crate::Corrupted> {
        let len = u32::from_le_bytes(self.len) as usize;
        let bytes = self.bytes.get(..len).ok_or(crate::Corrupted)?;
        std::str::from_utf8(bytes).map_err(|_| crate::Corrupted)
    }
}

// SAFETY: 1, 2, 4: two arrays of bytes, alignment 1, so nothing between them, every pattern valid; 3: by name and size.
unsafe impl<const N: usize> Shareable for Text<N> {
    type Access = Locked;
    const LAYOUT: u64 = Layout::of::<Self>("Text").hash();
}
// SAFETY: as above, 4.
unsafe impl<const N: usize> Plain for Text<N> {}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self { len: [0; 4], bytes: [0; N] }
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_str() {
            Ok(text) => text.fmt(f),
            Err(_) => f.write_str("<no text>"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Text, TextTooLong};
    use crate::Corrupted;

    #[test]
    fn keeps_what_fits_and_refuses_the_rest() {
        assert_eq!(Text::<4>::new("Asia").unwrap().as_str(), Ok("Asia"));
        assert_eq!(Text::<3>::new("Asia").unwrap_err(), TextTooLong { len: 4, room: 3 });
        assert_eq!(Text::<0>::default().as_str(), Ok(""));
    }

    #[test]
    fn strange_bytes_are_no_text() {
        assert_eq!(Text::<2> { len: [3, 0, 0, 0], bytes: *b"ab" }.as_str(), Err(Corrupted));
        assert_eq!(Text::<2> { len: [2, 0, 0, 0], bytes: [0xff, 0xfe] }.as_str(), Err(Corrupted));
    }
}
