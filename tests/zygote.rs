//! The zygote: how children are started, by what right, and what becomes of them when it, or the program, is killed.
//!
//! The programs of these tests are children themselves, so that they can give up rights and be killed.

#![allow(unsafe_code)]

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use coproc::{Error, Event, Result, SharedArray, SharedValue};
use coproc_pool::{Cause, Process};
use coproc_tests::{
    End, Random, children, descriptors, events, fork, ignore_children, kill, kill_if_there, pause, rights, state_of, until, wait,
    wait_for, watchdog, zygote,
};

/// What a thread may do, in the kernel's words.
fn my_rights() -> Vec<String> {
    let names = ["Uid:", "Gid:", "Groups:", "CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:", "NoNewPrivs:", "Seccomp"];
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let lines = status.lines().filter(|line| names.iter().any(|name| line.starts_with(name))).map(str::to_owned);
    let spaces = ["mnt", "net", "ipc", "uts", "cgroup", "user"]
        .map(|name| std::fs::read_link(format!("/proc/thread-self/ns/{name}")).unwrap().display().to_string());
    lines.chain(spaces).collect()
}

/// Starts a child by the zygote, which is there afterwards. The first four may be of one that is not there any more.
fn warm_up() -> Result<u32> {
    for _ in 0..5 {
        Process::spawn(|| (), ())?.join()?;
    }
    Ok(zygote().expect("a zygote"))
}

/// Rights given up by one thread or all, each in a way of its own. By number, because a function takes no functions.
const WAYS: [(&str, fn()); 8] = [
    ("another user", || rights::become_user(65533)),
    ("groups", rights::set_groups),
    ("capabilities of one thread", rights::drop_capabilities),
    ("a bound of capabilities", rights::drop_a_bound),
    ("no new privileges", rights::no_new_privileges),
    ("namespaces", || rights::unshare(libc::CLONE_NEWUTS | libc::CLONE_NEWIPC | libc::CLONE_NEWNET)),
    ("mounts", || rights::unshare(libc::CLONE_NEWNS)),
    ("a filter", rights::filter_system_calls),
];

/// In the program: gives rights up after the zygote was started; what it may then, and what its children may. Again from another thread, which
/// may have more.
fn give_up(way: usize) -> Result<(Vec<String>, Vec<Vec<String>>)> {
    let first = warm_up()?;
    let before = my_rights();
    assert_eq!(before, Process::spawn(my_rights, ())?.join()?);
    let (mine, theirs) = std::thread::spawn(move || {
        WAYS[way].1();
        let theirs: Result<Vec<_>> = (0..3).map(|_| Ok(Process::spawn(my_rights, ())?.join()?)).collect();
        (my_rights(), theirs)
    })
    .join()
    .unwrap();
    let theirs = theirs?;
    assert_ne!(mine, before);
    // The zygote of before is gone, though its keeper is not.
    until("the old zygote is gone", || zygote() != Some(first) || mine.iter().any(|line| line == "Seccomp:\t2"));
    let others = [my_rights(), Process::spawn(my_rights, ())?.join()?];
    assert_eq!(others[0], others[1]);
    Ok((mine, theirs))
}

/// Whether who has these rights may do what who has the others may, but for capabilities that it has not: executing a program loses some.
fn is_not_more(these: &[String], others: &[String]) -> bool {
    let bits = |line: &str| {
        line.strip_prefix("CapPrm:").or(line.strip_prefix("CapEff:")).map(|bits| u64::from_str_radix(bits.trim(), 16).unwrap())
    };
    these.len() == others.len()
        && these.iter().zip(others).all(|(this, other)| match (bits(this), bits(other)) {
            (Some(this), Some(other)) => this & !other == 0,
            _ => this == other,
        })
}

#[test]
fn a_child_has_the_rights_that_its_parent_has_now() -> Result<()> {
    let _watch = watchdog(120, "rights");
    if !rights::is_root() {
        println!("skipped: there is nothing to give up");
        return Ok(());
    }
    for (way, (name, _)) in WAYS.iter().enumerate() {
        let (mine, theirs) = Process::spawn(give_up, (way,))?.join().unwrap_or_else(|error| panic!("{name}: {error}"));
        for child in theirs {
            assert!(is_not_more(&child, &mine), "{name}: {child:?}, of a parent with {mine:?}");
        }
    }
    Ok(())
}

