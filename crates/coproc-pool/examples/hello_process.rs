//! A program is a process, and so is each function that it starts as one: the main job in ten lines.
//!
//! ```text
//! Hi! I'm process 144112
//! Worker process
//! Worker Function
//! ```

use coproc_pool::Process;

fn worker() {
    println!("Worker process");
}

fn main() -> coproc::Result<()> {
    println!("Hi! I'm process {}", std::process::id());

    let process = Process::spawn(worker, ())?;
    process.join()?;

    // A closure that captures nothing is a function too.
    Process::spawn(|| println!("Worker Function"), ())?.join()?;
    Ok(())
}
