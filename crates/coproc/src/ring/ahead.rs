//! Asking the processor for memory before it is written.

#![allow(unsafe_code)]

/// How far ahead of a sender that goes slot by slot: four cache lines, so that as many are on their way at a time.
const DISTANCE: usize = 256;

/// Asks for the cache line that a sender will come to after this slot: the receiver has it, and each time that it had to be waited for would hold up all stores
/// behind it. Changes nothing that can be seen; past the end of the ring it is in vain.
#[inline(always)]
pub(super) fn ask_for_line_behind(slot: *mut u8) {
    let line = slot.wrapping_add(DISTANCE);
    // (The standard library's own form of this gives a prefetch for reading, which leaves the line with the receiver as well.)
    // SAFETY: a hint, which no address makes fault, and which every processor of this architecture takes, or passes over.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) line, options(nostack, preserves_flags, readonly));
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!("prfm pstl1keep, [{}]", in(reg) line, options(nostack, preserves_flags, readonly));
    }
    let _ = line;
}
