//! What the derives accept, and what they make of it. What they refuse is shown in the compile-fail examples of the crate.

use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, AtomicU64};

use coproc::__private::Parcel;
use coproc::{Code, Direct, Flag, Item, Locked, Maybe, Message, Mutex, Plain, ReadOnly, Shareable};

fn layout<T: Shareable>() -> u64 {
    T::LAYOUT
}

fn item_layout<T: Item>() -> u64 {
    T::LAYOUT
}

fn is_plain<T: Plain + Shareable<Access = Locked>>() {}

fn is_direct<T: Shareable<Access = Direct>>() {}

fn is_item<T: Item>() {}

/// Sends a message through a parcel, and shows that no shorter parcel holds one.
fn comes_back<M: Message + PartialEq + Debug>(message: M) {
    let parcel = Parcel::of(&message);
    if let Some(bound) = M::BOUND {
        assert!(parcel.bytes.len() <= bound, "{message:?} wrote {} bytes of {bound}", parcel.bytes.len());
    }
    for cut in 0..parcel.bytes.len() {
        assert_eq!(open::<M>(&parcel.bytes[..cut]), None, "cut to {cut} bytes");
    }
    assert_eq!(parcel.open::<M>(), Some(message));
}

fn open<M: Message>(bytes: &[u8]) -> Option<M> {
    Parcel { bytes: bytes.to_vec(), handles: Vec::new() }.open()
}

fn all_differ(layouts: &[u64]) {
    for (i, one) in layouts.iter().enumerate() {
        assert!(layouts[i + 1..].iter().all(|other| one != other), "layout {i} is not unique");
    }
}

