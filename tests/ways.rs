//! What a child is to be like, and what it has from its parent, whatever the way of starting it: the quickest, or executing the program.

#![allow(unsafe_code)]

use std::io::{Read, Write};
use std::os::unix::process::parent_id;

use coproc::{Error, Result, SharedArray};
use coproc_pool::{Builder, Cause, Process, Stdio};
use coproc_tests::watchdog;

/// The two ways of starting.
/// Its name, and who starts children in this way.
type Way = (&'static str, fn() -> Builder);

fn ways() -> [Way; 2] {
    [("usual", Process::builder), ("executed", || Process::builder().exec())]
}

fn variable(name: String) -> Option<String> {
    std::env::var(name).ok()
}

#[test]
fn environment() -> Result<()> {
    let _watch = watchdog(60, "environments");
    assert!(variable("PATH".into()).is_some() && variable("COPROC_TEST".into()).is_none(), "as the test expects it");
    for (way, builder) in ways() {
        let builder = || builder().env("COPROC_TEST", "a=b ä");
        assert_eq!(builder().spawn(variable, ("COPROC_TEST",))?.join()?.as_deref(), Some("a=b ä"), "{way}");
        assert_eq!(builder().spawn(variable, ("PATH",))?.join()?, variable("PATH".into()), "{way}");
        assert_eq!(builder().env_remove("PATH").spawn(variable, ("PATH",))?.join()?, None, "{way}");
        assert_eq!(builder().env_remove("COPROC_TEST").spawn(variable, ("COPROC_TEST",))?.join()?, None, "{way}");
        let all = || std::env::vars().collect::<Vec<_>>();
        let only = builder().env_clear().env("LANG", "C").spawn(all, ())?.join()?;
        assert_eq!(only, [("LANG".to_owned(), "C".to_owned())], "{way}");
    }
    assert_eq!(variable("COPROC_TEST".into()), None, "the parent's is as it was");
    Ok(())
}

#[test]
fn working_directory() -> Result<()> {
    fn folder() -> String {
        std::env::current_dir().map_or_else(|error| error.to_string(), |folder| folder.display().to_string())
    }
    let _watch = watchdog(60, "working directories");
    let here = std::env::current_dir().map_err(Error::other)?;
    for (way, builder) in ways() {
        assert_eq!(builder().current_dir("/proc").spawn(folder, ())?.join()?, "/proc", "{way}");
        assert_eq!(builder().current_dir("tests").spawn(folder, ())?.join()?, here.join("tests").display().to_string(), "{way}");
        let refused = builder().current_dir("/no/such/folder").spawn(folder, ()).unwrap_err().to_string();
        assert!(refused.contains("No such file or directory"), "{way}: {refused}");
        assert_eq!(builder().spawn(folder, ())?.join()?, here.display().to_string(), "{way}: the next one works");
    }
    Ok(())
}

fn nice() -> i32 {
    // SAFETY: asks only.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
}

/// The CPUs that the first thread of this process may run on.
fn cpus() -> Vec<usize> {
    // SAFETY: all zero is a valid set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: writes so many bytes.
    assert_eq!(unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) }, 0);
    // SAFETY: the numbers are within the set.
    (0..libc::CPU_SETSIZE as usize).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect()
}

#[test]
fn nice_value_and_cpus() -> Result<()> {
    let _watch = watchdog(60, "nice values");
    let (my_nice, mine) = (nice(), cpus());
    let last = *mine.last().expect("it runs somewhere");
    for (way, builder) in ways() {
        assert_eq!(builder().nice(13).spawn(nice, ())?.join()?, 13, "{way}");
        assert_eq!(builder().spawn(nice, ())?.join()?, my_nice, "{way}");
        assert_eq!(builder().affinity([last]).spawn(cpus, ())?.join()?, [last], "{way}");
        // Threads of the child too.
        let of_thread = || std::thread::spawn(cpus).join().unwrap_or_default();
        assert_eq!(builder().affinity([last]).spawn(of_thread, ())?.join()?, [last], "{way}");
        assert!(builder().affinity([]).spawn(cpus, ()).is_err(), "{way}: it could run nowhere");
        assert!(builder().affinity([1_000_000]).spawn(cpus, ()).is_err(), "{way}: there is no such CPU");
        assert_eq!(builder().spawn(cpus, ())?.join()?, mine, "{way}");
    }
    Ok(())
}

#[test]
fn memory_limit() -> Result<()> {
    const MIB: usize = 1 << 20;
    /// Memory of its own that nobody touches.
    fn takes(bytes: usize) -> usize {
        let zeros = vec![0_u8; bytes];
        std::hint::black_box(&zeros).len()
    }
    let _watch = watchdog(60, "memory limits");
    let shared = SharedArray::<u8>::zeroed(64 * MIB)?;
    for (way, builder) in ways() {
        let builder = || builder().memory_limit(48 << 20).stderr(Stdio::null());
        assert_eq!(builder().spawn(takes, (8 * MIB,))?.join()?, 8 * MIB, "{way}");
        let killed = builder().spawn(takes, (100 * MIB,))?.join().unwrap_err();
        assert_eq!(killed.cause, Cause::Killed { signal: libc::SIGABRT }, "{way}");
        let length = |shared: SharedArray<u8>| shared.len();
        assert_eq!(builder().spawn(length, (&shared,))?.join()?, 64 * MIB, "{way}: what is shared does not count");
    }
    Ok(())
}

