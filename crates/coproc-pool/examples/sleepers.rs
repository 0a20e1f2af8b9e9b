//! Two processes sleep for half a second, and nobody joins them: the time is printed before they are done, and the program ends after them.
//!
//! ```text
//! Program finished in 0.0012 seconds
//! Sleeping for 0.5 seconds
//! Sleeping for 0.5 seconds
//! Finished sleeping
//! Finished sleeping
//! ```
//!
//! With `--join` the program waits for them before it looks at its clock; the last line is then `Program finished in 0.5026 seconds`.

use std::time::{Duration, Instant};

use coproc_pool::Process;

fn task() {
    println!("Sleeping for 0.5 seconds");
    std::thread::sleep(Duration::from_millis(500));
    println!("Finished sleeping");
}

fn main() -> coproc::Result<()> {
    let start = Instant::now();
    let p1 = Process::spawn(task, ())?;
    let p2 = Process::spawn(task, ())?;
    if std::env::args().any(|arg| arg == "--join") {
        p1.join()?;
        p2.join()?;
    }
    println!("Program finished in {:.4} seconds", start.elapsed().as_secs_f64());
    Ok(())
}
