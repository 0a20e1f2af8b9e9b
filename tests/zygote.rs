//! The zygote: how children are started, and by what right.

use std::time::{Duration, Instant};

use coproc::Result;
use coproc_pool::Process;
use coproc_tests::watchdog;

/// Prints what a start costs, against a bare fork. Run by hand: `cargo test --release --test zygote -- --ignored --nocapture how_fast`.
#[test]
#[ignore = "measures"]
fn how_fast() -> Result<()> {
    let _watch = watchdog(120, "measuring");
    Process::spawn(|| (), ())?.join()?;
    let best = |run: &mut dyn FnMut()| {
        let mut best = Duration::MAX;
        for _ in 0..15 {
            let begin = Instant::now();
            for _ in 0..200 {
                run();
            }
            best = best.min(begin.elapsed() / 200);
        }
        best
    };
    let spawn = best(&mut || Process::spawn(|| (), ()).unwrap().join().unwrap());
    println!("spawn and join: {spawn:?}");
    Ok(())
}