/// Gives back what it reads, in capitals.
fn capitals() -> Result<()> {
    for line in std::io::stdin().lines() {
        let line = line.map_err(Error::other)?;
        println!("{}", line.to_uppercase());
        eprintln!("{} bytes", line.len());
    }
    Ok(())
}

fn text(mut from: impl Read) -> Result<String> {
    let mut text = String::new();
    from.read_to_string(&mut text).map_err(Error::other)?;
    Ok(text)
}

#[test]
fn pipes() -> Result<()> {
    let _watch = watchdog(60, "pipes");
    for (way, builder) in ways() {
        let builder = builder().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = builder.spawn(capitals, ())?;
        let mut stdin = process.stdin.take().expect("it is piped");
        stdin.write_all(b"one\nthree\n").map_err(Error::other)?;
        drop(stdin);
        assert_eq!(text(process.stdout.take().expect("it is piped"))?, "ONE\nTHREE\n", "{way}");
        assert_eq!(text(process.stderr.take().expect("it is piped"))?, "3 bytes\n5 bytes\n", "{way}");
        process.join()?;
    }
    Ok(())
}

#[test]
fn one_childs_output_is_anothers_input() -> Result<()> {
    let _watch = watchdog(60, "two children and a pipe");
    for (way, builder) in ways() {
        let (reader, writer) = std::io::pipe().map_err(Error::other)?;
        let prints = builder().stdout(writer).spawn(|| (0..100_000).for_each(|n| println!("{n}")), ())?;
        let counts = builder().stdin(reader).spawn(|| std::io::stdin().lines().count(), ())?;
        assert_eq!((prints.join()?, counts.join()?), ((), 100_000), "{way}");
    }
    Ok(())
}

#[test]
fn a_child_is_what_its_parent_is_now() -> Result<()> {
    type Seen = (Option<String>, String, i32, Vec<usize>, u64, u32, bool, bool);
    /// Environment, folder, nice value, CPUs, a limit, umask, whether a signal is blocked, whether one is ignored.
    fn seen() -> Seen {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: writes the limits.
        unsafe { libc::getrlimit(libc::RLIMIT_CORE, &raw mut limit) };
        // SAFETY: changes a number of this process, which has one thread that makes files.
        let umask = unsafe { libc::umask(0o22) };
        // SAFETY: as above.
        unsafe { libc::umask(umask) };
        // SAFETY: all zero is a valid set.
        let mut mask: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: with no new mask, it only writes the current one.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut mask) };
        // SAFETY: all zero is a valid action.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: with no new action, it only writes the current one.
        unsafe { libc::sigaction(libc::SIGUSR2, std::ptr::null(), &raw mut action) };
        let folder = std::env::current_dir().map(|folder| folder.display().to_string()).unwrap_or_default();
        // SAFETY: the mask was just written.
        let blocked = unsafe { libc::sigismember(&raw const mask, libc::SIGUSR1) } == 1;
        let ignored = action.sa_sigaction == libc::SIG_IGN;
        (variable("COPROC_TEST".into()), folder, nice(), cpus(), limit.rlim_cur, umask, blocked, ignored)
    }
    /// Changes all of it, when it has had children before.
    fn changes(exec: bool) -> Result<(Seen, Seen)> {
        let builder = || if exec { Process::builder().exec() } else { Process::builder() };
        assert_eq!(builder().spawn(seen, ())?.join()?, seen());
        // SAFETY: nobody else of this process looks at the environment.
        unsafe { std::env::set_var("COPROC_TEST", "later") };
        std::env::set_current_dir("/").map_err(Error::other)?;
        // SAFETY: changes a number of this thread.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 11) };
        // SAFETY: all zero is a valid set.
        let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        // SAFETY: the number is within the set.
        unsafe { libc::CPU_SET(*cpus().last().expect("it runs somewhere"), &mut set) };
        // SAFETY: reads so many bytes.
        unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) };
        let limit = libc::rlimit { rlim_cur: 4096, rlim_max: 8192 };
        // SAFETY: reads the limits.
        unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const limit) };
        // SAFETY: changes a number of this process.
        unsafe { libc::umask(0o77) };
        // SAFETY: all zero is a valid set.
        let mut mask: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: there is such a signal.
        unsafe { libc::sigaddset(&raw mut mask, libc::SIGUSR1) };
        // SAFETY: reads the mask.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const mask, std::ptr::null_mut()) };
        // SAFETY: "ignore" is no function that could do anything.
        unsafe { libc::signal(libc::SIGUSR2, libc::SIG_IGN) };
        Ok((builder().spawn(seen, ())?.join()?, seen()))
    }
    let _watch = watchdog(60, "a parent that changes");
    for exec in [false, true] {
        let (childs, parents) = Process::spawn(changes, (exec,))?.join()?;
        assert_eq!(childs, parents, "executed: {exec}");
        assert_eq!(parents.0.as_deref(), Some("later"));
    }
    Ok(())
}

#[test]
fn a_child_is_its_callers() -> Result<()> {
    let _watch = watchdog(60, "whose child it is");
    for (way, builder) in ways() {
        assert_eq!(builder().spawn(parent_id, ())?.join()?, std::process::id(), "{way}");
        // Process group and session too: so `kill -- -group`, Ctrl-C and `timeout` reach all.
        let groups = || {
            // SAFETY: asks only.
            let group = unsafe { libc::getpgrp() };
            // SAFETY: asks only.
            (group, unsafe { libc::getsid(0) })
        };
        assert_eq!(builder().spawn(groups, ())?.join()?, groups(), "{way}");
    }
    Ok(())
}
