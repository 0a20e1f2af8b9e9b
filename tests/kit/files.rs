//! Descriptors, and the files behind shared objects.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use coproc_pool::Process;

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

/// How many descriptors this process has when as many children as ever are kept ready for the next callers: each has one. At a given moment it may be fewer.
///
/// # Panics
/// If a child cannot be started.
pub fn most_descriptors() -> usize {
    let after_a_start = |_| {
        Process::spawn(|| (), ()).expect("a child starts").join().expect("it ends");
        descriptors().len()
    };
    (0..10).map(after_a_start).max().unwrap_or_default()
}

/// What lies in the folders where other libraries leave shared memory.
pub fn leftovers() -> Vec<PathBuf> {
    let folders = ["/dev/shm", "/dev/mqueue", "/tmp"];
    let entries = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}
