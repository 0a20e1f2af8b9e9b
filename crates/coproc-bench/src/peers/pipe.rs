//! Two of the system's pipes between two processes, eight bytes at a time.

use std::fs::{File, OpenOptions};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsRawFd;

use coproc::Message;

/// The pipes of the process that made them: its own ends, and those that the other process opens for itself.
#[derive(Debug)]
pub(crate) struct Pipes {
    there: (PipeReader, PipeWriter),
    back: (PipeReader, PipeWriter),
}

/// Where the other process finds its ends.
#[derive(Clone, Debug, Message)]
pub(crate) struct Address {
    process: u32,
    reads: i32,
    writes: i32,
}

/// Where numbers go in.
#[derive(Debug)]
pub(crate) struct Sender(File);

/// Where they come out.
#[derive(Debug)]
pub(crate) struct Receiver(File);

impl Pipes {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { there: io::pipe()?, back: io::pipe()? })
    }

    pub(crate) fn address(&self) -> Address {
        Address { process: std::process::id(), reads: self.there.0.as_raw_fd(), writes: self.back.1.as_raw_fd() }
    }

    /// The ends of this process.
    pub(crate) fn ends(&self) -> io::Result<(Sender, Receiver)> {
        Address { process: std::process::id(), reads: self.back.0.as_raw_fd(), writes: self.there.1.as_raw_fd() }.open()
    }
}

impl Address {
    /// Opens these ends, in whatever process.
    pub(crate) fn open(self) -> io::Result<(Sender, Receiver)> {
        let path = |file| format!("/proc/{}/fd/{file}", self.process);
        let reads = File::open(path(self.reads))?;
        Ok((Sender(OpenOptions::new().write(true).open(path(self.writes))?), Receiver(reads)))
    }
}

impl Sender {
    #[inline]
    pub(crate) fn send(&mut self, number: u64) {
        self.0.write_all(&number.to_ne_bytes()).expect("the pipe is open");
    }
}

impl Receiver {
    #[inline]
    pub(crate) fn recv(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.0.read_exact(&mut bytes).expect("the pipe is open");
        u64::from_ne_bytes(bytes)
    }
}
