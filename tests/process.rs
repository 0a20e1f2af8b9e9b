//! `Process`: arguments, results, and every way to end.

use std::collections::BTreeSet;
use std::error::Error as StdError;
use std::fmt;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use coproc::{Error, Event, Message, Mutex, Queue, Result, SharedArray, SharedValue};
use coproc_pool::{Cause, Process, ProcessError};
use coproc_tests::{
    End, bytes_of, children, descriptors, events, ignore_children, kill, leaky, limit_descriptors, pause, print_into, signal,
    state_of, steal_a_child, stop, until, wait, watchdog,
};

const SOON: Duration = Duration::from_secs(20);

fn there_and_back<T: Message + Clone + PartialEq + fmt::Debug>(value: T) -> Result<()> {
    let child = Process::spawn(|value: T| value, (value.clone(),))?;
    assert_eq!(child.join()?, value);
    Ok(())
}

#[derive(Clone, Debug, PartialEq, Message)]
enum Job {
    Nothing,
    Name(String),
    Many { of: Vec<Vec<Option<u16>>>, last: Result<char, String> },
}

#[test]
fn values_of_many_kinds_go_there_and_back() -> Result<()> {
    let _watch = watchdog(120, "values of many kinds");
    there_and_back(())?;
    there_and_back((u8::MAX, i64::MIN, u128::MAX, -0.5_f32, f64::INFINITY))?;
    there_and_back((true, '\u{10ffff}', usize::MAX, Duration::new(1, 999_999_999)))?;
    there_and_back([[1_u16; 3]; 2])?;
    there_and_back(String::new())?;
    there_and_back("zwölf \0 日本".to_owned())?;
    there_and_back((Vec::<u32>::new(), vec![String::new(), "x".into()], vec![(); 5]))?;
    there_and_back((Some(vec![Some(1_u8), None]), None::<String>))?;
    there_and_back((Ok::<u8, String>(1), Err::<u8, String>("no".into())))?;
    there_and_back(std::num::NonZeroU64::new(7))?;
    there_and_back(Job::Nothing)?;
    there_and_back(Job::Name("x".into()))?;
    there_and_back(Job::Many { of: vec![vec![], vec![None, Some(3)]], last: Err("e".into()) })?;
    Ok(())
}

#[test]
fn long_values_go_there_and_back() -> Result<()> {
    let _watch = watchdog(120, "long values");
    for len in [32_767, 32_768, 32_769, 1 << 20, 9_000_001] {
        there_and_back(vec![0xa5_u8; len])?;
    }
    there_and_back("ä".repeat(100_000))?;
    there_and_back(vec!["line".to_owned(); 50_000])?;
    Ok(())
}

#[test]
fn up_to_eight_parameters() -> Result<()> {
    let _watch = watchdog(120, "parameters");
    assert_eq!(Process::spawn(|| 7_u8, ())?.join()?, 7);
    assert_eq!(Process::spawn(|a: u8| a, (1,))?.join()?, 1);
    assert_eq!(Process::spawn(|a: u8, b: String| format!("{a}{b}"), (1, "b"))?.join()?, "1b");
    assert_eq!(Process::spawn(|a: u8, b: u8, c: u8| [a, b, c], (1, 2, 3))?.join()?, [1, 2, 3]);
    assert_eq!(Process::spawn(|a: u8, b: u8, c: u8, d: u8| [a, b, c, d], (1, 2, 3, 4))?.join()?, [1, 2, 3, 4]);
    let five = |a: u8, b: i16, c: f32, d: char, e: bool| (a, b, c, d, e);
    assert_eq!(Process::spawn(five, (1, -2, 3.5, 'd', true))?.join()?, (1, -2, 3.5, 'd', true));
    let six = |a: u8, b: u8, c: u8, d: u8, e: u8, f: String| (a + b + c + d + e, f);
    assert_eq!(Process::spawn(six, (1, 2, 3, 4, 5, "six"))?.join()?, (15, "six".into()));
    let seven = |a: u64, b: u64, c: u64, d: u64, e: u64, f: u64, g: Vec<u64>| [a, b, c, d, e, f].iter().chain(&g).sum::<u64>();
    assert_eq!(Process::spawn(seven, (1, 2, 3, 4, 5, 6, &[7, 8][..]))?.join()?, 36);
    let n = SharedValue::new(0)?;
    let eight = |n: SharedValue<u64>, b: u64, c: u64, d: u64, e: u64, f: u64, g: u64, h: u64| n.set(b + c + d + e + f + g + h);
    Process::spawn(eight, (&n, 1, 2, 3, 4, 5, 6, 7))?.join()?;
    assert_eq!(n.get()?, 28);
    Ok(())
}

