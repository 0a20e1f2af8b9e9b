//! How a call waits for its turn, and whom it wakes. No types but bytes.

use super::ring::{End, Ring, Stop};
use crate::sync::{Deadline, Patience, WaitWord};

/// How often a call gives way before it sleeps, and how often it looks after each time. First others, who may be who it waits for; then looks, since
/// an answer from another processor comes sooner than a return from the scheduler.
const YIELDS: u32 = 16;
const LOOKS: u32 = 16;

/// Tries until it is done, in vain, or too late; sleeps on this word in between. `must_wait` says whether an attempt would find nothing: it is
/// asked before each sleep. `is_alone` says whether nobody is left who could end it: it is asked after each.
pub(crate) fn wait_for<R>(
    word: &WaitWord,
    deadline: Deadline,
    must_wait: impl Fn() -> bool,
    is_over: impl Fn() -> bool,
    is_alone: impl Fn() -> bool,
    mut attempt: impl FnMut(Patience) -> Result<R, Stop>,
) -> Result<R, Stop> {
    let mut yields = 0;
    let mut slept = false;
    loop {
        match attempt(Patience::Until(deadline)) {
            Err(Stop::Wait) => {}
            result => {
                if slept {
                    word.pass_on(|| !must_wait());
                }
                return result;
            }
        }
        if is_over() {
            return Err(Stop::Closed);
        }
        if yields < YIELDS {
            yields += 1;
            std::thread::yield_now();
            look_again(&must_wait);
            continue;
        }
        let ticket = word.prepare_dearly();
        if !must_wait() || is_over() {
            continue;
        }
        let in_time = word.sleep(ticket, deadline);
        slept |= in_time;
        // First that nobody is left, then once more what they left. Also by who never sleeps, since its time is over at once.
        if must_wait() && is_alone() && must_wait() && !is_over() {
            return Err(Stop::Disconnected);
        }
        if !in_time {
            return Err(Stop::Wait);
        }
    }
}

/// Looks for a moment whether the waiting is over.
fn look_again(must_wait: impl Fn() -> bool) {
    for _ in 0..LOOKS {
        if !must_wait() {
            break;
        }
        std::hint::spin_loop();
    }
}

impl Ring {
    /// [`wait_for`] the ring to have something for this side: room, or items.
    pub(crate) fn wait_for<R>(
        &self,
        end: End,
        deadline: Deadline,
        is_alone: impl Fn() -> bool,
        attempt: impl FnMut(Patience) -> Result<R, Stop>,
    ) -> Result<R, Stop> {
        let (word, is_over): (_, fn(&Self) -> bool) = match end {
            End::Send => (&self.signals().not_full, Self::is_closed),
            End::Recv => (&self.signals().not_empty, Self::is_drained),
        };
        wait_for(word, deadline, || self.must_wait(end), || is_over(self), is_alone, attempt)
    }

    /// [`pass`](Self::pass) for senders, and wakes receivers.
    #[inline]
    pub(crate) fn pass_in(&self, most: usize, patience: Patience, work: impl FnMut(usize, *mut u8)) -> Result<usize, Stop> {
        let sent = self.pass(End::Send, most, patience, work);
        match sent {
            Ok(sent) => wake(&self.signals().not_empty, sent),
            // A receiver may have seen this call at it, and waits to learn what came of it.
            Err(Stop::Closed) => self.signals().not_empty.notify_all(),
            Err(_) => {}
        }
        sent
    }

    /// Closes the ring, and lets all go who wait.
    pub(crate) fn close_for_all(&self) {
        self.close();
        self.signals().not_empty.notify_all();
        self.signals().not_full.notify_all();
    }
}

/// Wakes as many sleepers as there are items, or places, for them.
#[inline]
pub(crate) fn wake(word: &WaitWord, count: usize) {
    match count {
        1 => word.notify_one_cheaply(),
        _ => word.notify_all_cheaply(),
    }
}
