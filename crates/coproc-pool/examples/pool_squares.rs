//! A pool of four processes squares ten numbers, then a million. The results come in the order of the numbers.

use coproc_pool::Pool;

fn square(x: u64) -> u64 {
    x * x
}

fn main() -> coproc::Result<()> {
    let pool = Pool::new(4)?;
    println!("{:?}", pool.map(square, 0..10)?);

    let results = pool.map(square, 0..1_000_000)?;
    println!("{:?}", &results[..10]);
    Ok(())
}
