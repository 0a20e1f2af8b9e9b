//! Types of the standard library as messages and items.

use std::ffi::OsString;
use std::num::{
    NonZeroI8, NonZeroI16, NonZeroI32, NonZeroI64, NonZeroI128, NonZeroIsize, NonZeroU8, NonZeroU16, NonZeroU32, NonZeroU64,
    NonZeroU128, NonZeroUsize,
};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use super::{Item, Message, Reader, Writer, bound_max, bound_sum};
use crate::layout::Layout;

/// A type that is written as a plain one and checked when it is read.
macro_rules! checked {
    ($($t:ty as $raw:ty: $write:expr, $read:expr;)*) => {$(
        impl Message for $t {
            const BOUND: Option<usize> = Some(size_of::<$raw>());

            #[inline]
            fn write(&self, to: &mut Writer<'_>) {
                let raw: $raw = ($write)(*self);
                to.plain(&raw);
            }

            #[inline]
            fn read(from: &mut Reader<'_>) -> Option<Self> {
                ($read)(from.plain::<$raw>()?)
            }
        }

        impl Item for $t {
            const LAYOUT: u64 = Layout::of::<Self>(stringify!($t)).hash();
        }
    )*};
}

checked! {
    bool as u8: u8::from, |raw| match raw { 0 => Some(false), 1 => Some(true), _ => None };
    char as u32: u32::from, char::from_u32;
    NonZeroU8 as u8: Self::get, Self::new;
    NonZeroU16 as u16: Self::get, Self::new;
    NonZeroU32 as u32: Self::get, Self::new;
    NonZeroU64 as u64: Self::get, Self::new;
    NonZeroU128 as u128: Self::get, Self::new;
    NonZeroUsize as usize: Self::get, Self::new;
    NonZeroI8 as i8: Self::get, Self::new;
    NonZeroI16 as i16: Self::get, Self::new;
    NonZeroI32 as i32: Self::get, Self::new;
    NonZeroI64 as i64: Self::get, Self::new;
    NonZeroI128 as i128: Self::get, Self::new;
    NonZeroIsize as isize: Self::get, Self::new;
    Duration as u128: |time: Duration| time.as_nanos(), duration;
}

fn duration(nanos: u128) -> Option<Duration> {
    const SECOND: u128 = 1_000_000_000;
    Some(Duration::new(u64::try_from(nanos / SECOND).ok()?, (nanos % SECOND) as u32))
}

impl<T: Message> Message for Option<T> {
    const BOUND: Option<usize> = bound_sum(&[Some(1), T::BOUND]);

    #[inline]
    fn write(&self, to: &mut Writer<'_>) {
        self.is_some().write(to);
        if let Some(value) = self {
            value.write(to);
        }
    }

    #[inline]
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(if bool::read(from)? { Some(T::read(from)?) } else { None })
    }
}

impl<T: Item> Item for Option<T> {
    const LAYOUT: u64 = Layout::of::<()>("Option").number(T::LAYOUT).hash();
}

impl<T: Message, E: Message> Message for Result<T, E> {
    const BOUND: Option<usize> = bound_sum(&[Some(1), bound_max(&[T::BOUND, E::BOUND])]);

    #[inline]
    fn write(&self, to: &mut Writer<'_>) {
        self.is_ok().write(to);
        match self {
            Ok(value) => value.write(to),
            Err(error) => error.write(to),
        }
    }

    #[inline]
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(if bool::read(from)? { Ok(T::read(from)?) } else { Err(E::read(from)?) })
    }
}

impl<T: Item, E: Item> Item for Result<T, E> {
    const LAYOUT: u64 = Layout::of::<()>("Result").number(T::LAYOUT).number(E::LAYOUT).hash();
}

macro_rules! tuples {
    ($(($($name:ident)+))*) => {$(
        impl<$($name: Message),+> Message for ($($name,)+) {
            const BOUND: Option<usize> = bound_sum(&[$($name::BOUND),+]);

            #[inline]
            fn write(&self, to: &mut Writer<'_>) {
                #[allow(non_snake_case)]
                let ($($name,)+) = self;
                $($name.write(to);)+
            }

            #[inline]
            fn read(from: &mut Reader<'_>) -> Option<Self> {
                Some(($($name::read(from)?,)+))
            }
        }

        impl<$($name: Item),+> Item for ($($name,)+) {
            const LAYOUT: u64 = Layout::of::<()>("tuple")$(.number($name::LAYOUT))+.hash();
        }
    )*};
}

