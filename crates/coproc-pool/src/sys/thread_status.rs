//! What the kernel says of the calling thread in `/proc/thread-self/status`: some of it no call tells, or not without changing it for a moment.

use std::fs::File;
use std::io::{self, Read};

use coproc::{Error, Result};

/// What of it counts here. Read in one pass: it is asked for at each start of a child.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ThreadStatus {
    /// The lines that say what it may do: users, groups, capabilities, and whether it has filters for system calls.
    pub(crate) credentials: Vec<u8>,
    /// Whether it has filters for system calls.
    pub(crate) is_filtered: bool,
    /// How many. `None` if the kernel does not say.
    pub(crate) filters: Option<u32>,
    pub(crate) umask: u32,
    /// The signals that are ignored: the lowest bit is the first one.
    pub(crate) ignored: u64,
    /// The signals that are held back.
    pub(crate) blocked: u64,
}

impl ThreadStatus {
    /// What it is now.
    ///
    /// # Errors
    /// If `/proc` is not mounted, or there is no free descriptor.
    pub(crate) fn now() -> Result<Self> {
        let os = |error| Error::from_os("reading /proc/thread-self/status", error);
        let mut file = File::open("/proc/thread-self/status").map_err(os)?;
        let mut room = [0; 4096];
        let len = file.read(&mut room).map_err(os)?;
        let mut text = Vec::new();
        let text = if len < room.len() {
            &room[..len]
        } else {
            // It is in many groups.
            text.extend_from_slice(&room);
            file.read_to_end(&mut text).map_err(os)?;
            &text
        };
        Self::parse(text).ok_or_else(|| os(io::ErrorKind::InvalidData.into()))
    }

    /// `None` if something is missing.
    fn parse(text: &[u8]) -> Option<Self> {
        let mut credentials = Vec::with_capacity(512);
        // Where nothing is said of filters there may be some.
        let (mut is_filtered, mut filters) = (true, None);
        let (mut has_users, mut has_capabilities) = (false, false);
        let (mut umask, mut ignored, mut blocked) = (None, None, None);
        for line in text.split(|&byte| byte == b'\n') {
            let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
            let (name, value) = (&line[..colon], &line[colon + 1..]);
            match name {
                b"Uid" | b"Gid" | b"Groups" | b"CapInh" | b"CapPrm" | b"CapEff" | b"CapBnd" | b"CapAmb" | b"NoNewPrivs" => {
                    credentials.extend_from_slice(line);
                    has_users |= name == b"Uid";
                    has_capabilities |= name == b"CapEff";
                }
                b"Seccomp" => {
                    is_filtered = number(value, 10)? != 0;
                    credentials.extend_from_slice(line);
                }
                b"Seccomp_filters" => filters = number(value, 10)?.try_into().ok(),
                b"Umask" => umask = number(value, 8)?.try_into().ok(),
                b"SigIgn" => ignored = number(value, 16),
                b"SigBlk" => blocked = number(value, 16),
                _ => {}
            }
        }
        if !has_users || !has_capabilities {
            return None;
        }
        Some(Self { credentials, is_filtered, filters, umask: umask?, ignored: ignored?, blocked: blocked? })
    }
}

fn number(value: &[u8], radix: u32) -> Option<u64> {
    u64::from_str_radix(str::from_utf8(value.trim_ascii()).ok()?, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"Name:\tUid: x\nUmask:\t0027\nState:\tR (running)\nUid:\t1\t2\t3\t4\nSigBlk:\t0000000000010002\n\
        SigIgn:\t8000000000001000\nCapEff:\t00000000000000ff\nSeccomp:\t2\nSeccomp_filters:\t3\nSpeculation_Store_Bypass:\tvulnerable\n";

    #[test]
    fn the_kernels_words_are_read() {
        let status = ThreadStatus::parse(TEXT).unwrap();
        assert_eq!(status.credentials, b"Uid:\t1\t2\t3\t4CapEff:\t00000000000000ffSeccomp:\t2");
        assert_eq!((status.is_filtered, status.filters), (true, Some(3)));
        assert_eq!((status.umask, status.blocked, status.ignored), (0o27, 0x10002, 1 << 63 | 1 << 12));
        ThreadStatus::now().unwrap();
    }

    #[test]
    fn what_is_missing_or_no_number_is_an_error() {
        let text = String::from_utf8(TEXT.to_vec()).unwrap();
        for name in ["Umask", "SigBlk", "SigIgn", "Uid:\t1", "CapEff"] {
            assert_eq!(ThreadStatus::parse(text.replace(name, "X").as_bytes()), None);
        }
        for name in ["Umask", "SigBlk", "SigIgn", "Seccomp"] {
            assert_eq!(ThreadStatus::parse(text.replace(&format!("{name}:\t"), &format!("{name}:\tx")).as_bytes()), None);
        }
    }
}
