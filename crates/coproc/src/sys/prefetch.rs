//! Asking the processor for memory before it is used.

/// Asks for the cache line of this byte, to be written soon: another processor has it, and who had to wait for it then would hold up all its stores behind that.
/// Changes nothing that can be seen, wherever it points to.
#[inline(always)]
pub(crate) fn for_writing(at: *const u8) {
    // The standard library's own form of this gives a prefetch for reading, which leaves the line with the other processor as well.
    // SAFETY: a hint, which no address makes fault, and which every processor of this architecture has taken or passed over since 2006.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) at, options(nostack, preserves_flags, readonly));
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!("prfm pstl1keep, [{}]", in(reg) at, options(nostack, preserves_flags, readonly));
    }
    let _ = at;
}

/// Asks for the cache line of this byte, to be read soon. Changes nothing that can be seen, wherever it points to.
#[inline(always)]
pub(crate) fn for_reading(at: *const u8) {
    // SAFETY: a hint, which no address makes fault, and which every processor of this architecture has.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!("prefetcht0 [{}]", in(reg) at, options(nostack, preserves_flags, readonly));
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{}]", in(reg) at, options(nostack, preserves_flags, readonly));
    }
    let _ = at;
}
