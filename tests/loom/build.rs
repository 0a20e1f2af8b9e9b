//! Copies the sources of the protocols, with the few changes under which they can be modelled. A change that finds nothing to change stops the
//! build: then the library has changed, and the list with it.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// File, what is replaced, by what. `*` is every protocol (`**` every file), which need not have it.
const CHANGES: &[(&str, &str, &str)] = &[
    // A hint: any number will do.
    ("sync/turns.rs", "std::sync::atomic::", "core::sync::atomic::"),
    // What an end knows of itself no other process sees, and in the models one thread has it.
    ("ring/tether.rs", "std::sync::atomic::", "core::sync::atomic::"),
    // The atomics, the clock and the scheduler are the model's.
    ("*", "std::sync::atomic::", "crate::sys::atomic::"),
    ("*", "std::thread::yield_now", "crate::sys::yield_now"),
    ("sync/deadline.rs", "use std::time::{Duration, Instant};", "use crate::sys::Instant;\nuse std::time::Duration;"),
    // Giving way before the sleep changes nothing but the number of interleavings.
    ("sync/pace.rs", "const LOOKS: u32 = 50;", "const LOOKS: u32 = 0;"),
    ("sync/lock.rs", "const YIELDS: u32 = 30;", "const YIELDS: u32 = 0;"),
    ("queue/waiting.rs", "const YIELDS: u32 = 16;", "const YIELDS: u32 = 0;"),
    ("sync/semaphore.rs", "const YIELDS: u32 = 8;", "const YIELDS: u32 = 0;"),
    ("ring/tether.rs", "const YIELDS: u32 = 16;", "const YIELDS: u32 = 0;"),
    // What it learns for the next wait is not modelled either.
    ("queue/waiting.rs", "if turn.is_standstill() {", "if false {"),
    ("ring/tether.rs", "pace::note_standstill();", ""),
    // Tables of as many places as a model has processes, or the models would do nothing but walk over empty places.
    ("sync/readers.rs", "const READERS: usize = 64;", "const READERS: usize = 2;"),
    ("sync/readers.rs", "const PER_LINE: usize = 8;", "const PER_LINE: usize = 1;"),
    ("sync/permits.rs", "const PLACES: usize = 32;", "const PLACES: usize = 2;"),
    ("sync/permits.rs", "const HOLDERS: usize = 32;", "const HOLDERS: usize = 2;"),
    ("sync/members.rs", "const MEMBERS: usize = 32;", "const MEMBERS: usize = 2;"),
    // Waiting for several, tasks, and the layer that counts them, are not modelled.
    ("queue/mod.rs", "mod ready;\n", ""),
    ("spsc/mod.rs", "mod ready;\n", ""),
    ("ring/mod.rs", "mod look;\n", ""),
    ("ring/mod.rs", "pub(crate) use look::Look;\n", ""),
    ("queue/mod.rs", "mod joinable;\n", ""),
    ("queue/mod.rs", "pub use joinable::{JoinTimeoutError, JoinableQueue, NoTask, TasksLost};\n", ""),
    // The library's own unit tests are not models.
    ("**", "#[cfg(test)]", "#[cfg(any())]"),
];

/// The library checks its sources itself, and the models use a part of them.
const ALLOWED: &str = "#[allow(dead_code, unused_imports, private_interfaces, private_bounds, clippy::all)]";

/// What is copied.
const SOURCES: &[&str] = &["sync", "queue", "loan", "ring", "spsc", "layout.rs", "shareable.rs"];

fn main() {
    let library = Path::new(&env::var("CARGO_MANIFEST_DIR").unwrap()).join("../../crates/coproc/src");
    let out = PathBuf::from(env::var("OUT_DIR").unwrap());
    let mut used = vec![false; CHANGES.len()];
    let mut modules = String::new();
    for source in SOURCES {
        println!("cargo::rerun-if-changed={}", library.join(source).display());
        let name = source.trim_end_matches(".rs");
        let root = if source.ends_with(".rs") {
            copy(&library, source, &out, &mut used);
            out.join(source)
        } else {
            fs::create_dir_all(out.join(source)).unwrap();
            for entry in fs::read_dir(library.join(source)).unwrap() {
                let file = entry.unwrap().file_name().into_string().unwrap();
                if file.ends_with(".rs") {
                    copy(&library, &format!("{source}/{file}"), &out, &mut used);
                }
            }
            out.join(source).join("mod.rs")
        };
        modules += &format!("{ALLOWED}\n#[path = {:?}]\npub(crate) mod {name};\n", root.to_str().unwrap());
    }
    for ((file, old, _), used) in CHANGES.iter().zip(used) {
        assert!(used || file.starts_with('*'), "{file} has no `{old}` any more: see build.rs");
    }
    fs::write(out.join("library.rs"), modules).unwrap();
    println!("cargo::rerun-if-changed=build.rs");
}

fn copy(library: &Path, file: &str, out: &Path, used: &mut [bool]) {
    let mut text = fs::read_to_string(library.join(file)).unwrap();
    for ((of, old, new), used) in CHANGES.iter().zip(used) {
        let meant = *of == "**" || *of == file || *of == "*" && file.contains('/');
        if meant && text.contains(old) {
            text = text.replace(old, new);
            *used = true;
        }
    }
    for unmodelled in ["std::sync::", "std::thread::yield", "std::thread::park", "Instant}", "time::Instant"] {
        let mut code = text.lines().filter(|line| !line.trim_start().starts_with("//") && file.contains('/'));
        assert!(!code.any(|line| line.contains(unmodelled)), "{file} uses `{unmodelled}`, which is not modelled: see build.rs");
    }
    fs::write(out.join(file), text).unwrap();
}
