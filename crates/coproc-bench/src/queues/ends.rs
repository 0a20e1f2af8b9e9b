//! The two ends that numbers go through, of ours and of each peer.

use std::hint::black_box;
use std::ops::Range;
use std::sync::Arc;

use coproc::{Item, Message, Queue};
use crossbeam_queue::ArrayQueue;

use crate::measure::Result;
use crate::peers::poll::poll;
use crate::peers::{futex, iceoryx2, ipc_channel, pipe, socket};

/// Where numbers go in.
pub(super) trait Sends {
    /// Sends these, in order.
    fn send_all(&mut self, numbers: Range<u64>);
}

/// Where they come out.
pub(super) trait Receives {
    /// Receives so many, and tells their sum.
    fn recv_all(&mut self, count: u64) -> u64;
}

impl<S: Sends, R> Sends for (S, R) {
    #[inline]
    fn send_all(&mut self, numbers: Range<u64>) {
        self.0.send_all(numbers);
    }
}

impl<S, R: Receives> Receives for (S, R) {
    #[inline]
    fn recv_all(&mut self, count: u64) -> u64 {
        self.1.recv_all(count)
    }
}

/// What another process is given so that it has an end, or both.
pub(super) trait Plug: Message {
    type End;

    fn plug(self) -> Result<Self::End>;
}

/// What is sent for a number.
pub(super) trait Load: Copy + Send + Sync + 'static {
    fn of(number: u64) -> Self;

    /// The number, if it has arrived whole.
    fn number(&self) -> u64;
}

impl Load for u64 {
    #[inline(always)]
    fn of(number: u64) -> Self {
        number
    }

    #[inline(always)]
    fn number(&self) -> u64 {
        *self
    }
}

impl<const N: usize> Load for [u64; N] {
    #[inline(always)]
    fn of(number: u64) -> Self {
        [number; N]
    }

    #[inline(always)]
    fn number(&self) -> u64 {
        // All of it is wanted, so that no copy is left out.
        let all = black_box(self);
        assert_eq!(all[0], all[N - 1], "the item is torn");
        all[0]
    }
}

/// A message of as many bytes as the one that a socket carries, of which the first are a number.
struct Short;

impl Short {
    #[inline(always)]
    fn of(number: u64) -> [u8; socket::MESSAGE] {
        let mut message = [7; socket::MESSAGE];
        message[..8].copy_from_slice(&number.to_le_bytes());
        message
    }
}

