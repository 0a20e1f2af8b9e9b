//! The system calls, and nothing else: a safe function for each, no policy. The only place that another platform would change.

#![allow(unsafe_code)]

pub(crate) mod file;
pub(crate) mod fork;
pub(crate) mod futex;
pub(crate) mod ofd;

use std::io;
use std::ptr::NonNull;

use rustix::mm::{Advice, MapFlags, ProtFlags};

/// This thread's id (`gettid(2)`).
pub(crate) fn thread_id() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs()
}

/// A page of zeros that every child process finds zeroed again (`MADV_WIPEONFORK`), also one made by a raw `clone`.
pub(crate) fn wiped_page() -> io::Result<NonNull<u64>> {
    let len = rustix::param::page_size();
    let flags = MapFlags::PRIVATE;
    // SAFETY: a fresh anonymous mapping overlaps nothing.
    let page = unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, flags) }?;
    // SAFETY: this is the whole mapping made above, of which nobody else knows; it holds only zeros.
    unsafe { rustix::mm::madvise(page, len, Advice::LinuxWipeOnFork) }?;
    NonNull::new(page.cast()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

/// Random bytes (`getrandom(2)`).
pub(crate) fn random() -> io::Result<u128> {
    let mut bytes = [0; 16];
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(u128::from_ne_bytes(bytes))
}

/// A limit of this process (`getrlimit(2)`); `None` if there is none.
pub(crate) fn limit(resource: rustix::process::Resource) -> Option<u64> {
    rustix::process::getrlimit(resource).current
}