#[test]
fn who_cannot_have_a_child_without_more_rights_gets_an_error() -> Result<()> {
    fn in_another_pid_namespace() -> Result<(String, u32)> {
        warm_up()?;
        std::thread::spawn(|| {
            rights::unshare(libc::CLONE_NEWPID);
            let error = Process::spawn(|| (), ()).map(drop).unwrap_err().to_string();
            (error, children().len() as u32)
        })
        .join()
        .map_err(|_| Error::other("a panic"))
    }
    fn without_proc() -> Result<String> {
        warm_up()?;
        let folder = std::env::temp_dir().join(format!("coproc-root-{}", std::process::id()));
        std::fs::create_dir(&folder)?;
        std::os::unix::fs::chroot(&folder)?;
        let error = Process::spawn(|| (), ()).map(drop).unwrap_err().to_string();
        Ok(error)
    }
    let _watch = watchdog(60, "no child without more rights");
    if !rights::is_root() {
        println!("skipped: only root can do that");
        return Ok(());
    }
    let (error, left) = Process::spawn(in_another_pid_namespace, ())?.join()?;
    assert!(error.contains("pid namespace"), "{error}");
    assert_eq!(left, 0);
    let child = Process::spawn(without_proc, ())?;
    let folder = std::env::temp_dir().join(format!("coproc-root-{}", child.pid()));
    let error = child.join()?;
    std::fs::remove_dir(folder)?;
    assert!(error.contains("/proc"), "{error}");
    Ok(())
}

#[test]
fn a_child_is_as_the_program_is_now() -> Result<()> {
    type State = (Option<String>, Option<String>, String, Vec<String>, i32, u64);
    fn state() -> State {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let names = ["Umask:", "SigBlk:", "Cpus_allowed:"];
        let lines = status.lines().filter(|line| names.iter().any(|name| line.starts_with(name))).map(str::to_owned).collect();
        let folder = std::env::current_dir().unwrap().display().to_string();
        (
            std::env::var("COPROC_TEST_NEW").ok(),
            std::env::var("HOME").ok(),
            folder,
            lines,
            rights::nice(),
            rights::limit_of(libc::RLIMIT_CORE),
        )
    }
    fn change() -> Result<(State, State, State)> {
        warm_up()?;
        let before = state();
        // SAFETY: the other threads of this program do not read the environment.
        unsafe { std::env::set_var("COPROC_TEST_NEW", "x") };
        // SAFETY: as above.
        unsafe { std::env::remove_var("HOME") };
        std::env::set_current_dir("/proc")?;
        rights::umask(0o77);
        rights::limit(libc::RLIMIT_CORE, 0);
        rights::be_nice(7);
        rights::hold_back(libc::SIGUSR2);
        rights::stay_on_cpu(0);
        let theirs = Process::spawn(state, ())?.join()?;
        Ok((before, state(), theirs))
    }
    let _watch = watchdog(60, "the state of a program");
    let (before, now, theirs) = Process::spawn(change, ())?.join()?;
    assert_ne!(before, now);
    assert_eq!(theirs, now);
    Ok(())
}

#[test]
fn a_killed_zygote_is_replaced() -> Result<()> {
    fn program() -> Result<usize> {
        let lives = Process::spawn(|| -> () { pause() }, ())?;
        for _ in 0..5 {
            let before = warm_up()?;
            kill(before);
            // The first ones were made before.
            for n in 0..6 {
                assert_eq!(Process::spawn(|a: u32| a + 1, (n,))?.join()?, n + 1);
            }
            assert!(zygote().is_some_and(|now| now != before));
            until("the killed one was reaped", || state_of(before).is_none());
        }
        // Children are none of its business.
        assert!(lives.is_alive());
        lives.kill()?;
        assert!(lives.join().is_err());
        Ok(children().len())
    }
    let _watch = watchdog(60, "a killed zygote");
    assert_eq!(Process::spawn(program, ())?.join()?, 0);
    Ok(())
}

