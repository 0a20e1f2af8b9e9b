//! The first 128 bytes of every segment.
//!
//! ```text
//!   0  magic "coproc\0\1"   8 bytes
//!   8  protocol             u32     version of the primitives inside
//!  12  kind                 u32     what the segment is: value, array, ...
//!  16  id                   u128    random; names the segment in messages
//!  32  family               u128    the registry in which its users are alive
//!  48  layout               u64     structural hash of the element type
//!  56  len                  u64     number of elements
//!  64  size                 u64     of the segment, in bytes
//!  72  reserved             zero
//! 128  the body
//! ```
//!
//! The creator writes it before anybody else has the segment. Whoever attaches reads it once, checks it, and keeps what it needs in
//! private memory. The body starts all zero, and zero is ready.

use crate::error::Unfit;
use crate::layout::PROTOCOL;

/// Size of the header, in bytes.
pub(crate) const SIZE: usize = 128;

const MAGIC: [u8; 8] = *b"coproc\0\x01";

/// What a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// A `SharedValue`.
    Value = 1,
    /// A `SharedArray`.
    Array = 2,
    /// A `FrozenArray`.
    Frozen = 3,
    /// A `Queue`.
    Queue = 4,
    /// Bytes on their way to another process, or between a pool and its workers.
    Parcel = 5,
    /// A ring between one sender and one receiver.
    Ring = 6,
    /// A `LoanQueue`.
    LoanQueue = 7,
    /// The two rings of a `Pipe`, or the one of a channel.
    Pipe = 8,
}

impl Kind {
    const ALL: [Self; 8] =
        [Self::Value, Self::Array, Self::Frozen, Self::Queue, Self::Parcel, Self::Ring, Self::LoanQueue, Self::Pipe];

    fn from_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|&kind| kind as u32 == code)
    }

    /// Whether it matters who else has it.
    pub(super) fn counts_holders(self) -> bool {
        self == Self::Queue
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Value => "SharedValue",
            Self::Array => "SharedArray",
            Self::Frozen => "FrozenArray",
            Self::Queue => "Queue",
            Self::Parcel => "parcel",
            Self::Ring => "spsc ring",
            Self::LoanQueue => "LoanQueue",
            Self::Pipe => "Pipe",
        }
    }
}

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the segment is.
    pub kind: Kind,
    /// Random number that names the segment.
    pub id: u128,
    /// Number of the registry in which its users are alive.
    pub family: u128,
    /// Structural hash of the element type.
    pub layout: u64,
    /// Number of elements.
    pub len: u64,
    /// Size of the whole segment, in bytes.
    pub size: u64,
}

impl Header {
    /// The bytes of this header.
    pub fn to_bytes(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        let mut put = |at: usize, part: &[u8]| bytes[at..at + part.len()].copy_from_slice(part);
        put(0, &MAGIC);
        put(8, &(PROTOCOL as u32).to_le_bytes());
        put(12, &(self.kind as u32).to_le_bytes());
        put(16, &self.id.to_le_bytes());
        put(32, &self.family.to_le_bytes());
        put(48, &self.layout.to_le_bytes());
        put(56, &self.len.to_le_bytes());
        put(64, &self.size.to_le_bytes());
        bytes
    }

    /// Reads the header of a file of this size.
    ///
    /// # Errors
    /// [`Unfit`], saying what is wrong with it.
    pub fn parse(bytes: &[u8], file_size: u64) -> Result<Self, Unfit> {
        fn field<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Unfit> {
            bytes.get(at..at + N).and_then(|field| field.try_into().ok()).ok_or(Unfit::NotASegment)
        }
        if field(bytes, 0)? != MAGIC || bytes.len() < SIZE {
            return Err(Unfit::NotASegment);
        }
        let protocol = u32::from_le_bytes(field(bytes, 8)?);
        if protocol != PROTOCOL as u32 {
            return Err(Unfit::Protocol { expected: PROTOCOL as u32, found: protocol });
        }
        let header = Self {
            kind: Kind::from_code(u32::from_le_bytes(field(bytes, 12)?)).ok_or(Unfit::NotASegment)?,
            id: u128::from_le_bytes(field(bytes, 16)?),
            family: u128::from_le_bytes(field(bytes, 32)?),
            layout: u64::from_le_bytes(field(bytes, 48)?),
            len: u64::from_le_bytes(field(bytes, 56)?),
            size: u64::from_le_bytes(field(bytes, 64)?),
        };
        if header.size != file_size || header.size < SIZE as u64 {
            return Err(Unfit::Length { expected: header.size, found: file_size });
        }
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header { kind: Kind::Array, id: 1, family: 2, layout: 3, len: 4, size: 4096 };

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(Header::parse(&HEADER.to_bytes(), 4096), Ok(HEADER));
    }

    #[test]
    fn every_fault_is_named() {
        let bytes = HEADER.to_bytes();
        let with = |at: usize, byte: u8| {
            let mut bytes = bytes;
            bytes[at] = byte;
            Header::parse(&bytes, 4096)
        };
        assert_eq!(with(0, b'x'), Err(Unfit::NotASegment));
        assert_eq!(with(8, 99), Err(Unfit::Protocol { expected: PROTOCOL as u32, found: 99 }));
        assert_eq!(with(12, 99), Err(Unfit::NotASegment));
        assert_eq!(Header::parse(&bytes, 4095), Err(Unfit::Length { expected: 4096, found: 4095 }));
        for cut in 0..SIZE {
            assert_eq!(Header::parse(&bytes[..cut], 4096), Err(Unfit::NotASegment));
        }
    }
}
