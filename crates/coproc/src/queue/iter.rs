//! Receiving until nothing can come any more, or nothing is there.

use std::fmt;

use super::Queue;
use crate::message::Item;
use crate::ring::Stop;
use crate::sync::{Deadline, Patience};

/// What there is instead of an item.
enum Missed {
    /// One that is no value of its type, and is gone: go on.
    Item,
    /// Nothing more comes.
    All,
}

impl From<Stop> for Missed {
    fn from(_: Stop) -> Self {
        Self::All
    }
}

/// Receives items until the queue is closed and empty. Made by [`Queue::iter`].
pub struct Iter<'a, T> {
    pub(super) queue: &'a Queue<T>,
}

impl<T: Item> fmt::Debug for Iter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Iter").field(self.queue).finish()
    }
}

impl<T: Item> Iterator for Iter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        loop {
            match self.queue.recv_until(Deadline::NEVER, Missed::Item) {
                Ok(item) => return Some(item),
                Err(Missed::Item) => {}
                Err(Missed::All) => return None,
            }
        }
    }
}

impl<'a, T: Item> IntoIterator for &'a Queue<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

/// Receives the items that are there. Made by [`Queue::drain`].
pub struct Drain<'a, T> {
    pub(super) queue: &'a Queue<T>,
}

impl<T: Item> fmt::Debug for Drain<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Drain").field(self.queue).finish()
    }
}

impl<T: Item> Iterator for Drain<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        loop {
            let place = self.queue.next_item(Patience::Yield).ok()?;
            if let Ok(item) = self.queue.take(place, Missed::Item) {
                return Some(item);
            }
        }
    }
}
