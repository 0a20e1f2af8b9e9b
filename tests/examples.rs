//! The examples, run as a user runs them: what they print, and how they fail.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::Instant;

use coproc_tests::watchdog;

const ALL: [&str; 15] = [
    "bank",
    "continents",
    "frames",
    "hello_process",
    "lock_demo",
    "mandelbrot",
    "many_processes",
    "pool_makespan",
    "pool_squares",
    "producer_consumer",
    "sleepers",
    "slow_square",
    "squares_after_a_second",
    "tour",
    "value_and_array",
];

/// The folder of the built examples: of the same profile as this test. `cargo test` of the whole workspace has built them; this
/// builds them where only this file is tested.
static BUILT: LazyLock<PathBuf> = LazyLock::new(|| {
    let exe = std::env::current_exe().unwrap();
    let profile = exe.ancestors().nth(2).expect("TARGET/PROFILE/deps/examples-HASH").to_owned();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--examples", "--target-dir"]).arg(target).current_dir(env!("CARGO_MANIFEST_DIR"));
    match profile.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => {}
        Some(name) => drop(cargo.args(["--profile", name])),
    }
    if profile.parent() != Some(target) {
        cargo.arg("--target").arg(profile.parent().and_then(Path::file_name).unwrap());
    }
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "building the examples: {}", String::from_utf8_lossy(&output.stderr));
    profile.join("examples")
});

fn run(name: &str, args: &[&str]) -> Output {
    Command::new(BUILT.join(name)).args(args).env("RUST_BACKTRACE", "0").output().unwrap()
}

/// What an example prints that succeeds.
fn printed(name: &str, args: &[&str]) -> String {
    let output = run(name, args);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name}: {}\n{out}\n{err}", output.status);
    assert_eq!(err, "", "{name} complains");
    out.into_owned()
}

/// A file of these bytes, to give to an example.
fn file(name: &str, bytes: &[u8]) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, bytes).unwrap();
    path.display().to_string()
}

#[test]
fn every_example_is_tested() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/coproc-pool/examples");
    let found: BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(found, ALL.map(String::from).into());
}

#[test]
fn lock_demo() {
    let _watch = watchdog(120, "lock_demo");
    for _ in 0..20 {
        assert_eq!(printed("lock_demo", &[]), "400\n");
    }
}

#[test]
fn value_and_array() {
    let _watch = watchdog(120, "value_and_array");
    assert_eq!(printed("value_and_array", &[]), "1\n[1, 2, 3, 4, 5]\n");
}

#[test]
fn bank() {
    let _watch = watchdog(120, "bank");
    assert_eq!(printed("bank", &[]), "Final balance = 100\n".repeat(10));
}

#[test]
fn pool_squares() {
    let _watch = watchdog(120, "pool_squares");
    assert_eq!(printed("pool_squares", &[]), "[0, 1, 4, 9, 16, 25, 36, 49, 64, 81]\n".repeat(2));
}

#[test]
fn producer_consumer() {
    let _watch = watchdog(120, "producer_consumer");
    assert_eq!(printed("producer_consumer", &[]), (0..10).map(|n| format!("{n}\n")).collect::<String>());
}

/// Runs an example until it takes so long as it should: a busy machine may delay it, but not each time. What it printed.
fn printed_within(seconds: Range<f64>, name: &str, args: &[&str]) -> String {
    for left in (0..20).rev() {
        let start = Instant::now();
        let printed = printed(name, args);
        let took = start.elapsed().as_secs_f64();
        assert!(took >= seconds.start, "{name} took only {took} s:\n{printed}");
        if took < seconds.end {
            return printed;
        }
        assert!(left > 0, "{name} took {took} s each time:\n{printed}");
    }
    unreachable!()
}

/// The lines of a text, in the order of the alphabet.
fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

/// What follows "Program finished in".
fn seconds_in(line: &str) -> f64 {
    let seconds = line.strip_prefix("Program finished in ").and_then(|rest| rest.strip_suffix(" seconds"));
    seconds.unwrap_or_else(|| panic!("{line:?} says not how long it took")).parse().unwrap()
}

const SLEEPING: &str = "Sleeping for 0.5 seconds";
const FINISHED: &str = "Finished sleeping";

#[test]
fn hello_process() {
    let _watch = watchdog(120, "hello_process");
    let mut command = Command::new(BUILT.join("hello_process"));
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed, format!("Hi! I'm process {pid}\nWorker process\nWorker Function\n"));
}

#[test]
fn continents() {
    let _watch = watchdog(120, "continents");
    let printed = printed("continents", &[]);
    let lines = ["Africa", "America", "Asia", "Europe"].map(|name| format!("The name of continent is :  {name}"));
    assert_eq!(sorted(&printed), lines);
}

#[test]
fn squares_after_a_second() {
    let _watch = watchdog(120, "squares_after_a_second");
    let printed = printed_within(1.0..1.3, "squares_after_a_second", &[]);
    assert_eq!(sorted(&printed), [1, 2, 3, 4, 5].map(|n| format!("Square of {n} is {}", n * n)));
}

#[test]
fn sleepers_that_are_joined() {
    let _watch = watchdog(120, "sleepers");
    let printed = printed_within(0.5..0.7, "sleepers", &["--join"]);
    let lines: Vec<_> = printed.lines().collect();
    let [.., last] = lines[..] else { panic!("nothing printed") };
    assert!(seconds_in(last) >= 0.5, "{printed}");
    assert_eq!(lines[..4], [SLEEPING, SLEEPING, FINISHED, FINISHED]);
    assert_eq!(lines.len(), 5, "{printed}");
}

