//! A wake that one sleeper gets is passed on to the others: nobody waits for the end of its slice while there is something for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use coproc::{Queue, Semaphore};

/// Rounds in which all of four sleepers were let go at once, far below a slice (20 ms). One such round shows that wakes are passed on; a
/// machine under load may spoil some, so it is not asked of every one.
fn rounds_without_a_slice(let_go: impl Fn() + Sync, wait: impl Fn() + Sync) -> usize {
    (0..30)
        .filter(|_| {
            let asleep = AtomicUsize::new(0);
            let slowest = thread::scope(|scope| {
                let threads: Vec<_> = (0..4)
                    .map(|_| {
                        scope.spawn(|| {
                            asleep.fetch_add(1, Ordering::SeqCst);
                            wait();
                            Instant::now()
                        })
                    })
                    .collect();
                while asleep.load(Ordering::SeqCst) < 4 {
                    thread::yield_now();
                }
                // Provokes that they sleep; nothing depends on it.
                thread::sleep(Duration::from_millis(3));
                let begin = Instant::now();
                let_go();
                threads.into_iter().map(|thread| thread.join().unwrap().saturating_duration_since(begin)).max().unwrap()
            });
            slowest < Duration::from_millis(8)
        })
        .count()
}

#[test]
fn four_items_let_four_receivers_go() {
    let queue = Arc::new(Queue::<u32>::new(8).unwrap());
    let send = || (0..4).for_each(|n| queue.send(n).unwrap());
    assert!(rounds_without_a_slice(send, || assert!(queue.recv().is_ok())) > 0);
}

#[test]
fn four_permits_let_four_holders_go() {
    let permits = Semaphore::new(0);
    let release = || permits.release(4).unwrap();
    assert!(rounds_without_a_slice(release, || permits.acquire().unwrap().forget()) > 0);
}
