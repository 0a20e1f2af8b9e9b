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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy)]
    struct Squares<'a>(&'a [u64]);

    impl Wide for Squares<'_> {
        type Output = u64;

        #[inline(always)]
        fn run(self) -> u64 {
            self.0.iter().fold(0, |sum, n| sum.wrapping_mul(3).wrapping_add(n.wrapping_mul(*n)))
        }
    }

    #[test]
    fn both_give_the_same() {
        let numbers: Vec<u64> = (0..1001).map(|n| n * 0x9e37_79b9 % 1_000_003).collect();
        let squares = Squares(&numbers);
        assert_eq!(run(squares), with_any(squares));
        assert_eq!(run(squares), squares.run());
    }
}