#[test]
fn sleepers_that_nobody_joins() {
    let _watch = watchdog(120, "sleepers");
    let printed = printed_within(0.5..0.8, "sleepers", &[]);
    let lines: Vec<_> = printed.lines().collect();
    // A child may be as fast as its parent.
    let at = lines.iter().position(|line| line.starts_with("Program")).expect("it says how long it took");
    assert!(at <= 2 && seconds_in(lines[at]) < 0.5, "{printed}");
    assert_eq!(sorted(&printed)[..2], [FINISHED; 2]);
    assert_eq!(sorted(&printed)[3..], [SLEEPING; 2], "{printed}");
}

#[test]
fn many_processes() {
    let _watch = watchdog(120, "many_processes");
    // Not one after the other, which would be 5 seconds.
    let printed = printed_within(0.5..0.8, "many_processes", &[]);
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!(lines.len(), 21, "{printed}");
    assert!(seconds_in(lines[20]) >= 0.5, "{printed}");
    assert_eq!(sorted(&printed)[..10], [FINISHED; 10]);
    assert_eq!(sorted(&printed)[11..], [SLEEPING; 10]);
}

#[test]
fn tour_counts_a_file() {
    let _watch = watchdog(120, "tour");
    let text = "one two three\nfour ".repeat(30_000);
    let printed = printed("tour", &[&file("tour-text", text.as_bytes())]);
    assert!(printed.starts_with("1 files, 570000 bytes, 120000 words\n"), "{printed}");
    assert!(printed.contains("check: one process alone counts the same"), "{printed}");
    assert!(printed.contains("longest: \"three\", 5 bytes"), "{printed}");
}

#[test]
fn tour_counts_this_workspace() {
    let _watch = watchdog(120, "tour");
    let printed = printed("tour", &[]);
    assert!(printed.contains("check: one process alone counts the same"), "{printed}");
    assert!(printed.contains("work by process"), "{printed}");
}

#[test]
fn tour_counts_strange_files() {
    let _watch = watchdog(120, "tour");
    let (empty, long) = (file("tour-empty", b""), file("tour-long", &[b'x'; 700_000]));
    let bytes: Vec<u8> = (0..=255).cycle().take(300_001).collect();
    let binary = file("tour-binary", &bytes);
    let printed = printed("tour", &[&empty, &long, &binary, &empty]);
    assert!(printed.starts_with("4 files, 1000001 bytes, "), "{printed}");
    assert!(printed.contains("700000 bytes, at 0 of"), "{printed}");
    assert!(printed.contains("check: one process alone counts the same"), "{printed}");
    let alone = self::printed("tour", &[&empty]);
    assert!(alone.starts_with("1 files, 0 bytes, 0 words\n"), "{alone}");
}

#[test]
fn tour_says_what_is_wrong_with_its_input() {
    let _watch = watchdog(120, "tour");
    let good = file("tour-good", b"a b c");
    for (bad, says) in [("/no/such/file", "No such file"), (env!("CARGO_MANIFEST_DIR"), ""), ("/dev/null", "not a plain file")] {
        let output = run("tour", &[&good, bad]);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{bad}: {err}");
        assert!(err.starts_with("tour: ") && err.contains(bad) && err.contains(says), "{bad}: {err}");
        assert_eq!(err.lines().count(), 1, "{bad}: {err}");
        assert!(!err.contains("panicked"), "{bad}: {err}");
    }
}

#[test]
fn frames() {
    let _watch = watchdog(60, "the frames");
    assert_eq!(printed("frames", &[]), "300 of 300 frames measured\n");
    let killed = printed("frames", &["--kill"]);
    let lines: Vec<_> = killed.lines().collect();
    let [death, count] = lines[..] else { panic!("{killed}") };
    assert!(death.ends_with("was killed by signal 9 (SIGKILL)"), "{death}");
    assert!(["300 of 300 frames measured", "299 of 300 frames measured"].contains(&count), "{count}");
}

#[test]
fn slow_square() {
    let _watch = watchdog(120, "slow_square");
    LazyLock::force(&BUILT);
    let start = Instant::now();
    let printed = printed("slow_square", &[]);
    let time = start.elapsed();
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!(lines.last(), Some(&"All tasks completed."), "{printed}");
    let squares: BTreeSet<u64> = lines[..lines.len() - 1].iter().map(|line| line.parse().unwrap()).collect();
    assert_eq!((squares, lines.len()), ((0..10).map(|n| n * n).collect(), 11));
    // Three after each other on each of four processes, not ten.
    assert!((3..8).contains(&time.as_secs()), "{time:?}");
}

#[test]
fn pool_makespan() {
    let _watch = watchdog(120, "pool_makespan");
    LazyLock::force(&BUILT);
    let start = Instant::now();
    let printed = printed("pool_makespan", &[]);
    assert!((6..11).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    let at = |line: &str| printed.lines().position(|printed| printed == line).unwrap_or_else(|| panic!("no {line}: {printed}"));
    assert!(at("Process X Finished.") < at("Process V Finished."));
    assert_eq!(printed.lines().count(), 9);
}

#[test]
fn mandelbrot() {
    let _watch = watchdog(120, "mandelbrot");
    let (quiet, killed) = (file("quiet.png", b""), file("killed.png", b""));
    printed("mandelbrot", &[&quiet]);
    printed("mandelbrot", &[&killed, "--kill"]);
    let (quiet, killed) = (std::fs::read(quiet).unwrap(), std::fs::read(killed).unwrap());
    assert!(quiet.starts_with(b"\x89PNG\r\n\x1a\n") && quiet.len() > 960 * 640);
    assert!(quiet == killed, "the pictures differ");
    assert!(run("mandelbrot", &[]).stderr.starts_with(b"Error: usage"));
}
