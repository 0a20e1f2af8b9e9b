//! Where contests run.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// How many CPUs a contest uses at most, so that figures of a larger machine can be set beside those of a small one.
const MOST_CPUS: usize = 2;

/// The CPUs that contests run on: the first that this program may use.
pub(crate) fn cpus() -> io::Result<Vec<usize>> {
    let allowed = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).take(MOST_CPUS).collect())
}

/// While this lives, the thread that made it runs on some CPUs only, and what it starts too.
#[must_use = "the thread is free again when this is dropped"]
#[derive(Debug)]
pub(crate) struct Pinned {
    before: CpuSet,
}

impl Pinned {
    pub(crate) fn to(cpus: &[usize]) -> io::Result<Self> {
        let before = sched_getaffinity(None)?;
        let mut set = CpuSet::new();
        cpus.iter().for_each(|&cpu| set.set(cpu));
        sched_setaffinity(None, &set)?;
        Ok(Self { before })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // A CPU that is gone by now is no reason to stop.
        let _ = sched_setaffinity(None, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pinning_ends_with_its_guard() {
        let before = cpus().unwrap();
        let pinned = Pinned::to(&before[..1]).unwrap();
        assert_eq!(cpus().unwrap(), before[..1]);
        drop(pinned);
        assert_eq!(cpus().unwrap(), before);
    }
}
