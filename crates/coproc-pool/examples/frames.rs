//! A camera process writes frames into shared memory, three processes measure their brightness where they lie, and nothing is copied.
//! With `--kill` one of the three is killed in the middle: the frame in its hands is lost at most, and its buffer comes back.

use coproc::{LoanQueue, Queue, RecvError};
use coproc_pool::Process;

const WIDTH: usize = 640;
const HEIGHT: usize = 480;
const FRAMES: u64 = 300;

fn camera(frames: LoanQueue) -> coproc::Result<()> {
    for number in 0..FRAMES {
        let mut frame = frames.loan(WIDTH * HEIGHT)?;
        frame.fill((number % 200) as u8);
        frame[..8].copy_from_slice(&number.to_le_bytes());
        frames.send(frame)?;
    }
    frames.close();
    Ok(())
}

/// Tells the number of each frame, and how bright it is.
fn measure(frames: LoanQueue, results: Queue<(u64, f64)>) -> coproc::Result<()> {
    for frame in frames.iter() {
        let (number, pixels) = frame.split_at(8);
        let number = number.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte));
        let sum: u64 = pixels.iter().map(|&pixel| u64::from(pixel)).sum();
        results.send((number, sum as f64 / pixels.len() as f64))?;
    }
    Ok(())
}

fn main() -> coproc::Result<()> {
    let kill = std::env::args().any(|arg| arg == "--kill");
    let (frames, results) = (LoanQueue::new(8, WIDTH * HEIGHT)?, Queue::new(64)?);
    let mut measuring = Vec::new();
    for _ in 0..3 {
        measuring.push(Process::spawn(measure, (&frames, &results))?);
    }
    let camera = Process::spawn(camera, (&frames,))?;

    let mut seen = 0;
    let end = loop {
        match results.recv() {
            Ok((number, brightness)) => {
                assert!((brightness - (number % 200) as f64).abs() < 1e-9, "frame {number} is torn");
                seen += 1;
                if kill && seen == 100 {
                    measuring[0].kill()?;
                }
            }
            Err(end) => break end,
        }
    };
    // Nobody closes the results: they end when all who could send some have gone.
    assert_eq!(end, RecvError::Disconnected);
    camera.join()?;
    for (number, process) in measuring.into_iter().enumerate() {
        match process.join() {
            Ok(()) => {}
            Err(error) if kill && number == 0 => println!("{error}"),
            Err(error) => return Err(error.into()),
        }
    }
    println!("{seen} of {FRAMES} frames measured");
    Ok(())
}
