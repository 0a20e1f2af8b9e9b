use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::beside;
use crate::loan::{Loan, LoanError, LoanQueue, TryLoanError};
use crate::queue::{RecvError, SendError};
use crate::world::{Bytes, Options, Running, become_process, kill, model, model_both, model_kills, process};

struct Shared {
    loans: LoanQueue,
    /// What was received, or known to be sent. Not part of the model: it orders nothing.
    seen: Mutex<Vec<u64>>,
}

impl Shared {
    fn new(buffers: usize) -> Arc<Self> {
        let loans = LoanQueue::new(buffers, 8).unwrap();
        assert_eq!((loans.available(), loans.len()), (buffers, 0));
        Arc::new(Self { loans, seen: Mutex::default() })
    }

    fn note(&self, item: u64) {
        self.seen.lock().unwrap().push(item);
    }

    fn sorted(&self) -> Vec<u64> {
        let mut seen = self.seen.lock().unwrap().clone();
        seen.sort_unstable();
        seen
    }

    /// Sends a buffer with this number in it.
    fn send(&self, item: u64) -> Result<(), SendError<Loan>> {
        let mut loan = self.loans.loan(8).unwrap();
        content(&mut loan).set(item);
        self.loans.send(loan)
    }

    /// Receives a buffer; the number in it.
    fn recv(&self) -> Result<u64, RecvError> {
        self.loans.recv().map(|mut loan| content(&mut loan).get())
    }

    /// Every buffer can be lent to this process, and is not anybody else's.
    fn lends_all(&self) {
        let loans: Vec<_> = (0..self.loans.buffers()).map(|_| self.loans.try_loan(8).unwrap()).collect();
        assert!(matches!(self.loans.try_loan(8), Err(TryLoanError::WouldBlock)));
        loans.into_iter().for_each(|mut loan| content(&mut loan).add(1));
        assert_eq!(self.loans.available(), self.loans.buffers());
    }
}

/// The bytes of a buffer, watched for races.
fn content(loan: &mut Loan) -> &'static Bytes {
    Bytes::at(loan.as_mut_ptr())
}

fn options(buffers: usize) -> Options {
    Options::new(10 + 4 * buffers)
}

#[test]
fn one_buffer_goes_round() {
    model(options(1).preemptions(2), || {
        let shared = Shared::new(1);
        let [sender] = beside(&shared, [process(2)], |shared, _| {
            shared.send(1).unwrap();
            shared.send(2).unwrap();
        });
        assert_eq!(shared.recv(), Ok(1));
        assert_eq!(shared.recv(), Ok(2));
        sender.join();
        shared.lends_all();
    });
}

#[test]
fn one_buffer_excludes_two() {
    for second in [process(2), process(1).thread(2)] {
        model(options(1).preemptions(3), move || {
            let shared = Shared::new(1);
            let add = |shared: &Shared, _| content(&mut shared.loans.loan(8).unwrap()).add(1);
            let [other] = beside(&shared, [second], add);
            add(&shared, 0);
            other.join();
            assert_eq!(content(&mut shared.loans.try_loan(8).unwrap()).get(), 2);
        });
    }
}

#[test]
fn one_buffer_goes_round_among_three() {
    model(options(1).preemptions(1), || {
        let shared = Shared::new(1);
        let add = |shared: &Shared, _| content(&mut shared.loans.loan(8).unwrap()).add(1);
        let others = beside(&shared, [process(2), process(3)], add);
        add(&shared, 0);
        assert_eq!(others.map(Running::join), [true; 2]);
        assert_eq!(content(&mut shared.loans.try_loan(8).unwrap()).get(), 3);
    });
}

#[test]
fn what_is_received_may_be_sent_on() {
    model(options(2).preemptions(2), || {
        let shared = Shared::new(2);
        shared.send(1).unwrap();
        let [other] = beside(&shared, [process(2)], |shared, _| {
            let mut loan = shared.loans.recv().unwrap();
            content(&mut loan).add(10);
            shared.loans.send(loan).unwrap();
        });
        shared.send(2).unwrap();
        other.join();
        let mut items = [(); 2].map(|()| shared.recv().unwrap());
        items.sort_unstable();
        assert!(items == [2, 11] || items == [1, 12], "{items:?}");
        shared.lends_all();
    });
}

