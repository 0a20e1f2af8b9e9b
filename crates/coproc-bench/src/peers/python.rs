//! Python's `multiprocessing.Pool`, in an interpreter that lives as long as the contest and works when it is told to.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::measure::Result;

/// Each line that comes in is a command, each that goes out the seconds that it took and the sum of what came back. The pool of the
/// `map` command is made, and has worked once, before the first line.
const SCRIPT: &str = "
import multiprocessing, sys, time

def square(n):
    return n * n

def main(processes, count):
    def timed(pool_of, numbers):
        start = time.perf_counter()
        squares = pool_of().map(square, numbers)
        seconds = time.perf_counter() - start
        print(seconds, sum(squares), flush=True)

    def new():
        made.append(multiprocessing.Pool(processes))
        return made[-1]

    made = []
    with multiprocessing.Pool(processes) as warm:
        warm.map(square, range(count))
        for line in sys.stdin:
            if line == 'map\\n':
                timed(lambda: warm, range(count))
            else:
                timed(new, range(processes))
                made.pop().terminate()

main(int(sys.argv[1]), int(sys.argv[2]))
";

/// An interpreter with a pool.
#[derive(Debug)]
pub(crate) struct Python {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Python {
    /// Starts the interpreter; `None` if there is no `python3` on this machine. Its maps are over the numbers below `count`.
    pub(crate) fn start(processes: usize, count: u64) -> Result<Option<Self>> {
        let spawned = Command::new("python3")
            .args(["-c", SCRIPT, &processes.to_string(), &count.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let commands = child.stdin.take();
        let answers = child.stdout.take().map(BufReader::new).ok_or("python3 has no output")?;
        Ok(Some(Self { child, commands, answers }))
    }

    /// Maps squaring over all the numbers, in the pool that is there: the seconds, and the sum of the squares.
    pub(crate) fn map(&mut self) -> Result<(f64, u64)> {
        self.ask("map\n")
    }

    /// Makes a pool and maps over as many numbers as it has processes.
    pub(crate) fn create(&mut self) -> Result<(f64, u64)> {
        self.ask("create\n")
    }

    fn ask(&mut self, command: &str) -> Result<(f64, u64)> {
        self.commands.as_mut().ok_or("python3 has no input")?.write_all(command.as_bytes())?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        let (seconds, sum) = answer.trim_end().split_once(' ').ok_or_else(|| format!("python3 said `{answer}`"))?;
        Ok((seconds.parse()?, sum.parse()?))
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // The end of its input ends it.
        drop(self.commands.take());
        let _ = self.child.wait();
    }
}
