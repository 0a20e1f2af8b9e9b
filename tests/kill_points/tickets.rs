//! Tickets, made and redeemed by the victim.

use std::mem;

use coproc::{Queue, Result, SharedValue, Ticket, TicketError};
use coproc_tests::rig::{Check, Dead, Operation, ensure, operation};

use crate::{Block, OLD, sound};

/// A ticket on its way to the victim, of which the survivor has a copy.
struct Tickets {
    queue: Queue<Ticket<SharedValue<Block>>>,
    n: SharedValue<Block>,
    copy: Option<Ticket<SharedValue<Block>>>,
}

fn tickets(inside: bool) -> impl Fn() -> Result<Tickets> {
    move || {
        let all = Tickets { queue: Queue::new(2)?, n: SharedValue::new(OLD)?, copy: None };
        if !inside {
            return Ok(all);
        }
        let ticket = all.queue.ticket(&all.n)?;
        all.queue.send(ticket)?;
        Ok(Tickets { copy: Some(ticket), ..all })
    }
}

impl Tickets {
    /// Those who live give and take as before.
    fn check_others(&self, dead: &Dead<'_>) -> Check {
        let ticket = dead.bounded("ticket", || self.queue.ticket(SharedValue::new(OLD)?))?;
        sound(&dead.bounded("redeem", || ticket.redeem())?, dead, &[]).map(drop)
    }
}

pub(crate) fn lines() -> Vec<Box<dyn Operation>> {
    vec![
        operation(
            "Ticket: made and sent",
            tickets(false),
            |all, step| step.through(|| all.queue.send(all.queue.ticket(&all.n)?).map_err(coproc::Error::from)),
            |all, dead| {
                match all.queue.try_recv() {
                    Ok(ticket) => sound(&dead.bounded("redeem", || ticket.redeem())?, dead, &[]).map(drop)?,
                    Err(_) => ensure(!dead.finished, || "sent, but it never came".into())?,
                }
                all.check_others(dead)
            },
        )
        .boxed(),
        operation(
            "Ticket: received and redeemed",
            tickets(true),
            |all, step| {
                mem::forget(step.through(|| all.queue.recv().map_err(coproc::Error::from).and_then(|it| Ok(it.redeem()?))));
                Ok(())
            },
            |all, dead| {
                let Some(copy) = all.copy else { return Ok(()) };
                match dead.bounded("redeem", || copy.redeem()) {
                    Ok(n) => {
                        ensure(!dead.finished, || "redeemed twice".into())?;
                        sound(&n, dead, &[]).map(drop)?;
                    }
                    Err(TicketError::Void) => {}
                    Err(error) => return Err(error.into()),
                }
                all.check_others(dead)
            },
        )
        .boxed(),
    ]
}
