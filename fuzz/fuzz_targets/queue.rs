//! Operations on queues and rings: see `body/queue.rs`.

#![no_main]

#[path = "../body/queue.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|input: &[u8]| body::check(input));
