//! `Builder`: each way in which a child can differ from its parent, and what it is told where that is not possible.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, Write};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use coproc::{Error, Event, Queue, Result, SharedArray, SharedValue};
use coproc_pool::{Cause, Process, Stdio, current_name};
use coproc_tests::{descriptors, leaky, most_descriptors, pause, state_of, until, wait, watchdog};

fn text(mut file: impl Read) -> String {
    let mut text = String::new();
    file.read_to_string(&mut text).expect("it can be read");
    text
}

#[test]
fn a_name_is_the_process_and_its_threads() -> Result<()> {
    let _watch = watchdog(60, "names");
    let comm = || std::fs::read_to_string("/proc/self/comm").unwrap();
    let child = Process::builder().name("a name of many bytes").spawn(comm, ())?;
    assert_eq!(child.name(), "a name of many bytes");
    assert_eq!(child.join()?, "a name of many \n");
    let error = Process::builder().name("loser").spawn(|| -> () { std::process::exit(2) }, ())?.join().unwrap_err();
    assert_eq!((error.name.as_str(), error.cause), ("loser", Cause::Exited { code: 2 }));
    // Its children are named after it.
    let nested = || Process::spawn(|| (), ()).map(|child| child.name().to_owned());
    assert_eq!(Process::builder().name("top").spawn(nested, ())?.join()?, "top:1");
    Ok(())
}

#[test]
fn variables_are_set_removed_and_cleared() -> Result<()> {
    fn all() -> Vec<(String, String)> {
        std::env::vars().filter(|(name, _)| name.starts_with("COPROC_TEST") || name == "PATH").collect()
    }
    let pairs = |all: &[(&str, &str)]| all.iter().map(|&(a, b)| (a.to_owned(), b.to_owned())).collect::<Vec<_>>();
    let _watch = watchdog(60, "the environment");
    let path = std::env::var("PATH").unwrap();
    let child = Process::builder().env("COPROC_TEST_A", "1").env("COPROC_TEST_A", "2 ä").spawn(all, ())?;
    let mut got = child.join()?;
    got.sort();
    assert_eq!(got, pairs(&[("COPROC_TEST_A", "2 ä"), ("PATH", &path)]));
    let child = Process::builder().env("COPROC_TEST_A", "1").env_remove("COPROC_TEST_A").env_remove("PATH").spawn(all, ())?;
    assert_eq!(child.join()?, []);
    let child = Process::builder().env("COPROC_TEST_A", "1").env_clear().env("COPROC_TEST_B", "3").spawn(all, ())?;
    assert_eq!(child.join()?, pairs(&[("COPROC_TEST_B", "3")]));
    let child = Process::builder().env_clear().spawn(|| std::env::vars_os().count(), ())?;
    assert_eq!(child.join()?, 0);
    // And what it executes has them too.
    let run = || text(std::process::Command::new("/usr/bin/env").output().unwrap().stdout.as_slice());
    assert_eq!(Process::builder().env_clear().env("A", "b").spawn(run, ())?.join()?, "A=b\n");
    Ok(())
}

