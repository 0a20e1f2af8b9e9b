//! This program once more, with nothing done yet: what is measured there is not changed by what went before in the benchmark.

use std::hint::black_box;
use std::io::{BufRead, Write};
use std::process::Command;
use std::time::Instant;

use super::{demos, leaks, spawn};
use crate::measure::Result;
use crate::peers::station::Station;

/// The argument that makes a station of this program.
pub(crate) const SERVE: &str = "--serve";

/// Starts this program once more; from the tests of this program that would be the tests.
pub(super) fn start() -> Result<Station> {
    Ok(Station::start(Command::new(std::env::current_exe()?).arg(SERVE))?.ok_or("this program is gone")?)
}

/// Does what each line says, and answers with a line of numbers.
pub(crate) fn serve(commands: impl BufRead, mut answers: impl Write) -> Result<()> {
    let mut held = Vec::new();
    for line in commands.lines() {
        let line = line?;
        let (command, number) = line.split_once(' ').ok_or("a command and a number are wanted")?;
        let number: u64 = number.parse()?;
        let timed = match command {
            "spawn" => spawn::spawn_and_join(number)?,
            "count" => demos::count()?,
            "hold" => {
                let start = Instant::now();
                held.push(black_box(vec![1_u8; usize::try_from(number)?]));
                (start.elapsed(), number)
            }
            "many" => {
                let numbers = leaks::holdings_around(number)?.concat().iter().map(u64::to_string).collect::<Vec<_>>();
                writeln!(answers, "{}", numbers.join(" "))?;
                continue;
            }
            _ => return Err(format!("`{command}` is not understood").into()),
        };
        let (time, result) = timed;
        writeln!(answers, "{} {result}", time.as_nanos())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(commands: &str) -> Vec<Vec<u64>> {
        let mut answers = Vec::new();
        serve(commands.as_bytes(), &mut answers).unwrap();
        let answers = String::from_utf8(answers).unwrap();
        answers.lines().map(|line| line.split(' ').map(|number| number.parse().unwrap()).collect()).collect()
    }

    #[test]
    fn each_command_is_answered() {
        let answers = numbers("spawn 2\ncount 1\nhold 5000\nmany 10\n");
        let results: Vec<_> = answers[..3].iter().map(|answer| answer[1]).collect();
        assert_eq!(results, [2, 400, 5000]);
        assert_eq!(answers[3].len(), 12);
    }

    #[test]
    fn what_is_no_command_is_an_error() {
        for line in ["spawn", "spawn two", "sing 1"] {
            assert!(serve(line.as_bytes(), Vec::new()).is_err(), "{line}");
        }
    }
}
