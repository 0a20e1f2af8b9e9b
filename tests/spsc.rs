//! The ring between one sender and one receiver.

use coproc::{RecvError, Result, Sender, spsc};
use coproc_pool::Process;

fn count(mut sender: Sender<u64>, to: u64) -> Result<()> {
    for n in 0..to {
        sender.send(n)?;
    }
    Ok(())
}

#[test]
fn a_child_sends_in_order_and_closes_by_its_end() {
    let (sender, mut receiver) = spsc::<u64>(7).unwrap();
    let process = Process::spawn(count, (sender, 10_000)).unwrap();
    assert!(receiver.iter().eq(0..10_000));
    assert_eq!(receiver.recv(), Err(RecvError::Closed));
    process.join().unwrap();
}

#[test]
fn a_killed_sender_is_disconnected() {
    fn forever(mut sender: Sender<u64>) {
        sender.send(1).unwrap();
        loop {
            std::thread::park();
        }
    }
    let (sender, mut receiver) = spsc::<u64>(7).unwrap();
    let process = Process::spawn(forever, (sender,)).unwrap();
    assert_eq!(receiver.recv(), Ok(1));
    process.kill().unwrap();
    assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
}
