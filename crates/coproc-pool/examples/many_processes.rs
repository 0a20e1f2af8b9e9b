//! Ten processes sleep for half a second each, all at the same time.
//!
//! ```text
//! Sleeping for 0.5 seconds       (10 times)
//! Finished sleeping              (10 times)
//! Program finished in 0.514 seconds
//! ```

use std::time::{Duration, Instant};

use coproc_pool::Process;

fn task() {
    println!("Sleeping for 0.5 seconds");
    std::thread::sleep(Duration::from_millis(500));
    println!("Finished sleeping");
}

fn main() -> coproc::Result<()> {
    let start = Instant::now();
    let mut processes = Vec::new();
    for _ in 0..10 {
        processes.push(Process::spawn(task, ())?);
    }
    for process in processes {
        process.join()?;
    }
    println!("Program finished in {} seconds", start.elapsed().as_secs_f64());
    Ok(())
}
