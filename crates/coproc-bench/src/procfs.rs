//! What `/proc` says of processes and of the machine's memory.

use std::fs;
use std::io;

use crate::measure::Result;

/// The number, in bytes, in the line `name: N kB` of such a file.
fn bytes(file: &str, name: &str) -> Option<u64> {
    let line = file.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
}

/// How much memory programs can still have.
pub(crate) fn available_memory() -> Result<u64> {
    Ok(bytes(&fs::read_to_string("/proc/meminfo")?, "MemAvailable").ok_or("no MemAvailable")?)
}

/// `Rss`, `Pss` or the like of a process; nothing if it is a zombie or gone.
pub(crate) fn memory(pid: u32, kind: &str) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
    rollup.ok().and_then(|rollup| bytes(&rollup, kind)).unwrap_or(0)
}

/// How many entries a folder of a process has, such as `fd` or `task`; none if it is a zombie or gone.
pub(crate) fn entries(pid: u32, folder: &str) -> usize {
    fs::read_dir(format!("/proc/{pid}/{folder}")).map_or(0, Iterator::count)
}

/// The children of this process, zombies too.
pub(crate) fn children() -> io::Result<Vec<u32>> {
    let parent = std::process::id();
    let pids = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    // Whoever ends meanwhile is none of them any more.
    Ok(pids
        .filter(|pid| fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| parent_in(&stat) == Some(parent)))
        .collect())
}

/// The parent by a process's `stat`: the second field after the name, which may hold anything.
fn parent_in(stat: &str) -> Option<u32> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_this_process_there_is_something_to_say() {
        let pid = std::process::id();
        assert!(memory(pid, "Rss") >= memory(pid, "Pss") && memory(pid, "Pss") > 0);
        assert!(entries(pid, "fd") > 2 && entries(pid, "task") > 0);
        assert!(available_memory().unwrap() > 0);
    }

    #[test]
    fn a_child_is_one_until_it_is_waited_for() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        assert!(children().unwrap().contains(&child.id()));
        child.wait().unwrap();
        assert!(!children().unwrap().contains(&child.id()));
        assert_eq!((memory(child.id(), "Rss"), entries(child.id(), "fd")), (0, 0));
    }

    #[test]
    fn a_name_may_look_like_fields() {
        assert_eq!(parent_in("7 (a) S 1) R 42 7 7"), Some(42));
        assert_eq!(bytes("Pss_Anon: 3 kB\nPss:   12 kB\n", "Pss"), Some(12 << 10));
    }
}
