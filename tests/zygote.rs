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
    let clock = || {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
        now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
    };
    let mut all: Vec<[u64; 4]> = (0..2000)
        .map(|_| {
            let begin = clock();
            let child = Process::spawn(
                || {
                    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
                    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
                    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
                },
                (),
            )
            .unwrap();
            let spawned = clock();
            let ran = child.join().unwrap();
            let end = clock();
            [spawned - begin, ran - begin, end - begin, end - ran]
        })
        .collect();
    for at in 0..4 {
        all.sort_by_key(|times| times[at]);
        let name = ["spawned", "ran", "joined", "joined after ran"][at];
        println!("{name}: 10 % {} median {} ns", all[200][at], all[1000][at]);
    }
    Ok(())
}
