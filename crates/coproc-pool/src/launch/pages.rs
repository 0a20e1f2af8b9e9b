//! The pages that a copy of the zygote begins with, so that few are missing while somebody waits for what it runs.
//!
//! Each page fault takes as long as several system calls, and a child that does nothing took 40 of them: half of its time.

#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::mm::{Advice, madvise};

/// So much is taken, whole mappings of variables each: who has written to more has the faults.
const MOST: usize = 256 << 10;

/// Code that is no larger is kept: the linker's, which children need once more when they end.
const SMALL: usize = 256 << 10;

/// What is larger is not looked at: the answer has a byte for each 512.
const LARGEST: usize = 64 << 20;

/// Where the variables are that the zygote has written to: to some of them its copies soon write too.
#[derive(Debug, Default)]
pub(super) struct Pages {
    variables: Vec<Range<usize>>,
}

impl Pages {
    /// In the zygote, once. From then on its copies have the pages of code that it uses from now on, where the system allows that.
    ///
    /// # Errors
    /// If `/proc` is not mounted.
    pub(super) fn prepare() -> io::Result<Self> {
        let mut mappings = String::with_capacity(16 << 10);
        File::open("/proc/self/maps")?.read_to_string(&mut mappings)?;
        let pagemap = File::open("/proc/self/pagemap").ok();
        let own_pages = |range: &Range<usize>| pagemap.as_ref().and_then(|pagemap| own_pages(pagemap, range).ok());
        let mappings: Vec<_> = mappings.lines().filter_map(Mapping::parse).collect();
        let _ = share_code(&mappings, |code| own_pages(code).is_some_and(|pages| pages.is_empty()));
        let mut left = MOST;
        let mut written = Vec::new();
        for range in variables(&mappings) {
            let pages = own_pages(&range).unwrap_or_else(|| vec![range]);
            let size: usize = pages.iter().map(Range::len).sum();
            if size <= left {
                left -= size;
                written.extend(pages);
            }
        }
        Ok(Self { variables: written })
    }

    /// In a copy, while nobody waits for it: gives it pages of its own for its variables.
    pub(super) fn take(&self) {
        for range in &self.variables {
            // SAFETY: this changes no value, and whether the range is mapped is the kernel's to see. A kernel that does not know it refuses it.
            let _ = unsafe { madvise(range.start as *mut _, range.len(), Advice::LinuxPopulateWrite) };
        }
    }
}

/// The kernel copies no page table of a private mapping of a file while no page of it was ever written to: a copy of the process finds nothing
/// there. So one byte of each is written, as it is. Then all its pages are forgotten, also that one: what only the start of the program has used would be
/// copied, and forgotten, with each child. Only where `is_as_in_file`: nobody has written to the code.
fn share_code(mappings: &[Mapping<'_>], is_as_in_file: impl Fn(&Range<usize>) -> bool) -> io::Result<()> {
    let memory = File::options().read(true).write(true).open("/proc/self/mem")?;
    for code in mappings.iter().filter(|mapping| mapping.is_code()) {
        let forget = code.range.len() > SMALL && is_as_in_file(&code.range);
        let (mut byte, at) = ([0], code.range.start as u64);
        memory.read_exact_at(&mut byte, at)?;
        memory.write_all_at(&byte, at)?;
        if forget {
            // SAFETY: what is forgotten is the same in the file, where the kernel finds it again.
            let _ = unsafe { madvise(code.range.start as *mut _, code.range.len(), Advice::LinuxDontNeed) };
        }
    }
    Ok(())
}

/// A line of `/proc/self/maps`.
#[derive(Debug)]
struct Mapping<'a> {
    range: Range<usize>,
    access: &'a str,
    /// Empty for memory that is not a file's.
    path: &'a str,
}

impl<'a> Mapping<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let address = |text| usize::from_str_radix(text, 16).ok();
        Some(Self { range: address(start)?..address(end)?, access: words.next()?, path: words.nth(3).unwrap_or_default() })
    }

    fn is_code(&self) -> bool {
        self.access == "r-xp" && self.path.starts_with('/')
    }
}

/// Where the variables are: in what is mapped of a file, those with a first value, and behind it, those that begin with zero.
fn variables(mappings: &[Mapping<'_>]) -> Vec<Range<usize>> {
    let mut end_of_file = None;
    let mut found = Vec::new();
    for Mapping { range, path, .. } in mappings.iter().filter(|mapping| mapping.access == "rw-p") {
        let is_file = path.starts_with('/');
        if is_file || path.is_empty() && end_of_file == Some(range.start) {
            found.push(range.clone());
        }
        end_of_file = is_file.then_some(range.end);
    }
    found
}

/// The pages in this range that are this process's own: written to, and not just read from a file.
fn own_pages(pagemap: &File, range: &Range<usize>) -> io::Result<Vec<Range<usize>>> {
    const PRESENT: u64 = 1 << 63;
    const SWAPPED: u64 = 1 << 62;
    const OF_FILE: u64 = 1 << 61;
    if range.len() > LARGEST {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let page = rustix::param::page_size();
    let mut entries = vec![0; range.len() / page * size_of::<u64>()];
    pagemap.read_exact_at(&mut entries, (range.start / page * size_of::<u64>()) as u64)?;
    let mut found: Vec<Range<usize>> = Vec::new();
    for (at, entry) in range.clone().step_by(page).zip(entries.as_chunks().0) {
        let entry = u64::from_ne_bytes(*entry);
        if entry & (PRESENT | SWAPPED) == 0 || entry & OF_FILE != 0 {
            continue;
        }
        match found.last_mut() {
            Some(last) if last.end == at => last.end += page,
            _ => found.push(at..at + page),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const MAPS: &str = "\
        1000-3000 r-xp 00000000 fe:00 12 /bin/x\n\
        3000-4000 rw-p 00002000 fe:00 12 /bin/x\n\
        4000-6000 rw-p 00000000 00:00 0 \n\
        8000-9000 rw-p 00000000 00:00 0 \n\
        a000-b000 rw-p 00000000 00:00 0 [heap]\n\
        10000-30000 rw-p 00000000 fe:00 13 /lib/large.so\n\
        30000-31000 rw-p 00000000 00:00 0 \n\
        40000-41000 r-xp 00000000 00:00 0 [vdso]\n";

    #[test]
    fn code_and_variables_are_found() {
        let mappings: Vec<_> = MAPS.lines().filter_map(Mapping::parse).collect();
        assert_eq!(mappings.len(), 8);
        assert_eq!(mappings.iter().filter(|mapping| mapping.is_code()).count(), 1);
        assert_eq!(variables(&mappings), [0x3000..0x4000, 0x4000..0x6000, 0x10000..0x30000, 0x30000..0x31000]);
        assert!(Mapping::parse("[anything]").is_none());
    }

    #[test]
    fn nothing_changes() {
        static WRITTEN: AtomicU64 = AtomicU64::new(6);
        WRITTEN.store(7, Ordering::Relaxed);
        let pages = Pages::prepare().unwrap();
        let at = (&raw const WRITTEN).addr();
        assert!(pages.variables.iter().any(|range| range.contains(&at)), "{pages:?}, not {at:x}");
        pages.take();
        assert_eq!(WRITTEN.load(Ordering::Relaxed), 7);
    }
}
