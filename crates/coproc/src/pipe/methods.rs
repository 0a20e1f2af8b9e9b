//! What an end can do, said once for the ends that can.

/// Sending. `$end` has fields `link: Link` and `out: Way<Out>`.
macro_rules! sends {
    ($end:ident) => {
        impl $end {
            /// Waits for room and sends these bytes as one message. What is longer than [`capacity`](Self::capacity) waits for the receiver to
            /// take what is before.
            ///
            /// # Errors
            /// [`SendError::Closed`](crate::SendError::Closed) if the other end was closed, or this one;
            /// [`SendError::Disconnected`](crate::SendError::Disconnected) if it died, and there is no room.
            #[inline]
            #[doc(alias = "send_bytes")]
            pub fn send(&self, bytes: &[u8]) -> Result<(), crate::SendError<()>> {
                self.put(bytes, &[], crate::pipe::methods::NEVER).map_err(|stop| stop.of_send(()))
            }

            /// Sends these bytes if there is room for all of them. Never waits.
            ///
            /// # Errors
            /// [`TrySendError::Full`](crate::TrySendError::Full) if there is not, as there never is for more than [`capacity`](Self::capacity);
            /// [`TrySendError::Busy`](crate::TrySendError::Busy) if another thread is sending; else as [`send`](Self::send).
            #[inline]
            pub fn try_send(&self, bytes: &[u8]) -> Result<(), crate::TrySendError<()>> {
                self.put(bytes, &[], crate::sync::Patience::Yield).map_err(|stop| stop.of_try_send(()))
            }

            /// Sends these bytes, and waits for room at most this long (monotonic time). If that is over in the middle of a message, the other
            /// end sees nothing of it.
            ///
            /// # Errors
            /// [`SendTimeoutError::Timeout`](crate::SendTimeoutError::Timeout), else as [`send`](Self::send).
            pub fn send_timeout(&self, bytes: &[u8], time: std::time::Duration) -> Result<(), crate::SendTimeoutError<()>> {
                self.put(bytes, &[], crate::pipe::methods::after(time)).map_err(|stop| stop.of_send_timeout(()))
            }

            /// Waits for room and sends a value, with its handles. An end in it that moves is lost if the value is not sent.
            ///
            /// # Errors
            /// As [`send`](Self::send).
            pub fn send_value(&self, value: &impl crate::Message) -> Result<(), crate::SendError<()>> {
                let parcel = crate::message::Parcel::of(value);
                self.put(&parcel.bytes, &parcel.handles, crate::pipe::methods::NEVER).map_err(|stop| stop.of_send(()))
            }

            /// As [`send_value`](Self::send_value), and waits at most this long (monotonic time).
            ///
            /// # Errors
            /// As [`send_timeout`](Self::send_timeout).
            pub fn send_value_timeout(
                &self,
                value: &impl crate::Message,
                time: std::time::Duration,
            ) -> Result<(), crate::SendTimeoutError<()>> {
                let parcel = crate::message::Parcel::of(value);
                self.put(&parcel.bytes, &parcel.handles, crate::pipe::methods::after(time))
                    .map_err(|stop| stop.of_send_timeout(()))
            }

            #[inline]
            fn put(
                &self,
                bytes: &[u8],
                handles: &[crate::message::Handle],
                patience: crate::sync::Patience,
            ) -> Result<(), crate::ring::Stop> {
                self.link.turn(&self.out, patience)?.send(&self.link, bytes, handles, patience)
            }
        }
    };
}

