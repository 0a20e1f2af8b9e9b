//! The sending side.

use std::os::fd::AsFd;

use super::Link;
use super::frame::{self, BEGIN, HEADER, Kind, SLACK, WORD, words};
use super::handles;
use crate::message::Handle;
use crate::ring::{Sends, Stop, Track};
use crate::sync::Patience;
use crate::sys::socket::MOST_FILES;

/// The sending side of a ring. Between two calls no message is half sent.
#[derive(Debug)]
pub(super) struct Out {
    pub(super) track: Track<Sends>,
}

impl Out {
    /// Sends a message: wholly, or the receiver sees nothing of it.
    #[inline]
    pub(super) fn send(&mut self, link: &Link, bytes: &[u8], handles: &[Handle], patience: Patience) -> Result<(), Stop> {
        let count = HEADER + words(bytes.len());
        if !handles.is_empty() || count > self.most_at_once(patience) {
            return self.send_long(link, bytes, handles, patience);
        }
        link.wait(&mut self.track, count, patience)?;
        frame::put(&mut self.track, 0, Kind::Whole, bytes);
        self.track.pass(count);
        Ok(())
    }

    /// Sends a message with handles, or one that is passed in pieces, so that the receiver copies one while this end writes the next.
    #[cold]
    #[inline(never)]
    fn send_long(&mut self, link: &Link, bytes: &[u8], handles: &[Handle], patience: Patience) -> Result<(), Stop> {
        let first = self.claim(link, BEGIN, bytes.len(), patience)?;
        self.send_handles(link, handles, patience)?;
        self.put_begin(bytes.len(), handles.len());
        let mut rest = self.put_part(BEGIN, bytes, first);
        while !rest.is_empty() {
            match self.claim(link, 0, rest.len(), patience) {
                Ok(count) => rest = self.put_part(0, rest, count),
                Err(stop) => {
                    // The word that `claim` leaves.
                    frame::put(&mut self.track, 0, Kind::Abort, &[]);
                    self.track.pass(HEADER);
                    return Err(stop);
                }
            }
        }
        Ok(())
    }

    /// The longest part that is passed at once, in words. Who does not wait passes all or nothing.
    #[inline]
    fn most_at_once(&self, patience: Patience) -> usize {
        let words = self.track.capacity();
        if let Patience::Until(_) = patience { words / 2 } else { words - SLACK + HEADER }
    }

    /// Waits for room for what is passed next: so many words, and then a part with this many bytes, or the first of them. Leaves a word if it
    /// is not the last part: to abort needs no waiting.
    fn claim(&mut self, link: &Link, before: usize, left: usize, patience: Patience) -> Result<usize, Stop> {
        let all = if left == 0 { 0 } else { HEADER + words(left) };
        if all <= self.most_at_once(patience) {
            link.wait(&mut self.track, before + all, patience)?;
            return Ok(before + all);
        }
        let Patience::Until(_) = patience else { return Err(Stop::Wait) };
        let some = before + (self.track.capacity() / 8).max(HEADER + 1);
        link.wait(&mut self.track, some + HEADER, patience)?;
        Ok(some)
    }

    fn put_begin(&mut self, len: usize, handles: usize) {
        let mut numbers = [0; 2 * WORD];
        numbers[..WORD].copy_from_slice(&(len as u64).to_ne_bytes());
        numbers[WORD..].copy_from_slice(&(handles as u64).to_ne_bytes());
        frame::put(&mut self.track, 0, Kind::Begin, &numbers);
    }

    /// Passes so many words: those before, which are written, and a part with as many of these bytes as fit. Gives the rest.
    fn put_part<'a>(&mut self, before: usize, bytes: &'a [u8], count: usize) -> &'a [u8] {
        let room = count.saturating_sub(before + HEADER) * WORD;
        let (some, rest) = bytes.split_at(room.min(bytes.len()));
        if !some.is_empty() {
            frame::put(&mut self.track, before, Kind::Part, some);
        }
        self.track.pass(count);
        rest
    }

    /// Sends the handles of the message that will begin at the next word.
    fn send_handles(&mut self, link: &Link, all: &[Handle], patience: Patience) -> Result<(), Stop> {
        for (packets, some) in all.chunks(MOST_FILES).enumerate() {
            if let Err(stop) = self.send_packet(link, some, patience) {
                if packets > 0 {
                    // For these there is room: a message has begun at this word, and has come to nothing.
                    self.put_begin(1, packets * MOST_FILES);
                    frame::put(&mut self.track, BEGIN, Kind::Abort, &[]);
                    self.track.pass(BEGIN + HEADER);
                }
                return Err(stop);
            }
        }
        Ok(())
    }

    fn send_packet(&mut self, link: &Link, some: &[Handle], patience: Patience) -> Result<(), Stop> {
        loop {
            let socket = link.tether.socket().ok_or(Stop::Closed)?;
            match handles::send(socket.as_fd(), self.track.position(), some) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                // If it was closed rather than cut, `ready` says so.
                Err(_) => return Err(link.tether.ready(&mut self.track, 0).err().unwrap_or(Stop::Disconnected)),
            }
            let Patience::Until(deadline) = patience else { return Err(Stop::Wait) };
            link.tether.pause(&mut self.track, deadline)?;
        }
    }
}
