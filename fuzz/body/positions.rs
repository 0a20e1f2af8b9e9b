//! Bytes that another process wrote over a queue or a ring. Without libfuzzer, so that tests can replay its corpus.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use coproc::__private::Parcel;
use coproc::{Item, Queue, Receiver, Sender, spsc};

/// Where the body of a segment begins.
const BODY: u64 = 128;

const SHORT: Duration = Duration::from_micros(100);

/// The first byte chooses the type of the items and what carries them, the second the capacity, the third how much is inside. The others are
/// written over the body, from its first byte on; more than it has are left out. Then everything is done that there is to do: no panic, no hang,
/// and no more items than fit.
pub(crate) fn check(input: &[u8]) {
    let [choice, capacity, inside, bytes @ ..] = input else { return };
    let (capacity, inside) = (1 + usize::from(capacity % 5), usize::from(inside % 16));
    match choice % 3 {
        0 => scribble(choice, capacity, inside, bytes, 7_u64),
        1 => scribble(choice, capacity, inside, bytes, ()),
        _ => scribble(choice, capacity, inside, bytes, ('x', Some(true))),
    }
}

fn scribble<T: Item + Copy>(choice: &u8, capacity: usize, inside: usize, bytes: &[u8], item: T) {
    // Where there is no memory, or no descriptor, there is nothing to look at.
    if choice.is_multiple_of(2) {
        let Ok(queue) = Queue::new(capacity) else { return };
        for _ in 0..inside {
            let _ = (queue.try_send(item), inside > capacity && queue.try_recv().is_ok());
        }
        overwrite(&file(&Parcel::of(&queue)), bytes);
        use_queue(&queue, item);
        // Who comes anew sees the same.
        if let Some(queue) = Parcel::of(&queue).open::<Queue<T>>() {
            queue.close();
            use_queue(&queue, item);
        }
        return;
    }
    let Ok((sender, receiver)) = spsc::<T>(capacity) else { return };
    let parcel = Parcel::of(&(sender, receiver));
    let Some((mut sender, mut receiver)) = parcel.open::<(Sender<T>, Receiver<T>)>() else { panic!("two ends in one parcel") };
    for _ in 0..inside {
        let _ = (sender.try_send(item), inside > capacity && receiver.try_recv().is_ok());
    }
    overwrite(&file(&parcel), bytes);
    use_ring(&mut sender, &mut receiver, item);
    let parcel = Parcel::of(&(sender, receiver));
    if let Some((mut sender, mut receiver)) = parcel.open::<(Sender<T>, Receiver<T>)>() {
        use_ring(&mut sender, &mut receiver, item);
        drop(sender);
        assert!(receiver.iter().take(capacity + 1).count() <= capacity, "more than fit");
    }
}

fn file(parcel: &Parcel) -> File {
    parcel.handles[0].as_fd().try_clone_to_owned().expect("a descriptor").into()
}

fn overwrite(file: &File, bytes: &[u8]) {
    let room = file.metadata().expect("its size").len() - BODY;
    file.write_all_at(&bytes[..bytes.len().min(room as usize)], BODY).expect("writing to memory");
}

fn use_queue<T: Item + Copy>(queue: &Queue<T>, item: T) {
    let _ = (queue.is_empty(), queue.is_full(), queue.is_closed(), format!("{queue:?}"));
    assert!(queue.len() <= queue.capacity());
    let _ = (queue.try_send(item), queue.send_timeout(item, SHORT));
    let _ = (queue.try_recv().is_ok(), queue.recv_timeout(SHORT).is_ok());
    let _ = (queue.try_send(item), queue.try_recv().is_ok());
    assert!(queue.len() <= queue.capacity());
}

fn use_ring<T: Item + Copy>(sender: &mut Sender<T>, receiver: &mut Receiver<T>, item: T) {
    let _ = (sender.is_closed(), receiver.is_closed(), format!("{sender:?} {receiver:?}"));
    assert!(sender.len() <= sender.capacity() && receiver.len() <= receiver.capacity());
    let _ = (sender.try_send(item), sender.send_timeout(item, SHORT));
    if sender.try_send(item).is_ok() {
        let _ = sender.try_send(item);
    }
    let _ = (receiver.recv_timeout(SHORT).is_ok(), receiver.try_recv().is_ok());
    // It waits for one at most, which is there.
    if receiver.recv_timeout(SHORT).is_ok() && sender.try_send(item).is_ok() {
        let _ = receiver.recv_timeout(SHORT).is_ok();
    }
    assert!(sender.len() <= sender.capacity() && receiver.len() <= receiver.capacity());
}
