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

/// From now on the tables are whole in every forked copy.
pub(super) fn watch() {
    static HANDLERS: Once = Once::new();
    // Handlers that were registered later run earlier: those of the tables below have been registered before `main`, or are as soon as one is used.
    HANDLERS.call_once(|| on_fork(before_fork, after_fork, after_fork));
}
