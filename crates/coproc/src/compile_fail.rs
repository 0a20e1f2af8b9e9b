//! What the derives and traits refuse, each beside the nearest thing that compiles.

/// Plain data has no value that some bytes are not.
///
/// ```
/// #[derive(Clone, Copy, coproc::Plain)]
/// #[repr(C)]
/// struct Candidate { score: f64, city: u32, valid: coproc::Flag, _pad: [u8; 3] }
/// ```
/// ```compile_fail,E0277
/// #[derive(Clone, Copy, coproc::Plain)]
/// #[repr(C)]
/// struct Candidate { score: f64, city: u32, valid: bool, _pad: [u8; 3] }
/// ```
/// ```compile_fail,E0277
/// #[derive(Clone, Copy, coproc::Plain)]
/// #[repr(C)]
/// struct Letter { of: char }
/// ```
struct BoolAndChar;

/// Plain data has no `Option`; `Maybe` is its plain form.
///
/// ```
/// #[derive(Clone, Copy, coproc::Plain)]
/// #[repr(C)]
/// struct Best { city: coproc::Maybe<u32> }
/// ```
/// ```compile_fail,E0277
/// #[derive(Clone, Copy, coproc::Plain)]
/// #[repr(C)]
/// struct Best { city: Option<u32> }
/// ```
struct OptionField;

/// Plain data has no enums; `Code` is their plain form.
///
/// ```
/// #[derive(Clone, Copy, coproc::Code)]
/// #[repr(u8)]
/// enum Mode { Idle, Busy }
///
/// #[derive(Clone, Copy, coproc::Plain)]
/// #[repr(C)]
/// struct State { mode: coproc::Code<Mode> }
/// ```
/// ```compile_fail,E0277
/// #[derive(Clone, Copy, coproc::Code)]
/// #[repr(u8)]
/// enum Mode { Idle, Busy }
///
/// #[derive(Clone, Copy, coproc::Plain)]
/// #[repr(C)]
/// struct State { mode: Mode }
/// ```
/// ```compile_fail
/// #[derive(Clone, Copy, coproc::Plain)]
/// #[repr(u8)]
/// enum Mode { Idle, Busy }
/// ```
struct EnumField;

/// Plain data points nowhere.
///
/// ```
/// #[derive(Clone, Copy, coproc::Plain)]
/// #[repr(C)]
/// struct Named { name: coproc::Text<16> }
/// ```
/// ```compile_fail,E0277
/// #[derive(Clone, coproc::Plain)]
/// #[repr(C)]
/// struct Named { name: String }
/// ```
/// ```compile_fail,E0277
/// #[derive(Clone, Copy, coproc::Plain)]
/// #[repr(C)]
/// struct Named { name: &'static str }
/// ```
/// ```compile_fail
/// #[derive(Clone, Copy, coproc::Plain)]
/// #[repr(C)]
/// struct Named<'a> { name: &'a str }
/// ```
struct Pointers;

/// Plain data has no padding.
///
/// ```
/// #[derive(Clone, Copy, coproc::Plain)]
/// #[repr(C)]
/// struct Candidate { score: f64, city: u32, _pad: [u8; 4] }
/// ```
/// ```compile_fail,E0080
/// #[derive(Clone, Copy, coproc::Plain)]
/// #[repr(C)]
/// struct Candidate { score: f64, city: u32 }
/// ```
///
/// In a generic struct it is found where the struct is used.
///
/// ```
/// #[derive(Clone, Copy, coproc::Plain)]
/// #[repr(C)]
/// struct Pair<T> { a: T, b: u32 }
///
/// println!("{}", <Pair<u32> as coproc::Shareable>::LAYOUT);
/// ```
/// ```compile_fail,E0080
/// #[derive(Clone, Copy, coproc::Plain)]
/// #[repr(C)]
/// struct Pair<T> { a: T, b: u32 }
///
/// println!("{}", <Pair<u64> as coproc::Shareable>::LAYOUT);
/// ```
struct Padding;

/// Plain data is `Copy` and has a fixed order of fields.
///
/// ```
/// #[derive(Clone, Copy, coproc::Plain)]
/// #[repr(C)]
/// struct Point { x: f64 }
/// ```
/// ```compile_fail,E0277
/// #[derive(coproc::Plain)]
/// #[repr(C)]
/// struct Point { x: f64 }
/// ```
/// ```compile_fail
/// #[derive(Clone, Copy, coproc::Plain)]
/// struct Point { x: f64 }
/// ```
struct CopyAndOrder;

/// Nobody knows which field of a union another process wrote.
///
/// ```
/// #[derive(Clone, Copy, coproc::Plain)]
/// #[repr(transparent)]
/// struct Bits([u8; 4]);
/// ```
/// ```compile_fail
/// #[derive(Clone, Copy, coproc::Plain)]
/// #[repr(C)]
/// union Bits { number: u32, float: f32 }
/// ```
struct Union;

