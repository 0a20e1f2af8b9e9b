//! The Mandelbrot set, as a picture that a pool fills in place: `mandelbrot FILE.png [--kill]`.
//!
//! With `--kill`, workers are killed while they work. What was lost is computed again, so the picture is the same, byte for byte.
//! With `--features progress`, bars show how far it is.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coproc_pool::{Pool, PoolError, coproc::SharedArray};

const WIDTH: usize = 960;
const HEIGHT: usize = 640;
/// So many rows are given to a worker at once.
const ROWS: usize = 8;
const LIMIT: u32 = 500;

/// How soon the point leaves, from 0 (never) to 255.
fn shade(pixel: usize) -> u8 {
    let x = (pixel % WIDTH) as f64 / WIDTH as f64 * 3.0 - 2.1;
    let y = (pixel / WIDTH) as f64 / HEIGHT as f64 * 2.0 - 1.0;
    let (mut a, mut b) = (0.0_f64, 0.0_f64);
    for step in 0..LIMIT {
        (a, b) = (a * a - b * b + x, 2.0 * a * b + y);
        if a * a + b * b > 4.0 {
            return 255 - (step.min(63) * 4) as u8;
        }
    }
    0
}

/// Fills the picture; a picture that a killed worker may have torn is filled again, where that one was.
fn fill(pool: &Pool, picture: &SharedArray<u8>) -> coproc::Result<u32> {
    let mut deaths = 0;
    loop {
        let filled = pool.for_each_chunk_of(picture, ROWS * WIDTH, |first: usize, rows: &mut [u8]| {
            for (pixel, place) in (first..).zip(rows) {
                // White is no shade that was computed: zero bytes are what is left to do.
                if *place == 0 {
                    *place = shade(pixel).max(1);
                }
            }
        });
        match filled {
            Ok(()) => return Ok(deaths),
            Err(PoolError::WorkerDied { .. }) => {
                deaths += 1;
                drop(picture.lock_or_repair(|_, _| ())?);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Kills a worker every now and then, until told to stop.
fn murder(pool: &Pool, stop: &AtomicBool) {
    let mut turn = 0;
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(15));
        let workers = pool.stats().workers;
        turn = (turn + 1) % workers.len();
        if let Some(pid) = workers[turn].pid {
            let _ =
                std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(std::process::Stdio::null()).status();
        }
    }
}

/// A PNG in shades of grey, not compressed.
fn png(picture: &[u8], mut to: impl Write) -> io::Result<()> {
    let mut chunk = |name: &[u8; 4], data: &[u8]| {
        let named = [&name[..], data].concat();
        to.write_all(&(data.len() as u32).to_be_bytes())?;
        to.write_all(&named)?;
        to.write_all(&crc(&named).to_be_bytes())
    };
    let mut header = [WIDTH as u32, HEIGHT as u32].map(u32::to_be_bytes).concat();
    header.extend([8, 0, 0, 0, 0]);
    // Each row begins with the number of its filter: none.
    let rows: Vec<u8> = picture.chunks(WIDTH).flat_map(|row| [&[0], row].concat()).collect();
    let mut packed = vec![0x78, 0x01];
    let mut blocks = rows.chunks(0xffff).peekable();
    while let Some(block) = blocks.next() {
        packed.push(u8::from(blocks.peek().is_none()));
        packed.extend((block.len() as u16).to_le_bytes());
        packed.extend((!(block.len() as u16)).to_le_bytes());
        packed.extend(block);
    }
    packed.extend(adler(&rows).to_be_bytes());
    chunk(b"IHDR", &header)?;
    chunk(b"IDAT", &packed)?;
    chunk(b"IEND", &[])
}

fn crc(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}

fn adler(bytes: &[u8]) -> u32 {
    let (a, b) = bytes.iter().fold((1, 0), |(a, b), &byte| ((a + u32::from(byte)) % 65_521, (a + u32::from(byte) + b) % 65_521));
    b << 16 | a
}

fn main() -> coproc::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(file) = args.iter().find(|arg| *arg != "--kill") else {
        return Err(coproc::Error::other("usage: mandelbrot FILE.png [--kill]"));
    };
    let pool = Pool::builder().processes(4);
    #[cfg(feature = "progress")]
    let pool = pool.progress_bar();
    let pool = pool.build()?;
    let picture = SharedArray::<u8>::zeroed(WIDTH * HEIGHT)?;
    let stop = AtomicBool::new(!args.iter().any(|arg| arg == "--kill"));
    let deaths = std::thread::scope(|scope| {
        scope.spawn(|| murder(&pool, &stop));
        let deaths = fill(&pool, &picture);
        stop.store(true, Ordering::Relaxed);
        deaths
    })?;
    let failed = |error| coproc::Error::other(format!("{file}: {error}"));
    let mut to = std::fs::File::create(file).map_err(failed)?;
    let elements = picture.read()?;
    to.write_all(b"\x89PNG\r\n\x1a\n").and_then(|()| png(&elements, &mut to)).map_err(failed)?;
    println!("{WIDTH} by {HEIGHT} pixels; {deaths} times over because of a killed worker");
    Ok(())
}
