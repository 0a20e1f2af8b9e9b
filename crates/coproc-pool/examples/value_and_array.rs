//! A child process changes a value and an array that its parent reads afterwards.

use coproc::{SharedArray, SharedValue};
use coproc_pool::Process;

fn worker(value: SharedValue<i32>, array: SharedArray<i32>) -> coproc::Result<()> {
    *value.lock()? += 1;
    for element in array.lock()?.iter_mut() {
        *element += 1;
    }
    Ok(())
}

fn main() -> coproc::Result<()> {
    let value = SharedValue::new(0)?;
    let array = SharedArray::from_slice(&[0, 1, 2, 3, 4])?;
    Process::spawn(worker, (&value, &array))?.join()?;
    println!("{}", value.get()?);
    println!("{:?}", array.to_vec()?);
    Ok(())
}
