//! Four processes count in one value under its lock: 400, whatever the timing.

use coproc::SharedValue;
use coproc_pool::Process;

fn worker(counter: SharedValue<i32>) -> coproc::Result<()> {
    let mut n = counter.lock()?;
    for _ in 0..100 {
        *n += 1;
    }
    Ok(())
}

fn main() -> coproc::Result<()> {
    let counter = SharedValue::new(0)?;
    let mut all = Vec::new();
    for _ in 0..4 {
        all.push(Process::spawn(worker, (&counter,))?);
    }
    for p in all {
        p.join()?;
    }
    println!("{}", counter.get()?);
    Ok(())
}