#[test]
fn a_child_has_memory_of_its_own() -> Result<()> {
    static SEEN: AtomicU64 = AtomicU64::new(0);
    let _watch = watchdog(30, "own memory");
    let ones = Process::spawn(|| SEEN.fetch_add(1, SeqCst) + 1, ())?.join()?;
    assert_eq!((ones, SEEN.load(SeqCst)), (1, 0));
    Ok(())
}

fn cause_of<T: Message>(process: Process<T>) -> Cause {
    let (pid, name) = (process.pid(), process.name().to_owned());
    match process.join() {
        Ok(_) => panic!("{name} gave a result"),
        Err(ProcessError { pid: its_pid, name: its_name, cause, .. }) => {
            assert_eq!((its_pid, its_name), (pid, name));
            cause
        }
    }
}

#[test]
fn a_panic_arrives_with_its_message_and_place() -> Result<()> {
    let _watch = watchdog(30, "a panic");
    let panics = |n: u32| -> u32 {
        assert!(n < 3, "{n} is too much");
        n
    };
    assert_eq!(Process::spawn(panics, (2,))?.join()?, 2);
    match cause_of(Process::spawn(panics, (5,))?) {
        Cause::Panicked { message, .. } => {
            assert!(message.starts_with("5 is too much, ") && message.contains("process.rs:"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    Ok(())
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a second panic");
    }
}

#[test]
fn a_panic_with_any_payload_is_a_panic() -> Result<()> {
    let _watch = watchdog(30, "strange panics");
    let text = Process::spawn(|| -> u8 { std::panic::panic_any("said so".to_owned()) }, ())?;
    assert!(matches!(cause_of(text), Cause::Panicked { message, .. } if message.starts_with("said so")));
    let number = Process::spawn(|| -> u8 { std::panic::panic_any(5) }, ())?;
    assert!(matches!(cause_of(number), Cause::Panicked { .. }));
    let bomb = Process::spawn(|| -> u8 { std::panic::panic_any(Bomb) }, ())?;
    assert!(matches!(cause_of(bomb), Cause::Panicked { .. }));
    Ok(())
}

#[test]
fn a_panic_of_another_thread_of_the_child_is_its_own_affair() -> Result<()> {
    let _watch = watchdog(30, "a panic of a thread");
    let child = Process::spawn(|| std::thread::spawn(|| panic!("only this thread")).join().is_err(), ())?;
    assert!(child.join()?);
    Ok(())
}

#[derive(Debug)]
struct Outer(std::num::ParseIntError);

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("reading the answer")
    }
}

impl StdError for Outer {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}

#[test]
fn an_error_arrives_with_its_sources() -> Result<()> {
    fn boxed(text: String) -> Result<u32, Box<dyn StdError + Send + Sync>> {
        Ok(text.parse().map_err(Outer)?)
    }
    fn unsendable(text: String) -> Result<u32, Box<dyn StdError>> {
        Ok(text.parse().map_err(Outer)?)
    }
    fn ours(text: String) -> Result<u32> {
        text.parse().map_err(|error| Error::other(Outer(error)))
    }
    let _watch = watchdog(30, "errors");
    assert_eq!(Process::spawn(boxed, ("42",))?.join()?, 42);
    let expected = "invalid digit found in string".to_owned();
    for child in [Process::spawn(boxed, ("x",))?, Process::spawn(unsendable, ("x",))?, Process::spawn(ours, ("x",))?] {
        match cause_of(child) {
            Cause::Failed { message, chain } => {
                assert_eq!((message, chain), ("reading the answer".to_owned(), vec![expected.clone()]));
            }
            other => panic!("{other:?}"),
        }
    }
    let io = Process::spawn(|| std::fs::read("/no/such/file").map(|bytes| bytes.len()), ())?;
    assert!(matches!(cause_of(io), Cause::Failed { message, .. } if message.contains("No such file")));
    Ok(())
}

/// `?` is enough in a function that only sends and receives.
#[test]
fn errors_of_shared_objects_arrive_as_texts() -> Result<()> {
    fn text(child: Process<u64>) -> String {
        match cause_of(child) {
            Cause::Failed { message, .. } => message,
            cause => panic!("{cause:?}"),
        }
    }

    let _watch = watchdog(120, "errors of shared objects");
    let queue = Queue::<u64>::new(1)?;
    queue.close();
    let sends = Process::spawn(|queue: Queue<u64>| queue.send(7).map(|()| 0), (&queue,))?;
    assert_eq!(text(sends), queue.send(7).unwrap_err().to_string());
    let receives = Process::spawn(|queue: Queue<u64>| queue.recv(), (&queue,))?;
    assert_eq!(text(receives), queue.recv().unwrap_err().to_string());
    let held = SharedValue::new(Mutex::new(0_u64))?;
    let guard = held.lock()?;
    let tries = Process::spawn(|held: SharedValue<Mutex<u64>>| held.try_lock().map(|n| *n), (&held,))?;
    assert_eq!(text(tries), coproc::TryLockError::WouldBlock.to_string());
    drop(guard);
    Ok(())
}

#[test]
fn an_error_that_is_a_message_arrives_as_it_is() -> Result<()> {
    let _watch = watchdog(30, "an error that is a message");
    let child = Process::spawn(|n: u8| -> Result<u8, String> { Err(format!("not {n}")) }, (3,))?;
    assert_eq!(child.join()?, Err("not 3".to_owned()));
    Ok(())
}

#[test]
fn an_exit_arrives_with_its_code() -> Result<()> {
    let _watch = watchdog(30, "exits");
    for code in [0, 1, 3, 101, 255] {
        assert_eq!(cause_of(Process::spawn(|code: i32| -> u8 { std::process::exit(code) }, (code,))?), Cause::Exited { code });
    }
    Ok(())
}

#[test]
fn a_death_arrives_with_its_signal() -> Result<()> {
    let _watch = watchdog(30, "signals");
    assert_eq!(cause_of(Process::spawn(|| -> u8 { std::process::abort() }, ())?), Cause::Killed { signal: libc::SIGABRT });
    for number in [libc::SIGKILL, libc::SIGTERM, libc::SIGSEGV, libc::SIGUSR1, libc::SIGHUP, libc::SIGRTMAX()] {
        let child = Process::spawn(
            |number: i32| -> u8 {
                signal(std::process::id(), number);
                pause()
            },
            (number,),
        )?;
        assert_eq!(cause_of(child), Cause::Killed { signal: number });
    }
    let killed = Process::spawn(|| -> u8 { pause() }, ())?;
    killed.kill()?;
    let error = killed.join().unwrap_err();
    assert!(error.to_string().contains("SIGKILL"), "{error}");
    Ok(())
}

#[test]
fn kill_and_terminate() -> Result<()> {
    fn waits(at: SharedValue<Event>) {
        at.set();
        pause()
    }
    let _watch = watchdog(30, "kill and terminate");
    for number in [libc::SIGKILL, libc::SIGTERM] {
        let at = SharedValue::new(Event::new())?;
        let child = Process::spawn(waits, (&at,))?;
        wait(&at, "the child runs");
        assert!(child.is_alive());
        if number == libc::SIGKILL {
            child.kill()?
        } else {
            child.terminate()?
        }
        until("it has ended", || !child.is_alive());
        // Nothing is done to who has ended, though another process may have the number by then.
        child.kill()?;
        child.terminate()?;
        assert_eq!(cause_of(child), Cause::Killed { signal: number });
    }
    // Also at any moment of its start, and when it is stopped.
    for _ in 0..30 {
        let child = Process::spawn(|| -> () { pause() }, ())?;
        child.kill()?;
        assert_eq!(cause_of(child), Cause::Killed { signal: libc::SIGKILL });
    }
    let at = SharedValue::new(Event::new())?;
    let child = Process::spawn(waits, (&at,))?;
    wait(&at, "the child runs");
    stop(child.pid());
    child.terminate()?;
    assert!(child.is_alive());
    child.kill()?;
    assert!(matches!(cause_of(child), Cause::Killed { .. }));
    Ok(())
}

#[test]
fn an_interrupt_is_the_parents_affair() -> Result<()> {
    let _watch = watchdog(30, "SIGINT");
    let at = events(2)?;
    let child = Process::spawn(
        |at: SharedArray<Event>| {
            at[0].set();
            at[1].wait();
            7
        },
        (&at,),
    )?;
    wait(&at[0], "the child runs");
    signal(child.pid(), libc::SIGINT);
    at[1].set();
    assert_eq!(child.join()?, 7);
    Ok(())
}

#[test]
fn a_result_counts_though_threads_still_run() -> Result<()> {
    let _watch = watchdog(30, "threads at the end");
    let child = Process::spawn(
        || {
            drop(std::thread::spawn(|| pause()));
            5
        },
        (),
    )?;
    assert_eq!(child.join()?, 5);
    Ok(())
}

#[test]
fn a_child_lives_on_without_its_handle_and_is_reaped() -> Result<()> {
    fn parent() -> Result<usize> {
        let at = events(3)?;
        let child = Process::spawn(
            |at: SharedArray<Event>| {
                at[0].set();
                at[1].wait();
                at[2].set();
            },
            (&at,),
        )?;
        drop(child);
        wait(&at[0], "the child runs");
        at[1].set();
        wait(&at[2], "the child has gone on");
        until("it was reaped", || children().is_empty());
        for _ in 0..20 {
            drop(Process::spawn(|| (), ())?);
        }
        until("all were reaped", || children().is_empty());
        Ok(children().len())
    }
    let _watch = watchdog(120, "a dropped handle");
    assert_eq!(Process::spawn(parent, ())?.join()?, 0);
    Ok(())
}

#[test]
fn many_threads_start_children() -> Result<()> {
    let _watch = watchdog(120, "spawns of threads");
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8_u64)
            .map(|thread| {
                scope.spawn(move || -> Result<u64> {
                    let all =
                        (0..5).map(|n| Process::spawn(|a: u64, b: u64| a * 10 + b, (thread, n))).collect::<Result<Vec<_>>>()?;
                    all.into_iter().map(|child| child.join().map_err(Error::from)).sum()
                })
            })
            .collect();
        for (thread, got) in threads.into_iter().enumerate() {
            assert_eq!(got.join().unwrap().unwrap(), thread as u64 * 50 + 10);
        }
    });
    Ok(())
}

