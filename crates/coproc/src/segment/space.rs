//! Whether there is the memory, asked before it is taken: a memory file never says `ENOSPC`, it lets the out-of-memory killer loose.

use std::fs;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::Resource;

use crate::error::{Error, Result};
use crate::sys;

/// Memory is taken in steps of this size, in bytes, with a look at what is left before each.
const STEP: u64 = 64 << 20;

/// After a look, so much of what was free may be taken without looking again: at most this, and at most the 16th part.
const MOST_CREDIT: u64 = 16 << 20;

/// What a process may take before it looks for the first time. A look reads a dozen files, which would be most of the time of a child that makes one
/// small object; and no machine falls by this.
const FIRST_CREDIT: u64 = 64 << 10;

/// What may still be taken without a look, in bytes.
static CREDIT: AtomicU64 = AtomicU64::new(FIRST_CREDIT);

/// Gives the first `size` bytes of the file their memory.
///
/// # Errors
/// [`Error::NoSpace`] if there is not as much.
pub(super) fn reserve(file: BorrowedFd<'_>, size: u64) -> Result<()> {
    if !spend_credit(size) {
        check(size, size)?;
    }
    let mut at = 0;
    while at < size {
        let step = STEP.min(size - at);
        if at > 0 {
            check(step, size)?;
        }
        sys::file::allocate(file, at, step).map_err(|error| match error.raw_os_error() {
            Some(libc::ENOSPC | libc::ENOMEM) => Error::NoSpace { wanted: size, free: at },
            _ => Error::from_os("reserving shared memory", error),
        })?;
        at += step;
    }
    Ok(())
}

fn spend_credit(size: u64) -> bool {
    CREDIT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |credit| credit.checked_sub(size)).is_ok()
}

/// Whether `next` bytes can be taken for an object of `wanted` bytes.
///
/// # Errors
/// [`Error::NoSpace`] if not.
pub(crate) fn check(next: u64, wanted: u64) -> Result<()> {
    let free = free();
    if next > free {
        return Err(Error::NoSpace { wanted, free });
    }
    CREDIT.store(((free - next) / 16).min(MOST_CREDIT), Ordering::Relaxed);
    Ok(())
}

/// What is free by the tightest of all limits, in bytes: the machine's memory, every memory control group up the tree, the address space.
pub(crate) fn free() -> u64 {
    let mut free = machine().unwrap_or(u64::MAX).min(address_space());
    for group in groups() {
        free = free.min(left_in(&group));
    }
    free
}

/// `MemAvailable` of the machine.
fn machine() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// What `RLIMIT_AS` leaves.
fn address_space() -> u64 {
    let Some(limit) = sys::limit(Resource::As) else { return u64::MAX };
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').next().and_then(|pages| pages.parse().ok()).unwrap_or(0);
    limit.saturating_sub(pages * rustix::param::page_size() as u64)
}

/// The memory control groups of this process, from its own up to the root, of both versions.
fn groups() -> Vec<PathBuf> {
    let mut groups = Vec::new();
    for line in fs::read_to_string("/proc/self/cgroup").unwrap_or_default().lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let roots: &[&str] = if controllers.is_empty() {
            &["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        } else if controllers.split(',').any(|controller| controller == "memory") {
            &["/sys/fs/cgroup/memory"]
        } else {
            continue;
        };
        for root in roots {
            // Inside a container the path may be the host's: then the root is what can be seen, and it is always looked at.
            let own = Path::new(root).join(path.trim_start_matches('/'));
            groups.extend(own.ancestors().take_while(|group| group.starts_with(root)).map(Path::to_path_buf));
        }
    }
    groups
}

/// What the limit of this group leaves; no limit leaves all.
fn left_in(group: &Path) -> u64 {
    let number = |file: &str| fs::read_to_string(group.join(file)).ok()?.trim().parse::<u64>().ok();
    let used = |used: &str, cache: &str| {
        // Page cache of files is given back before anybody is killed.
        let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
        let cached = stat.lines().find_map(|line| line.strip_prefix(cache)?.trim().parse::<u64>().ok()).unwrap_or(0);
        number(used).unwrap_or(0).saturating_sub(cached)
    };
    match (number("memory.max"), number("memory.limit_in_bytes")) {
        (Some(limit), _) => limit.saturating_sub(used("memory.current", "inactive_file ")),
        (_, Some(limit)) => limit.saturating_sub(used("memory.usage_in_bytes", "total_inactive_file ")),
        (None, None) => u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_there_is_is_refused() {
        let free = free();
        assert!(free > 0 && free < 1 << 60, "{free} bytes free");
        // A size far above every limit, and only the check: never pages.
        assert!(matches!(check(1 << 60, 1 << 60), Err(Error::NoSpace { wanted, free }) if wanted == 1 << 60 && free < 1 << 60));
    }
}
