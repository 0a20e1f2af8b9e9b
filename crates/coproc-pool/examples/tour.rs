//! Counts the bytes and words of files with several processes: `tour [FILE...]`, without arguments this workspace's own sources.
//!
//! The files are cut into blocks that lie in a [`Queue`]. Child processes take them, read them in small steps and add what they find
//! to arrays of atomics; the longest word is kept under a lock. At the end the parent counts alone and compares.
//!
//! A word is a run of ASCII letters and digits, `_` and bytes from 0x80 on. It belongs to the block in which it starts.

use std::cmp::{Reverse, min};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::available_parallelism;
use std::time::Duration;

use coproc::{Error, Event, Item, Message, Mutex, Plain, Queue, Result, Shareable, SharedArray, SharedValue};
use coproc_pool::Process;

/// What a process takes at once, and what it reads at once, in bytes.
const BLOCK: u64 = 256 * 1024;
const STEP: usize = 16 * 1024;
/// Cells for word lengths: cell `n` counts the words of `n + 1` bytes, the last one also all that are longer.
const LENGTHS: usize = 24;

#[derive(Item)]
struct Block {
    file: u64,
    offset: u64,
    len: u64,
}

/// Where a word starts, and its first bytes. Of no length: no word.
#[derive(Clone, Copy, Debug, PartialEq, Plain)]
#[repr(C)]
struct Word {
    len: u64,
    file: u64,
    offset: u64,
    head: [u8; 64],
}

#[derive(Shareable)]
#[repr(C)]
struct State {
    arrived: AtomicU64,
    start: Event,
    longest: Mutex<Word>,
}

/// What every child gets: handles of what is shared, and the paths of the files.
#[derive(Clone, Message)]
struct Job {
    blocks: Queue<Block>,
    bytes: SharedArray<AtomicU64>,
    lengths: SharedArray<AtomicU64>,
    state: SharedValue<State>,
    files: Vec<Vec<u8>>,
}

/// What was counted, in private memory.
#[derive(Debug, PartialEq)]
struct Count {
    bytes: [u64; 256],
    lengths: [u64; LENGTHS],
    longest: Word,
}

impl Word {
    const NONE: Self = Self { len: 0, file: 0, offset: 0, head: [0; 64] };

    fn push(&mut self, file: u64, offset: u64, byte: u8) {
        if self.len == 0 {
            *self = Self { file, offset, ..Self::NONE };
        }
        if let Some(place) = self.head.get_mut(self.len as usize) {
            *place = byte;
        }
        self.len += 1;
    }
}

impl Count {
    const ZERO: Self = Self { bytes: [0; 256], lengths: [0; LENGTHS], longest: Word::NONE };

    /// Counts the word, if it is one, and begins another.
    fn end(&mut self, word: &mut Word) {
        if word.len > 0 {
            self.lengths[min(word.len as usize, LENGTHS) - 1] += 1;
            self.longest = longer(self.longest, *word);
            word.len = 0;
        }
    }
}

/// The longer word; of two equal ones, that which stands first.
fn longer(a: Word, b: Word) -> Word {
    std::cmp::max_by_key(a, b, |word| (word.len, Reverse((word.file, word.offset))))
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// A child: takes blocks until there are no more. Returns how many blocks and bytes these were.
fn work(job: Job, processes: u64) -> Result<(u64, u64)> {
    // All start together, so that small jobs are shared out too; but nobody waits long for one that died.
    if job.state.arrived.fetch_add(1, Relaxed) + 1 == processes {
        job.state.start.set();
    }
    job.state.start.wait_timeout(Duration::from_secs(1));
    let (mut blocks, mut bytes) = (0, 0);
    for block in &job.blocks {
        let path = PathBuf::from(OsString::from_vec(job.files[block.file as usize].clone()));
        let count = File::open(&path).and_then(|file| count_block(&file, &block)).map_err(about(&path))?;
        add(&job, &count)?;
        (blocks, bytes) = (blocks + 1, bytes + block.len);
    }
    Ok((blocks, bytes))
}

fn count_block(file: &File, block: &Block) -> io::Result<Count> {
    let (mut count, mut word, mut step) = (Count::ZERO, Word::NONE, [0; STEP]);
    // The byte before the block says whether the block starts inside of a word, which belongs to another.
    let (mut at, end) = (block.offset.saturating_sub(1), block.offset + block.len);
    let mut inside = block.offset > 0;
    // Past the end goes on just as long as the last word does.
    while at < end || word.len > 0 {
        let read = file.read_at(&mut step, at)?;
        if read == 0 && at < end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for &byte in &step[..read] {
            if at >= end && word.len == 0 {
                break;
            }
            if at >= block.offset && at < end {
                count.bytes[usize::from(byte)] += 1;
            }
            if !is_word(byte) {
                inside = false;
                count.end(&mut word);
            } else if !inside {
                word.push(block.file, at, byte);
            }
            at += 1;
        }
        if read == 0 {
            count.end(&mut word); // It ends with the file.
        }
    }
    Ok(count)
}

/// Adds what was found in a block to what all have found.
fn add(job: &Job, count: &Count) -> Result<()> {
    let cells = job.bytes.iter().chain(job.lengths.iter());
    for (cell, &n) in cells.zip(count.bytes.iter().chain(&count.lengths)) {
        cell.fetch_add(n, Relaxed);
    }
    let mut longest = job.state.longest.lock()?;
    *longest = longer(*longest, count.longest);
    Ok(())
}

/// The same without blocks and without other processes, to compare with.
fn count_alone(files: &[(PathBuf, u64)]) -> Result<Count> {
    let (mut count, mut word) = (Count::ZERO, Word::NONE);
    for (number, (path, _)) in (0..).zip(files) {
        let file = BufReader::new(File::open(path).map_err(about(path))?);
        for (at, byte) in (0..).zip(file.bytes()) {
            let byte = byte.map_err(about(path))?;
            count.bytes[usize::from(byte)] += 1;
            if is_word(byte) { word.push(number, at, byte) } else { count.end(&mut word) }
        }
        count.end(&mut word);
    }
    Ok(count)
}

fn about(path: &Path) -> impl Fn(io::Error) -> Error {
    move |error| Error::other(format!("{}: {error}", path.display()))
}

/// The file and its length, if it is a plain file that can be read.
fn check(path: PathBuf) -> Result<(PathBuf, u64)> {
    let meta = fs::metadata(&path).map_err(about(&path))?;
    // A pipe has no end, and some files of the kernel go on behind the length that they say they have.
    let read = || File::open(&path)?.read_at(&mut [0], meta.len());
    if !(meta.is_file() || meta.is_dir()) || read().map_err(about(&path))? > 0 {
        return Err(Error::other(format!("{}: not a plain file of known length", path.display())));
    }
    Ok((path, meta.len()))
}

/// Collects this workspace's sources below a folder.
fn sources(folder: &Path, into: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
        let name = path.file_name().unwrap_or_default().as_bytes();
        if kind.is_dir() && name != b"target" && !name.starts_with(b".") {
            sources(&path, into)?;
        } else if kind.is_file() && [&b".rs"[..], b".md", b".toml"].iter().any(|end| name.ends_with(end)) {
            into.push(path);
        }
    }
    into.sort();
    Ok(())
}

