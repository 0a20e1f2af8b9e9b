//! The handles of a message: descriptors, which travel through the socket between the ends, before the bytes that name them.
//!
//! A packet begins with the position in the ring at which its message begins, and goes on with a byte for each descriptor that says what
//! it is. So a receiver that lost a packet, for want of memory, knows which message the next one belongs to.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crate::message::Handle;
use crate::ring::Stop;
use crate::sys::socket::{self, MOST_FILES};

const NUMBER: usize = size_of::<u64>();

/// Sends some of the handles of a message. `false` if there is no room.
///
/// # Errors
/// If the other end is gone.
pub(super) fn send(socket: BorrowedFd<'_>, message: u64, some: &[Handle]) -> io::Result<bool> {
    let mut packet = message.to_ne_bytes().to_vec();
    packet.extend(some.iter().map(Handle::kind));
    let files: Vec<_> = some.iter().map(AsFd::as_fd).collect();
    match socket::send(socket, &packet, &files, false) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::ENOMEM)) => Ok(false),
        result => result,
    }
}

/// Drops all that is there.
pub(super) fn drop_all(socket: BorrowedFd<'_>) {
    while matches!(socket::recv(socket, &mut [0; NUMBER], false), Ok(Some((1.., _)))) {}
}

/// Takes the handles of a message, which are there. Those of messages before are dropped.
///
/// # Errors
/// `TooManyDescriptors` if this process has not as many left; `Corrupted` if others are there than were sent.
pub(super) fn recv(socket: BorrowedFd<'_>, message: u64, count: usize) -> Result<Vec<Handle>, Stop> {
    let mut handles = Vec::new();
    let mut fault = None;
    // How many were there, though some may not have been received.
    let mut named = 0;
    while named < count {
        let mut packet = [0; NUMBER + MOST_FILES];
        let (len, files) = match socket::recv(socket, &mut packet, false) {
            Ok(Some(received)) => received,
            Ok(None) => return Err(Stop::Corrupted),
            // The packet is gone, with those of its descriptors that found no place. There may be others of the same message.
            Err(_) => {
                named += MOST_FILES;
                fault = Some(Stop::TooManyDescriptors);
                continue;
            }
        };
        let Some((number, kinds)) = packet[..len].split_first_chunk::<NUMBER>() else { return Err(Stop::Corrupted) };
        match u64::from_ne_bytes(*number).wrapping_sub(message).cast_signed() {
            0 => {}
            ..0 => continue,
            _ => return Err(Stop::Corrupted),
        }
        named += kinds.len();
        if kinds.is_empty() || named > count {
            return Err(Stop::Corrupted);
        }
        if files.len() < kinds.len() {
            fault = Some(Stop::TooManyDescriptors);
        }
        for (&kind, file) in kinds.iter().zip(files) {
            match Handle::of(kind, file) {
                Ok(handle) => handles.push(handle),
                Err(_) => fault = fault.or(Some(Stop::Corrupted)),
            }
        }
    }
    fault.map_or(Ok(handles), Err)
}
