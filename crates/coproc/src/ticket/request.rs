//! What is asked of the keeper, and its answers: one packet each, before a parcel if there is one.

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Keep the parcel that follows, for this queue: a descriptor comes with it, and its items have so many bytes.
    Deposit { number: u128, item: u64 },
    /// Give the parcel of this number.
    Redeem { number: u128 },
    /// Have it back: it was not to be attached.
    PutBack,
}

/// What is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is kept; or here it comes.
    Done = 1,
    /// There is nothing of that number.
    Void = 2,
    /// The keeper has no free descriptor.
    Full = 3,
    /// What came as a queue is none of this family.
    Stranger = 4,
}

impl Request {
    pub(super) const SIZE: usize = 1 + size_of::<u128>() + size_of::<u64>();

    pub(super) fn to_bytes(self) -> [u8; Self::SIZE] {
        let (what, number, item) = match self {
            Self::Deposit { number, item } => (1, number, item),
            Self::Redeem { number } => (2, number, 0),
            Self::PutBack => (3, 0, 0),
        };
        let mut bytes = [what; Self::SIZE];
        bytes[1..17].copy_from_slice(&number.to_le_bytes());
        bytes[17..].copy_from_slice(&item.to_le_bytes());
        bytes
    }

    /// The request of a packet, if it is one.
    pub(super) fn parse(packet: &[u8]) -> Option<Self> {
        let (what, rest) = packet.split_first()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (number, item) = (u128::from_le_bytes(*number), u64::from_le_bytes(rest.try_into().ok()?));
        match what {
            1 => Some(Self::Deposit { number, item }),
            2 => Some(Self::Redeem { number }),
            3 => Some(Self::PutBack),
            _ => None,
        }
    }
}

impl Answer {
    /// The answer of a packet, if it is one.
    pub(super) fn parse(packet: &[u8]) -> Option<Self> {
        [Self::Done, Self::Void, Self::Full, Self::Stranger].into_iter().find(|&answer| packet == [answer as u8])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_comes_back() {
        for request in
            [Request::Deposit { number: u128::MAX - 7, item: 40 }, Request::Redeem { number: 3 << 70 }, Request::PutBack]
        {
            let bytes = request.to_bytes();
            assert_eq!(Request::parse(&bytes), Some(request));
            assert_eq!(Request::parse(&bytes[1..]), None);
        }
        assert_eq!(Request::parse(&[0; Request::SIZE]), None);
    }
}
