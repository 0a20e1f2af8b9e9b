//! Bytes that another process put where the header of a segment should be. Without libfuzzer, so that tests can replay its corpus.

use coproc::__private::{Header, Kind};

/// The header, in bytes.
const SIZE: usize = 128;

/// Takes the first 8 bytes as the size of a file, and the others as what it begins with: an error, or a header that says what they say.
pub(crate) fn check(input: &[u8]) {
    let Some((size, bytes)) = input.split_first_chunk() else { return };
    let size = u64::from_le_bytes(*size);
    let Ok(header) = Header::parse(bytes, size) else { return };

    assert!(bytes.len() >= SIZE && size >= SIZE as u64 && header.size == size, "{header:?} of {size} bytes");
    assert_eq!(bytes[..8], *b"coproc\0\x01");
    let kind = [Kind::Value, Kind::Array, Kind::Frozen, Kind::Queue, Kind::Parcel, Kind::Ring, Kind::LoanQueue, Kind::Pipe];
    assert_eq!(kind[number(bytes, 12, 4) as usize - 1], header.kind);
    assert_eq!(number(bytes, 16, 16), header.id);
    assert_eq!(number(bytes, 32, 16), header.family);
    assert_eq!(number(bytes, 48, 8), header.layout.into());
    assert_eq!(number(bytes, 56, 8), header.len.into());
    assert_eq!(number(bytes, 64, 8), header.size.into());

    let written = header.to_bytes();
    assert_eq!(written[..72], bytes[..72]);
    assert_eq!(Header::parse(&written, size), Ok(header));
}

/// The number of so many bytes that lies here, least byte first.
fn number(bytes: &[u8], at: usize, size: usize) -> u128 {
    bytes[at..at + size].iter().rev().fold(0, |number, &byte| number << 8 | u128::from(byte))
}
