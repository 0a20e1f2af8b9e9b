//! A ring, of which one end dies.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Instant;

use coproc::{Receiver, RecvError, Result, SendError, Sender, Shareable, SharedValue, spsc};
use coproc_pool::{Cause, Process};
use coproc_tests::{Random, resume, signal, until};

use crate::{Score, alone, duration};

/// What the ends of a ring say about themselves.
#[derive(Shareable)]
#[repr(C)]
struct Ends {
    score: Score,
    /// How many items were certainly sent, and received: noted after the call.
    sent: AtomicU64,
    received: AtomicU64,
}

/// How many items a bulk call takes.
const BULK: u64 = 5;

impl Ends {
    /// Sends 0, 1, 2, ... until there is nobody to send to.
    fn send_all(&self, sender: &mut Sender<u64>, bulk: bool) -> SendError<()> {
        for n in (0..).step_by(if bulk { BULK as usize } else { 1 }) {
            let items: [u64; BULK as usize] = std::array::from_fn(|i| n + i as u64);
            let sent = if bulk { sender.send_slice(&items) } else { sender.send_slice(&items[..1]) };
            match sent {
                Ok(()) => self.sent.store(n + if bulk { BULK } else { 1 }, SeqCst),
                Err(error) => {
                    self.sent.store(n + error.sent as u64, SeqCst);
                    return error.reason;
                }
            }
            self.score.turn();
        }
        unreachable!("the numbers do not end")
    }

    /// Receives 0, 1, 2, ... until nothing can come any more.
    fn receive_all(&self, receiver: &mut Receiver<u64>, bulk: bool) -> RecvError {
        let (mut next, mut room) = (0, [0; BULK as usize]);
        loop {
            match receiver.recv_into(if bulk { &mut room } else { &mut room[..1] }) {
                Ok(count) => {
                    self.score.never(!room[..count].iter().copied().eq(next..next + count as u64));
                    next += count as u64;
                    self.received.store(next, SeqCst);
                    self.score.turn();
                }
                Err(error) => return error,
            }
        }
    }
}

/// One ring after the other, with its ends in two children, of which one is killed at a random moment; the other says how it ended.
#[test]
fn ring() -> Result<()> {
    fn send(ends: SharedValue<Ends>, mut sender: Sender<u64>, bulk: bool) -> bool {
        ends.send_all(&mut sender, bulk) == SendError::Disconnected(())
    }
    fn receive(ends: SharedValue<Ends>, mut receiver: Receiver<u64>, bulk: bool) -> bool {
        ends.receive_all(&mut receiver, bulk) == RecvError::Disconnected
    }
    let _alone = alone("spsc");
    let mut random = Random(std::process::id().into());
    let (end, mut kills, mut turns, mut lost) = (Instant::now() + duration(), 0, 0, 0);
    while Instant::now() < end {
        let ends = SharedValue::<Ends>::zeroed()?;
        let capacity = 1 + random.below(9);
        let (sender, receiver) = spsc(capacity as usize)?;
        let (bulk_send, bulk_recv) = (random.below(2) == 0, random.below(2) == 0);
        let sends = Process::spawn(send, (&ends, sender, bulk_send))?;
        let receives = Process::spawn(receive, (&ends, receiver, bulk_recv))?;
        let steps = random.below(200);
        until("items pass", || ends.score.turns.load(SeqCst) > steps);
        for _ in 0..random.below(2000) {
            std::hint::spin_loop();
        }
        // Who is stopped for a while is not dead.
        if random.below(4) == 0 {
            let pid = if random.below(2) == 0 { sends.pid() } else { receives.pid() };
            signal(pid, libc::SIGSTOP);
            resume(pid);
        }
        let kills_sender = random.below(2) == 0;
        let (dies, lives) = if kills_sender { (sends, receives) } else { (receives, sends) };
        dies.kill()?;
        assert!(matches!(dies.join(), Err(error) if error.cause == (Cause::Killed { signal: 9 })));
        ends.score.never(!lives.join()?);
        let (sent, received) = (ends.sent.load(SeqCst), ends.received.load(SeqCst));
        if kills_sender {
            // All that was sent for sure, and at most one call more.
            assert!((sent..=sent + if bulk_send { BULK } else { 1 }).contains(&received), "{received} of {sent}");
        } else {
            // What is neither noted nor inside was in one call of the dead receiver.
            let most = if bulk_recv { BULK.min(capacity) } else { 1 };
            assert!(
                (received + capacity..=received + capacity + most).contains(&sent),
                "{sent} sent, {received} received, {capacity}"
            );
            lost += sent - received - capacity;
        }
        assert_eq!(ends.score.violations.load(SeqCst), 0);
        turns += ends.score.turns.load(SeqCst);
        kills += 1;
    }
    println!("spsc: {kills} kills, {turns} turns, 0 violations, {lost} items lost with dead receivers");
    assert!(kills > 0);
    Ok(())
}
