//! Five processes square a number each after a second of sleep, all at the same time: it takes one second, not five.
//!
//! ```text
//! Square of 1 is 1
//! Square of 3 is 9
//! Square of 2 is 4
//! Square of 4 is 16
//! Square of 5 is 25
//! ```

use std::time::Duration;

use coproc_pool::Process;

fn square(n: u32) {
    std::thread::sleep(Duration::from_secs(1));
    println!("Square of {n} is {}", n * n);
}

fn main() -> coproc::Result<()> {
    let mut processes = Vec::new();
    for number in 1..=5 {
        processes.push(Process::spawn(square, (number,))?);
    }
    for process in processes {
        process.join()?;
    }
    Ok(())
}