#[test]
fn a_hundred_children_at_once() -> Result<()> {
    let _watch = watchdog(120, "100 children");
    let (go, here) = (SharedValue::new(Event::new())?, SharedValue::new(AtomicU64::new(0))?);
    let all = (0..100)
        .map(|n| {
            Process::spawn(
                |go: SharedValue<Event>, here: SharedValue<AtomicU64>, n: u64| {
                    here.fetch_add(1, SeqCst);
                    go.wait();
                    n
                },
                (&go, &here, n),
            )
        })
        .collect::<Result<Vec<_>>>()?;
    until("all are there", || here.load(SeqCst) == 100);
    assert!(all.iter().all(Process::is_alive));
    assert_eq!(all.iter().map(Process::pid).collect::<BTreeSet<_>>().len(), 100);
    go.set();
    for (n, child) in all.into_iter().enumerate() {
        assert_eq!(child.join()?, n as u64);
    }
    Ok(())
}

#[test]
fn children_have_children() -> Result<()> {
    fn down(total: SharedValue<Mutex<u64>>, levels: u32) -> Result<Vec<String>> {
        *total.lock()? += 1;
        if levels == 0 {
            return Ok(Vec::new());
        }
        let child = Process::spawn(down, (&total, levels - 1))?;
        let name = child.name().to_owned();
        let mut names = child.join()?;
        names.insert(0, name);
        Ok(names)
    }
    let _watch = watchdog(120, "a child's child");
    let total = SharedValue::new(Mutex::new(0))?;
    let child = Process::spawn(down, (&total, 3))?;
    let mine = child.name().to_owned();
    assert_eq!(child.join()?, [format!("{mine}:1"), format!("{mine}:1:1"), format!("{mine}:1:1:1")]);
    assert_eq!(*total.lock()?, 4);
    Ok(())
}

