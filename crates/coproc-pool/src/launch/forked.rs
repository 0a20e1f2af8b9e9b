//! What becomes of the tables of this crate when the program forks.
//!
//! The forked copy finds them whole, and sees by the process id in each entry that it belongs to its parent. It then makes its own, and lets go of what
//! it has a copy of.

use std::sync::Once;

use coproc::__private::on_fork;

use super::lifeline::LIFELINE;
use super::zygote::ZYGOTE;
use crate::keeper::KEEPERS;
use crate::me::ME;
use crate::process::CHILDREN;

extern "C" fn before_fork() {
    // In the order in which they are taken elsewhere.
    CHILDREN.hold();
    ZYGOTE.hold();
    KEEPERS.hold();
    LIFELINE.hold();
    ME.hold();
}

extern "C" fn after_fork() {
    ME.release(|_| ());
    LIFELINE.release(|_| ());
    KEEPERS.release(|_| ());
    ZYGOTE.release(|_| ());
    CHILDREN.release(|_| ());
}

/// From now on the tables are whole in every forked copy. Called before `main`, and again by who starts a child, should no loader have done so.
pub(crate) fn watch_forks() {
    static HANDLERS: Once = Once::new();
    HANDLERS.call_once(|| {
        // Handlers that were registered later run earlier: these locks are taken before those of the tables below, as elsewhere.
        coproc::__private::watch_forks();
        on_fork(before_fork, after_fork, after_fork);
    });
}
