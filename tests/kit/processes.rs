//! Processes of a test: signals to them, and what the kernel says of them.

use std::fmt::Debug;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use coproc::{Message, Result};
use coproc_pool::{Cause, Process};

use crate::{descriptors, until};

/// Sends a signal to a process that this test has started.
///
/// # Panics
/// If there is no such process.
pub fn signal(pid: u32, signal: i32) {
    assert!(pid > 1, "no process of ours");
    // SAFETY: sends a signal, and touches no memory.
    let sent = unsafe { libc::kill(pid.cast_signed(), signal) };
    assert_eq!(sent, 0, "signal {signal} to {pid}: {}", io::Error::last_os_error());
}

/// Kills a process that this test has started.
///
/// # Panics
/// As [`signal`].
pub fn kill(pid: u32) {
    signal(pid, libc::SIGKILL);
}

/// Kills a child, and waits for its end. Its process id.
///
/// # Errors
/// As [`Process::kill`].
///
/// # Panics
/// If it ended otherwise.
pub fn killed<T: Message + Debug>(child: Process<T>) -> Result<u32> {
    let pid = child.pid();
    child.kill()?;
    assert_eq!(child.join().unwrap_err().cause, Cause::Killed { signal: 9 });
    Ok(pid)
}

/// Kills a process that may have ended by now; whether it had not.
pub fn kill_if_there(pid: u32) -> bool {
    // SAFETY: sends a signal, and touches no memory.
    pid > 1 && unsafe { libc::kill(pid.cast_signed(), libc::SIGKILL) } == 0
}

/// Stops a child of this process; when this returns, it stands.
///
/// # Panics
/// As [`signal`], or if it does not stop within 30 seconds.
pub fn stop(pid: u32) {
    signal(pid, libc::SIGSTOP);
    until("the child stands", || state_of(pid) == Some('T'));
}

/// Lets a stopped process go on.
///
/// # Panics
/// As [`signal`].
pub fn resume(pid: u32) {
    signal(pid, libc::SIGCONT);
}

/// The state of a process, as `ps` shows it; `None` if it is gone.
pub fn state_of(pid: u32) -> Option<char> {
    stat(&format!("/proc/{pid}/stat")).map(|(state, _)| state)
}

/// State and parent.
fn stat(path: &str) -> Option<(char, u32)> {
    let text = fs::read_to_string(path).ok()?;
    // The name in parentheses may hold anything.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// Waits until the first thread of a process sleeps in the kernel for a futex.
///
/// # Panics
/// If it does not within 30 seconds.
pub fn until_asleep(pid: u32) {
    until("the process sleeps", || is_asleep(&format!("/proc/{pid}")));
}

/// Waits until the first thread of a process is in the system call of this number.
///
/// # Panics
/// If it is not within 30 seconds.
pub fn until_in_call(pid: u32, number: u32) {
    until(&format!("process {pid} is in system call {number}"), || {
        let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
        call.split(' ').next() == Some(&number.to_string())
    });
}

/// Waits until a thread of this process sleeps in the kernel for a futex.
///
/// # Panics
/// If it does not within 30 seconds.
pub fn until_thread_asleep(tid: u32) {
    until("the thread sleeps", || is_asleep(&format!("/proc/self/task/{tid}")));
}

fn is_asleep(folder: &str) -> bool {
    match fs::read_to_string(format!("{folder}/syscall")) {
        Ok(call) => {
            let number = call.split(' ').next().and_then(|number| number.parse().ok());
            number.is_some_and(|number| [libc::SYS_futex, libc::SYS_futex_waitv].contains(&number))
        }
        // Not everybody may look that closely.
        Err(_) => stat(&format!("{folder}/stat")).is_some_and(|(state, _)| state == 'S'),
    }
}

/// This thread's id.
pub fn thread_id() -> u32 {
    // SAFETY: `gettid` takes nothing and cannot fail.
    let tid = unsafe { libc::gettid() };
    tid.cast_unsigned()
}

/// Forks, and runs this in the child, which exits with the code that it returns. For processes of one thread. A child that nobody ends
/// ends itself after two minutes.
///
/// # Panics
/// If the system cannot fork.
pub fn fork(run: impl FnOnce() -> i32) -> u32 {
    // SAFETY: the caller is a process of one thread, as this function says, so all that the child does is allowed in it.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", io::Error::last_os_error());
    if pid == 0 {
        // SAFETY: sets a timer, and touches no memory.
        unsafe { libc::alarm(120) };
        let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_or(101);
        // SAFETY: ends the process, which has nothing to clean up.
        unsafe { libc::_exit(code) };
    }
    pid.cast_unsigned()
}

/// Waits for a child that [`fork`] made, and gives its exit code, or the signal that killed it, negated.
///
/// # Panics
/// If it is no child.
pub fn wait_for(pid: u32) -> i32 {
    let mut status = 0;
    // SAFETY: writes the status, and waits for a child.
    let got = unsafe { libc::waitpid(pid.cast_signed(), &raw mut status, 0) };
    assert_eq!(got, pid.cast_signed(), "waitpid: {}", io::Error::last_os_error());
    if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -libc::WTERMSIG(status) }
}