/// The error of the system, with what was refused.
#[track_caller]
fn refused(result: Result<Process<()>>, what: &str, kind: ErrorKind) {
    match result {
        Err(Error::Os(doing, error)) if error.kind() == kind => assert!(doing.contains(what), "{doing}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_refused_is_an_error_that_says_what() -> Result<()> {
    let _watch = watchdog(60, "refused settings");
    refused(Process::builder().current_dir("/no/such/place").spawn(|| (), ()), "working directory", ErrorKind::NotFound);
    refused(Process::builder().env("A=B", "c").spawn(|| (), ()), "environment", ErrorKind::InvalidInput);
    refused(Process::builder().env("", "c").spawn(|| (), ()), "environment", ErrorKind::InvalidInput);
    refused(Process::builder().env("A", "b\0c").spawn(|| (), ()), "environment", ErrorKind::InvalidInput);
    refused(Process::builder().affinity([]).spawn(|| (), ()), "CPUs", ErrorKind::InvalidInput);
    refused(Process::builder().affinity([usize::MAX]).spawn(|| (), ()), "CPUs", ErrorKind::InvalidInput);
    // And the next one starts.
    assert_eq!(Process::builder().current_dir("/").spawn(|| 3_u8, ())?.join()?, 3);
    Ok(())
}

#[test]
fn one_that_dies_while_it_sets_itself_up_is_a_child_that_died() -> Result<()> {
    let _watch = watchdog(60, "a death before the word");
    // No page of a heap of its own is left to it; it may get as far as its function or not.
    let child = Process::builder().memory_limit(0).spawn(|| std::hint::black_box(vec![1_u8; 32 << 20]).len(), ())?;
    assert_eq!(child.join().unwrap_err().cause, Cause::Killed { signal: libc::SIGABRT });
    Ok(())
}

#[test]
fn a_working_directory_is_seen_from_the_parents() -> Result<()> {
    fn moves() -> Result<(String, String, String)> {
        let look = || std::env::current_dir().unwrap().display().to_string();
        std::env::set_current_dir("/proc/self")?;
        let inherited = Process::spawn(look, ())?.join()?;
        let relative = Process::builder().current_dir("../../proc/sys/kernel").spawn(look, ())?.join()?;
        Ok((inherited, relative, Process::builder().current_dir("/").spawn(look, ())?.join()?))
    }
    let _watch = watchdog(60, "working directories");
    let child = Process::spawn(moves, ())?;
    let pid = child.pid();
    assert_eq!(child.join()?, (format!("/proc/{pid}"), "/proc/sys/kernel".into(), "/".into()));
    Ok(())
}

#[test]
fn input_output_and_errors_are_piped() -> Result<()> {
    fn shout() {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            println!("{}", line.to_uppercase());
            eprintln!("{} bytes", line.len());
        }
        print!("end");
    }
    let _watch = watchdog(60, "pipes");
    let (input, output, errors) = (Stdio::piped(), Stdio::piped(), Stdio::piped());
    let mut child = Process::builder().stdin(input).stdout(output).stderr(errors).spawn(shout, ())?;
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    writeln!(input, "one")?;
    let mut line = String::new();
    output.read_line(&mut line)?;
    assert_eq!(line, "ONE\n");
    writeln!(input, "three")?;
    drop(input);
    assert_eq!(text(output), "THREE\nend");
    assert_eq!(text(child.stderr.take().unwrap()), "3 bytes\n5 bytes\n");
    child.join()?;
    Ok(())
}

#[test]
fn a_join_ends_the_input() -> Result<()> {
    let _watch = watchdog(60, "the end of input");
    let child = Process::builder().stdin(Stdio::piped()).spawn(|| std::io::stdin().lines().count(), ())?;
    assert_eq!(child.join_timeout(Duration::from_millis(5))?, None);
    assert_eq!(child.join()?, 0);
    Ok(())
}

#[test]
fn a_pipe_ends_with_its_child() -> Result<()> {
    let _watch = watchdog(60, "the end of output");
    let mut child = Process::builder().stdout(Stdio::piped()).spawn(|| -> () { pause() }, ())?;
    // Another child has no end of it, so it does not keep it open.
    let other = Process::spawn(|| -> () { pause() }, ())?;
    child.kill()?;
    assert_eq!(text(child.stdout.take().unwrap()), "");
    other.kill()?;
    other.wait();
    Ok(())
}

#[test]
fn null_and_files() -> Result<()> {
    let _watch = watchdog(60, "null and files");
    let read = || text(std::io::stdin());
    assert_eq!(Process::builder().stdin(Stdio::null()).spawn(read, ())?.join()?, "");
    let prints = || {
        println!("out");
        eprintln!("err");
    };
    Process::builder().stdout(Stdio::null()).stderr(Stdio::null()).spawn(prints, ())?.join()?;
    // One file for both, as `2>&1`.
    let mut file = File::from(leaky());
    file.set_len(0)?;
    Process::builder().stdout(file.try_clone()?).stderr(file.try_clone()?).spawn(prints, ())?.join()?;
    file.rewind()?;
    assert_eq!(text(&file), "out\nerr\n");
    file.rewind()?;
    assert_eq!(Process::builder().stdin(file).spawn(read, ())?.join()?, "out\nerr\n");
    let (reader, writer) = std::io::pipe()?;
    Process::builder().stdout(writer).spawn(prints, ())?.join()?;
    assert_eq!(text(reader), "out\n");
    Ok(())
}

#[test]
fn pipes_are_no_more_than_the_three_descriptors() -> Result<()> {
    /// What a child has that is registered as alive. One that has used no shared object may be so already.
    fn registered() -> Result<Vec<(i32, String)>> {
        SharedValue::new(0_u8)?.get()?;
        Ok(descriptors())
    }
    let _watch = watchdog(60, "descriptors");
    let plain = Process::spawn(registered, ())?.join()?.len();
    let (input, output) = (Stdio::piped(), Stdio::piped());
    let mut child = Process::builder().stdin(input).stdout(output).stderr(Stdio::null()).spawn(registered, ())?;
    drop((child.stdin.take(), child.stdout.take()));
    let all = child.join()?;
    assert_eq!(all.len(), plain, "{all:?}");
    let standard: Vec<_> = all.iter().filter(|&&(number, _)| number <= 2).map(|(_, target)| target.as_str()).collect();
    assert!(standard[0].starts_with("pipe:") && standard[1].starts_with("pipe:") && standard[2] == "/dev/null", "{all:?}");
    Ok(())
}

/// A field of `/proc/self/status`.
fn status(field: &str) -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("the field is there");
    line.trim_start_matches(':').trim().to_owned()
}