mod plain {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Plain)]
    #[repr(C)]
    struct Candidate {
        score: f64,
        city: u32,
        valid: Flag,
        _pad: [u8; 3],
    }

    #[derive(Clone, Copy, Debug, PartialEq, Plain)]
    #[repr(C)]
    struct Pair<T: Plain, const N: usize = 2> {
        all: [T; N],
        best: Maybe<T>,
    }

    #[derive(Clone, Copy, Plain)]
    #[repr(transparent)]
    struct Id<Of: Copy + Send + Sync>(u64, PhantomData<Of>);

    #[derive(Clone, Copy, Plain)]
    #[repr(C)]
    struct Unit;

    #[derive(Clone, Copy, Plain)]
    #[repr(C, packed)]
    struct Packed {
        _tag: u8,
        _value: u64,
    }

    #[derive(Clone, Copy, Plain)]
    #[repr(C, align(16))]
    struct Aligned([u64; 2]);

    #[test]
    fn every_shape_of_struct() {
        is_plain::<Candidate>();
        is_plain::<Pair<u16, 3>>();
        is_plain::<Pair<Candidate>>();
        is_plain::<Id<bool>>();
        is_plain::<Unit>();
        is_plain::<Packed>();
        is_plain::<[Aligned; 3]>();
    }

    #[test]
    fn plain_data_is_an_item() {
        comes_back(Candidate { score: 1.5, city: 7, valid: true.into(), _pad: [0; 3] });
        comes_back(Pair { all: [1_u8, 2], best: Maybe::some(2) });
        comes_back(vec![Pair { all: [1_u8, 2], best: Maybe::none() }; 3]);
        assert_eq!(<Candidate as Item>::SIZE, 16);
        assert_eq!(item_layout::<Candidate>(), layout::<Candidate>());
    }

    #[test]
    fn the_name_of_the_type_is_no_part_of_the_layout() {
        #[derive(Clone, Copy, Plain)]
        #[repr(C)]
        struct Renamed {
            score: f64,
            city: u32,
            valid: Flag,
            _pad: [u8; 3],
        }
        assert_eq!(layout::<Renamed>(), layout::<Candidate>());
    }

    #[test]
    fn names_order_and_types_of_fields_are_part_of_the_layout() {
        macro_rules! layouts {
            ($({ $($field:ident: $t:ty),* })*) => {[$({
                #[derive(Clone, Copy, Plain)]
                #[repr(C)]
                struct Case { $($field: $t),* }
                layout::<Case>()
            }),*]};
        }
        all_differ(&layouts! {
            { a: u32, b: u32 }
            { b: u32, a: u32 }
            { a: u32, c: u32 }
            { a: u32, b: i32 }
            { a: u32, b: [u32; 1] }
            { a: u32, b: [u16; 2] }
            { a: u64 }
            { a: u32 }
            { }
        });
        all_differ(&[layout::<Pair<u8, 3>>(), layout::<Pair<u8, 4>>(), layout::<Pair<i8, 3>>()]);
    }

    #[test]
    fn raw_names_hash_as_they_are_read() {
        macro_rules! layout_of {
            ($field:ident) => {{
                #[derive(Clone, Copy, Plain)]
                #[repr(C)]
                struct Case {
                    $field: u32,
                }
                layout::<Case>()
            }};
        }
        assert_eq!(layout_of!(kind), layout_of!(r#kind));
        assert_ne!(layout_of!(r#type), layout_of!(kind));
    }
}

mod shareable {
    use super::*;

    #[derive(Shareable)]
    #[repr(C)]
    #[allow(dead_code)]
    struct State {
        // The padding after it is no matter: no byte of concurrent data is copied.
        ready: AtomicU32,
        done: AtomicU64,
        best: Mutex<Maybe<f64>>,
        limit: ReadOnly<u64>,
    }

    #[derive(Shareable)]
    #[repr(C)]
    #[allow(dead_code)]
    struct Table<K: Plain, const N: usize> {
        slots: [Mutex<Maybe<K>>; N],
        of: PhantomData<K>,
        inner: Inner,
    }

    #[derive(Shareable)]
    #[repr(transparent)]
    struct Inner(#[allow(dead_code)] AtomicU64);

    #[derive(Shareable)]
    #[repr(C)]
    #[allow(dead_code)]
    struct Counters([AtomicU64; 4], Inner);

    #[test]
    fn every_shape_of_struct() {
        is_direct::<State>();
        is_direct::<Table<u32, 4>>();
        is_direct::<Inner>();
        is_direct::<[Counters; 2]>();
    }

    #[test]
    fn layouts_nest() {
        all_differ(&[layout::<Table<u32, 4>>(), layout::<Table<u32, 5>>(), layout::<Table<i32, 4>>()]);
        assert_ne!(layout::<Inner>(), layout::<AtomicU64>());
    }

    #[test]
    fn only_structs_that_hold_locks_have_to_be_left() {
        const { assert!(State::LEAVES) };
        const { assert!(<Table<u32, 4>>::LEAVES) };
        const { assert!(!Counters::LEAVES) };
    }
}

mod code {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Code)]
    #[repr(u8)]
    enum Mode {
        Idle,
        Busy = 7,
        Gone,
        Last = u8::MAX,
    }

    #[test]
    fn every_variant_comes_back() {
        for mode in [Mode::Idle, Mode::Busy, Mode::Gone, Mode::Last] {
            assert_eq!(Code::new(mode).get(), Some(mode));
        }
    }

    #[test]
    fn an_unknown_number_is_no_variant() {
        for (number, mode) in [(0, Some(Mode::Idle)), (1, None), (7, Some(Mode::Busy)), (8, Some(Mode::Gone)), (9, None)] {
            assert_eq!(open::<Code<Mode>>(&[number]).unwrap().get(), mode);
        }
    }

    #[test]
    fn names_and_numbers_are_part_of_the_layout() {
        macro_rules! layouts {
            ($({ $($variant:ident = $number:literal),* })*) => {[$({
                #[derive(Clone, Copy, Code)]
                #[repr(u8)]
                #[allow(dead_code)]
                enum Case { $($variant = $number),* }
                layout::<Code<Case>>()
            }),*]};
        }
        let [all @ .., again] = layouts! {
            { A = 0, B = 1 }
            { B = 0, A = 1 }
            { A = 0, B = 2 }
            { A = 0 }
            { A = 0, B = 1 }
        };
        all_differ(&all);
        assert_eq!(all[0], again);
    }

    #[test]
    fn a_code_is_plain() {
        is_plain::<Code<Mode>>();
        assert_eq!(size_of::<Code<Mode>>(), 1);
    }
}

mod item {
    use super::*;

    #[derive(Debug, PartialEq, Item)]
    enum Command {
        Stop,
        Move { x: i32, y: i32 },
        Say(char, Option<bool>),
    }

    #[derive(Debug, PartialEq, Item)]
    struct Job<S, const N: usize = 1> {
        r#type: Option<S>,
        to: [u8; N],
        from: S,
    }

    #[derive(Debug, PartialEq, Item)]
    struct Unit;

    #[derive(Debug, PartialEq, Item)]
    enum Bare {
        A,
        B,
        C,
    }

    #[test]
    fn every_shape_comes_back() {
        comes_back(Command::Stop);
        comes_back(Command::Move { x: -1, y: 2 });
        comes_back(Command::Say('ä', Some(true)));
        comes_back(Job::<bool, 3> { r#type: None, to: [1, 2, 3], from: true });
        comes_back(Job::<Bare> { r#type: Some(Bare::B), to: [1], from: Bare::C });
        comes_back(Unit);
        comes_back((Bare::A, vec![Bare::B, Bare::C]));
    }

    #[test]
    fn the_size_is_the_tag_and_the_largest_variant() {
        assert_eq!(Bare::SIZE, 1);
        assert_eq!(Unit::SIZE, 0);
        assert_eq!(Command::SIZE, 1 + 8);
        assert_eq!(<Job<u32, 5>>::SIZE, 5 + 5 + 4);
    }

    #[test]
    fn unknown_tags_and_bad_fields_are_none() {
        assert_eq!(open::<Bare>(&[2]), Some(Bare::C));
        assert_eq!(open::<Bare>(&[3]), None);
        assert_eq!(open::<Command>(&[3]), None);
        assert_eq!(open::<Command>(&[2, 0, 0xd8, 0, 0, 0]), None);
        assert_eq!(open::<Command>(&[0, 0]), None);
        assert_eq!(open::<Job<bool, 0>>(&[0, 2]), None);
    }

    #[test]
    fn names_and_types_are_part_of_the_layout() {
        macro_rules! layouts {
            ($({ $($body:tt)* })*) => {[$({
                #[derive(Item)]
                #[allow(dead_code)]
                enum Case { $($body)* }
                item_layout::<Case>()
            }),*]};
        }
        let [all @ .., again] = layouts! {
            { A, B }
            { B, A }
            { A }
            { A(u8), B }
            { A, B(u8) }
            { A, B { x: u8 } }
            { A, B { y: u8 } }
            { A, B { x: i8 } }
            { A, B { x: u8, y: u8 } }
            { A, B }
        };
        all_differ(&all);
        assert_eq!(all[0], again);
        all_differ(&[item_layout::<Job<u8, 1>>(), item_layout::<Job<u8, 2>>(), item_layout::<Job<bool, 1>>()]);
    }

    #[test]
    fn items_nest() {
        is_item::<Option<Command>>();
        is_item::<Result<Job<Bare>, (Command, Unit)>>();
    }

    #[test]
    fn the_257th_variant_has_a_wide_tag() {
        #[derive(Debug, PartialEq, Item)]
        #[allow(dead_code)]
        #[rustfmt::skip]
        enum Wide {
            A0, A1, A2, A3, A4, A5, A6, A7, A8, A9, B0, B1, B2, B3, B4, B5, B6, B7, B8, B9, C0, C1, C2, C3, C4, C5, C6, C7, C8,
            C9, D0, D1, D2, D3, D4, D5, D6, D7, D8, D9, E0, E1, E2, E3, E4, E5, E6, E7, E8, E9, F0, F1, F2, F3, F4, F5, F6, F7,
            F8, F9, G0, G1, G2, G3, G4, G5, G6, G7, G8, G9, H0, H1, H2, H3, H4, H5, H6, H7, H8, H9, I0, I1, I2, I3, I4, I5, I6,
            I7, I8, I9, J0, J1, J2, J3, J4, J5, J6, J7, J8, J9, K0, K1, K2, K3, K4, K5, K6, K7, K8, K9, L0, L1, L2, L3, L4, L5,
            L6, L7, L8, L9, M0, M1, M2, M3, M4, M5, M6, M7, M8, M9, N0, N1, N2, N3, N4, N5, N6, N7, N8, N9, O0, O1, O2, O3, O4,
            O5, O6, O7, O8, O9, P0, P1, P2, P3, P4, P5, P6, P7, P8, P9, Q0, Q1, Q2, Q3, Q4, Q5, Q6, Q7, Q8, Q9, R0, R1, R2, R3,
            R4, R5, R6, R7, R8, R9, S0, S1, S2, S3, S4, S5, S6, S7, S8, S9, T0, T1, T2, T3, T4, T5, T6, T7, T8, T9, U0, U1, U2,
            U3, U4, U5, U6, U7, U8, U9, V0, V1, V2, V3, V4, V5, V6, V7, V8, V9, W0, W1, W2, W3, W4, W5, W6, W7, W8, W9, X0, X1,
            X2, X3, X4, X5, X6, X7, X8, X9, Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y8, Y9, Z0, Z1, Z2, Z3, Z4, Z5, Z6,
        }
        assert_eq!(Wide::SIZE, 4);
        comes_back(Wide::A0);
        comes_back(Wide::Z6);
        assert_eq!(open::<Wide>(&256_u32.to_ne_bytes()), Some(Wide::Z6));
        assert_eq!(open::<Wide>(&257_u32.to_ne_bytes()), None);
    }
}

mod message {
    use super::*;

    #[derive(Debug, PartialEq, Message)]
    enum Tree<T> {
        Leaf,
        Branch { of: T, below: Vec<Tree<T>> },
    }

    #[derive(Debug, PartialEq, Message)]
    struct Job {
        name: String,
        parts: Vec<(u32, Option<String>)>,
        result: Result<u64, String>,
    }

    #[test]
    fn every_shape_comes_back() {
        comes_back(Job { name: "one".into(), parts: vec![(1, None), (2, Some("two".into()))], result: Err("no".into()) });
        comes_back(Tree::<String>::Leaf);
    }

    #[test]
    fn a_type_may_contain_itself() {
        let leaf = || Tree::Branch { of: "leaf".to_string(), below: vec![] };
        comes_back(Tree::Branch { of: "root".to_string(), below: vec![leaf(), Tree::Leaf, leaf()] });
    }

    #[test]
    fn one_unbounded_field_makes_the_message_unbounded() {
        #[derive(Message)]
        #[allow(dead_code)]
        enum Mixed {
            A(u8),
            B(String),
        }
        #[derive(Message)]
        #[allow(dead_code)]
        enum Small {
            A(u8),
            B(u32, bool),
        }
        assert_eq!(Mixed::BOUND, None);
        assert_eq!(Job::BOUND, None);
        assert_eq!(Small::BOUND, Some(6));
    }

    #[test]
    fn unknown_tags_are_none() {
        assert_eq!(open::<Tree<u8>>(&[0]), Some(Tree::Leaf));
        assert_eq!(open::<Tree<u8>>(&[2]), None);
    }
}

mod names {
    use super::*;
    use coproc as renamed;

    #[derive(Clone, Copy, renamed::Plain)]
    #[coproc(crate = "renamed")]
    #[repr(C)]
    struct Point {
        _x: f64,
    }

    mod inner {
        #[derive(coproc::Item)]
        #[coproc(crate = "super::renamed")]
        pub(super) struct Wrapped {
            pub(super) of: bool,
        }
    }

    #[test]
    fn the_crate_may_have_another_name() {
        is_plain::<Point>();
        assert!(Parcel::of(&inner::Wrapped { of: true }).open::<inner::Wrapped>().unwrap().of);
    }

    mod strange {
        #![allow(non_upper_case_globals, dead_code)]

        const to: u8 = 1;
        const from: u8 = 1;
        const code: u8 = 1;
        const field0: u8 = 1;
        struct Some;
        struct Option;
        struct Layout;

        #[derive(Debug, PartialEq, coproc::Item)]
        pub(super) enum Message {
            Item { to: u8, from: u8 },
            Plain(u8),
        }

        #[derive(Clone, Copy, Debug, PartialEq, coproc::Code)]
        #[repr(u8)]
        pub(super) enum Code {
            None,
            Some,
        }

        #[derive(Clone, Copy, coproc::Plain)]
        #[repr(C)]
        pub(super) struct Plain<S: Copy> {
            to: S,
            from: S,
            layout: S,
        }
    }

    #[test]
    fn names_of_the_caller_do_not_reach_generated_code() {
        comes_back(strange::Message::Item { to: 1, from: 2 });
        comes_back(strange::Message::Plain(3));
        assert_eq!(Code::new(strange::Code::Some).get(), Some(strange::Code::Some));
        is_plain::<strange::Plain<u32>>();
    }
}
