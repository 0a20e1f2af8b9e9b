//! Integers of up to 64 bits, known by their types.

use std::any::TypeId;

macro_rules! integers {
    ($($t:ident)*) => {
        /// Whether this is one.
        pub(crate) fn is<T: 'static>() -> bool {
            $(TypeId::of::<T>() == TypeId::of::<$t>())||*
        }

        /// Its value, wrapped into 64 bits; 0 if it is none.
        pub(crate) fn bits<T: 'static>(value: &T) -> u64 {
            let value: &dyn std::any::Any = value;
            $(if let Some(value) = value.downcast_ref::<$t>() {
                return mask::<T>(*value as u64);
            })*
            0
        }
    };
}

integers!(u8 u16 u32 u64 usize i8 i16 i32 i64 isize);

fn mask<T>(bits: u64) -> u64 {
    bits & (u64::MAX >> (64 - 8 * size_of::<T>().clamp(1, 8)))
}

/// What is that many after the first.
pub(crate) fn nth<T>(first: u64, index: usize) -> u64 {
    mask::<T>(first.wrapping_add(index as u64))
}
