//! One process sends 0 to 9 through a queue, another prints them. The consumer ends when the queue is closed and empty.

use coproc::Queue;
use coproc_pool::Process;

fn producer(queue: Queue<u32>) -> coproc::Result<()> {
    for i in 0..10 {
        queue.send(i)?;
    }
    Ok(())
}

fn consumer(queue: Queue<u32>) {
    for item in &queue {
        println!("{item}");
    }
}

fn main() -> coproc::Result<()> {
    let queue = Queue::new(4)?;
    let producer = Process::spawn(producer, (&queue,))?;
    let consumer = Process::spawn(consumer, (&queue,))?;
    producer.join()?;
    queue.close();
    consumer.join()?;
    Ok(())
}
