//! Ten slow squares on four processes; each is printed when it is there, by a callback.

use std::time::Duration;

use coproc_pool::Pool;

fn slow_square(x: u64) -> u64 {
    std::thread::sleep(Duration::from_secs(1));
    x * x
}

fn main() -> coproc::Result<()> {
    let pool = Pool::new(4)?;
    let tasks: Vec<_> = (0..10)
        .map(|x| pool.task(slow_square, (x,)).callback(|square| println!("{square}")).submit())
        .collect::<Result<_, _>>()?;
    for task in tasks {
        task.get()?;
    }
    println!("All tasks completed.");
    Ok(())
}
