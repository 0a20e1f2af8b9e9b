//! A program with children that ends in the way that its argument says. What its children print shows whether they were waited for.

#![allow(unsafe_code)]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use coproc::{Event, PipeReceiver, PipeSender, Result, SharedArray, SharedValue, channel};
use coproc_pool::{Pool, Process, interrupted};
use coproc_tests::{fork, pause, signal, until, wait, wait_for};

/// A child that is not done before its parent's `main` is: it waits for what `main` drops at its end.
fn works(main: PipeReceiver) {
    assert!(main.recv().is_err(), "nothing is sent");
    println!("the child has worked");
}

fn child_of_main() -> Result<PipeSender> {
    let (main, child) = channel()?;
    drop(Process::spawn(works, (child,))?);
    Ok(main)
}

/// A child that is not done before its parent exits: it waits for what an exit handler does.
fn child_of_exit() -> Result<()> {
    static EXITS: OnceLock<SharedValue<Event>> = OnceLock::new();
    extern "C" fn tell() {
        EXITS.get().expect("it was made").set();
    }
    let exits = EXITS.get_or_init(|| SharedValue::new(Event::new()).expect("an event"));
    let child = |exits: SharedValue<Event>| {
        wait(&exits, "the exit");
        println!("the child has worked");
    };
    drop(Process::spawn(child, (exits,))?);
    // After the first child was started: so it runs before the children are waited for.
    // SAFETY: the function touches nothing that is gone by then.
    assert_eq!(unsafe { libc::atexit(tell) }, 0);
    Ok(())
}

/// A daemon that is there for good; what it is given is dropped when it has ended.
fn daemon(end: PipeSender) -> Result<()> {
    let at = SharedValue::new(Event::new())?;
    let run = |at: SharedValue<Event>, _end: PipeSender| -> () {
        at.set();
        pause()
    };
    let daemon = Process::builder().daemon(true).spawn(run, (&at, end))?;
    wait(&at, "the daemon runs");
    println!("daemon {}", daemon.pid());
    Ok(())
}

fn daemons_first() -> Result<()> {
    let (end, seen) = channel()?;
    daemon(end)?;
    let child = |daemon: PipeReceiver| {
        assert!(daemon.recv().is_err(), "nothing is sent");
        println!("the daemon has ended");
    };
    drop(Process::spawn(child, (seen,))?);
    Ok(())
}

/// Daemons that `SIGTERM` does not end.
fn stubborn_daemon() -> Result<()> {
    let at = SharedValue::new(Event::new())?;
    let run = |at: SharedValue<Event>| -> () {
        // SAFETY: "ignore" is no function that could do anything.
        unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
        at.set();
        pause()
    };
    let daemon = Process::builder().daemon(true).spawn(run, (&at,))?;
    wait(&at, "the daemon runs");
    println!("daemon {}", daemon.pid());
    Ok(())
}

/// A daemon that does something when it is asked to end.
fn polite_daemon() -> Result<()> {
    static ASKED: AtomicU64 = AtomicU64::new(0);
    extern "C" fn ask(_: libc::c_int) {
        ASKED.store(1, SeqCst);
    }
    let at = SharedValue::new(Event::new())?;
    let run = |at: SharedValue<Event>| {
        // SAFETY: the handler stores a number.
        unsafe { libc::signal(libc::SIGTERM, ask as extern "C" fn(libc::c_int) as usize) };
        at.set();
        until("it is asked to end", || ASKED.load(SeqCst) == 1);
        println!("the daemon has cleaned up");
    };
    drop(Process::builder().daemon(true).spawn(run, (&at,))?);
    wait(&at, "the daemon runs");
    Ok(())
}

/// A child, not a daemon, and the child's child; prints their pids.
fn family() -> Result<()> {
    fn child(pids: SharedArray<AtomicU64>, at: usize) -> Result<()> {
        let _grandchild = if at == 0 { Some(Process::spawn(child, (&pids, 1))?) } else { None };
        pids[at].store(std::process::id().into(), SeqCst);
        pause()
    }
    let pids = SharedArray::<AtomicU64>::zeroed(2)?;
    drop(Process::spawn(child, (&pids, 0))?);
    until("they run", || pids.iter().all(|pid| pid.load(SeqCst) != 0));
    println!("{} {}", pids[0].load(SeqCst), pids[1].load(SeqCst));
    Ok(())
}

/// A forked copy of this program exits while a child of the program runs.
fn forked_copy() -> Result<()> {
    let main = child_of_main()?;
    let copy = fork(|| std::process::exit(5));
    println!("the copy has ended with {}", wait_for(copy));
    drop(main);
    Ok(())
}

/// Children whose children wait for them to return.
fn nested() -> Result<()> {
    let middle = || -> Result<()> {
        let _main = child_of_main()?;
        println!("the middle returns");
        Ok(())
    };
    drop(Process::spawn(middle, ())?);
    Ok(())
}

/// Ctrl-C comes from the terminal, to this program and its child; prints whether the child takes itself for interrupted.
fn terminal() -> Result<()> {
    static CAUGHT: AtomicU64 = AtomicU64::new(0);
    extern "C" fn catch(_: libc::c_int) {
        CAUGHT.store(1, SeqCst);
    }
    // SAFETY: the handler stores a number.
    unsafe { libc::signal(libc::SIGINT, catch as extern "C" fn(libc::c_int) as usize) };
    let at = SharedArray::<Event>::zeroed(2)?;
    let run = |at: SharedArray<Event>| {
        at[0].set();
        at[1].wait();
        interrupted()
    };
    let child = Process::spawn(run, (&at,))?;
    wait(&at[0], "the child runs");
    println!("ready");
    until("somebody presses Ctrl-C", || CAUGHT.load(SeqCst) == 1);
    at[1].set();
    println!("interrupted: {}", child.join()?);
    Ok(())
}

fn main() -> Result<()> {
    match std::env::args().nth(1).expect("how to end").as_str() {
        "returns" => {
            let _main = child_of_main()?;
            println!("main returns");
        }
        "fails" => {
            let _main = child_of_main()?;
            return Err(coproc::Error::other("on purpose"));
        }
        "panics" => {
            let _main = child_of_main()?;
            panic!("on purpose");
        }
        "exits" => {
            child_of_exit()?;
            std::process::exit(7);
        }
        "thread" => {
            child_of_exit()?;
            std::thread::spawn(|| std::process::exit(8)).join().expect("it does not return");
        }
        "joined" => Process::spawn(|| println!("the child has worked"), ())?.join()?,
        "daemons" => daemons_first()?,
        "stubborn" => stubborn_daemon()?,
        "polite" => polite_daemon()?,
        "pool" => {
            let pool = Pool::new(2)?;
            println!("{:?}", pool.map(|n: u8| n + 1, [1, 2])?);
            std::process::exit(0);
        }
        "terminal" => terminal()?,
        "forked" => forked_copy()?,
        "nested" => nested()?,
        "killed" => {
            family()?;
            pause();
        }
        "aborts" => {
            family()?;
            std::process::abort();
        }
        "signalled" => {
            family()?;
            signal(std::process::id(), libc::SIGTERM);
        }
        other => panic!("{other}?"),
    }
    Ok(())
}