tuples! {
    (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) (A B C D E F G) (A B C D E F G H)
}

impl Message for String {
    fn write(&self, to: &mut Writer<'_>) {
        text(self, to);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Self::from_utf8(Vec::read(from)?).ok()
    }
}

impl Message for OsString {
    fn write(&self, to: &mut Writer<'_>) {
        slice(self.as_bytes(), to);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Vec::read(from).map(Self::from_vec)
    }
}

impl Message for PathBuf {
    fn write(&self, to: &mut Writer<'_>) {
        slice(self.as_os_str().as_bytes(), to);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        OsString::read(from).map(Self::from)
    }
}

/// Writes a text as a `String` is written.
pub(super) fn text(text: &str, to: &mut Writer<'_>) {
    slice(text.as_bytes(), to);
}

impl<T: Message> Message for Vec<T> {
    fn write(&self, to: &mut Writer<'_>) {
        slice(self, to);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let count = usize::read(from)?;
        from.nested(|from| T::read_each(count, from))
    }
}

/// Writes a slice as a `Vec` is written.
pub(super) fn slice<T: Message>(values: &[T], to: &mut Writer<'_>) {
    values.len().write(to);
    T::write_each(values, to);
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;
    use std::num::NonZeroU16;
    use std::time::Duration;

    use crate::message::Parcel;
    use crate::{Item, Message};

    fn comes_back<M: Message + PartialEq + Debug>(message: M) {
        let parcel = Parcel::of(&message);
        if let Some(bound) = M::BOUND {
            assert!(parcel.bytes.len() <= bound, "{message:?} wrote {} bytes of {bound}", parcel.bytes.len());
        }
        assert_eq!(parcel.open::<M>(), Some(message));
        for cut in 0..parcel.bytes.len() {
            let short = Parcel { bytes: parcel.bytes[..cut].to_vec(), handles: vec![] };
            assert_eq!(short.open::<M>(), None, "cut to {cut} bytes");
        }
    }

    #[test]
    fn every_kind_comes_back() {
        comes_back(());
        comes_back(7_u64);
        comes_back([1_i32, -2]);
        comes_back((true, 'ä', NonZeroU16::MIN, Duration::MAX, 1.5_f64));
        comes_back(Some((1_u8, "two".to_string())));
        comes_back(None::<u64>);
        comes_back(Ok::<u8, String>(1));
        comes_back(Err::<u8, String>("no".into()));
        comes_back(vec![Some(1_u32), None]);
        comes_back(std::path::PathBuf::from("/tmp/x"));
        comes_back(vec![1_u16, 2, 3]);
        comes_back(vec![String::new(), "x".into()]);
    }

    #[test]
    fn strange_bytes_are_none() {
        let open = |bytes: &[u8]| Parcel { bytes: bytes.to_vec(), handles: vec![] };
        assert_eq!(open(&[2]).open::<bool>(), None);
        assert_eq!(open(&0xd800_u32.to_ne_bytes()).open::<char>(), None);
        assert_eq!(open(&[0, 0]).open::<NonZeroU16>(), None);
        assert_eq!(open(&u128::MAX.to_ne_bytes()).open::<Duration>(), None);
        assert_eq!(open(&u64::MAX.to_ne_bytes()).open::<Vec<u64>>(), None);
        assert_eq!(open(&u64::MAX.to_ne_bytes()).open::<Vec<((), ())>>(), None);
        assert_eq!(open(&[1, 0, 0, 0, 0, 0, 0, 0, 0xff]).open::<String>(), None);
    }

    #[test]
    fn deep_nesting_is_refused_not_a_stack_overflow() {
        #[derive(Debug, crate::Message)]
        struct Tree(Vec<Tree>);
        let nested = |depth| Parcel { bytes: [1_u64.to_ne_bytes().repeat(depth), vec![0; 8]].concat(), handles: vec![] };
        assert!(nested(60).open::<Tree>().is_some());
        assert!(nested(1 << 20).open::<Tree>().is_none());
    }

    #[test]
    fn sizes_are_sums() {
        assert_eq!(<Option<(bool, [u32; 3])>>::SIZE, 14);
        assert_eq!(<Result<u8, u64>>::SIZE, 9);
    }
}
