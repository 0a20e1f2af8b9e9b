//! What connects two ends: the ring in shared memory between them, and what ties them together.

mod bell;
mod control;
mod look;
mod stop;
mod tether;
mod track;

pub(crate) use bell::Bell;
pub(crate) use control::End;
pub(crate) use look::Look;
pub(crate) use stop::Stop;
pub(crate) use tether::Tether;
pub(crate) use track::{Receives, Sends, Side, Slot, Track};
