//! Another program that works when it is told to, and times itself: each line that it is sent is a command, each that it sends an answer.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::measure::Result;

/// Such a program; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Station {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Station {
    /// Starts it; `None` if there is no such program on this machine.
    pub(crate) fn start(command: &mut Command) -> Result<Option<Self>> {
        let mut child = match command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let commands = child.stdin.take();
        let answers = child.stdout.take().map(BufReader::new).ok_or("the program has no output")?;
        Ok(Some(Self { child, commands, answers }))
    }

    /// The numbers that it answers this command with.
    pub(crate) fn ask<const N: usize>(&mut self, command: &str) -> Result<[u64; N]> {
        let commands = self.commands.as_mut().ok_or("the program has no input")?;
        commands.write_all(format!("{command}\n").as_bytes())?;
        self.answer().map_err(|error| format!("asked to `{command}`: {error}").into())
    }

    /// The numbers of the next line that it sends.
    pub(crate) fn answer<const N: usize>(&mut self) -> Result<[u64; N]> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let numbers = line.split_whitespace().map(str::parse).collect::<std::result::Result<Vec<_>, _>>();
        numbers.ok().and_then(|numbers| numbers.try_into().ok()).ok_or_else(|| format!("the program said `{line}`").into())
    }

    /// The time that the command took, and the number that came of it.
    pub(crate) fn time(&mut self, command: &str) -> Result<(Duration, u64)> {
        let [ns, result] = self.ask(command)?;
        Ok((Duration::from_nanos(ns), result))
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        // The end of its input ends it.
        drop(self.commands.take());
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_none() {
        assert!(Station::start(&mut Command::new("/nowhere/at/all")).unwrap().is_none());
    }

    #[test]
    fn answers_are_numbers_and_as_many_as_asked_for() {
        let mut cat = Station::start(&mut Command::new("cat")).unwrap().unwrap();
        assert_eq!(cat.time("1500 7").unwrap(), (Duration::from_nanos(1500), 7));
        assert_eq!(cat.ask("1 2 3").unwrap(), [1, 2, 3]);
        assert!(cat.ask::<2>("1 2 3").is_err());
        assert!(cat.ask::<1>("one").unwrap_err().to_string().contains("asked to `one`"));
    }
}
