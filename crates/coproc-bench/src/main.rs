//! coproc beside its peers: each contest runs ours and theirs in turns on the same CPUs, and prints the medians.
//!
//! ```text
//! cargo run --release --manifest-path crates/coproc-bench/Cargo.toml -- SUITE [--rounds N] [--only WORDS] [--check]
//! ```

#![deny(unsafe_code)]

mod locks;
mod measure;
mod peers;
mod pool;
mod processes;
mod procfs;
mod queues;

use std::process::ExitCode;

use measure::{Result, Table};
use processes::fresh;

const USAGE: &str = "usage: coproc-bench SUITE [--rounds N] [--only WORDS] [--check]

  SUITE         locks, pool, queues, processes, or all
  --rounds N    how often ours and each peer run, in turns (31); the figures are medians of rounds
  --only WORDS  just the cases that have these words in their names
  --check       exit with 1 if a goal is missed or could not be measured; needs 15 rounds";

/// What a few rounds give is no figure to judge by.
const FEWEST_TO_JUDGE: usize = 15;

/// A suite, and what runs it.
type Suite = (&'static str, fn(&mut Table) -> Result<()>);

const SUITES: [Suite; 4] = [("locks", locks::run), ("pool", pool::run), ("queues", queues::run), ("processes", processes::run)];

#[derive(Debug)]
struct Arguments {
    suite: String,
    rounds: usize,
    only: String,
    check: bool,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> std::result::Result<Self, String> {
        let mut suite = None;
        let mut rounds = 31;
        let mut only = String::new();
        let mut check = false;
        while let Some(word) = words.next() {
            match word.as_str() {
                "--check" => check = true,
                "--rounds" => {
                    let number = words.next().and_then(|number| number.parse().ok()).filter(|&number| number > 0);
                    rounds = number.ok_or("--rounds needs a number above zero")?;
                }
                "--only" => only = words.next().ok_or("--only needs a part of a case's name")?,
                _ if suite.is_none() && !word.starts_with('-') => suite = Some(word),
                _ => return Err(format!("`{word}` is not understood")),
            }
        }
        if check && rounds < FEWEST_TO_JUDGE {
            return Err(format!("--check needs at least {FEWEST_TO_JUDGE} rounds"));
        }
        Ok(Self { suite: suite.ok_or("which suite?")?, rounds, only, check })
    }

    /// The suites that are asked for.
    fn suites(&self) -> std::result::Result<Vec<Suite>, String> {
        if self.suite == "all" {
            return Ok(SUITES.to_vec());
        }
        let found = SUITES.into_iter().find(|(name, _)| *name == self.suite);
        found.map(|suite| vec![suite]).ok_or_else(|| format!("there is no suite `{}`", self.suite))
    }
}

fn run(arguments: &Arguments, suites: Vec<Suite>) -> Result<ExitCode> {
    let mut table = Table::new(arguments.rounds).only(&arguments.only);
    for (_, run) in suites {
        run(&mut table)?;
    }
    Ok(if arguments.check && table.missed() > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn main() -> ExitCode {
    // Where this program is one of its processes, it does not return.
    procspawn::init();
    if std::env::args().skip(1).eq([fresh::SERVE]) {
        return exit_code(fresh::serve(std::io::stdin().lock(), std::io::stdout()).map(|()| ExitCode::SUCCESS));
    }
    let parsed = Arguments::parse(std::env::args().skip(1)).and_then(|arguments| Ok((arguments.suites()?, arguments)));
    let (suites, arguments) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            eprintln!("{error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    exit_code(run(&arguments, suites))
}

fn exit_code(result: Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
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
        for line in
            ["", "locks pool", "locks --rounds", "locks --rounds 0", "locks --only", "locks --fast", "locks --check --rounds 14"]
        {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn suites_are_found_by_name() {
        for (name, _) in SUITES {
            assert_eq!(parse(name).unwrap().suites().unwrap()[0].0, name);
        }
        assert!(parse("lock").unwrap().suites().unwrap_err().contains("no suite"));
        assert_eq!(parse("all").unwrap().suites().unwrap().len(), SUITES.len());
    }
}
