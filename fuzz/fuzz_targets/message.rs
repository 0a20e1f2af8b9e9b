//! Messages: see `body/message.rs`.

#![no_main]

#[path = "../body/message.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|input: &[u8]| body::check(input));
