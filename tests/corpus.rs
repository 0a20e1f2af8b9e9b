//! What the fuzz targets are seeded with, and what they have found, replayed without them.

#[path = "../fuzz/body/header.rs"]
mod header;
#[path = "../fuzz/body/message.rs"]
mod message;
#[path = "../fuzz/body/positions.rs"]
mod positions;
#[path = "../fuzz/body/queue.rs"]
mod queue;

use std::fs;
use std::path::Path;

use coproc_tests::watchdog;

/// Gives each input of a target to its body; how many there are.
fn replay(target: &str, check: fn(&[u8])) -> usize {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut count = 0;
    for entry in fs::read_dir(&corpus).expect("the target has a corpus") {
        let path = entry.expect("the folder can be read").path();
        // Shown if the next line panics.
        println!("{}", path.display());
        check(&fs::read(&path).expect("the input can be read"));
        count += 1;
    }
    count
}

#[test]
fn headers() {
    assert!(replay("header", header::check) >= 8);
}

#[test]
fn messages() {
    assert!(replay("message", message::check) >= 12);
}

#[test]
fn queues() {
    assert!(replay("queue", queue::check) >= 16);
}

#[test]
fn positions() {
    let _watch = watchdog(60, "strange bytes in queues and rings");
    assert!(replay("positions", positions::check) >= 20);
}

/// Nothing but a few bytes at a time: what the body of a target cannot bear needs no search.
#[test]
fn every_short_input() {
    for length in 0..=2 {
        for number in 0..1_u32 << (8 * length) {
            let input = &number.to_le_bytes()[..length];
            header::check(input);
            message::check(input);
        }
    }
}