/// Kills zygotes, and children that have not said a word yet, at random, until told to stop. How many.
fn kill_at_random(stop: &AtomicBool) -> u32 {
    let me = std::process::id();
    let mut random = Random(u64::from(me));
    let mut killed = 0;
    while !stop.load(SeqCst) {
        for _ in 0..random.below(2000) {
            std::hint::spin_loop();
        }
        // Only threads of this process that are keepers have children; all of these are ours.
        let pids = all_children();
        let named =
            |pid: &&u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("coproc-"));
        let named: Vec<_> = pids.iter().filter(named).collect();
        if let Some(&&pid) = named.get(random.below(named.len().max(1) as u64) as usize) {
            // It may have ended meanwhile; nobody else in this process gets its number so soon.
            killed += u32::from(kill_if_there(pid));
        }
        std::thread::sleep(Duration::from_micros(random.below(3000)));
    }
    killed
}

#[test]
fn zygotes_and_newborn_children_killed_at_any_moment() -> Result<()> {
    fn program(ran: SharedValue<AtomicU64>) -> Result<(u32, u32, u32)> {
        let stop = AtomicBool::new(false);
        let (right, refused) = (AtomicU32::new(0), AtomicU32::new(0));
        let killed = std::thread::scope(|scope| {
            let killer = scope.spawn(|| kill_at_random(&stop));
            let spawners: Vec<_> = (0..4)
                .map(|thread| {
                    let (ran, right, refused) = (&ran, &right, &refused);
                    scope.spawn(move || {
                        for n in 0..150_u64 {
                            let work = |ran: SharedValue<AtomicU64>, a: u64, b: u64| {
                                ran.fetch_add(1, SeqCst);
                                a + b
                            };
                            match Process::spawn(work, (ran, thread, n)).map(Process::join) {
                                Ok(Ok(sum)) => {
                                    assert_eq!(sum, thread + n);
                                    right.fetch_add(1, SeqCst);
                                }
                                // It had said its first word, and was killed before it got a name of its own.
                                Ok(Err(error)) => assert_eq!(error.cause, Cause::Killed { signal: 9 }),
                                Err(error) => {
                                    assert!(!error.to_string().is_empty());
                                    refused.fetch_add(1, SeqCst);
                                }
                            }
                        }
                    })
                })
                .collect();
            spawners.into_iter().for_each(|spawner| spawner.join().unwrap());
            stop.store(true, SeqCst);
            killer.join().unwrap()
        });
        // The last zygote, and the children that were kept ready, may have been killed: that is seen by who needs one.
        warm_up()?;
        until("no child is left", || children().is_empty());
        until("no zombie is left", || all_zombies() == 0);
        assert_eq!(Process::spawn(|a: u32| a + 1, (4,))?.join()?, 5);
        Ok((killed, right.into_inner(), refused.into_inner()))
    }
    let _watch = watchdog(120, "zygotes killed at any moment");
    let ran = SharedValue::new(AtomicU64::new(0))?;
    let (killed, right, refused) = Process::spawn(program, (&ran,))?.join()?;
    println!("{killed} killed; {right} calls right, {refused} refused");
    assert!(killed > 10 && right > 300, "{killed} killed, {right} right");
    // None ran twice, and none that was said not to have started.
    assert!(ran.load(SeqCst) >= u64::from(right) && ran.load(SeqCst) <= u64::from(600 - refused), "{} ran", ran.load(SeqCst));
    Ok(())
}

/// The children of this process, whatever they are.
fn all_children() -> Vec<u32> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|text| text.split(' ').filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

/// Children of this process that have ended and were not waited for.
fn all_zombies() -> usize {
    all_children().into_iter().filter(|&pid| state_of(pid) == Some('Z')).count()
}

/// Children of this process that wait to be told what they shall be.
fn all_spares() -> Vec<u32> {
    let is_spare =
        |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "coproc-spare");
    all_children().into_iter().filter(is_spare).collect()
}

