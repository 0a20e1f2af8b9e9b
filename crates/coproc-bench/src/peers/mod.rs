//! The peers that need more than a line to call.

pub(crate) mod posix;
pub(crate) mod pthread;
pub(crate) mod python;
