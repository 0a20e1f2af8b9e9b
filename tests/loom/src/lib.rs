//! Models of the protocols of `coproc`: the library's own sources (see `build.rs`) over a modelled kernel. See `README.md`.

#![allow(dead_code, unused_imports, reason = "the models use a part of what the library is made of")]
#![allow(clippy::all, reason = "what is copied is checked where it comes from")]

include!(concat!(env!("OUT_DIR"), "/library.rs"));

mod liveness;
mod stubs;
mod sys;
mod world;

#[cfg(test)]
mod models;

pub(crate) use plain::Plain;
pub(crate) use stubs::{error, handle, message, plain, segment};
