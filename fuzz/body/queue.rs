//! A list of operations on a queue or a ring, in one process, against a `VecDeque`. Without libfuzzer, so that tests can replay its corpus.

use std::collections::VecDeque;
use std::fmt::Debug;

use coproc::{Item, Queue, Receiver, RecvError, SendError, SendSliceError, Sender, TryRecvError, TrySendError, spsc};

/// The first byte chooses the type of the items and what carries them, the second the capacity; each of the others is an operation.
pub(crate) fn check(input: &[u8]) {
    let [choice, capacity, operations @ ..] = input else { return };
    let capacity = 1 + usize::from(capacity % 9);
    match choice % 5 {
        0 => compare(choice, capacity, operations, |n| n as u64),
        1 => compare(choice, capacity, operations, |_| ()),
        2 => compare(choice, capacity, operations, |n| char::from_u32(n).unwrap_or('-')),
        3 => compare(choice, capacity, operations, |n| (n % 3 == 0).then_some((n as u8, n % 2 == 0))),
        _ => compare(choice, capacity, operations, |n| [n as u8; 7]),
    }
}

/// What carries items in one process.
trait Carrier<T> {
    fn try_send(&mut self, item: T) -> Result<(), TrySendError<T>>;
    fn send_slice(&mut self, items: &[T]) -> Result<(), SendSliceError>;
    fn try_recv(&mut self) -> Result<T, TryRecvError>;
    fn recv_into(&mut self, items: &mut [T]) -> Result<usize, RecvError>;
    fn close(&mut self);
    /// Number of items inside, whether it is empty, full, closed, as each end sees it that there is.
    fn seen(&self) -> Vec<(usize, bool, bool, bool)>;
}

impl<T: Item> Carrier<T> for Queue<T> {
    fn try_send(&mut self, item: T) -> Result<(), TrySendError<T>> {
        Queue::try_send(self, item)
    }

    fn send_slice(&mut self, items: &[T]) -> Result<(), SendSliceError> {
        Queue::send_slice(self, items)
    }

    fn try_recv(&mut self) -> Result<T, TryRecvError> {
        Queue::try_recv(self)
    }

    fn recv_into(&mut self, items: &mut [T]) -> Result<usize, RecvError> {
        Queue::recv_into(self, items)
    }

    fn close(&mut self) {
        Queue::close(self);
    }

    fn seen(&self) -> Vec<(usize, bool, bool, bool)> {
        vec![(self.len(), self.is_empty(), self.is_full(), self.is_closed())]
    }
}

/// A ring is closed by its sender.
impl<T: Item> Carrier<T> for (Option<Sender<T>>, Receiver<T>) {
    fn try_send(&mut self, item: T) -> Result<(), TrySendError<T>> {
        match &mut self.0 {
            Some(sender) => sender.try_send(item),
            None => Err(TrySendError::Closed(item)),
        }
    }

    fn send_slice(&mut self, items: &[T]) -> Result<(), SendSliceError> {
        match &mut self.0 {
            Some(sender) => sender.send_slice(items),
            None if items.is_empty() => Ok(()),
            None => Err(SendSliceError { sent: 0, reason: SendError::Closed(()) }),
        }
    }

    fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.1.try_recv()
    }

    fn recv_into(&mut self, items: &mut [T]) -> Result<usize, RecvError> {
        self.1.recv_into(items)
    }

    fn close(&mut self) {
        self.0 = None;
    }

    fn seen(&self) -> Vec<(usize, bool, bool, bool)> {
        let sender = self.0.as_ref().map(|end| (end.len(), end.is_empty(), end.is_full(), end.is_closed()));
        let receiver = (self.1.len(), self.1.is_empty(), self.1.is_full(), self.1.is_closed());
        sender.into_iter().chain([receiver]).collect()
    }
}

fn compare<T: Item + Copy + PartialEq + Debug>(choice: &u8, capacity: usize, operations: &[u8], item: fn(u32) -> T) {
    // Where there is no memory, or no descriptor, there is nothing to compare.
    if choice.is_multiple_of(2) {
        let Ok(queue) = Queue::new(capacity) else { return };
        run(queue, capacity, operations, item);
    } else {
        let Ok((sender, receiver)) = spsc(capacity) else { return };
        run((Some(sender), receiver), capacity, operations, item);
    }
}

fn run<T: Item + Copy + PartialEq + Debug>(mut real: impl Carrier<T>, capacity: usize, operations: &[u8], item: fn(u32) -> T) {
    let (mut model, mut closed, mut next) = (VecDeque::new(), false, 0);
    let mut draw = |count: usize| -> Vec<T> {
        next += count as u32;
        (0..count as u32).map(|n| item(next - n)).collect()
    };
    for &operation in operations {
        let count = usize::from(operation >> 3);
        match operation % 8 {
            0 | 1 => {
                let sent = draw(1)[0];
                let expected = match (closed, model.len() == capacity) {
                    (true, _) => Err(TrySendError::Closed(sent)),
                    (_, true) => Err(TrySendError::Full(sent)),
                    _ => Ok(()),
                };
                model.extend(expected.is_ok().then_some(sent));
                assert_eq!(real.try_send(sent), expected);
            }
            2 | 3 => {
                let none = if closed { TryRecvError::Closed } else { TryRecvError::Empty };
                assert_eq!(real.try_recv(), model.pop_front().ok_or(none));
            }
            4 => {
                // No more than there is room for: it would wait.
                let items = draw(count.min(capacity - model.len()));
                if closed && !items.is_empty() {
                    assert_eq!(real.send_slice(&items), Err(SendSliceError { sent: 0, reason: SendError::Closed(()) }));
                } else {
                    assert_eq!(real.send_slice(&items), Ok(()));
                    model.extend(&items);
                }
            }
            5 => {
                let mut room = vec![item(0); count];
                if model.is_empty() && count > 0 && !closed {
                    continue;
                }
                let expected = model.len().min(count);
                let end = expected == 0 && count > 0;
                assert_eq!(real.recv_into(&mut room), if end { Err(RecvError::Closed) } else { Ok(expected) });
                assert!(model.drain(..expected).eq(room[..expected].iter().copied()));
            }
            6 => {
                while let Ok(received) = real.try_recv() {
                    assert_eq!(Some(received), model.pop_front());
                }
                assert!(model.is_empty());
            }
            // Seldom, for nothing is sent after it.
            _ if count == 31 => {
                real.close();
                closed = true;
            }
            _ => {}
        }
        for seen in real.seen() {
            // Nobody asks a queue that is closed whether it is full.
            let full = if closed { seen.2 } else { model.len() == capacity };
            assert_eq!(seen, (model.len(), model.is_empty(), full, closed));
        }
    }
    real.close();
    for left in model {
        assert_eq!(real.try_recv(), Ok(left));
    }
    assert_eq!(real.try_recv(), Err(TryRecvError::Closed));
}
