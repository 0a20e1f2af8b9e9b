//! Four processes with an argument of their own each; one takes the default. They run at the same time, so the order is any.
//!
//! ```text
//! The name of continent is :  Asia
//! The name of continent is :  America
//! The name of continent is :  Europe
//! The name of continent is :  Africa
//! ```

use coproc_pool::Process;

fn print_name(continent: Option<String>) {
    let continent = continent.unwrap_or("Asia".into());
    println!("The name of continent is :  {continent}");
}

fn main() -> coproc::Result<()> {
    let mut processes = vec![Process::spawn(print_name, (None,))?];
    for name in ["America", "Europe", "Africa"] {
        processes.push(Process::spawn(print_name, (Some(name.into()),))?);
    }
    for process in processes {
        process.join()?;
    }
    Ok(())
}
