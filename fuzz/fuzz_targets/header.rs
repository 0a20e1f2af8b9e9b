//! The header of a segment: see `body/header.rs`.

#![no_main]

#[path = "../body/header.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|input: &[u8]| body::check(input));