#[inline(always)]
fn recv_short(from: &coproc::PipeReceiver) -> u64 {
    let mut message = [0; socket::MESSAGE];
    assert_eq!(from.recv_into(&mut message), Ok(message.len()));
    message[..8].iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// The same line for each end into which numbers go one by one.
macro_rules! sends {
    ($([$($t:tt)*] $end:ty: |$to:ident, $number:ident| $send:expr;)*) => {
        $(impl<$($t)*> Sends for $end {
            #[inline]
            fn send_all(&mut self, numbers: Range<u64>) {
                let $to = self;
                for $number in numbers {
                    $send;
                }
            }
        })*
    };
}

/// The same line for each end out of which they come one by one.
macro_rules! receives {
    ($([$($t:tt)*] $end:ty: |$from:ident| $recv:expr;)*) => {
        $(impl<$($t)*> Receives for $end {
            #[inline]
            fn recv_all(&mut self, count: u64) -> u64 {
                let $from = self;
                (0..count).map(|_| $recv).fold(0, u64::wrapping_add)
            }
        })*
    };
}

sends! {
    [T: Load + Item] Queue<T>: |to, n| to.send(T::of(n)).unwrap();
    [T: Load + Item] coproc::Sender<T>: |to, n| to.send(T::of(n)).unwrap();
    [] coproc::PipeSender: |to, n| to.send(&Short::of(n)).unwrap();
    [T: Load] Arc<ArrayQueue<T>>: |to, n| poll(|| to.push(T::of(n)).ok());
    [T: Load] crossbeam_channel::Sender<T>: |to, n| to.send(T::of(n)).unwrap();
    [T: Load] kanal::Sender<T>: |to, n| to.send(T::of(n)).unwrap();
    [T: Load] rtrb::Producer<T>: |to, n| poll(|| to.push(T::of(n)).ok());
    [] ipc_channel::Sender: |to, n| to.send(n).unwrap();
    [] iceoryx2::Sender: |to, n| to.send(n);
    [] futex::Way: |to, n| to.send(n);
    [] pipe::Sender: |to, n| to.send(n);
    [] socket::Socket: |to, n| to.send(n);
}

receives! {
    [T: Load + Item] Queue<T>: |from| from.recv().unwrap().number();
    [T: Load + Item] coproc::Receiver<T>: |from| from.recv().unwrap().number();
    [] coproc::PipeReceiver: |from| recv_short(from);
    [T: Load] Arc<ArrayQueue<T>>: |from| poll(|| from.pop()).number();
    [T: Load] crossbeam_channel::Receiver<T>: |from| from.recv().unwrap().number();
    [T: Load] kanal::Receiver<T>: |from| from.recv().unwrap().number();
    [T: Load] rtrb::Consumer<T>: |from| poll(|| from.pop().ok()).number();
    [] ipc_channel::Receiver: |from| from.recv().unwrap();
    [] iceoryx2::Receiver: |from| from.recv();
    [] futex::Way: |from| from.recv();
    [] pipe::Receiver: |from| from.recv();
    [] socket::Socket: |from| from.recv();
}

/// An end through which so many go at a time.
#[derive(Clone, Debug, Message)]
pub(super) struct Bulk<E>(pub(super) E);

const AT_A_TIME: usize = 256;

/// The numbers in pieces, each given to `send`.
fn send_in_pieces(numbers: Range<u64>, mut send: impl FnMut(&[u64])) {
    let mut items = [0; AT_A_TIME];
    for first in numbers.clone().step_by(AT_A_TIME) {
        let count = (numbers.end - first).min(AT_A_TIME as u64);
        let items = &mut items[..count as usize];
        items.iter_mut().zip(first..).for_each(|(item, number)| *item = number);
        send(items);
    }
}

/// The sum of what `recv` puts into the pieces that it is given.
fn recv_in_pieces(count: u64, mut recv: impl FnMut(&mut [u64]) -> usize) -> u64 {
    let mut items = [0; AT_A_TIME];
    let mut left = count;
    let mut sum = 0_u64;
    while left > 0 {
        let most = left.min(AT_A_TIME as u64) as usize;
        let received = recv(&mut items[..most]);
        sum = items[..received].iter().fold(sum, |sum, &item| sum.wrapping_add(item));
        left -= received as u64;
    }
    sum
}

impl Sends for Bulk<Queue<u64>> {
    fn send_all(&mut self, numbers: Range<u64>) {
        send_in_pieces(numbers, |items| self.0.send_slice(items).unwrap());
    }
}

impl Receives for Bulk<Queue<u64>> {
    fn recv_all(&mut self, count: u64) -> u64 {
        recv_in_pieces(count, |items| self.0.recv_into(items).unwrap())
    }
}

impl Sends for Bulk<coproc::Sender<u64>> {
    fn send_all(&mut self, numbers: Range<u64>) {
        send_in_pieces(numbers, |items| self.0.send_slice(items).unwrap());
    }
}

impl Receives for Bulk<coproc::Receiver<u64>> {
    fn recv_all(&mut self, count: u64) -> u64 {
        recv_in_pieces(count, |items| self.0.recv_into(items).unwrap())
    }
}

/// The same line for each end that is had by opening what was given.
macro_rules! plugs {
    ($([$($t:tt)*] $given:ty => $end:ty: |$it:ident| $open:expr;)*) => {
        $(impl<$($t)*> Plug for $given {
            type End = $end;

            fn plug(self) -> Result<$end> {
                let $it = self;
                $open
            }
        })*
    };
}

plugs! {
    [T: Item] Queue<T> => Self: |it| Ok(it);
    [T: Item] coproc::Sender<T> => Self: |it| Ok(it);
    [T: Item] coproc::Receiver<T> => Self: |it| Ok(it);
    [] coproc::PipeSender => Self: |it| Ok(it);
    [] coproc::PipeReceiver => Self: |it| Ok(it);
    [E: Message] Bulk<E> => Self: |it| Ok(it);
    [] futex::Way => Self: |it| Ok(it);
    [] pipe::Address => (pipe::Sender, pipe::Receiver): |it| Ok(it.open()?);
    [] ipc_channel::Address => (ipc_channel::Sender, ipc_channel::Receiver): |it| it.connect();
    [] iceoryx2::Publishes => iceoryx2::Sender: |it| it.0.publish();
    [] iceoryx2::Subscribes => iceoryx2::Receiver: |it| it.0.subscribe();
    [A: Plug, B: Plug] (A, B) => (A::End, B::End): |it| Ok((it.0.plug()?, it.1.plug()?));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mut to: impl Sends, mut from: impl Receives) {
        to.send_all(0..4);
        assert_eq!(from.recv_all(3), 3);
        assert_eq!(from.recv_all(1), 3);
    }

    #[test]
    fn what_goes_in_comes_out() {
        let queue = Queue::<u64>::new(4).unwrap();
        check(queue.clone(), queue);
        let queue = Queue::<[u64; 128]>::new(4).unwrap();
        check(queue.clone(), queue);
        let queue = Bulk(Queue::new(4).unwrap());
        check(queue.clone(), queue);
        let (to, from) = coproc::spsc::<u64>(4).unwrap();
        check(to, from);
        let (to, from) = coproc::spsc::<u64>(4).unwrap();
        check(Bulk(to), Bulk(from));
        let queue = Arc::new(ArrayQueue::<u64>::new(4));
        check(queue.clone(), queue);
        let (to, from) = crossbeam_channel::bounded::<[u64; 8]>(4);
        check(to, from);
        let (to, from) = kanal::bounded::<u64>(4);
        check(to, from);
        let (to, from) = rtrb::RingBuffer::<u64>::new(4);
        check(to, from);
        let (to, from) = socket::Socket::pair().unwrap();
        check(to, from);
    }

    #[test]
    #[should_panic(expected = "torn")]
    fn a_torn_item_is_seen() {
        [1, 1, 2].number();
    }
}
