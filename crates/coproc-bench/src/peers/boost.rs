//! Boost.Interprocess, where its headers and a C++ compiler are installed.

use std::process::Stdio;
use std::time::Duration;

use crate::measure::Result;
use crate::peers::compiled::Compiled;

const COMPILER: &str = "c++";
const HEADER: &str = "boost/interprocess/sync/interprocess_mutex.hpp";

/// The program with boost.
#[derive(Debug)]
pub(crate) struct Boost(Compiled);

impl Boost {
    /// Compiles it; `None` if this machine does not have what it takes.
    pub(crate) fn compile() -> Result<Option<Self>> {
        if !Compiled::finds(COMPILER, HEADER)? {
            return Ok(None);
        }
        Ok(Compiled::new(COMPILER, "boost.cpp")?.map(Self))
    }

    /// Lets so many processes add under one mutex for this long, each on its CPU: how long that was, and how often each of them added.
    pub(crate) fn contend(&self, cpus: &[usize], workers: usize, slice: Duration) -> Result<(Duration, Vec<u64>)> {
        let mut command = self.0.command();
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
