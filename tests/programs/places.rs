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

fn place(name: &str) -> Command {
    let mut command = watched(&*PLACES);
    command.arg(name);
    command
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
    assert_eq!(output(place("crowd")), "works\n");
}

#[test]
fn with_a_heap_of_10_gib() {
    assert_eq!(output(place("heap")), "works\n");
}

#[test]
fn executable_is_replaced_and_deleted_after_the_first_child() {
    let copy = copy("replaced");
    let mut command = watched(&copy);
    command.arg("replaced");
    assert_eq!(output(command), "works\n");
    assert!(!copy.exists());
}

#[test]
fn folder_changes_after_the_first_child() {
    assert_eq!(output(place("moved")), "works\n");
}

#[test]
fn under_strace() {
    if can("a program that is traced", &["strace", "-f", "-o", "/dev/null", "true"]) {
        let mut command = watched("strace");
        command.args(["-f", "-o", "/dev/null"]).arg(&*PLACES).arg("plain");
        assert_eq!(output(command), "works\n");
    }
}

#[test]
fn as_another_user() {
    if is_root() {
        assert_eq!(output(place("user")), "works\n");
    }
}

#[test]
fn as_another_user_after_the_first_child() {
    if is_root() {
        assert_eq!(output(place("user-after")), "works\n");
    }
}

const UNSHARE: [&str; 5] = ["unshare", "-m", "mount", "-t", "tmpfs"];

#[test]
fn in_a_container_without_dev_shm() {
    if can("mounts of its own", &[&UNSHARE[..], &["none", "/dev/shm"]].concat()) {
        assert_eq!(output(place("no-shm")), "works\n");
    }
}

#[test]
fn in_a_container_without_dev_shm_after_the_first_child() {
    if can("mounts of its own", &[&UNSHARE[..], &["none", "/dev/shm"]].concat()) {
        assert_eq!(output(place("no-shm-after")), "works\n");
    }
}

#[test]
fn a_handler_of_the_program_reaps_all_children() {
    assert_eq!(output(place("handler")), "works\n");
}

#[test]
fn five_hundred_descriptors_are_open() {
    assert_eq!(output(place("descriptors")), "of 500 leaked: 0\nworks\n");
}

/// As many errors, each of which names the limit, and then all works.
#[track_caller]
fn names_the_limit(printed: &str, limit: &str, errors: usize) {
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!(lines.len(), errors + 1, "{printed}");
    assert!(lines[..errors].iter().all(|line| line.contains(limit)), "{printed}");
    assert_eq!(lines[errors], "works");
}

#[test]
fn arguments_that_are_too_large() {
    names_the_limit(&output(place("arguments")), "RLIMIT_AS", 2);
}

#[test]
fn results_that_are_too_large() {
    names_the_limit(&output(place("results")), "RLIMIT_AS", 3);
}
