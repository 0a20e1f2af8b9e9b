//! `Queue` against what carries single items: there and back, in one stream, in a crowd, small and large.

use std::sync::Arc;

use coproc::{Item, Queue};
use crossbeam_queue::ArrayQueue;

use super::ends::{Bulk, Load};
use super::trips::Plan;
use super::{stream, trips};
use crate::measure::{Contest, Result, Table};
use crate::peers::{iceoryx2, ipc_channel, socket};

const TRIPS: u64 = 50_000;
/// For a peer that enters the kernel for each.
const FEW_TRIPS: u64 = 5_000;
/// How many numbers fit each way of a round trip.
const WAY: usize = 64;

/// How many items of a stream count.
const MANY: u64 = 400_000;
/// Of large items, and for slow peers.
const FEWER: u64 = 100_000;
/// How many items fit.
const CAPACITY: usize = 1024;

const CROSSBEAM: &str = "crossbeam-channel (threads)";
const ARRAY: &str = "crossbeam_queue::ArrayQueue (threads)";
const KANAL: &str = "kanal (threads)";
const SOCKET: &str = "socketpair, SEQPACKET (threads)";
const CHANNEL: &str = "messages of 64 B, 1 to 1, channel";
const ICEORYX2: &str = "iceoryx2, polling (processes)";

pub(super) fn contests(table: &mut Table, cpus: &[usize]) -> Result<()> {
    round_trips(table, cpus)?;
    numbers(table, cpus)?;
    crowd(table, cpus)?;
    items::<[u64; 8]>(table, cpus, "items of 64 B, 1 to 1, Queue", MANY)?;
    items::<[u64; 128]>(table, cpus, "items of 1 KiB, 1 to 1, Queue", FEWER)
}

/// Both sides run, and look until there is something.
fn round_trips(table: &mut Table, cpus: &[usize]) -> Result<()> {
    const QUEUE: &str = "round trip of a u64, two Queues";
    const SPSC: &str = "round trip of a u64, two spsc rings";
    const RTRB: &str = "rtrb (threads)";
    const IPC: &str = "ipc-channel (processes)";

    let many = Plan::of(TRIPS);
    let queues = [Queue::new(WAY)?, Queue::new(WAY)?];
    let domain = iceoryx2::Domain::new()?;
    let mut contest = Contest::default();
    contest.ours(QUEUE, || trips::of_queues(cpus, many, &queues));
    contest.ours(SPSC, || {
        let (there, back) = (coproc::spsc::<u64>(WAY)?, coproc::spsc::<u64>(WAY)?);
        trips::between_processes(cpus, many, || Ok((there.0, back.1)), (back.0, there.1))
    });
    contest.peer(ARRAY, || {
        let [there, back] = [(); 2].map(|()| Arc::new(ArrayQueue::<u64>::new(WAY)));
        trips::between_threads(cpus, many, (there.clone(), back.clone()), (back, there))
    });
    contest.peer(RTRB, || {
        let [there, back] = [(); 2].map(|()| rtrb::RingBuffer::<u64>::new(WAY));
        trips::between_threads(cpus, many, (there.0, back.1), (back.0, there.1))
    });
    contest.peer(ICEORYX2, || {
        let (there, back) = (domain.address(WAY)?, domain.address(WAY)?);
        let here = || Ok((there.publish()?, back.subscribe()?));
        trips::between_processes(cpus, many, here, (iceoryx2::Publishes(back.clone()), iceoryx2::Subscribes(there.clone())))
    });
    contest.peer(IPC, || {
        let (server, address) = ipc_channel::Server::new()?;
        trips::between_processes(cpus, Plan::of(FEW_TRIPS), || server.accept(), address)
    });
    contest.goal(QUEUE, ARRAY, 1.0);
    contest.goal(QUEUE, ICEORYX2, 0.33);
    contest.goal(QUEUE, IPC, 0.05);
    contest.goal(SPSC, RTRB, 1.05);
    table.hold(contest)
}

