//! Two condvars, and stock that goes from some to others.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use coproc::{Condvar, LockError, Mutex, Plain, Result, Shareable, SharedValue};
use coproc_pool::Process;

use crate::{Overlap, Score, alone, finish, storm};

#[derive(Clone, Copy, Debug, Default, Plain)]
#[repr(C)]
struct Stock {
    items: u64,
    produced: u64,
    consumed: u64,
}

const ROOM: u64 = 3;

#[derive(Shareable)]
#[repr(C)]
struct Shop {
    score: Score,
    stock: Mutex<Stock>,
    arrived: Condvar,
    room: Condvar,
}

impl Shop {
    /// Waits until this is so no more, with a look now and then: who died before it notified has notified nobody.
    fn change(&self, on: &Condvar, wait: impl Fn(&Stock) -> bool, change: impl FnOnce(&mut Stock)) -> Result<(), LockError> {
        let mend = |stock: &mut Stock, _| {
            stock.items = stock.produced - stock.consumed;
            self.score.repairs.fetch_add(1, SeqCst);
        };
        loop {
            let guard = self.stock.lock_or_repair(mend)?;
            let waited = on.wait_timeout_while(guard, Duration::from_millis(50), |stock| self.score.goes_on() && wait(stock));
            match waited {
                Ok((mut stock, true)) => {
                    self.score.never(stock.items != stock.produced - stock.consumed || stock.items > ROOM);
                    if !wait(&stock) {
                        change(&mut stock);
                        self.score.turn();
                    }
                    return Ok(());
                }
                Ok((_, false)) | Err(LockError::Poisoned(_)) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[test]
fn condvar() -> Result<()> {
    fn produce(shop: SharedValue<Shop>) -> Result<()> {
        while shop.score.goes_on() {
            shop.change(
                &shop.room,
                |stock| stock.items == ROOM,
                |stock| {
                    stock.produced += 1;
                    stock.items += 1;
                },
            )?;
            shop.arrived.notify_one();
        }
        Ok(())
    }
    fn consume(shop: SharedValue<Shop>) -> Result<()> {
        while shop.score.goes_on() {
            shop.change(
                &shop.arrived,
                |stock| stock.items == 0,
                |stock| {
                    stock.consumed += 1;
                    stock.items -= 1;
                },
            )?;
            shop.room.notify_one();
        }
        Ok(())
    }
    /// With no look now and then: where nobody dies no wake is lost.
    fn trade(shop: SharedValue<Shop>, produces: bool) -> Result<()> {
        for _ in 0..500 {
            let (on, other) = if produces { (&shop.room, &shop.arrived) } else { (&shop.arrived, &shop.room) };
            let wait = |stock: &mut Stock| if produces { stock.items == ROOM } else { stock.items == 0 };
            let mut stock = on.wait_while(shop.stock.lock()?, wait)?;
            if produces {
                stock.items += 1
            } else {
                stock.items -= 1
            }
            drop(stock);
            other.notify_one();
        }
        Ok(())
    }
    let _alone = alone("Condvar");
    let shop = SharedValue::<Shop>::zeroed()?;
    let spawn = |n| if n % 2 == 0 { Process::spawn(produce, (&shop,)) } else { Process::spawn(consume, (&shop,)) };
    let (kills, left) = storm(&shop.score, Overlap::Often, spawn, |_| (), || Ok(()))?;
    shop.score.stop.store(1, SeqCst);
    shop.arrived.notify_all();
    shop.room.notify_all();
    finish("Condvar", &shop.score, kills, left)?;
    drop(shop.stock.lock_or_repair(|stock, _| stock.items = stock.produced - stock.consumed)?);
    let all = (0..4).map(|n| Process::spawn(trade, (&shop, n % 2 == 0))).collect::<Result<Vec<_>>>()?;
    for process in all {
        process.join()?;
    }
    Ok(())
}
