//! Capabilities of the calling thread.

#![allow(unsafe_code)]

use std::io;

/// For each half of the bits: effective, permitted, inheritable, as `capget(2)` has them.
pub(crate) type Capabilities = [u32; 6];

/// `_LINUX_CAPABILITY_VERSION_3`, and the calling thread.
const HEADER: [u32; 2] = [0x2008_0522, 0];

/// What the calling thread has.
pub(crate) fn capabilities() -> io::Result<Capabilities> {
    let (mut header, mut now) = (HEADER, [0; 6]);
    // SAFETY: reads and may write a header, and writes two triples of words.
    let got = unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), now.as_mut_ptr()) };
    if got == 0 { Ok(now) } else { Err(io::Error::last_os_error()) }
}

/// Gives up what is not among these.
pub(crate) fn keep_only(these: &Capabilities) -> io::Result<()> {
    let now = capabilities()?;
    let mut kept = now;
    kept.iter_mut().zip(these).for_each(|(kept, these)| *kept &= these);
    let mut header = HEADER;
    // SAFETY: reads and may write a header, and reads two triples of words.
    if kept == now || unsafe { libc::syscall(libc::SYS_capset, header.as_mut_ptr(), kept.as_ptr()) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
