//! What a child is told, in the parcel of its arguments.

use coproc::__private::Parcel;
use coproc::{Error, Message, Result};

use crate::channel::Channel;
use crate::context::Context;

/// What a child shall be and run.
#[derive(Debug, Message)]
pub(crate) struct Opening {
    /// Offset of an [`Entry`](super::Entry) in the executable.
    pub(crate) entry: u64,
    /// The child's name.
    pub(crate) name: String,
    pub(crate) context: Context,
}

/// Behind the arguments and the opening: how many bytes and how many handles the arguments are. They come first because they may be long.
const FOOTER: usize = size_of::<u64>() + size_of::<u32>();

impl Opening {
    /// Adds this to arguments.
    pub(super) fn append_to(&self, arguments: &mut Parcel) {
        let (bytes, handles) = (arguments.bytes.len() as u64, arguments.handles.len() as u32);
        self.write(&mut arguments.writer());
        arguments.bytes.extend(bytes.to_ne_bytes());
        arguments.bytes.extend(handles.to_ne_bytes());
    }

    /// Sends arguments with this. `false` if the child has ended already: who waits for it will learn that. If it cannot be told all, the channel is ended,
    /// so that it leaves.
    pub(crate) fn send(&self, arguments: &mut Parcel, channel: &Channel) -> Result<bool> {
        let (bytes, handles) = (arguments.bytes.len(), arguments.handles.len());
        self.append_to(arguments);
        let sent = channel.send(arguments);
        arguments.bytes.truncate(bytes);
        arguments.handles.truncate(handles);
        if sent.is_err() {
            channel.end_sending();
        }
        match sent {
            // Reset: it had not read what was sent before.
            Err(Error::Os(_, error)) if matches!(error.raw_os_error(), Some(libc::EPIPE | libc::ECONNRESET)) => Ok(false),
            sent => sent.map(|()| true),
        }
    }

    /// Takes it out again, which leaves the arguments; `None` if there is none.
    pub(crate) fn take_from(parcel: &mut Parcel) -> Option<Self> {
        let body = parcel.bytes.len().checked_sub(FOOTER)?;
        let footer = parcel.bytes.split_off(body);
        let (bytes, handles) = footer.split_first_chunk()?;
        let bytes = usize::try_from(u64::from_ne_bytes(*bytes)).ok()?;
        let handles = u32::from_ne_bytes(handles.try_into().ok()?) as usize;
        if bytes > parcel.bytes.len() || handles > parcel.handles.len() {
            return None;
        }
        Parcel { bytes: parcel.bytes.split_off(bytes), handles: parcel.handles.split_off(handles) }.open()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_taken_out() {
        let mut parcel = Parcel { bytes: vec![1, 2, 3], handles: Vec::new() };
        let opening = Opening { entry: 7, name: "x".into(), context: Context::default() };
        opening.append_to(&mut parcel);
        let again = Opening::take_from(&mut parcel).unwrap();
        assert_eq!((again.entry, again.name.as_str(), parcel.bytes.as_slice()), (7, "x", &[1, 2, 3][..]));
        assert!(Opening::take_from(&mut parcel).is_none());
        parcel.bytes = vec![0xff; 40];
        assert!(Opening::take_from(&mut parcel).is_none());
    }
}
