//! Bytes over queues and rings: see `body/positions.rs`.

#![no_main]

#[path = "../body/positions.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|input: &[u8]| body::check(input));