#[test]
fn nobody_outlives_a_killed_program() -> Result<()> {
    fn plain(at: SharedArray<Event>) {
        at[0].set();
        pause()
    }
    // The kernel forgets what it was asked for when a process changes its user.
    fn another_user(at: SharedArray<Event>) {
        if rights::is_root() {
            rights::become_user(65533);
        }
        at[1].set();
        pause()
    }
    fn from_a_thread_that_ends(at: SharedArray<Event>) {
        at[2].set();
        pause()
    }
    fn executed(at: SharedArray<Event>) {
        another_user(at)
    }
    fn forked(at: SharedArray<Event>) {
        at[3].set();
        pause()
    }
    fn program(at: SharedArray<Event>, pids: SharedArray<AtomicU32>) -> Result<()> {
        let (two, three) = (at.clone(), at.clone());
        let third = std::thread::spawn(move || Process::spawn(from_a_thread_that_ends, (&two,))).join().unwrap()?;
        // SAFETY: what the child runs takes no lock of this process.
        let fourth = std::thread::spawn(move || unsafe { Process::builder().fork() }.spawn(forked, (&three,))).join().unwrap()?;
        let fifth = Process::builder().exec().spawn(executed, (&at,))?;
        let all = [Process::spawn(plain, (&at,))?, Process::spawn(another_user, (&at,))?, third, fourth, fifth];
        for (pid, child) in pids.iter().zip(&all) {
            pid.store(child.pid(), SeqCst);
        }
        pids[5].store(zygote().expect("a zygote"), SeqCst);
        // A forked copy that goes on must not keep them alive.
        pids[6].store(fork(|| pause()), SeqCst);
        at[4].set();
        pause()
    }
    let _watch = watchdog(60, "a killed program");
    let (at, pids) = (events(5)?, SharedArray::<AtomicU32>::zeroed(7)?);
    let child = Process::spawn(program, (&at, &pids))?;
    for n in 0..5 {
        wait(&at[n], "all run");
    }
    let ends: Vec<_> = pids[..6].iter().map(|pid| End::of(pid.load(SeqCst))).collect();
    let begin = Instant::now();
    child.kill()?;
    for (n, end) in ends.iter().enumerate() {
        assert!(end.comes_within(Duration::from_secs(10)), "number {n} outlives the program");
    }
    println!("all were gone after {:?}", begin.elapsed());
    kill(pids[6].load(SeqCst));
    assert!(child.join().is_err());
    Ok(())
}

#[test]
fn a_forked_copy_has_a_zygote_of_its_own() -> Result<()> {
    fn program() -> Result<(i32, u32)> {
        let mine = warm_up()?;
        let held = Process::spawn(|| -> () { pause() }, ())?;
        let copy = fork(|| {
            assert_eq!(Process::spawn(|a: u32| a + 1, (4,)).unwrap().join().unwrap(), 5);
            let theirs = zygote().expect("a zygote");
            // What it has a copy of is not its own.
            assert!(held.is_alive());
            i32::from(theirs != mine)
        });
        let code = wait_for(copy);
        assert!(held.is_alive());
        held.kill()?;
        assert!(held.join().is_err());
        let same = warm_up()?;
        Ok((code, u32::from(same == mine)))
    }
    let _watch = watchdog(60, "a forked copy");
    assert_eq!(Process::spawn(program, ())?.join()?, (1, 1));
    Ok(())
}

#[test]
fn children_that_were_made_for_nobody_leave_though_a_forked_copy_goes_on() -> Result<()> {
    fn program() -> Result<()> {
        let first = warm_up()?;
        until("there are spare children", || !all_spares().is_empty());
        let spares = all_spares();
        let copy = fork(|| pause());
        // From now on others are needed.
        rights::no_new_privileges();
        warm_up()?;
        until("the old zygote is gone", || state_of(first).is_none());
        until("its spare children are gone", || spares.iter().all(|&pid| state_of(pid).is_none()));
        kill(copy);
        wait_for(copy);
        Ok(())
    }
    let _watch = watchdog(60, "spare children and a forked copy");
    Process::spawn(program, ())?.join()?;
    Ok(())
}