#[test]
fn nice_value_and_cpus() -> Result<()> {
    fn nice() -> i64 {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().parse().unwrap()
    }
    let _watch = watchdog(60, "nice and CPUs");
    assert_eq!(Process::builder().nice(7).spawn(nice, ())?.join()?, 7);
    let cpus = || status("Cpus_allowed_list");
    let mine = cpus();
    let last: usize = mine.rsplit([',', '-']).next().unwrap().parse().unwrap();
    assert_eq!(Process::builder().affinity([last]).spawn(cpus, ())?.join()?, last.to_string());
    // Those that there are not do not count, and its children inherit it.
    let nested = || Process::spawn(|| status("Cpus_allowed_list"), ())?.join().map_err(Error::from);
    assert_eq!(Process::builder().affinity([last, 1000]).spawn(nested, ())?.join()?, last.to_string());
    assert_eq!(cpus(), mine);
    Ok(())
}

#[test]
fn a_memory_limit_spares_shared_memory() -> Result<()> {
    fn uses(array: SharedArray<u64>, own: usize) -> Result<u64> {
        array.set(array.len() - 1, 5)?;
        // Address space is asked for, no page is used.
        Ok(Vec::<u8>::with_capacity(own).capacity() as u64 + array.get(array.len() - 1)?)
    }
    let _watch = watchdog(60, "a memory limit");
    // 64 MiB shared, 32 allowed.
    let (array, limit) = (SharedArray::<u64>::zeroed(8 << 20)?, 32 << 20);
    let child = Process::builder().memory_limit(limit).spawn(uses, (&array, 4 << 20))?;
    assert_eq!(child.join()?, (4 << 20) + 5);
    let child = Process::builder().memory_limit(limit).spawn(uses, (&array, 40 << 20))?;
    assert_eq!(child.join().unwrap_err().cause, Cause::Killed { signal: libc::SIGABRT });
    assert_eq!(Process::spawn(uses, (&array, 40 << 20))?.join()?, (40 << 20) + 5);
    Ok(())
}

#[test]
fn all_at_once_and_with_arguments() -> Result<()> {
    fn look(queue: Queue<u32>, name: String) -> Result<String> {
        queue.send(9)?;
        println!("{name} in {}", std::env::current_dir()?.display());
        Ok(std::env::var("COPROC_TEST").map_err(Error::other)? + &status("Cpus_allowed_list"))
    }
    let _watch = watchdog(60, "all settings");
    let queue = Queue::new(1)?;
    let builder = Process::builder().name("all").daemon(true).exec().env("COPROC_TEST", "cpu ").current_dir("/proc/sys");
    let builder = builder.nice(3).affinity([0]).memory_limit(1 << 30).stdout(Stdio::piped());
    let mut child = builder.spawn(look, (&queue, "it"))?;
    assert!(child.daemon());
    assert_eq!(text(child.stdout.take().unwrap()), "it in /proc/sys\n");
    assert_eq!((child.join()?.as_str(), queue.recv()?), ("cpu 0", 9));
    Ok(())
}

#[test]
fn a_child_that_was_refused_something_is_gone() -> Result<()> {
    fn tries() -> Result<usize> {
        for _ in 0..20 {
            assert!(Process::builder().current_dir("/no/such/place").spawn(|| (), ()).is_err());
        }
        until("all are gone", || coproc_tests::children().is_empty());
        Ok(most_descriptors())
    }
    let _watch = watchdog(60, "refused children");
    let once = || -> Result<usize> {
        assert!(Process::builder().current_dir("/no/such/place").spawn(|| (), ()).is_err());
        until("it is gone", || coproc_tests::children().is_empty());
        Ok(most_descriptors())
    };
    assert_eq!(Process::spawn(tries, ())?.join()?, Process::spawn(once, ())?.join()?);
    Ok(())
}

