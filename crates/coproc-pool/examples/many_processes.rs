//! Ten processes sleep for half a second each, all at the same time.

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
