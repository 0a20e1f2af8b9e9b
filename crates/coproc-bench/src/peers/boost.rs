//! Boost.Interprocess, where its headers and a C++ compiler are installed: a program that is compiled when the benchmark begins.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::measure::Result;

const HEADER: &str = "boost/interprocess/sync/interprocess_mutex.hpp";
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/peers/boost.cpp");

/// The compiled program; its file goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Boost(PathBuf);

impl Boost {
    /// Compiles it; `None` if this machine does not have what it takes.
    pub(crate) fn compile() -> Result<Option<Self>> {
        let look = ["-E", "-x", "c++", "-include", HEADER, "/dev/null"];
        match Command::new("c++").args(look).stdout(Stdio::null()).stderr(Stdio::null()).status() {
            Ok(status) if status.success() => {}
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        // Beside this program, where nobody looks for anything that lasts.
        let program = Self(std::env::current_exe()?.with_file_name(format!("boost-{}", std::process::id())));
        let compiled = Command::new("c++").args(["-O2", "-pthread", SOURCE, "-o"]).arg(&program.0).output()?;
        if !compiled.status.success() {
            return Err(format!("c++: {}", String::from_utf8_lossy(&compiled.stderr)).into());
        }
        Ok(Some(program))
    }

    /// Lets so many processes add under one mutex for this long, each on its CPU: how long that was, and how often each of them added.
    pub(crate) fn contend(&self, cpus: &[usize], workers: usize, slice: Duration) -> Result<(Duration, Vec<u64>)> {
        let mut command = Command::new(&self.0);
        command.args([workers.to_string(), slice.as_millis().to_string()]).args(cpus.iter().map(usize::to_string));
        let output = command.stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            return Err(format!("the program with boost: {}", output.status).into());
        }
        let printed = String::from_utf8(output.stdout)?;
        let numbers = printed.split_whitespace().map(str::parse).collect::<std::result::Result<Vec<u64>, _>>()?;
        match numbers.split_first() {
            Some((&ns, counts)) if counts.len() == workers => Ok((Duration::from_nanos(ns), counts.to_vec())),
            _ => Err(format!("the program with boost said `{printed}`").into()),
        }
    }
}

impl Drop for Boost {
    fn drop(&mut self) {
        // It may not have been made.
        let _ = std::fs::remove_file(&self.0);
    }
}
