use std::mem;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::message::Parcel;
use crate::queue::{RecvError, RecvTimeoutError, SendError, TryRecvError};
use crate::spsc::{Receiver, Sender, spsc};
use crate::world::{Options, become_process, kill, model, model_kills, process};

fn options(capacity: usize) -> Options {
    Options::new(8 + capacity)
}

/// A ring whose sender process 2 has.
fn sender_elsewhere(capacity: usize) -> (Sender<u64>, Receiver<u64>) {
    let (sender, receiver) = spsc(capacity).unwrap();
    let parcel = Parcel::of(&sender);
    become_process(2);
    let sender = parcel.open().unwrap();
    become_process(1);
    (sender, receiver)
}

/// A ring whose receiver process 2 has.
fn receiver_elsewhere(capacity: usize) -> (Sender<u64>, Receiver<u64>) {
    let (sender, receiver) = spsc(capacity).unwrap();
    let parcel = Parcel::of(&receiver);
    become_process(2);
    let receiver = parcel.open().unwrap();
    become_process(1);
    (sender, receiver)
}

#[test]
fn two_items_through_one_place() {
    model(options(1).preemptions(2), || {
        let (mut sender, mut receiver) = sender_elsewhere(1);
        let sends = process(2).run(move || {
            sender.send(1).unwrap();
            sender.send(2).unwrap();
        });
        assert_eq!(receiver.recv(), Ok(1));
        assert_eq!(receiver.recv(), Ok(2));
        assert_eq!(receiver.recv(), Err(RecvError::Closed));
        sends.join();
    });
}

#[test]
fn three_items_through_two_places() {
    model(options(2).preemptions(2), || {
        let (mut sender, mut receiver) = receiver_elsewhere(2);
        let receives = process(2).run(move || {
            let mut items = [0; 3];
            let mut count = 0;
            while count < 3 {
                count += receiver.recv_into(&mut items[count..]).unwrap();
            }
            assert_eq!(items, [1, 2, 3]);
        });
        sender.send_slice(&[1, 2, 3]).unwrap();
        receives.join();
    });
}

/// Who goes one by one keeps a run of slots to itself, which ends at the end of the ring, and where many go at once.
#[test]
fn one_by_one_and_many_at_once_share_a_ring() {
    model(options(2).preemptions(2), || {
        let (mut sender, mut receiver) = sender_elsewhere(2);
        let sends = process(2).run(move || {
            sender.send(1).unwrap();
            sender.send_slice(&[2, 3]).unwrap();
            sender.send(4).unwrap();
        });
        assert_eq!(receiver.recv(), Ok(1));
        let mut items = [0; 2];
        let mut count = 0;
        while count < 2 {
            count += receiver.recv_into(&mut items[count..]).unwrap();
        }
        assert_eq!((items, receiver.recv()), ([2, 3], Ok(4)));
        sends.join();
    });
}

#[test]
fn the_last_item_is_received_before_closed() {
    model(options(2).preemptions(3), || {
        let (mut sender, mut receiver) = sender_elsewhere(2);
        let sends = process(2).run(move || {
            sender.send(1).unwrap();
            drop(sender);
        });
        assert_eq!(receiver.recv(), Ok(1));
        assert_eq!(receiver.recv(), Err(RecvError::Closed));
        sends.join();
    });
}

/// The barrier's place between a position and the look at who sleeps would hide what `close` and `is_closed_by` are for.
#[test]
fn the_last_item_is_received_before_closed_without_the_barrier_too() {
    model(Options { barrier_refused: true, ..options(2).preemptions(3) }, || {
        let (mut sender, mut receiver) = sender_elsewhere(2);
        let sends = process(2).run(move || {
            sender.send(1).unwrap();
            drop(sender);
        });
        let receives = process(1).restless().run(move || {
            assert_eq!(receiver.recv(), Ok(1));
            assert_eq!(receiver.recv(), Err(RecvError::Closed));
        });
        sends.join();
        receives.join();
    });
}

#[test]
fn a_sleeping_receiver_is_let_go_when_the_sender_is_dropped() {
    model(options(1).preemptions(3), || {
        let (sender, mut receiver) = receiver_elsewhere(1);
        let receives = process(2).run(move || assert_eq!(receiver.recv(), Err(RecvError::Closed)));
        drop(sender);
        receives.join();
    });
}

#[test]
fn a_sleeping_sender_is_let_go_when_the_receiver_is_dropped() {
    model(options(1).preemptions(3), || {
        let (mut sender, receiver) = sender_elsewhere(1);
        let sends = process(2).run(move || {
            sender.send(1).ok();
            assert!(sender.send(2) == Err(SendError::Closed(2)));
        });
        drop(receiver);
        sends.join();
    });
}

