//! Where bars are drawn, and where not: this program runs itself, with standard error of one kind or another.

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use coproc_pool::Pool;
use coproc_pool::coproc::{self, Event, SharedArray};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// Set in the programs that are run here.
const ROLE: &str = "COPROC_TEST_DRAWS";

/// Runs the one test below as a program that draws.
fn drawing() -> Command {
    let mut program = Command::new(std::env::current_exe().unwrap());
    program.args(["--exact", "what_draws", "--nocapture"]).env(ROLE, "1").env("TERM", "xterm").stdout(Stdio::null());
    program
}

fn word() {
    let _ = std::io::stdin().read(&mut [0]);
}

/// Nothing but the program of the others. Each of its calls waits for a byte on standard input, or its end.
#[test]
fn what_draws() -> coproc::Result<()> {
    if std::env::var_os(ROLE).is_none() {
        return Ok(());
    }
    let pool = Pool::builder().processes(1).progress_bar().build()?;
    let gate = SharedArray::<Event>::zeroed(1)?;
    let items: Vec<_> = (0..100).map(|n| (n, gate.clone())).collect();
    let wait_at_60 = |(n, gate): (u64, SharedArray<Event>)| {
        if n == 60 {
            gate[0].wait();
        }
    };
    let task = pool.map_async(wait_at_60, items)?;
    word();
    gate[0].set();
    task.get()?;
    let mut squares = pool.imap(|n: u64| n * n, 0..50);
    squares.next();
    word();
    assert_eq!(squares.count(), 49);
    Ok(())
}

#[test]
fn silent_where_there_is_no_terminal() -> Result<(), Error> {
    let mut child = drawing().stdin(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut words = child.stdin.take().ok_or(ErrorKind::BrokenPipe)?;
    for _ in 0..2 {
        // Longer than a bar would take to appear. If it is too short, the test sees less, and does not fail.
        std::thread::sleep(Duration::from_millis(200));
        words.write_all(b"x")?;
    }
    let output = child.wait_with_output()?;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    Ok(())
}

#[test]
fn bars_on_a_terminal() -> Result<(), Error> {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    grantpt(&terminal)?;
    unlockpt(&terminal)?;
    let name = ptsname(&terminal, Vec::new())?.into_string().map_err(Error::other)?;
    let screen = File::options().read(true).write(true).open(name)?;
    // A terminal that was never told its size has none.
    tcsetwinsize(&screen, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 })?;
    let mut program = drawing();
    let mut child = program.stdin(Stdio::piped()).stderr(screen).spawn()?;
    // Its copy of the screen must go, or what is read below has no end.
    drop(program);
    let mut words = child.stdin.take().ok_or(ErrorKind::BrokenPipe)?;
    let mut terminal = File::from(terminal);
    let mut awaited = vec![("imap ", "1/50 "), ("map ", "60/100 ")];
    let (mut drawn, mut bytes) = (String::new(), [0; 4096]);
    loop {
        match terminal.read(&mut bytes) {
            Ok(0) => break,
            Ok(count) => drawn.push_str(&String::from_utf8_lossy(&bytes[..count])),
            // How a terminal says that nobody has it any more.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => break,
            Err(error) => return Err(error),
        }
        if awaited.last().is_some_and(|(name, count)| drawn.contains(name) && drawn.contains(count)) {
            awaited.pop();
            words.write_all(b"x")?;
        }
    }
    assert!(child.wait()?.success() && awaited.is_empty(), "{drawn:?}");
    Ok(())
}
