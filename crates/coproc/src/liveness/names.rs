//! Which pid a process noted, for naming it in a message after its death.
//!
//! Advisory: nothing is decided on it. Rows of places at the start of the registry file; a process notes itself in the row of its identity, in the first place that is
//! empty, and in a full row in place of another, which is not known any more. Two that choose the same place at once lose one name.

use std::io;
use std::os::fd::BorrowedFd;

use crate::sys::file;

const ROWS: u64 = 1 << 12;
/// So many that of twelve thousand processes one in ten million finds its row full.
const PLACES: usize = 16;
/// The identity, 0 = empty; the pid; 4 bytes unused.
const PLACE: usize = 16;
const ROW: usize = PLACES * PLACE;

/// What the table takes of the file.
pub(super) const SIZE: u64 = ROWS * ROW as u64;

/// Notes the pid that goes with an identity.
pub(super) fn note(registry: BorrowedFd<'_>, identity: u64, pid: u32) -> io::Result<()> {
    let row = read(registry, identity)?;
    let place = (0..PLACES).find(|&place| [0, identity].contains(&noted(&row, place).0));
    let place = place.unwrap_or((identity / ROWS) as usize % PLACES);
    let mut bytes = [0; PLACE];
    bytes[..8].copy_from_slice(&identity.to_ne_bytes());
    bytes[8..12].copy_from_slice(&pid.to_ne_bytes());
    file::write_at(registry, &bytes, start(identity) + (place * PLACE) as u64)
}

/// The pid that the process of this identity noted, also after its death; 0 if it is not known (any more).
pub(super) fn pid_of(registry: BorrowedFd<'_>, identity: u64) -> u32 {
    let Ok(row) = read(registry, identity) else { return 0 };
    (0..PLACES).map(|place| noted(&row, place)).find(|&(whose, _)| whose == identity).map_or(0, |(_, pid)| pid)
}

fn start(identity: u64) -> u64 {
    identity % ROWS * ROW as u64
}

fn read(registry: BorrowedFd<'_>, identity: u64) -> io::Result<[u8; ROW]> {
    let mut row = [0; ROW];
    file::read_at(registry, &mut row, start(identity))?;
    Ok(row)
}

/// Who is noted in this place of a row, and by which pid.
fn noted(row: &[u8; ROW], place: usize) -> (u64, u32) {
    let at = |from: usize| row[place * PLACE + from];
    (u64::from_ne_bytes(std::array::from_fn(at)), u32::from_ne_bytes(std::array::from_fn(|byte| at(8 + byte))))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    /// Of two processes whose identities share a row neither puts the other's name out.
    #[test]
    fn a_full_row_of_names_is_known() {
        let registry = file::memory("names").unwrap();
        file::set_len(registry.as_fd(), SIZE).unwrap();
        let identity = |n: u64| 7 + n * ROWS;
        for n in 0..PLACES as u64 {
            note(registry.as_fd(), identity(n), 100 + n as u32).unwrap();
        }
        note(registry.as_fd(), identity(3), 1).unwrap();
        for n in 0..PLACES as u64 {
            let pid = if n == 3 { 1 } else { 100 + n as u32 };
            assert_eq!(pid_of(registry.as_fd(), identity(n)), pid, "of the {n}th");
        }
        assert_eq!(pid_of(registry.as_fd(), 7 + PLACES as u64 * ROWS), 0);
    }

    /// The newest is known, whatever has to go for it.
    #[test]
    fn who_comes_to_a_full_row_is_known() {
        let registry = file::memory("names").unwrap();
        file::set_len(registry.as_fd(), SIZE).unwrap();
        for n in 1..100 {
            note(registry.as_fd(), n * ROWS, n as u32).unwrap();
            assert_eq!(pid_of(registry.as_fd(), n * ROWS), n as u32);
        }
    }
}
