//! One process takes 10,000 from an account, another pays 10,000 in, one at a time. Each change is made under the lock, so none is lost.

use coproc::SharedValue;
use coproc_pool::Process;

fn withdraw(balance: SharedValue<i32>) -> coproc::Result<()> {
    for _ in 0..10_000 {
        *balance.lock()? -= 1;
    }
    Ok(())
}

fn deposit(balance: SharedValue<i32>) -> coproc::Result<()> {
    for _ in 0..10_000 {
        *balance.lock()? += 1;
    }
    Ok(())
}

fn main() -> coproc::Result<()> {
    for _ in 0..10 {
        let balance = SharedValue::new(100)?;
        let out = Process::spawn(withdraw, (&balance,))?;
        let into = Process::spawn(deposit, (&balance,))?;
        out.join()?;
        into.join()?;
        println!("Final balance = {}", balance.get()?);
    }
    Ok(())
}