#[test]
fn forks_while_children_are_started() -> Result<()> {
    fn program() -> Result<()> {
        std::thread::scope(|scope| {
            let spawners: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        (0..60_u64).for_each(|n| assert_eq!(Process::spawn(|n: u64| n, (n,)).unwrap().join().unwrap(), n))
                    })
                })
                .collect();
            while !spawners.iter().all(std::thread::ScopedJoinHandle::is_finished) {
                let copy = fork(|| i32::from(Process::spawn(|| 7, ()).unwrap().join().unwrap() != 7));
                assert_eq!(wait_for(copy), 0);
            }
            spawners.into_iter().for_each(|spawner| spawner.join().unwrap());
        });
        Ok(())
    }
    let _watch = watchdog(120, "forks meanwhile");
    Process::spawn(program, ())?.join()?;
    Ok(())
}

#[test]
fn a_programs_own_fork_handlers_come_first() -> Result<()> {
    /// 1 while another thread is about to fork, 2 when it may.
    static STEP: AtomicU32 = AtomicU32::new(0);
    extern "C" fn before_fork() {
        STEP.store(1, SeqCst);
        until("the start is done", || STEP.load(SeqCst) == 2);
    }
    fn start() {
        assert_eq!(Process::spawn(|| 7, ()).unwrap().join().unwrap(), 7);
    }
    fn program() {
        // SAFETY: a function of this program, which stays.
        assert_eq!(unsafe { libc::pthread_atfork(Some(before_fork), None, None) }, 0);
        start();
        let forking = std::thread::spawn(|| wait_for(fork(|| 0)));
        until("a thread forks", || STEP.load(SeqCst) == 1);
        // Those of the library have been registered before this one, though no child had been started, so none of its tables is held yet.
        start();
        STEP.store(2, SeqCst);
        assert_eq!(forking.join().unwrap(), 0);
    }
    let _watch = watchdog(60, "a start within a fork handler");
    Ok(Process::spawn(program, ())?.join()?)
}

#[test]
fn a_limit_of_processes_is_named_and_the_next_start_works() -> Result<()> {
    fn program() -> Result<(u32, String)> {
        warm_up()?;
        // The limit counts the processes and threads of a user.
        let user = 3_000_000_000 + std::process::id();
        rights::become_user(user);
        rights::limit(libc::RLIMIT_NPROC, 8);
        let mut started = Vec::new();
        let error = loop {
            match Process::spawn(|| -> () { pause() }, ()) {
                Ok(child) => started.push(child),
                Err(error) => break error.to_string(),
            }
            assert!(started.len() < 10, "no limit");
        };
        let count = started.len() as u32;
        let last = started.pop().expect("one at least");
        last.kill()?;
        assert!(last.join().is_err());
        assert_eq!(Process::spawn(|| 5, ())?.join()?, 5);
        for child in started {
            child.kill()?;
            assert!(child.join().is_err());
        }
        Ok((count, error))
    }
    let _watch = watchdog(60, "a limit of processes");
    if !rights::is_root() {
        println!("skipped: only root can become a user without processes");
        return Ok(());
    }
    let (count, error) = Process::spawn(program, ())?.join()?;
    assert!(count >= 1 && error.contains("RLIMIT_NPROC"), "{count} started: {error}");
    Ok(())
}

#[test]
fn the_other_ways_give_the_same() -> Result<()> {
    fn says(name: String) -> Result<(String, String, u64)> {
        let threads = std::fs::read_dir("/proc/self/task")?.count() as u64;
        let inner = Process::spawn(|a: u64| a + 1, (threads,))?;
        let inner_name = inner.name().to_owned();
        Ok((name, inner_name, inner.join()?))
    }
    let _watch = watchdog(60, "other ways");
    for round in 0..5 {
        let executed = Process::builder().exec().name("executed").spawn(says, ("x",))?;
        // SAFETY: other threads of this test hold no lock that the child needs, but those that forks respect.
        let forked = unsafe { Process::builder().fork() }.name("forked").spawn(says, ("y",))?;
        assert_eq!(executed.join()?, ("x".into(), "executed:1".into(), 2));
        let (text, name, sum) = forked.join()?;
        assert_eq!((text.as_str(), sum), ("y", 2), "round {round}");
        assert!(name.starts_with("forked:"), "{name}");
    }
    // A fork of a child is nobody else.
    let names = Process::spawn(
        || -> Result<String> {
            // SAFETY: as above.
            let inner = unsafe { Process::builder().fork() }.spawn(|| coproc_pool::current_name().to_owned(), ())?;
            Ok(inner.join()?)
        },
        (),
    )?;
    assert!(names.join()?.contains(':'));
    Ok(())
}

