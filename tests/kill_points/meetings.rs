//! Who waits for others: condvars, barriers, a value that is made once.

use coproc::{Barrier, BarrierError, Condvar, LockError, Mutex, OnceLock, Result, Shareable, SharedValue};
use coproc_tests::rig::{Check, Dead, Operation, Other, Step, ensure, operation};

use crate::{Block, CLEAN, NEW, OLD, POISONED};

#[derive(Shareable)]
#[repr(C)]
struct Stock {
    items: Mutex<u64>,
    arrived: Condvar,
}

type Shop = (SharedValue<Stock>, Option<Other>);

fn shop() -> Result<Shop> {
    Ok((SharedValue::zeroed()?, None))
}

fn wait_for_stock(stock: &Stock) -> Result<(), LockError> {
    stock.arrived.wait_while(stock.items.lock()?, |items| *items == 0).map(drop)
}

fn stock_waiter(stock: &Stock) -> Other {
    Other::asleep(|| match wait_for_stock(stock) {
        Ok(()) => CLEAN,
        Err(LockError::Poisoned(_)) => POISONED,
        Err(_) => 2,
    })
}

fn deliver(stock: &Stock) -> Result<(), LockError> {
    *stock.items.lock_or_repair(|_, _| ())? = 1;
    stock.arrived.notify_all();
    Ok(())
}

/// Who waits gets what is delivered, or learns that the victim died with the lock; then others wait and get it too.
fn shop_works((stock, other): Shop, dead: &Dead<'_>) -> Check {
    dead.bounded("deliver", || deliver(&stock))?;
    if let Some(other) = other {
        let code = other.ends(dead, "wait in another process")?;
        ensure(code == CLEAN || code == POISONED && !dead.finished, || format!("who waited: {code}"))?;
    }
    *dead.bounded("lock_or_repair", || stock.items.lock_or_repair(|_, _| ()))? = 0;
    let other = stock_waiter(&stock);
    dead.bounded("deliver", || deliver(&stock))?;
    let code = other.ends(dead, "wait in a second process")?;
    ensure(code == CLEAN, || format!("who waited after it: {code}"))
}

/// A barrier for two, the victim and another, which may be there already.
type Meeting = (SharedValue<Barrier>, Option<Other>);

fn meeting() -> Result<Meeting> {
    Ok((SharedValue::new(Barrier::new(2))?, None))
}

/// Exit codes of processes that wait at a barrier.
const MET: i32 = 0;
const BROKEN: i32 = 1;

fn meet(barrier: &Barrier) -> i32 {
    match barrier.wait() {
        Ok(_) => MET,
        Err(BarrierError::Broken) => BROKEN,
        Err(_) => 2,
    }
}

/// The other has met the victim, or learns that it died; then the barrier can be reset, and two can meet.
fn meeting_works((barrier, other): Meeting, dead: &Dead<'_>) -> Check {
    // The victim may have been killed before the other was started.
    let other = other.unwrap_or_else(|| Other::start(|| meet(&barrier)));
    let code = other.ends(dead, "wait in the other party")?;
    ensure(code == MET || code == BROKEN && !dead.finished, || format!("the other party: {code}"))?;
    dead.bounded("reset", || barrier.reset())?;
    let other = Other::asleep(|| meet(&barrier));
    let met = dead.bounded("wait", || barrier.wait());
    let code = other.ends(dead, "wait in a second party")?;
    ensure(met.is_ok_and(|met| met.is_leader()) && code == MET, || format!("after a reset: {met:?}, {code}"))
}

pub(crate) fn lines() -> Vec<Box<dyn Operation>> {
    let wait = |(stock, _): Shop, step: &Step| Ok(step.through(|| wait_for_stock(&stock))?);
    let arrive = |(barrier, _): Meeting, step: &Step| {
        // So that others know that it was to come, if it is killed before it does.
        let party = barrier.party().map_err(coproc::Error::other)?;
        step.through(|| barrier.wait()).map_err(coproc::Error::other)?;
        drop(party);
        Ok(())
    };
    vec![
        operation("Condvar: wait_while", shop, wait, shop_works).asleep(|(stock, _)| deliver(stock).expect("stock")).boxed(),
        operation("Condvar: wait_while, another waits too", shop, wait, shop_works)
            .meanwhile(|(stock, other)| *other = Some(stock_waiter(stock)))
            .asleep(|(stock, _)| deliver(stock).expect("stock"))
            .boxed(),
        operation(
            "Condvar: lock, change, notify, another waits",
            shop,
            |(stock, _), step| Ok(step.through(|| deliver(&stock))?),
            shop_works,
        )
        .meanwhile(|(stock, other)| *other = Some(stock_waiter(stock)))
        .boxed(),
        operation("Barrier: wait, the last to come", meeting, arrive, meeting_works)
            .meanwhile(|(barrier, other)| *other = Some(Other::asleep(|| meet(barrier))))
            .slow()
            .boxed(),
        operation("Barrier: wait, the first to come", meeting, arrive, meeting_works)
            .asleep(|(barrier, other)| {
                other.get_or_insert_with(|| Other::start(|| meet(barrier)));
            })
            .slow()
            .boxed(),
        operation(
            "OnceLock: get_or_init",
            SharedValue::<OnceLock<Block>>::zeroed,
            |once, step| Ok(step.through(|| once.get_or_init(|| NEW).map(|_| ()))?),
            |once, dead| {
                let found = *dead.bounded("get_or_init", || once.get_or_init(|| OLD))?;
                ensure(found == NEW || found == OLD && !dead.finished, || format!("{found:?}"))?;
                ensure(once.get() == Some(&found), || format!("made, but {:?}", once.get()))
            },
        )
        .boxed(),
    ]
}
