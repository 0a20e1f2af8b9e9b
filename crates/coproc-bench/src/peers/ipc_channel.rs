//! ipc-channel between two processes.

use coproc::Message;
use ipc_channel::ipc::{IpcOneShotServer, IpcReceiver, IpcSender, channel};

use crate::measure::Result;

pub(crate) type Sender = IpcSender<u64>;
pub(crate) type Receiver = IpcReceiver<u64>;

/// What goes to the one who serves: its ends.
type Ends = (Sender, Receiver);

/// Waits for the process that connects.
pub(crate) struct Server(IpcOneShotServer<Ends>);

/// Where it connects to.
#[derive(Clone, Debug, Message)]
pub(crate) struct Address(String);

impl Server {
    pub(crate) fn new() -> Result<(Self, Address)> {
        let (server, name) = IpcOneShotServer::new()?;
        Ok((Self(server), Address(name)))
    }

    /// This process's ends, when the other has connected.
    pub(crate) fn accept(self) -> Result<Ends> {
        Ok(self.0.accept()?.1)
    }
}

impl Address {
    /// Connects, and keeps the other ends.
    pub(crate) fn connect(self) -> Result<Ends> {
        let (there, receives) = channel()?;
        let (sends, back) = channel()?;
        IpcSender::connect(self.0)?.send((there, back))?;
        Ok((sends, receives))
    }
}