#[test]
fn two_senders_and_a_receiver() {
    model(options(2).preemptions(1), || {
        let shared = Shared::new(2);
        let senders = beside(&shared, [process(2), process(3)], |shared, number| shared.send(number as u64).unwrap());
        let mut items = [(); 2].map(|()| shared.recv().unwrap());
        items.sort_unstable();
        assert_eq!((items, senders.map(Running::join)), ([1, 2], [true; 2]));
        shared.lends_all();
    });
}

#[test]
fn close_lets_all_go() {
    model_both(options(1).preemptions(1), || {
        let shared = Shared::new(1);
        let held = shared.loans.loan(8).unwrap();
        let [borrower, receiver] = beside(&shared, [process(2), process(3)], |shared, number| match number {
            1 => assert!(matches!(shared.loans.loan(8), Err(LoanError::Closed))),
            _ => assert_eq!(shared.recv(), Err(RecvError::Closed)),
        });
        shared.loans.close();
        assert!(borrower.join() && receiver.join());
        assert!(matches!(shared.loans.send(held), Err(SendError::Closed(_))));
        assert_eq!(shared.loans.available(), 1);
    });
}

#[test]
fn who_gives_up_leaves_the_buffer_to_others() {
    model(options(1).preemptions(2), || {
        let shared = Shared::new(1);
        let held = shared.loans.loan(8).unwrap();
        let [hasty] = beside(&shared, [process(2).impatient(2)], |shared, _| {
            match shared.loans.loan_timeout(8, Duration::from_millis(30)) {
                Ok(loan) => drop(loan),
                Err(error) => assert_eq!(error, TryLoanError::TimedOut),
            }
        });
        let [patient] = beside(&shared, [process(3)], |shared, _| drop(shared.loans.loan(8).unwrap()));
        drop(held);
        assert!(hasty.join() && patient.join());
        shared.lends_all();
    });
}

#[test]
fn a_sender_may_be_killed_at_any_step() {
    model_kills(options(2).preemptions(2), |steps| {
        let shared = Shared::new(2);
        let [sender] = beside(&shared, [process(2).killed_after(steps)], |shared, _| {
            shared.send(1).unwrap();
            shared.note(1);
        });
        shared.send(2).unwrap();
        let sent = sender.join();
        assert_eq!(sent, shared.sorted() == [1]);
        shared.loans.close();
        let mut items = std::iter::from_fn(|| shared.recv().ok()).collect::<Vec<_>>();
        items.sort_unstable();
        assert!(items == [1, 2] || !sent && items == [2], "{items:?}");
        assert_eq!(shared.loans.len(), 0);
    });
}

#[test]
fn a_sender_may_be_killed_while_another_waits_for_a_buffer() {
    model_kills(options(1).preemptions(1), |steps| {
        let shared = Shared::new(1);
        let [sender] = beside(&shared, [process(2).killed_after(steps)], |shared, _| {
            let mut loan = shared.loans.loan(8).unwrap();
            content(&mut loan).set(1);
            if let Err(error) = shared.loans.send(loan) {
                drop(error);
            }
        });
        // Takes out what the other sent, so that the buffer comes free in any case.
        let [receiver] = beside(&shared, [process(3)], |shared, _| {
            let item = shared.recv().unwrap();
            assert!(item == 1 || item == 2);
            if item == 1 {
                assert_eq!(shared.recv(), Ok(2));
            }
        });
        shared.send(2).unwrap();
        sender.join();
        // What was killed behind 2 may have been sent behind it.
        receiver.join();
        while let Ok(loan) = shared.loans.try_recv() {
            drop(loan);
        }
        shared.lends_all();
    });
}

