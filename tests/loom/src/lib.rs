//! Models of the protocols of `coproc`: the library's own sources (see `build.rs`) over a modelled kernel. See `README.md`.

#![cfg_attr(not(test), allow(dead_code, unused_imports, unused_macros))]

include!(concat!(env!("OUT_DIR"), "/library.rs"));

mod liveness;
mod stubs;
mod sys;
mod world;

#[cfg(test)]
mod models;

pub(crate) use plain::Plain;
pub(crate) use stubs::{error, handle, message, plain, ready, segment};
