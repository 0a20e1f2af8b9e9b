//! Waiting for a message together with others, or as a task.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use super::{Pipe, PipeReceiver};
use crate::queue::{RecvError, TryRecvError};
use crate::ready::{Observer, Waitable};

macro_rules! waits {
    ($end:ident) => {
        /// Ready when a message has come, or none will any more.
        impl Waitable for $end {
            fn is_ready(&self) -> bool {
                self.poll(Duration::ZERO)
            }

            fn announce(&self) -> (&AtomicU32, u32) {
                self.inside.announce()
            }

            fn pass_on(&self) {
                self.inside.pass_on();
            }
        }

        impl $end {
            /// What a [`Watch`](crate::Watch) or [`ready`](fn@crate::ready) waits for in the place of this end: that bytes have come, or none will any
            /// more. Of a long message the first bytes count: `try_recv` takes them, and says that there is no message yet.
            pub fn observe(&self) -> Observer {
                Observer::new(self.inside.look(self.link.segment.clone()))
            }

            /// Waits for a message as a task, with any executor. Dropped before that, it has taken none.
            ///
            /// # Errors
            /// As [`recv`](Self::recv).
            pub async fn recv_async(&self) -> Result<Vec<u8>, RecvError> {
                loop {
                    match self.try_recv() {
                        Err(TryRecvError::Empty) => crate::ready::wait(self.observe()).await,
                        Err(TryRecvError::Busy) => crate::ready::give_way().await,
                        result => return Ok(result?),
                    }
                }
            }
        }
    };
}

waits!(Pipe);
waits!(PipeReceiver);
