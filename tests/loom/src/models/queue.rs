use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::beside;
use crate::queue::{Queue, RecvError, RecvTimeoutError, SendError, TryRecvError};
use crate::world::{Options, Running, model, model_both, model_kills, process};

struct Shared {
    queue: Queue<u64>,
    /// What was received, or known to be sent. Not part of the model: it orders nothing.
    seen: Mutex<Vec<u64>>,
}

impl Shared {
    fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self { queue: Queue::new(capacity).unwrap(), seen: Mutex::default() })
    }

    fn note(&self, item: u64) {
        self.seen.lock().unwrap().push(item);
    }

    fn sorted(&self) -> Vec<u64> {
        let mut seen = self.seen.lock().unwrap().clone();
        seen.sort_unstable();
        seen
    }
}

fn options(capacity: usize) -> Options {
    Options::new(9 + capacity)
}

#[test]
fn two_items_through_one_place() {
    model(options(1).preemptions(3), || {
        let shared = Shared::new(1);
        let [sender] = beside(&shared, [process(2)], |shared, _| {
            shared.queue.send(1).unwrap();
            shared.queue.send(2).unwrap();
        });
        assert_eq!(shared.queue.recv(), Ok(1));
        assert_eq!(shared.queue.recv(), Ok(2));
        sender.join();
    });
}

#[test]
fn three_items_through_two_places() {
    model(options(2).preemptions(2), || {
        let shared = Shared::new(2);
        let [sender] = beside(&shared, [process(2)], |shared, _| shared.queue.send_slice(&[1, 2, 3]).unwrap());
        let items = [(); 3].map(|()| shared.queue.recv().unwrap());
        assert_eq!(items, [1, 2, 3]);
        sender.join();
    });
}

fn two_senders_through(places: usize) {
    model(options(places).preemptions(2), move || {
        let shared = Shared::new(places);
        let senders = beside(&shared, [process(2), process(3)], |shared, number| shared.queue.send(number as u64).unwrap());
        let mut items = [(); 2].map(|()| shared.queue.recv().unwrap());
        items.sort_unstable();
        assert_eq!(items, [1, 2]);
        assert_eq!(senders.map(Running::join), [true; 2]);
    });
}

#[test]
fn two_senders_through_one_place() {
    two_senders_through(1);
}

#[test]
fn two_senders_through_two_places() {
    two_senders_through(2);
}

#[test]
fn two_receivers_get_an_item_each() {
    for capacity in [1, 2] {
        model(options(capacity).preemptions(2), move || {
            let shared = Shared::new(capacity);
            let receivers = beside(&shared, [process(2), process(3)], |shared, _| shared.note(shared.queue.recv().unwrap()));
            shared.queue.send(1).unwrap();
            shared.queue.send(2).unwrap();
            assert_eq!(receivers.map(Running::join), [true; 2]);
            assert_eq!(shared.sorted(), [1, 2]);
        });
    }
}

#[test]
fn what_was_sent_is_received_before_closed() {
    model_both(options(1).preemptions(2), || {
        let shared = Shared::new(1);
        let [closer] = beside(&shared, [process(3)], |shared, _| shared.queue.close());
        let [sender] = beside(&shared, [process(2)], |shared, _| match shared.queue.send(7) {
            Ok(()) => shared.note(7),
            Err(error) => assert!(error == SendError::Closed(7)),
        });
        let first = shared.queue.recv();
        assert!(sender.join() && closer.join());
        match first {
            Ok(item) => {
                assert_eq!((item, shared.sorted()), (7, vec![7]));
                assert_eq!(shared.queue.recv(), Err(RecvError::Closed));
            }
            Err(error) => {
                assert_eq!((error, shared.sorted()), (RecvError::Closed, vec![]));
                assert_eq!(shared.queue.try_recv(), Err(TryRecvError::Closed));
            }
        }
    });
}

#[test]
fn close_lets_all_receivers_go() {
    model_both(options(1).preemptions(2), || {
        let shared = Shared::new(1);
        let receivers = beside(&shared, [process(2), process(3)], |shared, _| {
            assert_eq!(shared.queue.recv(), Err(RecvError::Closed));
        });
        shared.queue.close();
        assert_eq!(receivers.map(Running::join), [true; 2]);
    });
}

