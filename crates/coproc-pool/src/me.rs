//! What a child knows of itself.

use coproc::__private::ForkLock;

use crate::channel::Channel;
use crate::context::Relative;

/// This process, which is a child.
#[derive(Debug)]
pub(crate) struct Me {
    pub(crate) name: String,
    pub(crate) parent: Relative,
    /// To its parent.
    pub(crate) channel: &'static Channel,
}

/// Of several, the last: a child may be a fork of a child.
pub(crate) static ME: ForkLock<Option<&'static Me>> = ForkLock::new(None);

/// This process, if it is a child.
pub(crate) fn me() -> Option<&'static Me> {
    *ME.lock()
}

/// From now on this process is this child.
pub(crate) fn be(me: Me) -> &'static Me {
    // For good: a panic of any thread may want to say something.
    let me: &'static Me = Box::leak(Box::new(me));
    *ME.lock() = Some(me);
    me
}