fn print(files: &[(PathBuf, u64)], total: &Count, loads: &[(u32, (u64, u64))], same: bool) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout());
    let (bytes, words): (u64, u64) = (total.bytes.iter().sum(), total.lengths.iter().sum());
    writeln!(out, "{} files, {bytes} bytes, {words} words", files.len())?;

    writeln!(out, "\nmost frequent bytes")?;
    let mut values: Vec<u8> = (0..=255).filter(|&value| total.bytes[usize::from(value)] > 0).collect();
    values.sort_by_key(|&value| Reverse(total.bytes[usize::from(value)]));
    for value in values.into_iter().take(8) {
        let n = total.bytes[usize::from(value)];
        let shown = format!("'{}'", value.escape_ascii());
        writeln!(out, "  {shown:>6} {n:>12} {:5.1} %", 100.0 * n as f64 / bytes as f64)?;
    }

    writeln!(out, "\nword lengths")?;
    let most = total.lengths.iter().max().copied().unwrap_or(0);
    for (cell, &n) in total.lengths.iter().enumerate().filter(|(_, n)| **n > 0) {
        let more = if cell + 1 == LENGTHS { "+" } else { "" };
        writeln!(out, "  {:>2}{more:1} {n:>10} {}", cell + 1, "#".repeat((n * 50).div_ceil(most) as usize))?;
    }
    let Word { len, file, offset, head } = total.longest;
    if len > 0 {
        let shown = String::from_utf8_lossy(&head[..min(len as usize, head.len())]);
        let more = if len as usize > head.len() { "..." } else { "" };
        writeln!(out, "  longest: {shown:?}{more}, {len} bytes, at {offset} of {}", files[file as usize].0.display())?;
    }

    writeln!(out, "\nwork by process")?;
    for (pid, (blocks, bytes)) in loads {
        writeln!(out, "  {pid:>8} {blocks:>6} blocks {bytes:>12} bytes")?;
    }
    writeln!(out, "\ncheck: one process alone counts {}", if same { "the same" } else { "OTHERWISE" })?;
    out.flush()
}

fn run() -> Result<ExitCode> {
    let mut paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if paths.is_empty() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        root.canonicalize().and_then(|root| sources(&root, &mut paths)).map_err(about(&root))?;
    }
    let files = paths.into_iter().map(check).collect::<Result<Vec<_>>>()?;

    let room: u64 = files.iter().map(|(_, len)| len.div_ceil(BLOCK)).sum();
    let job = Job {
        blocks: Queue::new(room.max(1) as usize)?,
        bytes: SharedArray::zeroed(256)?,
        lengths: SharedArray::zeroed(LENGTHS)?,
        state: SharedValue::zeroed()?,
        files: files.iter().map(|(path, _)| path.as_os_str().as_bytes().to_vec()).collect(),
    };
    // Filled and closed before any child takes from it: then no child's death leaves the parent waiting for room.
    for (number, &(_, len)) in (0..).zip(&files) {
        for offset in (0..len).step_by(BLOCK as usize) {
            job.blocks.send(Block { file: number, offset, len: min(BLOCK, len - offset) })?;
        }
    }
    job.blocks.close();

    let mut children = Vec::new();
    let processes = available_parallelism().map_or(4, |n| n.get().max(4)) as u64;
    for _ in 0..processes {
        children.push(Process::spawn(work, (job.clone(), processes))?);
    }
    let mut loads = Vec::new();
    for child in children {
        loads.push((child.pid(), child.join()?));
    }

    let total = Count {
        bytes: std::array::from_fn(|value| job.bytes[value].load(Relaxed)),
        lengths: std::array::from_fn(|cell| job.lengths[cell].load(Relaxed)),
        longest: *job.state.longest.lock()?,
    };
    let same = total == count_alone(&files)?;
    print(&files, &total, &loads, same)?;
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("tour: {error}");
        ExitCode::FAILURE
    })
}