#[test]
fn names() -> Result<()> {
    let _watch = watchdog(30, "names");
    let child = Process::spawn(|| std::fs::read_to_string("/proc/self/comm").unwrap(), ())?;
    let name = child.name().to_owned();
    assert!(name.strip_prefix("Process-").is_some_and(|number| number.parse::<u64>().is_ok()), "{name}");
    let shown = format!("{child:?}");
    assert!(shown.contains(&name) && shown.contains(&child.pid().to_string()), "{shown}");
    assert_eq!(child.join()?.trim_end(), &name[..name.len().min(15)]);
    Ok(())
}

#[test]
fn a_child_inherits_only_what_it_is_given() -> Result<()> {
    fn listing(_: SharedValue<u32>, _: Queue<u8>) -> Vec<(i32, String)> {
        descriptors()
    }
    let _watch = watchdog(30, "inherited descriptors");
    let leaked = [leaky(), leaky()];
    let (n, queue, kept) = (SharedValue::new(1)?, Queue::new(3)?, SharedValue::new(5_u8)?);
    let all = Process::spawn(listing, (&n, &queue))?.join()?;
    drop((leaked, kept));
    assert!(!all.iter().any(|(_, target)| target.contains("coproc-test")), "leaked: {all:?}");
    let (standard, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|&(number, _)| number <= 2);
    assert_eq!(standard.len(), 3);
    let count = |what: &str| rest.iter().filter(|(_, target)| target.starts_with(what)).count();
    // The channel, and the door of who keeps tickets; the registry, and its mark of life there; the two objects. Not the third. And the pipe
    // by whose end of file it dies with its parent.
    assert_eq!((count("socket:"), count("/memfd:coproc-family"), count("/memfd:coproc ")), (2, 2, 2), "{rest:?}");
    assert_eq!((count("pipe:"), rest.len()), (1, 7), "{rest:?}");
    Ok(())
}

