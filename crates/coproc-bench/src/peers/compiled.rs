//! Peers in C and C++: programs that are compiled when the benchmark begins.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::measure::Result;

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/peers");

/// A compiled program; its file goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Compiled(PathBuf);

impl Compiled {
    /// Compiles this file of the peers; `None` if the machine has no such compiler.
    pub(crate) fn new(compiler: &str, source: &str) -> Result<Option<Self>> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if !succeeds(Command::new(compiler).arg("--version"))? {
            return Ok(None);
        }
        // Beside this program, where nobody looks for anything that lasts.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{source}-{}-{number}", std::process::id());
        let program = Self(std::env::current_exe()?.with_file_name(name));
        let source = Path::new(SOURCES).join(source);
        let compiled = Command::new(compiler).args(["-O2", "-pthread", "-o"]).args([&program.0, &source]).output()?;
        if !compiled.status.success() {
            return Err(format!("{compiler}: {}", String::from_utf8_lossy(&compiled.stderr)).into());
        }
        Ok(Some(program))
    }

    /// Whether the compiler is there and finds this header.
    pub(crate) fn finds(compiler: &str, header: &str) -> Result<bool> {
        succeeds(Command::new(compiler).args(["-E", "-x", "c++", "-include", header, "/dev/null"]))
    }

    pub(crate) fn command(&self) -> Command {
        Command::new(&self.0)
    }
}

/// Whether the program is there and succeeds.
fn succeeds(command: &mut Command) -> Result<bool> {
    match command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(status) => Ok(status.success()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

impl Drop for Compiled {
    fn drop(&mut self) {
        // It may not have been made.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_compiler_is_no_error() {
        assert!(Compiled::new("no-such-compiler", "by_hand.c").unwrap().is_none());
        assert!(!Compiled::finds("no-such-compiler", "stdio.h").unwrap());
    }
}
