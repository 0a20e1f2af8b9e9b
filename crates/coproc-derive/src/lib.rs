//! The derives of [`coproc`](https://docs.rs/coproc), which re-exports them: depend on that crate, not on this one.
//!
//! All take `#[coproc(crate = "path")]` on the type, for a crate that knows `coproc` by another name than `::coproc`. None takes a
//! type with a lifetime: what crosses between processes holds no references.
//!
//! Bounds lie on the types of the fields, not on the type parameters: `struct Table<T> { slots: [Maybe<T>; 8] }` is plain data
//! wherever `[Maybe<T>; 8]` is.

mod code;
mod input;
mod item;
mod message;
mod plain;
mod shareable;

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use syn::DeriveInput;

fn run(input: TokenStream, derive: impl Fn(DeriveInput) -> syn::Result<Tokens>) -> TokenStream {
    syn::parse(input).and_then(derive).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes a struct plain data: implements `Plain` and `Shareable<Access = Locked>`.
///
/// It takes `Copy` structs, named, tuple or unit, that are `#[repr(C)]` or `#[repr(transparent)]`, whose fields are plain data
/// and lie next to each other without padding; anything else is a compile error. (For a generic struct, padding is an error where
/// it is used.) Plain data is also an `Item` and a `Message`.
///
/// The example needs `coproc`, which re-exports this derive:
/// ```ignore
/// use coproc::{Flag, Plain, SharedValue};
///
/// #[derive(Clone, Copy, Plain)]
/// #[repr(C)]
/// struct Candidate { score: f64, city: u32, valid: Flag, _pad: [u8; 3] }
///
/// let best = SharedValue::<Candidate>::zeroed()?;
/// best.lock()?.score = 1.5;
/// ```
#[proc_macro_derive(Plain, attributes(coproc))]
pub fn plain(input: TokenStream) -> TokenStream {
    run(input, plain::derive)
}

/// Makes a struct concurrent data: implements `Shareable<Access = Direct>`.
///
/// It takes structs that are `#[repr(C)]` or `#[repr(transparent)]` and whose fields are concurrent data: atomics, locks,
/// `ReadOnly<T>`, arrays and structs of these. A struct of plain data derives `Plain` instead.
///
/// The example needs `coproc`, which re-exports this derive:
/// ```ignore
/// use coproc::{Mutex, Shareable, SharedValue};
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// #[derive(Shareable)]
/// #[repr(C)]
/// struct State { done: AtomicU64, best: Mutex<f64> }
///
/// let state = SharedValue::<State>::zeroed()?;
/// state.done.fetch_add(1, Ordering::Relaxed);
/// *state.best.lock()? = 1.5;
/// ```
#[proc_macro_derive(Shareable, attributes(coproc))]
pub fn shareable(input: TokenStream) -> TokenStream {
    run(input, shareable::derive)
}

/// Makes an enum or struct an item, which crosses by value in a bounded number of bytes: implements `Item` and `Message`.
///
/// All fields must be items. A type derives `Item` or `Message`, not both, and neither if it is plain data, which is both already.
///
/// The example needs `coproc`, which re-exports this derive:
/// ```ignore
/// use coproc::{Item, Queue};
///
/// #[derive(Item)]
/// enum Command { Stop, Move { x: i32, y: i32 } }
///
/// let queue = Queue::<Command>::new(4)?;
/// queue.send(Command::Move { x: 1, y: 2 })?;
/// ```
#[proc_macro_derive(Item, attributes(coproc))]
pub fn item(input: TokenStream) -> TokenStream {
    run(input, item::derive)
}

/// Makes an enum or struct a message, which crosses by value in any number of bytes: implements `Message`.
///
/// All fields must be messages. A type derives `Item` or `Message`, not both, and neither if it is plain data, which is both already.
///
/// The example needs `coproc`, which re-exports this derive:
/// ```ignore
/// use coproc::{Message, SharedValue};
///
/// #[derive(Message)]
/// enum Job { Name(String), Add { to: SharedValue<u64>, amounts: Vec<u64> } }
/// ```
#[proc_macro_derive(Message, attributes(coproc))]
pub fn message(input: TokenStream) -> TokenStream {
    run(input, message::derive)
}

/// Lets `Code<E>` hold a field-less `#[repr(u8)]` enum: implements `CodeEnum`.
///
/// The example needs `coproc`, which re-exports this derive:
/// ```ignore
/// use coproc::{Code, SharedValue};
///
/// #[derive(Clone, Copy, Debug, PartialEq, Code)]
/// #[repr(u8)]
/// enum Mode { Idle, Busy = 7 }
///
/// let mode = SharedValue::new(Code::new(Mode::Busy))?;
/// assert_eq!(mode.get()?.get(), Some(Mode::Busy));
/// ```
#[proc_macro_derive(Code, attributes(coproc))]
pub fn code(input: TokenStream) -> TokenStream {
    run(input, code::derive)
}
