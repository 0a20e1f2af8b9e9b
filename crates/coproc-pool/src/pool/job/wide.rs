//! Code that is compiled twice: for all processors of the architecture, and for those that can do more items with one instruction.

#![allow(unsafe_code)]

/// A loop that is worth it.
pub(super) trait Wide {
    type Output;

    /// Does it. To be inlined, with all that it calls: what is not is compiled for all processors.
    fn run(self) -> Self::Output;
}

/// Does it as this processor does it best.
pub(super) fn run<W: Wide>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: this processor has the instructions.
        return unsafe { with_avx2(work) };
    }
    with_any(work)
}

#[inline(never)]
fn with_any<W: Wide>(work: W) -> W::Output {
    work.run()
}

#[cfg(target_arch = "x86_64")]
#[inline(never)]
#[target_feature(enable = "avx2")]
fn with_avx2<W: Wide>(work: W) -> W::Output {
    work.run()
}
