//! What becomes of children when their parent, a program of its own, ends: cleanly or not.

#![allow(unsafe_code)]

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::ptr;
use std::time::Duration;

use coproc_tests::{End, kill, state_of, watchdog};

const SOON: Duration = Duration::from_secs(20);

fn program(end: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_exit"));
    command.arg(end).stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// How the program ended, and what was printed by then.
fn run(end: &str) -> (ExitStatus, String) {
    let Output { status, stdout, .. } = program(end).stderr(Stdio::null()).output().expect("the program can be started");
    (status, String::from_utf8(stdout).expect("text"))
}

const WORKED: &str = "the child has worked\n";

#[test]
fn main_returns() {
    let _watch = watchdog(60, "a main that returns");
    let (status, printed) = run("returns");
    assert_eq!((status.code(), printed), (Some(0), format!("main returns\n{WORKED}")));
    let (status, printed) = run("fails");
    assert_eq!((status.code(), printed.as_str()), (Some(1), WORKED));
}

#[test]
fn main_panics() {
    let _watch = watchdog(60, "a main that panics");
    let (status, printed) = run("panics");
    assert_eq!((status.code(), printed.as_str()), (Some(101), WORKED));
}

#[test]
fn the_program_exits() {
    let _watch = watchdog(60, "an exit");
    let (status, printed) = run("exits");
    assert_eq!((status.code(), printed.as_str()), (Some(7), WORKED));
    let (status, printed) = run("thread");
    assert_eq!((status.code(), printed.as_str()), (Some(8), WORKED));
    let (status, printed) = run("joined");
    assert_eq!((status.code(), printed.as_str()), (Some(0), WORKED));
}

/// The number in a line that begins so.
fn number(line: &str, begin: &str) -> u32 {
    line.strip_prefix(begin).and_then(|number| number.trim().parse().ok()).unwrap_or_else(|| panic!("{line:?}"))
}

#[test]
fn daemons_end_before_others_are_waited_for() {
    let _watch = watchdog(60, "daemons");
    let (status, printed) = run("daemons");
    let (first, rest) = printed.split_once('\n').expect("two lines");
    assert_eq!((status.code(), rest), (Some(0), "the daemon has ended\n"));
    assert_eq!(state_of(number(first, "daemon ")), None);
}

#[test]
fn daemons_have_time_to_end_but_not_for_ever() {
    let _watch = watchdog(60, "daemons that do not end at once");
    let (status, printed) = run("polite");
    assert_eq!((status.code(), printed.as_str()), (Some(0), "the daemon has cleaned up\n"));
    let mut parent = program("stubborn").spawn().expect("the program can be started");
    let daemon = number(&lines(&mut parent).remove(0), "daemon ");
    assert_eq!(parent.wait().expect("its status").code(), Some(0));
    assert!(is_gone(daemon));
}

#[test]
fn workers_of_a_pool_hold_up_nobody() {
    let _watch = watchdog(60, "a pool at an exit");
    let (status, printed) = run("pool");
    assert_eq!((status.code(), printed.as_str()), (Some(0), "[2, 3]\n"));
}

#[test]
fn a_forked_copy_does_not_wait_for_its_parents_children() {
    let _watch = watchdog(60, "a forked copy");
    let (status, printed) = run("forked");
    assert_eq!((status.code(), printed), (Some(0), format!("the copy has ended with 5\n{WORKED}")));
}

#[test]
fn children_wait_for_their_children() {
    let _watch = watchdog(60, "nested children");
    let (status, printed) = run("nested");
    assert_eq!((status.code(), printed), (Some(0), format!("the middle returns\n{WORKED}")));
}

/// What a program prints until the line that it is known by.
fn lines(program: &mut Child) -> Vec<String> {
    let mut line = String::new();
    BufReader::new(program.stdout.as_mut().expect("it is piped")).read_line(&mut line).expect("a line");
    vec![line]
}

/// Whether a process ends that may have ended already, and be nobody's by then.
fn is_gone(pid: u32) -> bool {
    match state_of(pid) {
        None | Some('Z') => true,
        Some(_) => End::of(pid).comes_within(SOON),
    }
}

#[test]
fn a_program_that_is_killed_or_aborts_takes_its_children_along() {
    let _watch = watchdog(60, "a parent that is killed");
    for end in ["killed", "aborts", "signalled"] {
        let mut parent = program(end).spawn().expect("the program can be started");
        let line = lines(&mut parent).remove(0);
        let (child, grandchild) = line.split_once(' ').expect("two numbers");
        if end == "killed" {
            kill(parent.id());
        }
        assert!(parent.wait().expect("its status").signal().is_some());
        for pid in [child, grandchild] {
            assert!(is_gone(number(pid, "")), "{end}: {pid} has outlived its parent");
        }
    }
}

/// A terminal: the end of who sits at it, and that of programs.
fn terminal() -> (File, OwnedFd) {
    let (mut ours, mut theirs) = (-1, -1);
    // SAFETY: writes two numbers; the other pointers may be null.
    let opened = unsafe { libc::openpty(&raw mut ours, &raw mut theirs, ptr::null_mut(), ptr::null(), ptr::null()) };
    assert_eq!(opened, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: it was just opened, and nobody else owns it.
    let ours = unsafe { File::from_raw_fd(ours) };
    // SAFETY: as above.
    (ours, unsafe { OwnedFd::from_raw_fd(theirs) })
}

#[test]
fn ctrl_c_is_for_the_parent() {
    let _watch = watchdog(60, "Ctrl-C");
    let (mut keyboard, screen) = terminal();
    let mut command = program("terminal");
    command.stdin(screen);
    let take_terminal = || {
        // SAFETY: makes this process the first of a session.
        let alone = unsafe { libc::setsid() } >= 0;
        // SAFETY: this command takes a number.
        let taken = unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) } == 0;
        if alone && taken { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: between fork and exec, it only makes system calls.
    let mut program = unsafe { command.pre_exec(take_terminal) }.spawn().expect("the program can be started");
    let mut printed = BufReader::new(program.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
    assert_eq!(printed.next().as_deref(), Some("ready"));
    keyboard.write_all(&[3]).expect("it is typed");
    assert_eq!(printed.next().as_deref(), Some("interrupted: false"));
    assert!(program.wait().expect("its status").success());
}
