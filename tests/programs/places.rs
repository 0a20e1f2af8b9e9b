//! Where a program may be that starts children: `tests/fixtures/places`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use super::{build, fixture, output, watched, workshop};

static PLACES: LazyLock<PathBuf> = LazyLock::new(|| build(&fixture("places"), "places", &[]));

pub(crate) fn program() -> &'static Path {
    &PLACES
}

/// The program there, whose children are started by the quickest way, or all by executing it.
fn place(name: &str, exec: bool) -> Command {
    by(watched(&*PLACES), name, exec)
}

/// The same, of a command that runs the program.
pub(crate) fn by(mut command: Command, name: &str, exec: bool) -> Command {
    command.arg(name);
    if exec {
        command.env("PLACES_EXEC", "1");
    }
    command
}

/// It works there, either way.
#[track_caller]
fn works(name: &str) {
    for exec in [false, true] {
        assert_eq!(output(place(name, exec)), "works\n", "executed: {exec}");
    }
}

/// A copy of the program, which may be deleted.
fn copy(name: &str) -> PathBuf {
    let copy = workshop().join(format!("{name}-{}", std::process::id()));
    fs::copy(&*PLACES, &copy).expect("the program can be copied");
    copy
}

/// Whether this machine lets one do that; says so if it does not.
fn can(what: &str, command: &[&str]) -> bool {
    let output = Command::new(command[0]).args(&command[1..]).output();
    let can = output.as_ref().is_ok_and(|output| output.status.success());
    if !can {
        eprintln!("not tested: {what}, since {command:?} gives {output:?}");
    }
    can
}

/// Whether the test may become other users; says so if not.
fn is_root() -> bool {
    // SAFETY: asks only.
    let root = unsafe { libc::geteuid() } == 0;
    if !root {
        eprintln!("not tested: only root can become another user");
    }
    root
}

#[test]
fn among_threads_that_allocate_lock_and_print() {
    works("crowd");
}

#[test]
fn with_a_heap_of_10_gib() {
    works("heap");
}

#[test]
fn executable_is_replaced_and_deleted_after_the_first_child() {
    for exec in [false, true] {
        let copy = copy("replaced");
        assert_eq!(output(by(watched(&copy), "replaced", exec)), "works\n");
        assert!(!copy.exists());
    }
}

#[test]
fn folder_changes_after_the_first_child() {
    works("moved");
}

#[test]
fn under_strace() {
    if can("a program that is traced", &["strace", "-f", "-o", "/dev/null", "true"]) {
        for exec in [false, true] {
            let mut command = watched("strace");
            command.args(["-f", "-o", "/dev/null"]).arg(&*PLACES);
            assert_eq!(output(by(command, "plain", exec)), "works\n");
        }
    }
}

#[test]
fn as_another_user() {
    if is_root() {
        works("user");
    }
}

#[test]
fn as_another_user_after_the_first_child() {
    if is_root() {
        works("user-later");
    }
}

#[test]
fn with_fewer_privileges_after_the_first_child() {
    if is_root() {
        works("no-new-privileges");
    }
}

#[test]
fn with_a_filter_of_system_calls_after_the_first_child() {
    works("filtered");
}

#[test]
fn in_namespaces_of_its_own_after_the_first_child() {
    if can("namespaces of its own", &["unshare", "-muinC", "true"]) {
        works("namespaces");
    }
}

const UNSHARE: [&str; 5] = ["unshare", "-m", "mount", "-t", "tmpfs"];

#[test]
fn in_a_container_without_dev_shm() {
    if can("mounts of its own", &[&UNSHARE[..], &["none", "/dev/shm"]].concat()) {
        works("no-shm");
    }
}

#[test]
fn in_a_container_without_dev_shm_after_the_first_child() {
    if can("mounts of its own", &[&UNSHARE[..], &["none", "/dev/shm"]].concat()) {
        works("no-shm-after");
    }
}

#[test]
fn a_handler_of_the_program_reaps_all_children() {
    works("handler");
}

#[test]
fn five_hundred_descriptors_are_open() {
    for exec in [false, true] {
        assert_eq!(output(place("descriptors", exec)), "of 500 leaked: 0\nworks\n");
    }
}

/// As many errors, each of which names the limit, and then all works.
#[track_caller]
fn names_the_limit(name: &str, limit: &str, errors: usize) {
    for exec in [false, true] {
        let printed = output(place(name, exec));
        let lines: Vec<_> = printed.lines().collect();
        assert_eq!(lines.len(), errors + 1, "{printed}");
        assert!(lines[..errors].iter().all(|line| line.contains(limit)), "{printed}");
        assert_eq!(lines[errors], "works");
    }
}

#[test]
fn arguments_that_are_too_large() {
    names_the_limit("arguments", "RLIMIT_AS", 2);
}

#[test]
fn results_that_are_too_large() {
    names_the_limit("results", "RLIMIT_AS", 3);
}
