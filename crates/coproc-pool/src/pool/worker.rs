//! What a worker process does: jobs, until its pool is gone.

use coproc::__private::Parcel;
use coproc::Message;

use super::job::{FINISHED, Job, Spare};
use crate::channel::{Channel, Received};
use crate::report::Report;

/// The entry of a worker process.
pub(super) fn serve(_: Parcel, channel: &Channel) -> Parcel {
    // The memory of the last job is kept until the next one is there: the pool uses it again, so it stays mapped here.
    let mut _last = Spare::default();
    loop {
        let parcel = match channel.recv(true) {
            Ok(Received::Parcel(parcel)) => parcel,
            Ok(Received::Nothing | Received::End) => return Parcel::of(&Report::Returned(())),
            Err(error) => return Report::unreadable(error.to_string()),
        };
        let Some((seat, job)) = parcel.open::<(usize, Job)>() else {
            return Report::unreadable("the pool sent what is no job".into());
        };
        drop(parcel);
        let Some(run) = job.run() else { return Report::unreadable("the function to call is not in this executable".into()) };
        if let Err(error) = run(&job, seat, channel) {
            return Report::unreadable(error.to_string());
        }
        _last = Spare::of(job);
        if channel.send(&Parcel::of(&FINISHED)).is_err() {
            return Parcel::of(&Report::Returned(()));
        }
    }
}

/// The job for the worker on this seat.
pub(super) fn order(seat: usize, job: &Job) -> Parcel {
    let mut parcel = Parcel::of(&seat);
    job.write(&mut parcel.writer());
    parcel
}
