//! Receiving until nothing can come any more, or nothing is there.

use std::fmt;

use super::Queue;
use crate::message::{Item, Landing};
use crate::sync::{Deadline, Patience};

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
            let mut item = Landing::new();
            self.queue.land(Deadline::NEVER, &mut item).ok()?;
            if let Some(item) = item.into_item() {
                return Some(item);
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
            let mut item = Landing::new();
            self.queue.land_one(Patience::Yield, &mut item).ok()?;
            if let Some(item) = item.into_item() {
                return Some(item);
            }
        }
    }
}
