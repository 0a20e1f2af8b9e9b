//! coproc beside its peers: each contest runs ours and theirs in turns on the same CPUs, and prints the medians.
//!
//! ```text
//! cargo run --release --manifest-path crates/coproc-bench/Cargo.toml -- SUITE [--rounds N] [--check]
//! ```

#![deny(unsafe_code)]

mod locks;
mod measure;
mod peers;
mod pool;
mod procfs;
mod queues;

use std::process::ExitCode;

use measure::{Result, Table};

const USAGE: &str = "usage: coproc-bench SUITE [--rounds N] [--check]

  SUITE       locks, pool, queues, processes, or all
  --rounds N  how often ours and each peer run, in turns (31); the figures are medians of rounds
  --check     exit with 1 if a goal is missed or could not be measured; needs 15 rounds";

/// What a few rounds give is no figure to judge by.
const FEWEST_TO_JUDGE: usize = 15;

/// A suite, and what runs it; `None` for those that are still to be written.
type Suite = (&'static str, Option<fn(&mut Table) -> Result<()>>);

const SUITES: [Suite; 4] =
    [("locks", Some(locks::run)), ("pool", Some(pool::run)), ("queues", Some(queues::run)), ("processes", None)];

#[derive(Debug)]
struct Arguments {
    suite: String,
    rounds: usize,
    check: bool,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> std::result::Result<Self, String> {
        let mut suite = None;
        let mut rounds = 31;
        let mut check = false;
        while let Some(word) = words.next() {
            match word.as_str() {
                "--check" => check = true,
                "--rounds" => {
                    let number = words.next().and_then(|number| number.parse().ok()).filter(|&number| number > 0);
                    rounds = number.ok_or("--rounds needs a number above zero")?;
                }
                _ if suite.is_none() && !word.starts_with('-') => suite = Some(word),
                _ => return Err(format!("`{word}` is not understood")),
            }
        }
        if check && rounds < FEWEST_TO_JUDGE {
            return Err(format!("--check needs at least {FEWEST_TO_JUDGE} rounds"));
        }
        Ok(Self { suite: suite.ok_or("which suite?")?, rounds, check })
    }

    /// The suites that are asked for.
    fn suites(&self) -> std::result::Result<Vec<Suite>, String> {
        if self.suite == "all" {
            return Ok(SUITES.to_vec());
        }
        match SUITES.into_iter().find(|(name, _)| *name == self.suite) {
            Some((name, None)) => Err(format!("the suite `{name}` is not there yet")),
            Some(suite) => Ok(vec![suite]),
            None => Err(format!("there is no suite `{}`", self.suite)),
        }
    }
}

fn run(arguments: &Arguments, suites: Vec<Suite>) -> Result<ExitCode> {
    let mut table = Table::new(arguments.rounds);
    for (name, run) in suites {
        match run {
            Some(run) => run(&mut table)?,
            None => eprintln!("the suite `{name}` is not there yet"),
        }
    }
    Ok(if arguments.check && table.missed() > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn main() -> ExitCode {
    // Where this program is one of its processes, it does not return.
    procspawn::init();
    let parsed = Arguments::parse(std::env::args().skip(1)).and_then(|arguments| Ok((arguments.suites()?, arguments)));
    let (suites, arguments) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            eprintln!("{error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    run(&arguments, suites).unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> std::result::Result<Arguments, String> {
        Arguments::parse(line.split_whitespace().map(String::from))
    }

    #[test]
    fn arguments_in_any_order() {
        let arguments = parse("--rounds 20 locks --check").unwrap();
        assert_eq!((arguments.suite.as_str(), arguments.rounds, arguments.check), ("locks", 20, true));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for line in ["", "locks pool", "locks --rounds", "locks --rounds 0", "locks --fast", "locks --check --rounds 14"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn unknown_and_unwritten_suites_are_told_apart() {
        assert!(parse("locks").unwrap().suites().is_ok());
        assert!(parse("processes").unwrap().suites().unwrap_err().contains("not there yet"));
        assert!(parse("lock").unwrap().suites().unwrap_err().contains("no suite"));
        assert_eq!(parse("all").unwrap().suites().unwrap().len(), SUITES.len());
    }
}
