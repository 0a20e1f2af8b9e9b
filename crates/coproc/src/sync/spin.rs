//! Looking again for a while before going to sleep, where that has paid lately.

use std::cell::Cell;

/// How often a thread looks again: at most, and at least, so that it notices when it begins to pay.
const MOST: u32 = 256;
const LEAST: u32 = 16;

thread_local! {
    /// How often this thread looks again at present.
    static BUDGET: Cell<u32> = const { Cell::new(MOST) };
}

/// Looks until `is_ready` says so; `false` if it did not for a while. A while is a few microseconds where what was waited for came in such a
/// time lately, and next to nothing where it did not.
pub(crate) fn spin_until(mut is_ready: impl FnMut() -> bool) -> bool {
    let budget = BUDGET.get();
    for looks in 0..budget {
        if is_ready() {
            // Towards twice as long as it took.
            BUDGET.set((budget - budget / 8 + looks / 4 + LEAST / 8).min(MOST));
            return true;
        }
        std::hint::spin_loop();
    }
    BUDGET.set((budget - budget / 8).max(LEAST));
    false
}