#[test]
fn close_lets_all_senders_go() {
    model_both(options(1).preemptions(2), || {
        let shared = Shared::new(1);
        shared.queue.send(1).unwrap();
        let senders = beside(&shared, [process(2), process(3)], |shared, _| {
            assert!(shared.queue.send(2) == Err(SendError::Closed(2)));
        });
        shared.queue.close();
        assert_eq!(senders.map(Running::join), [true; 2]);
        assert_eq!(shared.queue.iter().collect::<Vec<_>>(), [1]);
    });
}

#[test]
fn who_gives_up_leaves_the_item_to_others() {
    model(options(1).preemptions(2), || {
        let shared = Shared::new(1);
        let [hasty] =
            beside(&shared, [process(2).impatient(2)], |shared, _| match shared.queue.recv_timeout(Duration::from_millis(30)) {
                Ok(item) => shared.note(item),
                Err(error) => assert_eq!(error, RecvTimeoutError::Timeout),
            });
        let [patient] = beside(&shared, [process(3)], |shared, _| shared.note(shared.queue.recv().unwrap()));
        shared.queue.send(1).unwrap();
        hasty.join();
        shared.queue.send(2).unwrap();
        patient.join();
    });
}

#[test]
fn a_sender_may_be_killed_at_any_step() {
    model_kills(options(2).preemptions(2), |steps| {
        let shared = Shared::new(2);
        let [sender] = beside(&shared, [process(2).killed_after(steps)], |shared, _| {
            shared.queue.send(1).unwrap();
            shared.note(1);
        });
        shared.queue.send(2).unwrap();
        let sent = sender.join();
        shared.queue.close();
        let mut items = shared.queue.iter().collect::<Vec<_>>();
        items.sort_unstable();
        let noted = shared.sorted() == [1];
        assert_eq!(sent, noted);
        assert!(items == [1, 2] || !sent && items == [2], "{items:?}");
    });
}

#[test]
fn a_sender_may_be_killed_while_a_receiver_waits() {
    model_kills(options(1).preemptions(1), |steps| {
        let shared = Shared::new(1);
        let [sender] = beside(&shared, [process(2).killed_after(steps)], |shared, _| {
            let _ = shared.queue.send(1);
        });
        let [closer] = beside(&shared, [process(3)], |shared, _| shared.queue.close());
        let items = shared.queue.iter().collect::<Vec<_>>();
        assert!(items.is_empty() || items == [1]);
        sender.join();
        closer.join();
    });
}

#[test]
fn a_receiver_may_be_killed_at_any_step() {
    model_kills(options(2).preemptions(2), |steps| {
        let shared = Shared::new(2);
        shared.queue.send_slice(&[1, 2]).unwrap();
        let [receiver] = beside(&shared, [process(2).killed_after(steps)], |shared, _| shared.note(shared.queue.recv().unwrap()));
        shared.note(shared.queue.recv().unwrap());
        let alive = receiver.join();
        shared.queue.close();
        shared.queue.iter().for_each(|item| shared.note(item));
        let seen = shared.sorted();
        assert!(seen == [1, 2] || !alive && (seen == [1] || seen == [2]), "{seen:?}");
    });
}

#[test]
fn a_receiver_may_be_killed_while_a_sender_waits() {
    model_kills(options(1).preemptions(1), |steps| {
        let shared = Shared::new(1);
        let receive = |shared: &Shared, _| shared.note(shared.queue.recv().unwrap());
        let receivers = beside(&shared, [process(2).killed_after(steps), process(3)], receive);
        shared.queue.send(1).unwrap();
        shared.queue.send(2).unwrap();
        let [alive, _] = receivers.map(Running::join);
        shared.queue.close();
        shared.queue.iter().for_each(|item| shared.note(item));
        let seen = shared.sorted();
        assert!(seen == [1, 2] || !alive && seen.len() == 1, "{seen:?}");
    });
}