#[test]
fn a_receiver_may_be_killed_at_any_step() {
    model_kills(options(2).preemptions(2), |steps| {
        let shared = Shared::new(2);
        shared.send(1).unwrap();
        shared.send(2).unwrap();
        let [receiver] = beside(&shared, [process(2).killed_after(steps)], |shared, _| shared.note(shared.recv().unwrap()));
        shared.note(shared.recv().unwrap());
        let alive = receiver.join();
        while let Ok(mut loan) = shared.loans.try_recv() {
            shared.note(content(&mut loan).get());
        }
        let seen = shared.sorted();
        assert!(seen == [1, 2] || !alive && (seen == [1] || seen == [2]), "{seen:?}");
        shared.lends_all();
    });
}

#[test]
fn a_receiver_may_be_killed_while_a_sender_waits_for_its_buffer() {
    model_kills(options(1).preemptions(1), |steps| {
        let shared = Shared::new(1);
        shared.send(1).unwrap();
        let receive = |shared: &Shared, _| shared.note(shared.recv().unwrap());
        let receivers = beside(&shared, [process(2).killed_after(steps), process(3)], receive);
        // Only if one of them has it, or had it and is dead.
        shared.send(2).unwrap();
        let [alive, _] = receivers.map(Running::join);
        while let Ok(mut loan) = shared.loans.try_recv() {
            shared.note(content(&mut loan).get());
        }
        let seen = shared.sorted();
        assert!(seen == [1, 2] || !alive && seen.len() == 1, "{seen:?}");
        shared.lends_all();
    });
}

/// A process that is dead now has sent one of two buffers, and has the other.
fn left_by_a_dead_process() -> Arc<Shared> {
    let shared = Shared::new(2);
    become_process(5);
    shared.send(7).unwrap();
    std::mem::forget(shared.loans.loan(8).unwrap());
    become_process(1);
    kill(5);
    shared
}

#[test]
fn what_the_dead_has_sent_is_received_and_what_it_had_comes_back_once() {
    model(options(2).preemptions(2), || {
        let shared = left_by_a_dead_process();
        let [receiver] = beside(&shared, [process(2)], |shared, _| {
            let mut loan = shared.loans.recv().unwrap();
            assert_eq!(content(&mut loan).get(), 7);
            content(&mut loan).add(1);
            std::mem::forget(loan);
        });
        let mut mine = shared.loans.loan(8).unwrap();
        content(&mut mine).set(1);
        receiver.join();
        assert!(matches!(shared.loans.try_loan(8), Err(TryLoanError::WouldBlock)));
    });
}

#[test]
fn what_the_dead_has_sent_stays_inside_while_what_was_before_it_is_received() {
    model(options(3).preemptions(2), || {
        let shared = Shared::new(3);
        shared.send(1).unwrap();
        become_process(5);
        shared.send(7).unwrap();
        std::mem::forget(shared.loans.loan(8).unwrap());
        become_process(1);
        kill(5);
        let [receiver] = beside(&shared, [process(2)], |shared, _| {
            let mut loan = shared.loans.recv().unwrap();
            assert_eq!(content(&mut loan).get(), 1);
            std::mem::forget(loan);
        });
        let mut mine = shared.loans.loan(8).unwrap();
        content(&mut mine).set(2);
        receiver.join();
        assert!(matches!(shared.loans.try_loan(8), Err(TryLoanError::WouldBlock)));
        assert_eq!(shared.recv(), Ok(7));
    });
}

#[test]
fn of_two_who_take_it_back_one_gets_it() {
    model(options(2).preemptions(2), || {
        let shared = left_by_a_dead_process();
        let add = |shared: &Shared, _| content(&mut shared.loans.loan(8).unwrap()).add(1);
        let [other] = beside(&shared, [process(2)], add);
        add(&shared, 0);
        other.join();
        assert_eq!((shared.loans.available(), shared.loans.len()), (1, 1));
        assert_eq!(shared.recv(), Ok(7));
    });
}

#[test]
fn who_takes_it_back_may_be_killed_at_any_step() {
    model_kills(options(2).preemptions(1), |steps| {
        let shared = left_by_a_dead_process();
        let [other] = beside(&shared, [process(2).killed_after(steps)], |shared, _| drop(shared.loans.loan(8).unwrap()));
        drop(shared.loans.loan(8).unwrap());
        other.join();
        assert_eq!(shared.recv(), Ok(7));
        shared.lends_all();
    });
}
