//! The structural hash that tells whether two programs mean the same bytes.
//!
//! A [`Layout`] is built at compile time from sizes, field names, offsets and nested hashes, so two programs that attach one
//! segment agree on every byte or are refused. A type's own name is not part of it: renaming a struct changes nothing in memory.

/// The version of the protocols that the primitives speak. It is part of the layout of each, so that two releases with
/// different lock words never share a segment.
pub const PROTOCOL: u64 = 1;

/// A structural hash under construction (FNV-1a, 64 bits).
///
/// The derives use it; a hand-written `unsafe impl Shareable` may too.
#[derive(Clone, Copy, Debug)]
pub struct Layout(u64);

impl Layout {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;

    /// Starts the hash of a type of this kind (`"u32"`, `"struct"`, `"Mutex"`), size and alignment.
    pub const fn new(kind: &str, size: usize, align: usize) -> Self {
        Self(Self::BASIS).text(kind).number(size as u64).number(align as u64)
    }

    /// Starts the hash of `T` as a type of this kind.
    pub const fn of<T>(kind: &str) -> Self {
        Self::new(kind, size_of::<T>(), align_of::<T>())
    }

    /// Adds a field: its name, its offset in bytes, its own layout.
    pub const fn field(self, name: &str, offset: usize, layout: u64) -> Self {
        self.text(name).number(offset as u64).number(layout)
    }

    /// Adds a number.
    pub const fn number(self, n: u64) -> Self {
        let bytes = n.to_le_bytes();
        let mut hash = self.0;
        let mut i = 0;
        while i < bytes.len() {
            hash = (hash ^ bytes[i] as u64).wrapping_mul(Self::PRIME);
            i += 1;
        }
        Self(hash)
    }

    /// Adds a text and its length, so that `"ab", "c"` and `"a", "bc"` differ.
    pub const fn text(self, text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut hash = self.number(bytes.len() as u64).0;
        let mut i = 0;
        while i < bytes.len() {
            hash = (hash ^ bytes[i] as u64).wrapping_mul(Self::PRIME);
            i += 1;
        }
        Self(hash)
    }

    /// The finished hash.
    pub const fn hash(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::Layout;

    #[test]
    fn names_offsets_and_nesting_count() {
        let base = Layout::new("struct", 8, 4);
        let all = [
            base.hash(),
            base.field("a", 0, 1).hash(),
            base.field("b", 0, 1).hash(),
            base.field("a", 4, 1).hash(),
            base.field("a", 0, 2).hash(),
            Layout::new("struct", 8, 8).hash(),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b), "layout {i} is not unique");
        }
        assert_ne!(base.text("ab").text("c").hash(), base.text("a").text("bc").hash());
    }
}
