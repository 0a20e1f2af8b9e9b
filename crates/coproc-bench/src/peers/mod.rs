//! The peers that need more than a line to call.

pub(crate) mod pthread;
pub(crate) mod python;
