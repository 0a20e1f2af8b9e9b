//! iceoryx2: publish and subscribe between two processes, both of which poll.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use coproc::Message;
use iceoryx2::config::Config;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::{BackpressureStrategy, FileName, LogLevel, Node, NodeBuilder, Path, SemanticString, ipc, set_log_level};
use iceoryx2::service::port_factory::publish_subscribe::PortFactory;

use crate::measure::Result;
use crate::peers::poll::poll;

/// Where iceoryx2 keeps its shared memory.
const SHARED: &str = "/dev/shm";

/// A folder and a prefix for what iceoryx2 keeps in files, all of which is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Domain {
    root: PathBuf,
    prefix: String,
    services: AtomicU32,
}

/// One way from a publisher to a subscriber that is not yet made.
#[derive(Clone, Debug, Message)]
pub(crate) struct Address {
    root: String,
    prefix: String,
    name: String,
    capacity: usize,
}

/// The end of a process that publishes, or subscribes, by this address.
#[derive(Clone, Debug, Message)]
pub(crate) struct Publishes(pub(crate) Address);

#[derive(Clone, Debug, Message)]
pub(crate) struct Subscribes(pub(crate) Address);

type Service = PortFactory<ipc::Service, u64, ()>;

/// Where numbers go in. Publishes to the one subscriber, again until there was room.
#[derive(Debug)]
pub(crate) struct Sender {
    publisher: Publisher<ipc::Service, u64, ()>,
    _service: (Service, Node<ipc::Service>),
}

/// Where they come out.
#[derive(Debug)]
pub(crate) struct Receiver {
    subscriber: Subscriber<ipc::Service, u64, ()>,
    _service: (Service, Node<ipc::Service>),
}

impl Domain {
    pub(crate) fn new() -> Result<Self> {
        let prefix = format!("coproc-bench-{}-", std::process::id());
        let root = std::env::temp_dir().join(&prefix);
        std::fs::create_dir(&root)?;
        Ok(Self { root, prefix, services: AtomicU32::new(0) })
    }

    /// A new service with one publisher and one subscriber, and room for so many numbers.
    pub(crate) fn address(&self, capacity: usize) -> Result<Address> {
        let number = self.services.fetch_add(1, Ordering::Relaxed);
        let root = self.root.to_str().ok_or("the folder for temporary files has no name in UTF-8")?;
        Ok(Address { root: root.into(), prefix: self.prefix.clone(), name: format!("way {number}"), capacity })
    }
}

impl Drop for Domain {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.root);
        // It leaves a file for each of its domains.
        for file in std::fs::read_dir(SHARED).into_iter().flatten().flatten() {
            if file.file_name().as_encoded_bytes().starts_with(self.prefix.as_bytes()) {
                let _ = std::fs::remove_file(file.path());
            }
        }
    }
}

impl Address {
    fn service(&self) -> Result<(Service, Node<ipc::Service>)> {
        set_log_level(LogLevel::Error);
        let mut config = Config::default();
        config.global.set_root_path(&Path::new(self.root.as_bytes())?);
        config.global.prefix = FileName::new(self.prefix.as_bytes())?;
        let node = NodeBuilder::new().config(&config).create::<ipc::Service>()?;
        let service = node
            .service_builder(&self.name.as_str().try_into()?)
            .publish_subscribe::<u64>()
            .enable_safe_overflow(false)
            .subscriber_max_buffer_size(self.capacity)
            .max_publishers(1)
            .max_subscribers(1)
            .open_or_create()?;
        Ok((service, node))
    }

    pub(crate) fn publish(&self) -> Result<Sender> {
        let service = self.service()?;
        // Its own way to wait for room would sleep.
        let publisher = service.0.publisher_builder().backpressure_strategy(BackpressureStrategy::DiscardData).create()?;
        Ok(Sender { publisher, _service: service })
    }

    pub(crate) fn subscribe(&self) -> Result<Receiver> {
        let service = self.service()?;
        let subscriber = service.0.subscriber_builder().buffer_size(self.capacity).create()?;
        Ok(Receiver { subscriber, _service: service })
    }
}

impl Sender {
    #[inline]
    pub(crate) fn send(&self, number: u64) {
        poll(|| {
            let delivered = self.publisher.loan_uninit().expect("a sample").write_payload(number).send().expect("sent");
            (delivered == 1).then_some(())
        });
    }
}

impl Receiver {
    #[inline]
    pub(crate) fn recv(&self) -> u64 {
        *poll(|| self.subscriber.receive().expect("received"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_cross_and_no_file_stays() {
        let domain = Domain::new().unwrap();
        let address = domain.address(2).unwrap();
        let receiver = address.subscribe().unwrap();
        let sender = address.publish().unwrap();
        for number in 0..5 {
            sender.send(number);
            assert_eq!(receiver.recv(), number);
        }
        drop((sender, receiver));
        let left = || {
            let files = std::fs::read_dir(SHARED).unwrap().map(|file| file.unwrap().file_name());
            files.filter(|name| name.as_encoded_bytes().starts_with(b"coproc-bench-")).count()
        };
        assert!(left() > 0);
        let root = domain.root.clone();
        drop(domain);
        assert_eq!((left(), root.exists()), (0, false));
    }
}
