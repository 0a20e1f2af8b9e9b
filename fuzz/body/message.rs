//! Bytes that another process sent as a message. Without libfuzzer, so that tests can replay its corpus.

use std::num::{NonZeroI64, NonZeroU16};
use std::time::Duration;

use coproc::__private::Parcel;
use coproc::{Flag, Item, Maybe, Message, Queue, SharedArray, SharedValue, Text};

/// A tree, whose depth the bytes decide.
#[derive(Message)]
struct Tree {
    name: char,
    children: Vec<Tree>,
}

#[derive(Message)]
enum Job {
    Stop,
    Named(String, Option<Box12>),
    Many { trees: Vec<(bool, Tree)>, after: Duration },
}

#[derive(Item)]
struct Box12(NonZeroU16, [u16; 5]);

#[derive(Message)]
enum Handles {
    None,
    One(SharedValue<u32>),
    More { array: SharedArray<u8>, queue: Option<Queue<bool>> },
}

/// Takes the first byte as the choice of a type, and the others as a message of it.
pub(crate) fn check(input: &[u8]) {
    let Some((&choice, bytes)) = input.split_first() else { return };
    let parcel = Parcel { bytes: bytes.to_vec(), handles: Vec::new() };
    match choice % 12 {
        0 => open::<(bool, char, NonZeroI64)>(&parcel),
        1 => open::<String>(&parcel),
        2 => open::<Vec<u64>>(&parcel),
        3 => open::<Vec<Vec<Option<String>>>>(&parcel),
        4 => open::<Result<(Duration, f64), Option<[i128; 2]>>>(&parcel),
        5 => open::<Vec<((), ())>>(&parcel),
        6 => open::<(Option<Option<bool>>, Result<u8, String>, Vec<(u16, char)>)>(&parcel),
        7 => open::<Tree>(&parcel),
        8 => open::<Job>(&parcel),
        9 => open::<Option<Box12>>(&parcel),
        10 => open::<(Text<5>, Flag, Maybe<u32>)>(&parcel),
        _ => open::<Handles>(&parcel),
    }
}

/// It is no message of this type, or one that is written as it was read.
fn open<M: Message>(parcel: &Parcel) {
    let Some(message) = parcel.open::<M>() else { return };
    let written = Parcel::of(&message);
    assert_eq!(written.bytes, parcel.bytes);
    assert!(written.handles.is_empty(), "handles out of nothing");
    assert!(M::BOUND.is_none_or(|bound| written.bytes.len() <= bound), "more bytes than the bound");
}
