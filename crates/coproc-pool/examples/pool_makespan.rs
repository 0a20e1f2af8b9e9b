//! Four pieces of work of 5, 2, 1 and 3 seconds on two processes: done after 6 seconds, not 11.

use std::time::{Duration, Instant};

use coproc_pool::Pool;

fn work((name, seconds): (String, u64)) {
    println!("Process {name} waiting {seconds} seconds");
    std::thread::sleep(Duration::from_secs(seconds));
    println!("Process {name} Finished.");
}

fn main() -> coproc::Result<()> {
    let pool = Pool::new(2)?;
    let start = Instant::now();
    pool.map(work, [("V", 5), ("X", 2), ("Y", 1), ("Z", 3)].map(|(name, seconds)| (name.to_owned(), seconds)))?;
    println!("All done in {:.0} seconds.", start.elapsed().as_secs_f64());
    Ok(())
}
