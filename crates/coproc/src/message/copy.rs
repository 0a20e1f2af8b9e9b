//! Copies into shared memory, and out of it or of a message that has come otherwise.
//!
//! What is long goes in blocks. So it is copied by a loop of loads and stores rather than by the processor's string instruction, to which the C library leaves it, and which is
//! slow on cache lines that another processor has written; and lines to be written are asked for some blocks before.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use crate::sys::prefetch;

const BLOCK: usize = 1024;
/// How far ahead lines are asked for.
const AHEAD: usize = 2 * BLOCK;
const LINE: usize = 64;

/// Copies bytes into shared memory.
///
/// # Safety
/// `to` is valid for writes of as many bytes, and they are none of `from`.
#[inline]
pub(super) unsafe fn copy_in(from: &[u8], to: *mut u8) {
    if from.len() > BLOCK {
        // SAFETY: as the caller says.
        unsafe { copy_in_blocks(from, to) };
    } else {
        // SAFETY: as the caller says.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to, from.len()) };
    }
}

/// # Safety
/// As [`copy_in`].
#[inline(never)]
unsafe fn copy_in_blocks(from: &[u8], to: *mut u8) {
    let mut to = to;
    for block in from.chunks(BLOCK) {
        (0..BLOCK).step_by(LINE).for_each(|line| prefetch::for_writing(to.wrapping_add(AHEAD + line)));
        // SAFETY: as the caller says; these are the next of the bytes.
        unsafe { std::ptr::copy_nonoverlapping(block.as_ptr(), to, block.len()) };
        to = to.wrapping_add(block.len());
    }
}

/// Fills `to`.
///
/// # Safety
/// `from` is valid for reads of as many bytes.
#[inline]
pub(super) unsafe fn copy_out(from: *const u8, to: &mut [MaybeUninit<u8>]) {
    if to.len() > BLOCK {
        // SAFETY: as the caller says.
        unsafe { copy_out_blocks(from, to) };
    } else {
        // SAFETY: as the caller says; `to` is exclusively borrowed.
        unsafe { std::ptr::copy_nonoverlapping(from.cast(), to.as_mut_ptr(), to.len()) };
    }
}

/// Copies a value out, as [`copy_out`] does.
///
/// # Safety
/// `from` is valid for reads of a `T`, and the bytes there are one.
#[inline(always)]
pub(super) unsafe fn read_out<T>(from: *const u8) -> T {
    if size_of::<T>() > BLOCK {
        let mut room = MaybeUninit::<T>::uninit();
        // SAFETY: these are the bytes of `room`.
        let bytes = unsafe { std::slice::from_raw_parts_mut(room.as_mut_ptr().cast(), size_of::<T>()) };
        // SAFETY: as the caller says.
        unsafe { copy_out_blocks(from, bytes) };
        // SAFETY: all its bytes are those of a `T`, as the caller says.
        unsafe { room.assume_init() }
    } else {
        // SAFETY: as the caller says.
        unsafe { from.cast::<T>().read_unaligned() }
    }
}

/// # Safety
/// As [`copy_out`].
#[inline(never)]
unsafe fn copy_out_blocks(from: *const u8, to: &mut [MaybeUninit<u8>]) {
    let mut from = from;
    for block in to.chunks_mut(BLOCK) {
        // SAFETY: as the caller says, and `copy_out`; these are the next of the bytes.
        unsafe { std::ptr::copy_nonoverlapping(from.cast(), block.as_mut_ptr(), block.len()) };
        from = from.wrapping_add(block.len());
    }
}