/// Receiving. `$end` has fields `link: Link` and `inside: Way<In>`.
macro_rules! receives {
    ($end:ident) => {
        impl $end {
            /// Waits for a message. Of a value these are the bytes, and its handles are dropped.
            ///
            /// # Errors
            /// [`RecvError::Closed`](crate::RecvError::Closed) if the other end was closed and all is received, or this end was;
            /// [`RecvError::Disconnected`](crate::RecvError::Disconnected) if it died and all is received;
            /// [`RecvError::Corrupted`](crate::RecvError::Corrupted), from then on for ever, if what it left is no message.
            #[inline]
            #[doc(alias = "recv_bytes")]
            pub fn recv(&self) -> Result<Vec<u8>, crate::RecvError> {
                Ok(self.take(crate::pipe::methods::NEVER)?)
            }

            /// Takes a message if one is there to its end. Never waits.
            ///
            /// # Errors
            /// [`TryRecvError::Empty`](crate::TryRecvError::Empty) if none is; [`TryRecvError::Busy`](crate::TryRecvError::Busy) if another thread is
            /// receiving; else as [`recv`](Self::recv).
            #[inline]
            pub fn try_recv(&self) -> Result<Vec<u8>, crate::TryRecvError> {
                Ok(self.take(crate::sync::Patience::Yield)?)
            }

            /// Waits for a message, at most this long (monotonic time). What has come of it by then is kept for the next call.
            ///
            /// # Errors
            /// [`RecvTimeoutError::Timeout`](crate::RecvTimeoutError::Timeout), else as [`recv`](Self::recv).
            pub fn recv_timeout(&self, time: std::time::Duration) -> Result<Vec<u8>, crate::RecvTimeoutError> {
                Ok(self.take(crate::pipe::methods::after(time))?)
            }

            /// Waits for a message and receives it into the front of a buffer. Returns its length.
            ///
            /// # Errors
            /// [`RecvIntoError::TooSmall`](crate::RecvIntoError::TooSmall), with the length, if the buffer is shorter: then the message is kept. Else as
            /// [`recv`](Self::recv).
            #[doc(alias = "recv_bytes_into")]
            pub fn recv_into(&self, buffer: &mut [u8]) -> Result<usize, crate::RecvIntoError> {
                let patience = crate::pipe::methods::NEVER;
                self.link.turn(&self.inside, patience)?.recv_into(&self.link, buffer, patience)
            }

            /// Waits for a value that [`send_value`](crate::Pipe::send_value) sent.
            ///
            /// # Errors
            /// As [`recv`](Self::recv); [`RecvError::Corrupted`](crate::RecvError::Corrupted) also if what was received is no such value, and
            /// [`RecvError::TooManyDescriptors`](crate::RecvError::TooManyDescriptors) if it names more objects than this process has free descriptors:
            /// it is dropped then.
            pub fn recv_value<M: crate::Message>(&self) -> Result<M, crate::RecvError> {
                Ok(self.open(crate::pipe::methods::NEVER)?)
            }

            /// As [`recv_value`](Self::recv_value), and waits at most this long (monotonic time).
            ///
            /// # Errors
            /// [`RecvTimeoutError::Timeout`](crate::RecvTimeoutError::Timeout), else as [`recv_value`](Self::recv_value).
            pub fn recv_value_timeout<M: crate::Message>(&self, time: std::time::Duration) -> Result<M, crate::RecvTimeoutError> {
                Ok(self.open(crate::pipe::methods::after(time))?)
            }

            /// Waits at most this long (monotonic time) until a call that receives would not wait: until a message is there to its end, or none
            /// will be, because the other end is closed or dead. `false` if it would wait.
            pub fn poll(&self, time: std::time::Duration) -> bool {
                let patience = if time.is_zero() { crate::sync::Patience::Yield } else { crate::pipe::methods::after(time) };
                match self.link.turn(&self.inside, patience) {
                    Ok(mut inside) => inside.poll(&self.link, patience),
                    Err(stop) => stop == crate::ring::Stop::Closed,
                }
            }

            #[inline]
            fn take(&self, patience: crate::sync::Patience) -> Result<Vec<u8>, crate::ring::Stop> {
                self.link.turn(&self.inside, patience)?.recv(&self.link, patience)
            }

            fn open<M: crate::Message>(&self, patience: crate::sync::Patience) -> Result<M, crate::ring::Stop> {
                let parcel = self.link.turn(&self.inside, patience)?.recv_parcel(&self.link, patience)?;
                parcel.open().ok_or(crate::ring::Stop::Corrupted)
            }
        }
    };
}

use std::time::Duration;

use crate::sync::{Deadline, Patience};

/// To wait as long as it takes.
pub(super) const NEVER: Patience = Patience::Until(Deadline::NEVER);

/// To wait so long.
pub(super) fn after(time: Duration) -> Patience {
    Patience::Until(Deadline::after(time))
}

pub(super) use {receives, sends};