#[test]
fn who_gives_up_can_come_again() {
    model(options(1).preemptions(2), || {
        let (mut sender, mut receiver) = sender_elsewhere(1);
        let sends = process(2).run(move || sender.send(1).unwrap());
        let hasty = process(1).impatient(1).run(move || {
            match receiver.recv_timeout(Duration::from_millis(30)) {
                Ok(item) => assert_eq!(item, 1),
                Err(error) => {
                    assert_eq!(error, RecvTimeoutError::Timeout);
                    assert_eq!(receiver.recv(), Ok(1));
                }
            }
            assert_eq!(receiver.recv(), Err(RecvError::Closed));
        });
        sends.join();
        hasty.join();
    });
}

#[test]
fn an_end_goes_on_where_the_last_process_left_it() {
    model(options(1).preemptions(2), || {
        let (mut sender, mut receiver) = receiver_elsewhere(1);
        let receives = process(2).run(move || {
            assert_eq!(receiver.recv(), Ok(1));
            assert_eq!(receiver.recv(), Ok(2));
            assert_eq!(receiver.recv(), Err(RecvError::Closed));
        });
        sender.send(1).unwrap();
        let parcel = Parcel::of(&sender);
        drop(sender);
        become_process(3);
        let mut sender: Sender<u64> = parcel.open().unwrap();
        sender.send(2).unwrap();
        drop(sender);
        receives.join();
    });
}

/// The survivor's slices end by themselves: a death ends one, and that may be needed for what came before it.
#[test]
fn a_sender_may_be_killed_at_any_step() {
    model_kills(options(1).preemptions(1), |steps| {
        let (mut sender, mut receiver) = sender_elsewhere(1);
        let sends = process(2).killed_after(steps).run(move || {
            sender.send(1).unwrap();
            sender.send(2).unwrap();
        });
        let seen = Arc::new(Mutex::default());
        let shown = Arc::clone(&seen);
        let survives = process(1).restless().run(move || {
            let items: Vec<u64> = receiver.iter().collect();
            *shown.lock().unwrap() = Some((items, receiver.recv()));
        });
        let alive = sends.join();
        survives.join();
        let (items, end) = seen.lock().unwrap().take().unwrap();
        assert!([1, 2].starts_with(&items) && (!alive || items.len() == 2), "{items:?}");
        // Killed behind the store that closes it, it was closed.
        assert!(end == Err(RecvError::Closed) || !alive && end == Err(RecvError::Disconnected), "{end:?}");
    });
}

#[test]
fn a_receiver_may_be_killed_at_any_step() {
    model_kills(options(1).preemptions(1), |steps| {
        let (mut sender, mut receiver) = receiver_elsewhere(1);
        let receives = process(2).killed_after(steps).run(move || {
            assert_eq!(receiver.recv(), Ok(1));
            assert_eq!(receiver.recv(), Ok(2));
        });
        let seen = Arc::new(Mutex::default());
        let shown = Arc::clone(&seen);
        let survives = process(1).restless().run(move || {
            *shown.lock().unwrap() = (1..).find_map(|item| sender.send(item).err());
        });
        let alive = receives.join();
        survives.join();
        match seen.lock().unwrap().take() {
            Some(SendError::Closed(item)) => assert!(item <= 4),
            Some(SendError::Disconnected(item)) => assert!(!alive && (2..=4).contains(&item), "{item}"),
            other => panic!("{other:?}"),
        }
    });
}

/// One that sleeps through a slice, and nothing else in the way: the slice that the death ends is enough.
#[test]
fn a_death_ends_the_wait_for_the_dead() {
    model(options(1), || {
        let (sender, mut receiver) = sender_elsewhere(1);
        let dies = process(2).run(|| kill(2));
        assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
        dies.join();
        mem::forget(sender);
    });
}

#[test]
fn a_giver_may_die_when_the_end_is_on_its_way() {
    model(options(1).preemptions(2), || {
        let (sender, mut receiver) = sender_elsewhere(1);
        let gives = process(2).run(move || {
            let parcel = Parcel::of(&sender);
            drop(sender);
            let sends = process(3).run(move || {
                let mut sender: Sender<u64> = parcel.open().unwrap();
                sender.send(1).unwrap();
            });
            kill(2);
            sends.join();
        });
        // This asks at once, so perhaps when the giver still has the end.
        match receiver.try_recv() {
            Ok(item) => assert_eq!(item, 1),
            Err(error) => {
                assert_eq!(error, TryRecvError::Empty);
                assert_eq!(receiver.recv(), Ok(1));
            }
        }
        assert_eq!(receiver.recv(), Err(RecvError::Closed));
        gives.join();
    });
}

/// Where the kernel knows no `membarrier(2)`, wakes are lost, until the slice ends.
#[cfg(loom)]
#[test]
#[should_panic(expected = "deadlock")]
fn without_the_barrier_a_wake_is_lost() {
    model(Options { barrier_refused: true, ..options(1) }, || {
        let (mut sender, mut receiver) = sender_elsewhere(1);
        let sends = process(2).run(move || {
            sender.send(1).unwrap();
            mem::forget(sender);
        });
        assert_eq!(receiver.recv(), Ok(1));
        sends.join();
    });
}