#[test]
fn a_childs_descriptors_are_closed_on_exec() -> Result<()> {
    fn listing(_: SharedValue<u32>) -> Result<String> {
        let output = std::process::Command::new("ls").args(["-l", "/proc/self/fd"]).output().map_err(Error::other)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
    let _watch = watchdog(30, "descriptors on exec");
    let n = SharedValue::new(1)?;
    let listing = Process::spawn(listing, (&n,))?.join()?;
    assert!(listing.contains("->") && !listing.contains("coproc") && !listing.contains("socket"), "{listing}");
    Ok(())
}

#[test]
fn the_mark_of_a_child_is_not_in_its_environment() -> Result<()> {
    fn look() -> Result<(bool, String, bool)> {
        let variable = std::env::var_os("COPROC_CHILD").is_some();
        let output = std::process::Command::new("env").output().map_err(Error::other)?;
        let grandchild = Process::spawn(|| std::env::var_os("COPROC_CHILD").is_some(), ())?.join()?;
        Ok((variable, String::from_utf8_lossy(&output.stdout).into_owned(), grandchild))
    }
    let _watch = watchdog(30, "the environment");
    let (variable, listing, grandchild) = Process::spawn(look, ())?.join()?;
    assert!(!variable && !grandchild);
    assert!(listing.contains("PATH=") && !listing.contains("COPROC_CHILD"), "{listing}");
    Ok(())
}

#[test]
fn environment_and_folder_are_the_parents() -> Result<()> {
    let _watch = watchdog(30, "the environment");
    let child = Process::spawn(
        || (std::env::vars_os().count(), std::env::current_dir().unwrap().display().to_string(), std::env::args_os().count()),
        (),
    )?;
    let here = std::env::current_dir().unwrap().display().to_string();
    assert_eq!(child.join()?, (std::env::vars_os().count(), here, std::env::args_os().count()));
    Ok(())
}

#[test]
fn standard_output_is_the_parents() -> Result<()> {
    fn prints() -> Result<Vec<u8>> {
        let file = leaky();
        print_into(&file);
        Process::spawn(
            || {
                println!("a line");
                print!("and no line");
            },
            (),
        )?
        .join()?;
        Ok(bytes_of(&file))
    }
    let _watch = watchdog(30, "standard output");
    let printed = Process::spawn(prints, ())?.join()?;
    assert_eq!(String::from_utf8_lossy(&printed), "a line\nand no line");
    Ok(())
}

#[test]
fn children_die_with_their_parent() -> Result<()> {
    fn parent(pids: SharedArray<AtomicU64>) -> Result<()> {
        let _one = Process::spawn(child, (&pids, 0))?;
        Process::spawn(child, (&pids, 1))?;
        pause()
    }
    fn child(pids: SharedArray<AtomicU64>, at: usize) -> Result<()> {
        // And its own child, which nobody kills either.
        let _grandchild = Process::spawn(grandchild, (&pids, at + 2))?;
        pids[at].store(std::process::id().into(), SeqCst);
        pause()
    }
    fn grandchild(pids: SharedArray<AtomicU64>, at: usize) {
        pids[at].store(std::process::id().into(), SeqCst);
        pause()
    }
    let _watch = watchdog(120, "the death of a parent");
    let pids = SharedArray::<AtomicU64>::zeroed(4)?;
    let parent = Process::spawn(parent, (&pids,))?;
    until("all are there", || pids.iter().all(|pid| pid.load(SeqCst) != 0));
    let ends: Vec<End> = pids.iter().map(|pid| End::of(pid.load(SeqCst) as u32)).collect();
    assert!(ends.iter().all(|end| !end.comes_within(Duration::ZERO)));
    parent.kill()?;
    assert!(parent.join().is_err());
    for end in ends {
        assert!(end.comes_within(SOON), "a child has outlived its parent");
    }
    Ok(())
}

#[test]
fn a_child_outlives_the_thread_that_started_it() -> Result<()> {
    let _watch = watchdog(30, "the end of a thread");
    let at = events(2)?;
    let child = std::thread::scope(|scope| {
        let start = || {
            Process::spawn(
                |at: SharedArray<Event>| {
                    at[0].set();
                    at[1].wait();
                    9
                },
                (&at,),
            )
        };
        scope.spawn(start).join().unwrap()
    })?;
    wait(&at[0], "the child runs");
    assert!(child.is_alive());
    at[1].set();
    assert_eq!(child.join()?, 9);
    Ok(())
}

/// Starts children that return, and children that are killed; joins all. How many ended with an unknown cause.
fn start_and_join() -> Result<u32> {
    let mut unknown = 0;
    for n in 0..15_u32 {
        let (good, bad) = (Process::spawn(|n: u32| n, (n,))?, Process::spawn(|| -> u32 { std::process::abort() }, ())?);
        // The result is there, whoever took the exit status.
        assert_eq!(good.join()?, n);
        match bad.join().unwrap_err().cause {
            Cause::Killed { signal: libc::SIGABRT } => {}
            Cause::Unknown => unknown += 1,
            other => panic!("{other:?}"),
        }
    }
    Ok(unknown)
}

#[test]
fn results_arrive_though_sigchld_is_ignored() -> Result<()> {
    fn ignorant() -> Result<u32> {
        ignore_children();
        start_and_join()
    }
    let _watch = watchdog(120, "SIGCHLD ignored");
    assert!(Process::spawn(ignorant, ())?.join()? <= 15);
    Ok(())
}

#[test]
fn results_arrive_though_others_wait_for_our_children() -> Result<()> {
    fn robbed() -> Result<u32> {
        drop(std::thread::spawn(|| {
            loop {
                steal_a_child();
                std::thread::yield_now();
            }
        }));
        start_and_join()
    }
    let _watch = watchdog(120, "stolen exit statuses");
    assert!(Process::spawn(robbed, ())?.join()? <= 15);
    Ok(())
}

#[test]
fn a_handle_arrives_though_the_original_is_dropped() -> Result<()> {
    let _watch = watchdog(30, "dropped originals");
    let n = SharedValue::new(41_u64)?;
    let child = Process::spawn(
        |n: SharedValue<u64>| -> Result<SharedValue<u64>> {
            n.update(|n| n + 1)?;
            Ok(n)
        },
        (&n,),
    )?;
    drop(n);
    // And back, from a process that is gone by then.
    until("it has ended", || !child.is_alive());
    assert_eq!(child.join()?.get()?, 42);
    Ok(())
}

#[test]
fn an_object_made_by_a_child_outlives_it() -> Result<()> {
    let _watch = watchdog(30, "objects of a child");
    let child = Process::spawn(
        || -> Result<(SharedArray<u32>, Queue<u8>)> {
            let queue = Queue::new(3)?;
            queue.send(5)?;
            Ok((SharedArray::from_slice(&[1, 2, 3])?, queue))
        },
        (),
    )?;
    let (array, queue) = child.join()?;
    assert_eq!((array.to_vec()?, queue.recv()?), (vec![1, 2, 3], 5));
    array.set(0, 9)?;
    let sum = Process::spawn(|array: SharedArray<u32>| array.to_vec().map(|all| all.iter().sum::<u32>()), (&array,))?;
    assert_eq!(sum.join()?, 14);
    Ok(())
}

#[test]
fn one_handle_given_twice_is_one_object() -> Result<()> {
    let _watch = watchdog(30, "one object twice");
    let n = SharedValue::new(1_u32)?;
    let child = Process::spawn(
        |a: SharedValue<u32>, b: SharedValue<u32>| -> Result<(u32, bool)> {
            a.set(2)?;
            let same = b.get()? == 2;
            let _guard = a.lock()?;
            Ok((2, same && b.lock().is_err()))
        },
        (&n, &n),
    )?;
    assert_eq!(child.join()?, (2, true));
    assert_eq!(n.get()?, 2);
    Ok(())
}

#[test]
fn hundreds_of_handles_at_once() -> Result<()> {
    fn run() -> Result<()> {
        let all = (0..300_u32).map(SharedValue::new).collect::<Result<Vec<_>>>()?;
        let child = Process::spawn(
            |all: Vec<SharedValue<u32>>| -> Result<Vec<SharedValue<u32>>> {
                all.iter().try_for_each(|n| n.update(|n| n * 2).map(drop))?;
                Ok(all)
            },
            (&all,),
        )?;
        for (n, back) in (0..).zip(child.join()?) {
            assert_eq!(back.get()?, 2 * n);
            all[n as usize].set(0)?;
            assert_eq!(back.get()?, 0);
        }
        Ok(())
    }
    let _watch = watchdog(120, "300 handles");
    // In a process of its own, because the limit of descriptors is often 1,024 and other tests need some.
    Process::spawn(run, ())?.join()?;
    Ok(())
}

#[test]
fn too_few_descriptors_are_an_error() -> Result<()> {
    fn run() -> Result<(u32, u32)> {
        // The keeper thread is there already.
        Process::spawn(|| (), ())?.join()?;
        let n = SharedValue::new(0_u32)?;
        let mut open = Vec::new();
        while let Ok(file) = std::fs::File::open("/dev/null") {
            open.push(file);
            if open.len() == 1 {
                limit_descriptors(64);
            }
        }
        let (mut refused, mut done) = (0, 0);
        // With every number of free descriptors: refused by name, or right.
        for free in 0..24 {
            match Process::spawn(|n: SharedValue<u32>| n.update(|n| n + 1), (&n,)) {
                Err(Error::TooManyDescriptors { limit: 64 }) => refused += 1,
                Err(error) => panic!("{free} free: {error:?}"),
                Ok(child) => match child.join() {
                    Ok(_) => done += 1,
                    Err(error) => panic!("{free} free: {error}"),
                },
            }
            open.pop();
        }
        assert_eq!(n.get()?, done);
        Ok((refused, done))
    }
    let _watch = watchdog(120, "few descriptors");
    let (refused, done) = Process::spawn(run, ())?.join()?;
    assert!(refused > 0 && done > 5, "{refused} refused, {done} done");
    Ok(())
}

#[test]
fn a_child_killed_before_or_while_it_gives_its_result_is_killed_or_done() -> Result<()> {
    let _watch = watchdog(120, "kills around the end");
    let mut done = 0;
    for round in 0..60 {
        let at = SharedValue::new(Event::new())?;
        let child = Process::spawn(
            |at: SharedValue<Event>| {
                at.set();
                vec![7_u8; 100_000]
            },
            (&at,),
        )?;
        wait(&at, "the child runs");
        for _ in 0..round * 50 {
            std::hint::spin_loop();
        }
        child.kill()?;
        match child.join() {
            Ok(result) => {
                assert!(result.len() == 100_000 && result.iter().all(|&byte| byte == 7));
                done += 1;
            }
            Err(error) => assert_eq!(error.cause, Cause::Killed { signal: 9 }),
        }
    }
    assert!(done <= 60);
    Ok(())
}

#[test]
fn a_handle_is_closed_in_the_child_when_it_is_dropped() -> Result<()> {
    fn drops(n: SharedValue<u32>) -> bool {
        use std::os::fd::AsFd;
        let number = n.as_fd().as_raw_fd();
        drop(n);
        // Neither the descriptor nor the memory is kept for it.
        let open = descriptors().into_iter().any(|(file, target)| file == number && target.starts_with("/memfd:coproc "));
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        open || maps.contains("/memfd:coproc ")
    }
    let _watch = watchdog(30, "dropped handles");
    let n = SharedValue::new(1)?;
    assert!(!Process::spawn(drops, (&n,))?.join()?, "the child still has the object");
    Ok(())
}

#[test]
fn no_zombie_is_left_of_a_killed_child() -> Result<()> {
    let _watch = watchdog(30, "zombies");
    let at = SharedValue::new(Event::new())?;
    let child = Process::spawn(
        |at: SharedValue<Event>| -> () {
            at.set();
            pause()
        },
        (&at,),
    )?;
    wait(&at, "the child runs");
    let pid = child.pid();
    kill(pid);
    assert!(child.join().is_err());
    assert_eq!(state_of(pid).filter(|&state| state == 'Z'), None);
    Ok(())
}