#[test]
fn a_child_stopped_while_it_sets_itself_up_holds_up_only_its_caller() -> Result<()> {
    let _watch = watchdog(60, "a stopped child");
    let at = SharedValue::new(Event::new())?;
    let slow = Process::builder().stdin(Stdio::piped()).spawn(
        |at: SharedValue<Event>| -> () {
            at.set();
            pause()
        },
        (&at,),
    )?;
    wait(&at, "the child runs");
    slow.send_signal(libc::SIGSTOP)?;
    until("the child stands", || state_of(slow.pid()) == Some('T'));
    assert_eq!(Process::spawn(|| 1_u8, ())?.join()?, 1);
    slow.kill()?;
    assert_eq!(slow.wait().signal(), Some(libc::SIGKILL));
    Ok(())
}

/// So many bytes that can be read, and take no memory.
#[allow(unsafe_code)]
fn endless(len: usize) -> &'static [u8] {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: maps memory that nobody has.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), len, libc::PROT_READ, flags, -1, 0) };
    assert_ne!(at, libc::MAP_FAILED);
    // SAFETY: `len` zeros were just mapped there, for good, and nobody writes to them.
    unsafe { std::slice::from_raw_parts(at.cast(), len) }
}

#[test]
fn arguments_that_do_not_fit_into_memory_are_refused() -> Result<()> {
    let _watch = watchdog(60, "arguments without end");
    let bytes = endless(1 << 42);
    for len in [1 << 42, 1 << 40] {
        match Process::spawn(|bytes: Vec<u8>| bytes.len(), (&bytes[..len],)) {
            Err(Error::NoSpace { wanted, free }) => assert!(wanted >= len as u64 && free < wanted, "{wanted}, {free}"),
            other => panic!("{other:?}"),
        }
    }
    // Those that fit arrive, long as they are.
    let len = Process::spawn(|bytes: Vec<u8>, end: String| (bytes.len(), end), (&bytes[..5 << 20], "end"))?;
    assert_eq!(len.join()?, (5 << 20, "end".to_owned()));
    Ok(())
}

#[test]
fn a_forked_child_has_what_its_parent_had_in_memory() -> Result<()> {
    static SEEN: AtomicU64 = AtomicU64::new(0);
    fn parent() -> Result<(u64, String, u64)> {
        SEEN.store(41, SeqCst);
        let look = || (SEEN.fetch_add(1, SeqCst), current_name().to_owned());
        // SAFETY: this process has no threads but the library's, and holds no lock.
        let forked = unsafe { Process::builder().name("forked").env("COPROC_TEST", "1").fork() };
        let (seen, name) = forked.spawn(look, ())?.join()?;
        let executed = Process::builder().exec().spawn(look, ())?.join()?.0;
        assert_eq!((executed, SEEN.load(SeqCst)), (0, 41));
        Ok((seen, name, Process::spawn(look, ())?.join()?.0))
    }
    let _watch = watchdog(60, "a forked child");
    assert_eq!(Process::spawn(parent, ())?.join()?, (41, "forked".to_owned(), 0));
    Ok(())
}

/// The nice value of the calling thread.
fn niceness() -> i32 {
    rustix::process::getpriority_process(None).unwrap()
}

/// Becomes another user than root. `false` if the system refuses.
#[allow(unsafe_code)]
fn lose_privileges() -> bool {
    // SAFETY: takes nothing and cannot fail.
    let user = unsafe { libc::geteuid() };
    // SAFETY: changes the user of all threads, and touches no memory.
    user != 0 || unsafe { libc::setresuid(65533, 65533, 65533) } == 0
}

#[test]
fn a_thread_that_is_nicer_than_others_keeps_nobody_from_starting_children() -> Result<()> {
    fn unprivileged() -> Result<(i32, i32, i32)> {
        assert!(lose_privileges());
        let nicer = || -> Result<i32> {
            rustix::process::setpriority_process(None, niceness() + 3).unwrap();
            Ok(Process::spawn(niceness, ())?.join()?)
        };
        let first = std::thread::spawn(nicer).join().unwrap()?;
        Ok((niceness(), first, Process::spawn(niceness, ())?.join()?))
    }
    let _watch = watchdog(60, "a nice thread");
    let (mine, first, second) = Process::spawn(unprivileged, ())?.join()?;
    assert!(first == mine + 3 && (mine..=first).contains(&second), "{mine} {first} {second}");
    // It is asked for, so it is an error.
    let refused = || {
        let changed = lose_privileges();
        let refused = Process::builder().nice(niceness() - 1).spawn(niceness, ());
        changed
            && matches!(refused, Err(Error::Os(doing, error)) if doing.contains("nice") && error.kind() == ErrorKind::PermissionDenied)
    };
    assert!(Process::spawn(refused, ())?.join()?);
    Ok(())
}
