use std::sync::Arc;
use std::time::Duration;

use super::{beside, together};
use crate::sync::{LockError, RwLock, TryLockError};
use crate::world::{Bytes, Fences, Options, Running, become_process, model_both, model_kills, process};

struct Shared {
    lock: RwLock<u64>,
    data: Bytes,
}

impl Shared {
    /// A lock in which these processes have read already, so that they find their slots at once.
    fn read_by(readers: &[u64]) -> Arc<Self> {
        let shared = Arc::new(Self { lock: RwLock::new(0), data: Bytes::default() });
        for &reader in readers {
            become_process(reader);
            shared.read();
        }
        become_process(1);
        shared
    }

    fn read(&self) -> u64 {
        let guard = self.lock.read().unwrap();
        let data = self.data.get();
        drop(guard);
        data
    }

    fn write(&self) {
        let guard = self.lock.write().unwrap();
        self.data.add(1);
        drop(guard);
    }
}

#[test]
fn a_writer_and_a_known_reader() {
    model_both(Options::new(6).preemptions(4), || {
        let shared = Shared::read_by(&[2]);
        let [reader] = beside(&shared, [process(2)], |shared, _| assert!(shared.read() < 2));
        shared.write();
        reader.join();
        assert_eq!(shared.read(), 1);
    });
}

#[test]
fn a_writer_and_a_new_reader() {
    model_both(Options::new(6).preemptions(3), || {
        let shared = Shared::read_by(&[]);
        let [reader] = beside(&shared, [process(2)], |shared, _| assert!(shared.read() < 2));
        shared.write();
        reader.join();
    });
}

#[test]
fn a_writer_and_two_readers() {
    model_both(Options::new(6).preemptions(2), || {
        let shared = Shared::read_by(&[2]);
        let readers = beside(&shared, [process(2), process(3)], |shared, _| assert!(shared.read() < 2));
        shared.write();
        assert_eq!(readers.map(Running::join), [true; 2]);
    });
}

#[test]
fn two_readers_of_one_process_and_a_writer() {
    model_both(Options::new(6).preemptions(2), || {
        let shared = Shared::read_by(&[2]);
        let readers = [process(2), process(2).thread(3)];
        let readers = beside(&shared, readers, |shared, _| assert!(shared.read() < 2));
        shared.write();
        assert_eq!(readers.map(Running::join), [true; 2]);
    });
}

#[test]
fn two_writers_and_a_reader() {
    model_both(Options::new(6).preemptions(2), || {
        let shared = Shared::read_by(&[2]);
        let [reader] = beside(&shared, [process(2)], |shared, _| assert!(shared.read() < 3));
        together(&shared, [process(3)], |shared, _| shared.write());
        reader.join();
        assert_eq!(shared.read(), 2);
    });
}

#[test]
fn a_writer_that_gives_up_lets_readers_in() {
    model_both(Options::new(6).preemptions(2), || {
        let shared = Shared::read_by(&[1]);
        let inside = shared.lock.read().unwrap();
        let [writer] =
            beside(&shared, [process(2).impatient(2)], |shared, _| match shared.lock.write_timeout(Duration::from_millis(30)) {
                Ok(guard) => {
                    shared.data.add(1);
                    drop(guard);
                }
                Err(error) => assert_eq!(error, TryLockError::TimedOut),
            });
        let [reader] = beside(&shared, [process(3)], |shared, _| assert!(shared.read() < 2));
        drop(inside);
        assert!(writer.join() && reader.join());
    });
}

#[test]
fn who_only_tries_never_sleeps() {
    model_both(Options::new(6).preemptions(3), || {
        let shared = Shared::read_by(&[2]);
        let [reader] = beside(&shared, [process(2)], |shared, _| match shared.lock.try_read() {
            Ok(guard) => {
                shared.data.get();
                drop(guard);
            }
            Err(error) => assert_eq!(error, TryLockError::WouldBlock),
        });
        match shared.lock.try_write() {
            Ok(guard) => {
                shared.data.add(1);
                drop(guard);
            }
            Err(error) => assert_eq!(error, TryLockError::WouldBlock),
        }
        reader.join();
        shared.write();
    });
}

#[test]
fn a_reader_may_be_killed_at_any_step() {
    model_kills(Options { fences: Fences::After, ..Options::new(6).preemptions(2) }, |steps| {
        let shared = Shared::read_by(&[]);
        let reader = process(2).killed_after(steps);
        let [reader] = beside(&shared, [reader], |shared, _| assert!(shared.read() < 2));
        shared.write();
        reader.join();
        shared.write();
    });
}

#[test]
fn a_writer_may_be_killed_at_any_step() {
    model_kills(Options { fences: Fences::After, ..Options::new(6).preemptions(2) }, |steps| {
        let shared = Shared::read_by(&[1]);
        let [writer] = beside(&shared, [process(2).killed_after(steps)], |shared, _| shared.write());
        let guard = match shared.lock.read() {
            Ok(guard) => Some(guard),
            Err(LockError::Poisoned(owner)) => {
                assert_eq!(owner.pid, 2);
                None
            }
            Err(error) => panic!("{error}"),
        };
        shared.data.get();
        let poisoned = guard.is_none();
        drop(guard);
        let alive = writer.join();
        assert!(!(alive && poisoned));
        drop(shared.lock.write_or_repair(|_, owner| assert_eq!(owner.pid, 2)).unwrap());
        shared.read();
    });
}