/// A struct of concurrent data has no plain fields: they go under a lock or never change.
///
/// ```
/// use std::sync::atomic::AtomicU64;
///
/// #[derive(coproc::Shareable)]
/// #[repr(C)]
/// struct State { done: AtomicU64, best: coproc::Mutex<u64>, limit: coproc::ReadOnly<u64> }
/// ```
/// ```compile_fail
/// use std::sync::atomic::AtomicU64;
///
/// #[derive(coproc::Shareable)]
/// #[repr(C)]
/// struct State { done: AtomicU64, best: u64 }
/// ```
/// ```compile_fail,E0277
/// use std::sync::atomic::AtomicU64;
///
/// #[derive(coproc::Shareable)]
/// #[repr(C)]
/// struct State { done: AtomicU64, best: std::cell::Cell<u64> }
/// ```
/// ```compile_fail,E0277
/// use std::sync::atomic::{AtomicBool, AtomicU64};
///
/// #[derive(coproc::Shareable)]
/// #[repr(C)]
/// struct State { done: AtomicU64, stop: AtomicBool }
/// ```
/// ```compile_fail,E0277
/// use std::sync::atomic::AtomicU64;
///
/// #[derive(coproc::Shareable)]
/// #[repr(C)]
/// struct State { done: AtomicU64, name: coproc::Mutex<String> }
/// ```
struct PlainInDirect;

/// A value in shared memory is never dropped.
///
/// ```
/// use std::sync::atomic::AtomicU64;
///
/// #[derive(coproc::Shareable)]
/// #[repr(C)]
/// struct State { done: AtomicU64 }
/// ```
/// ```compile_fail,E0080
/// use std::sync::atomic::AtomicU64;
///
/// #[derive(coproc::Shareable)]
/// #[repr(C)]
/// struct State { done: AtomicU64 }
///
/// impl Drop for State {
///     fn drop(&mut self) {}
/// }
/// ```
struct Dropped;

/// A type that is only called `PhantomData` gets no exception.
///
/// ```
/// use std::marker::PhantomData;
///
/// #[derive(coproc::Shareable)]
/// #[repr(C)]
/// struct Id { done: std::sync::atomic::AtomicU64, of: PhantomData<u64> }
/// ```
/// ```compile_fail,E0080
/// type PhantomData = u64;
///
/// #[derive(coproc::Shareable)]
/// #[repr(C)]
/// struct Id { done: std::sync::atomic::AtomicU64, of: PhantomData }
/// ```
struct FalsePhantom;

/// A `Code` is one byte without fields.
///
/// ```
/// #[derive(Clone, Copy, coproc::Code)]
/// #[repr(u8)]
/// enum Mode { Idle, Busy }
/// ```
/// ```compile_fail
/// #[derive(Clone, Copy, coproc::Code)]
/// #[repr(u8)]
/// enum Mode { Idle, Busy(u8) }
/// ```
/// ```compile_fail
/// #[derive(Clone, Copy, coproc::Code)]
/// #[repr(u16)]
/// enum Mode { Idle, Busy }
/// ```
/// ```compile_fail
/// #[derive(Clone, Copy, coproc::Code)]
/// enum Mode { Idle, Busy }
/// ```
/// ```compile_fail,E0277
/// #[derive(coproc::Code)]
/// #[repr(u8)]
/// enum Mode { Idle, Busy }
/// ```
struct Codes;

/// An item has a bounded number of bytes.
///
/// ```
/// #[derive(coproc::Item)]
/// enum Command { Stop, Say(coproc::Text<16>) }
/// ```
/// ```compile_fail,E0277
/// #[derive(coproc::Item)]
/// enum Command { Stop, Say(String) }
/// ```
/// ```compile_fail
/// #[derive(coproc::Item)]
/// enum Command {}
/// ```
struct Items;

/// A message borrows nothing and is no counter of references.
///
/// ```
/// #[derive(coproc::Message)]
/// enum Job { Stop, Say(String) }
/// ```
/// ```compile_fail,E0277
/// #[derive(coproc::Message)]
/// enum Job { Stop, Say(&'static str) }
/// ```
/// ```compile_fail,E0277
/// #[derive(coproc::Message)]
/// enum Job { Stop, Say(std::sync::Arc<String>) }
/// ```
/// ```compile_fail
/// #[derive(coproc::Message)]
/// enum Job<'a> { Stop, Say(&'a str) }
/// ```
struct Messages;

/// A type is an item by one derive: plain data is one already, and an item is a message.
///
/// ```
/// #[derive(coproc::Item)]
/// struct Job { id: u64 }
/// ```
/// ```compile_fail,E0119
/// #[derive(coproc::Item, coproc::Message)]
/// struct Job { id: u64 }
/// ```
/// ```compile_fail,E0119
/// #[derive(Clone, Copy, coproc::Plain, coproc::Item)]
/// #[repr(C)]
/// struct Job { id: u64 }
/// ```
struct OneDerive;

/// The attribute has one option, and belongs on the type.
///
/// ```
/// use coproc as shared;
///
/// #[derive(shared::Item)]
/// #[coproc(crate = "shared")]
/// struct Job { id: u64 }
/// ```
/// ```compile_fail
/// #[derive(coproc::Item)]
/// #[coproc(krate = "coproc")]
/// struct Job { id: u64 }
/// ```
/// ```compile_fail
/// #[derive(coproc::Item)]
/// struct Job {
///     #[coproc(crate = "coproc")]
///     id: u64,
/// }
/// ```
struct Attribute;