/// Ignores `SIGCHLD`: the kernel then takes the exit status of every child itself.
pub fn ignore_children() {
    // SAFETY: "ignore" is no function that could do anything.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Waits for any child, as a program may that thinks that all children are its own. Its pid, or 0 if there is none.
pub fn steal_a_child() -> u32 {
    let mut status = 0;
    // SAFETY: writes the status, and waits for a child.
    let got = unsafe { libc::waitpid(-1, &raw mut status, 0) };
    u32::try_from(got).unwrap_or(0)
}

/// The end of a process, to wait for: it need not be a child.
#[derive(Debug)]
pub struct End(OwnedFd);

impl End {
    /// The end of a process that lives.
    ///
    /// # Panics
    /// If it does not live.
    pub fn of(pid: u32) -> Self {
        // SAFETY: opens a descriptor of a process, or fails.
        let file = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        let file = i32::try_from(file).expect("a descriptor");
        assert!(file >= 0, "pidfd_open of {pid}: {}", io::Error::last_os_error());
        // SAFETY: it was just opened, and nobody else owns it.
        Self(unsafe { OwnedFd::from_raw_fd(file) })
    }

    /// Whether it ends within this time.
    pub fn comes_within(&self, time: Duration) -> bool {
        let mut file = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let millis = i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: reads and writes one `pollfd`.
        unsafe { libc::poll(&raw mut file, 1, millis) == 1 }
    }
}

/// The children of this process, with their state: 'Z' has ended and nobody has waited for it. Without its zygote and the children that are kept ready,
/// as long as these live.
///
/// # Panics
/// Without `/proc`.
pub fn children() -> Vec<(u32, char)> {
    let all = all_children().into_iter().filter(|child| !child.is_zygote() && !child.is_spare());
    all.map(|child| (child.pid, child.state)).collect()
}

/// The process from which this one starts its children, if it has one.
///
/// # Panics
/// Without `/proc`.
pub fn zygote() -> Option<u32> {
    all_children().into_iter().find(Listed::is_zygote).map(|child| child.pid)
}

/// A child of this process, as the system lists it.
struct Listed {
    pid: u32,
    state: char,
    name: String,
    /// Whether it runs the image that it was forked with (`PF_FORKNOEXEC`).
    forked: bool,
}

impl Listed {
    /// The one that runs an image of its own: the children that it makes have its name until they have taken another.
    fn is_zygote(&self) -> bool {
        self.state != 'Z' && self.name == "coproc-zygote" && !self.forked
    }

    fn is_spare(&self) -> bool {
        self.state != 'Z' && self.forked && ["coproc-zygote", "coproc-spare"].contains(&self.name.as_str())
    }
}

/// All children of this process.
fn all_children() -> Vec<Listed> {
    const FORKNOEXEC: u32 = 0x40;
    let me = std::process::id();
    let entries = fs::read_dir("/proc").expect("/proc is mounted");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything.
        let (name, rest) = text.split_once('(')?.1.rsplit_once(')')?;
        let fields: Vec<_> = rest.split_whitespace().collect();
        let [state, parent, .., flags] = *fields.get(..7)? else { return None };
        let forked = flags.parse::<u32>().ok()? & FORKNOEXEC != 0;
        let child = Listed { pid, state: state.chars().next()?, name: name.to_owned(), forked };
        (parent.parse() == Ok(me)).then_some(child)
    })
    .collect()
}

/// Takes this process, a child, out of reach of all that ends it when its parent dies.
///
/// # Panics
/// Without `/proc`.
pub fn outlive_parent() {
    // SAFETY: with this option it sets a number of this process.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, 0) };
    // And the pipe whose end kills its owner.
    for (number, _) in descriptors().iter().filter(|(number, target)| *number > 2 && target.starts_with("pipe:")) {
        // SAFETY: this command takes a number.
        let given_up = unsafe { libc::fcntl(*number, libc::F_SETOWN, 0) };
        assert_eq!(given_up, 0, "F_SETOWN: {}", io::Error::last_os_error());
    }
}
