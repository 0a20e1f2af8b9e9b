//! What the tests in `tests/` share: a watchdog, signals, descriptors, and ways to know from outside where a process is.
//!
//! Nothing here sleeps to prove a thing. A child says where it is through shared memory; that it also sleeps in the kernel is read
//! from `/proc`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

pub mod rig;

use coproc::{Event, Result, SharedArray};

/// Where the lock word of a value or an array lies in its file.
pub const LOCK_WORD: u64 = 128;

/// Ends the whole process with a message if it is not dropped in time: a hang is a failure that says what hung.
#[derive(Debug)]
#[must_use = "it watches until it is dropped"]
pub struct Watchdog(#[allow(dead_code, reason = "its end is what counts")] mpsc::Sender<()>);

/// Watches what follows.
///
/// # Panics
/// If no thread can be started.
pub fn watchdog(seconds: u64, what: &str) -> Watchdog {
    let (alive, end) = mpsc::channel();
    let what = what.to_owned();
    thread::Builder::new()
        .name("watchdog".into())
        .spawn(move || {
            if end.recv_timeout(Duration::from_secs(seconds)) == Err(mpsc::RecvTimeoutError::Timeout) {
                // Not `eprintln`, which a test captures: it would be lost with the process.
                let _ = writeln!(io::stderr(), "\nwatchdog: {what}: not done after {seconds} s");
                std::process::abort();
            }
        })
        .expect("no thread for the watchdog");
    Watchdog(alive)
}

/// Gives way until this is so.
///
/// # Panics
/// If it is not so after 30 seconds.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < end, "never came true: {what}");
        thread::yield_now();
    }
}

/// Waits for an event that a child is to set.
///
/// # Panics
/// If it is not set within 30 seconds.
pub fn wait(event: &Event, what: &str) {
    assert!(event.wait_timeout(Duration::from_secs(30)), "never happened: {what}");
}

/// Events to meet at, in one segment.
///
/// # Errors
/// As [`SharedArray::zeroed`].
pub fn events(count: usize) -> Result<SharedArray<Event>> {
    SharedArray::zeroed(count)
}

/// Waits for ever.
pub fn pause() -> ! {
    loop {
        thread::park();
    }
}

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
pub fn until_in_call(pid: u32, number: u32) {
    until(&format!("process {pid} to be in system call {number}"), || {
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

/// What can be done to a memory file no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seal {
    /// Nothing is sealed.
    Nothing,
    /// Its length.
    Length,
    /// Its length and its content.
    All,
}

/// A memory file of these bytes.
///
/// # Panics
/// If the system refuses.
pub fn memory(bytes: &[u8], seal: Seal) -> OwnedFd {
    // SAFETY: opens a descriptor; the name is a C string.
    let file = unsafe { libc::memfd_create(c"coproc-test".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) };
    assert!(file >= 0, "memfd_create: {}", io::Error::last_os_error());
    // SAFETY: it was just opened, and nobody else owns it.
    let file = unsafe { File::from_raw_fd(file) };
    file.write_all_at(bytes, 0).expect("writing to memory");
    let length = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
    let seals = match seal {
        Seal::Nothing => 0,
        Seal::Length => length,
        Seal::All => length | libc::F_SEAL_WRITE,
    };
    // SAFETY: `fcntl` with this command takes a number.
    let sealed = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) };
    assert_eq!(sealed, 0, "F_ADD_SEALS: {}", io::Error::last_os_error());
    file.into()
}

/// A descriptor that stays open when a program is executed, as careless code leaves them. Its name in `/proc` holds `coproc-test`.
///
/// # Panics
/// If the system refuses.
pub fn leaky() -> OwnedFd {
    let file = memory(b"leaky", Seal::Nothing);
    // SAFETY: `fcntl` with this command takes a number.
    let set = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFD, 0) };
    assert_eq!(set, 0, "F_SETFD: {}", io::Error::last_os_error());
    file
}

/// From now on, what this process and its children print goes into this file.
///
/// # Panics
/// If the system refuses.
pub fn print_into(file: &impl AsFd) {
    // SAFETY: `dup2` onto standard output, which stays open, as all code expects.
    let moved = unsafe { libc::dup2(file.as_fd().as_raw_fd(), 1) };
    assert_eq!(moved, 1, "dup2: {}", io::Error::last_os_error());
}

/// The file behind a shared object, to read and write its bytes as no code of coproc would.
///
/// # Panics
/// If there is no descriptor left.
pub fn file_of(object: &impl AsFd) -> File {
    object.as_fd().try_clone_to_owned().expect("a descriptor").into()
}

/// All bytes of the file behind a shared object.
///
/// # Panics
/// If they cannot be read.
pub fn bytes_of(object: &impl AsFd) -> Vec<u8> {
    let file = file_of(object);
    let mut bytes = vec![0; file.metadata().expect("its size").len() as usize];
    file.read_exact_at(&mut bytes, 0).expect("its bytes");
    bytes
}

/// Writes a word into the file behind a shared object.
///
/// # Panics
/// If it cannot be written.
pub fn poke(object: &impl AsFd, at: u64, word: u64) {
    file_of(object).write_all_at(&word.to_le_bytes(), at).expect("writing to shared memory");
}

/// A word of the file behind a shared object.
///
/// # Panics
/// If it cannot be read.
pub fn peek(object: &impl AsFd, at: u64) -> u64 {
    let mut word = [0; 8];
    file_of(object).read_exact_at(&mut word, at).expect("reading shared memory");
    u64::from_le_bytes(word)
}

/// Lets this process have no more than so many descriptors.
///
/// # Panics
/// If the system refuses.
pub fn limit_descriptors(count: u64) {
    let limit = libc::rlimit { rlim_cur: count, rlim_max: count };
    // SAFETY: reads one `rlimit`.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(set, 0, "setrlimit: {}", io::Error::last_os_error());
}

/// The open descriptors of this process, with what they are, but the one that reads this.
///
/// # Panics
/// Without `/proc`.
pub fn descriptors() -> Vec<(i32, String)> {
    let entries = fs::read_dir("/proc/self/fd").expect("/proc is mounted");
    let mut all: Vec<(i32, String)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let target = fs::read_link(entry.path()).ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, target.display().to_string()))
        })
        // The folder is read by a descriptor too.
        .filter(|(_, target)| !(target.starts_with("/proc/") && target.ends_with("/fd")))
        .collect();
    all.sort();
    all
}

/// The children of this process, with their state: 'Z' has ended and nobody has waited for it.
///
/// # Panics
/// Without `/proc`.
pub fn children() -> Vec<(u32, char)> {
    let me = std::process::id();
    let entries = fs::read_dir("/proc").expect("/proc is mounted");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| {
        let (state, parent) = stat(&format!("/proc/{pid}/stat"))?;
        (parent == me).then_some((pid, state))
    })
    .collect()
}

/// What lies in the folders where other libraries leave shared memory.
pub fn leftovers() -> Vec<PathBuf> {
    let folders = ["/dev/shm", "/dev/mqueue", "/tmp"];
    let entries = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

/// Random numbers that are the same in every run (splitmix64).
#[derive(Clone, Copy, Debug)]
pub struct Random(pub u64);

impl Random {
    /// A word as a hostile peer would choose it: a small number, one near the end, a single bit, or noise.
    pub fn strange_word(&mut self) -> u64 {
        match self.below(4) {
            0 => self.below(8),
            1 => u64::MAX - self.below(8),
            2 => 1 << self.below(64),
            _ => self.next(),
        }
    }

    /// The next number.
    #[allow(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut n = self.0;
        n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ (n >> 31)
    }

    /// A number below this one.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
