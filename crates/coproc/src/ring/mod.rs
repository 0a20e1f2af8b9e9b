//! What connects two ends: the ring in shared memory between them, and what ties them together.

mod look;
mod stop;
mod tether;
mod track;

pub(crate) use look::Look;
pub(crate) use stop::Stop;
pub(crate) use tether::Tether;
pub(crate) use track::{Bell, End, Receives, Sends, Side, Track};
