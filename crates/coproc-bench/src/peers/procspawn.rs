//! procspawn: processes that are this program started anew, up to `procspawn::init` in its `main`; values go through ipc-channel.

use procspawn::Pool;

use crate::measure::Result;

/// Starts a process that does nothing, and joins it.
pub(crate) fn spawn_and_join() -> Result<()> {
    Ok(procspawn::spawn((), |()| ()).join()?)
}

pub(crate) fn square(n: u64) -> u64 {
    n * n
}

/// The squares of the numbers below `count`, each worker's part in one message. Not in more parts: a worker that has sent its results waits
/// until they are joined, and the caller, who must send its own part to the end before that, would wait for the worker.
pub(crate) fn map(pool: &Pool, count: u64) -> Result<Vec<u64>> {
    let workers = pool.size() as u64;
    let part = |worker| (count * worker / workers..count * (worker + 1) / workers).collect::<Vec<u64>>();
    let parts: Vec<_> = (0..workers).map(|worker| pool.spawn(part(worker), square_all)).collect();
    let mut squares = Vec::with_capacity(count as usize);
    for part in parts {
        squares.extend(part.join()?);
    }
    Ok(squares)
}

fn square_all(numbers: Vec<u64>) -> Vec<u64> {
    numbers.into_iter().map(square).collect()
}

/// One call in the pool.
pub(crate) fn apply(pool: &Pool, n: u64) -> Result<u64> {
    Ok(pool.spawn(n, square).join()?)
}

#[cfg(test)]
#[allow(unsafe_code, reason = "in the macro, which has its processes run one test instead of `main`")]
mod tests {
    use super::*;

    procspawn::enable_test_support!();

    #[test]
    fn processes_and_pools_answer() {
        spawn_and_join().unwrap();
        let pool = Pool::new(2).unwrap();
        assert_eq!(map(&pool, 5).unwrap(), [0, 1, 4, 9, 16]);
        assert_eq!(apply(&pool, 7).unwrap(), 49);
    }
}