#[test]
fn a_program_with_many_threads() -> Result<()> {
    fn program() -> Result<u64> {
        let threads: Vec<_> = (0..100).map(|_| std::thread::spawn(|| pause())).collect();
        let child = || std::fs::read_dir("/proc/self/task").unwrap().count() as u64;
        let sum: Result<u64> = (0..20).map(|_| Ok(Process::spawn(child, ())?.join()?)).sum();
        assert!(threads.iter().all(|thread| !thread.is_finished()));
        sum
    }
    let _watch = watchdog(60, "many threads");
    assert_eq!(Process::spawn(program, ())?.join()?, 20);
    Ok(())
}

#[test]
fn a_program_without_standard_files() -> Result<()> {
    fn program() -> Result<Vec<(i32, String)>> {
        rights::close_standard_files();
        warm_up()?;
        Process::spawn(descriptors, ())?.join().map_err(Error::from)
    }
    let _watch = watchdog(60, "closed standard files");
    let files = Process::spawn(program, ())?.join()?;
    for (number, file) in (0..3).zip(files) {
        assert_eq!(file, (number, "/dev/null".to_owned()));
    }
    Ok(())
}

#[test]
fn how_it_ended_is_known_though_others_took_the_status() -> Result<()> {
    fn program() -> Result<Vec<String>> {
        ignore_children();
        let aborts = Process::spawn(|| -> u8 { std::process::abort() }, ())?;
        let exits = Process::spawn(|| -> u8 { std::process::exit(42) }, ())?;
        Ok([aborts, exits].map(|child| format!("{:?}", child.join().unwrap_err().cause)).to_vec())
    }
    let _watch = watchdog(60, "SIGCHLD ignored");
    let ends = Process::spawn(program, ())?.join()?;
    // Before Linux 6.15 nobody knows.
    let known = [format!("{:?}", Cause::Killed { signal: libc::SIGABRT }), format!("{:?}", Cause::Exited { code: 42 })];
    assert!(ends == known || ends.iter().all(|end| *end == format!("{:?}", Cause::Unknown)), "{ends:?}");
    Ok(())
}

/// The program of the next test: a copy of this one whose file it deletes.
#[test]
#[ignore = "a part of another test"]
fn deletes_its_file() -> Result<()> {
    let _watch = watchdog(60, "a deleted program");
    if std::env::var_os("COPROC_TEST_DELETE").is_some() {
        std::fs::remove_file(std::env::current_exe()?)?;
        assert_eq!(Process::spawn(|a: u32| a + 1, (4,))?.join()?, 5);
        kill(warm_up()?);
        assert_eq!(Process::spawn(|a: u32| a + 1, (5,))?.join()?, 6);
    }
    Ok(())
}

#[test]
fn a_program_whose_file_was_deleted() -> Result<()> {
    let _watch = watchdog(60, "a deleted file");
    let copy = std::env::temp_dir().join(format!("coproc-zygote-{}", std::process::id()));
    std::fs::copy(std::env::current_exe()?, &copy)?;
    let args = ["--ignored", "--exact", "deletes_its_file", "--nocapture"];
    let output = Command::new(&copy).arg0("copy").args(args).env("COPROC_TEST_DELETE", "1").output()?;
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!copy.exists());
    Ok(())
}

/// Prints what a start costs. Run by hand: `cargo test --release --test zygote -- --ignored --nocapture how_fast`.
#[test]
#[ignore = "measures"]
fn how_fast() -> Result<()> {
    let _watch = watchdog(120, "measuring");
    Process::spawn(|| (), ())?.join()?;
    let mut best = Duration::MAX;
    for _ in 0..20 {
        let begin = Instant::now();
        for _ in 0..200 {
            Process::spawn(|| (), ())?.join()?;
        }
        best = best.min(begin.elapsed() / 200);
    }
    println!("spawn and join: {best:?}");
    Ok(())
}