/// The peers that take items of any type, from any number of senders to any number of receivers.
fn with_peers<'a, T: Load>(contest: &mut Contest<'a>, cpus: &'a [usize], counts: u64, each: usize) {
    contest.peer(CROSSBEAM, move || {
        let (to, from) = crossbeam_channel::bounded::<T>(CAPACITY);
        stream::between_threads(cpus, counts, vec![to; each], vec![from; each])
    });
    contest.peer(ARRAY, move || {
        let queue = Arc::new(ArrayQueue::<T>::new(CAPACITY));
        stream::between_threads(cpus, counts, vec![queue.clone(); each], vec![queue; each])
    });
    contest.peer(KANAL, move || {
        let (to, from) = kanal::bounded::<T>(CAPACITY);
        stream::between_threads(cpus, counts, vec![to; each], vec![from; each])
    });
}

fn numbers(table: &mut Table, cpus: &[usize]) -> Result<()> {
    const QUEUE: &str = "stream of u64, 1 to 1, Queue";
    const BULK: &str = "stream of u64, 1 to 1, Queue, send_slice and recv_into";
    const SPSC: &str = "stream of u64, 1 to 1, spsc ring";
    const SPSC_BULK: &str = "stream of u64, 1 to 1, spsc ring, send_slice and recv_into";
    const RTRB: &str = "rtrb (threads)";

    let queue = Queue::<u64>::new(CAPACITY)?;
    let bulk = Bulk(Queue::new(CAPACITY)?);
    let domain = iceoryx2::Domain::new()?;
    let mut contest = Contest::default();
    contest.ours(QUEUE, || stream::between_processes(cpus, MANY, vec![queue.clone()], vec![queue.clone()]));
    contest.ours(BULK, || stream::between_processes(cpus, MANY, vec![bulk.clone()], vec![bulk.clone()]));
    contest.ours(SPSC, || {
        let (to, from) = coproc::spsc::<u64>(CAPACITY)?;
        stream::between_processes(cpus, MANY, vec![to], vec![from])
    });
    contest.ours(SPSC_BULK, || {
        let (to, from) = coproc::spsc::<u64>(CAPACITY)?;
        stream::between_processes(cpus, MANY, vec![Bulk(to)], vec![Bulk(from)])
    });
    with_peers::<u64>(&mut contest, cpus, MANY, 1);
    contest.peer(RTRB, || {
        let (to, from) = rtrb::RingBuffer::<u64>::new(CAPACITY);
        stream::between_threads(cpus, MANY, vec![to], vec![from])
    });
    contest.peer(ICEORYX2, || {
        let address = domain.address(CAPACITY)?;
        let (to, from) = (iceoryx2::Publishes(address.clone()), iceoryx2::Subscribes(address));
        stream::between_processes(cpus, FEWER, vec![to], vec![from])
    });
    contest.goal(QUEUE, CROSSBEAM, 1.0);
    contest.goal(QUEUE, ICEORYX2, 0.05);
    contest.goal(SPSC, RTRB, 1.0);
    contest.goal(SPSC_BULK, RTRB, 0.3);
    table.hold(contest)
}

fn crowd(table: &mut Table, cpus: &[usize]) -> Result<()> {
    const QUEUE: &str = "stream of u64, 2 to 2, Queue";

    let queue = Queue::<u64>::new(CAPACITY)?;
    let mut contest = Contest::default();
    contest.ours(QUEUE, || stream::between_processes(cpus, MANY, vec![queue.clone(); 2], vec![queue.clone(); 2]));
    with_peers::<u64>(&mut contest, cpus, MANY, 2);
    contest.goal(QUEUE, CROSSBEAM, 0.8);
    table.hold(contest)
}

fn items<T: Load + Item>(table: &mut Table, cpus: &[usize], case: &str, counts: u64) -> Result<()> {
    let queue = Queue::<T>::new(CAPACITY)?;
    let mut contest = Contest::default();
    contest.ours(case, || stream::between_processes(cpus, counts, vec![queue.clone()], vec![queue.clone()]));
    with_peers::<T>(&mut contest, cpus, counts, 1);
    if size_of::<T>() == socket::MESSAGE {
        contest.ours(CHANNEL, || {
            let (to, from) = coproc::channel()?;
            stream::between_processes(cpus, counts, vec![to], vec![from])
        });
        contest.peer(SOCKET, || {
            let (to, from) = socket::Socket::pair()?;
            stream::between_threads(cpus, FEWER, vec![to], vec![from])
        });
    }
    contest.goal(CHANNEL, SOCKET, 0.125);
    for peer in [CROSSBEAM, ARRAY, KANAL] {
        contest.goal(case, peer, 1.0);
    }
    table.hold(contest)
}
