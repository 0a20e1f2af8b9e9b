//! A child process that runs one function.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use coproc::__private::Parcel;
use coproc::{Message, Result, Waitable};
use rustix::process::Signal;

use crate::call::{Call, function};
use crate::channel::{Channel, Received};
use crate::child::{self, guarded};
use crate::context::Settings;
use crate::error::{Cause, ProcessError};
use crate::keeper::Child;
use crate::launch::{self, Entry};
use crate::report::Report;
use crate::sys::Status;

/// A child process that runs one function of this program: what `std::thread::JoinHandle` is for a thread.
///
/// The child is this same executable, started before its `main`: there is nothing to initialise and no guard to write, and it works in
/// tests, examples and doctests too. It has its own memory. What it shares with its parent is what it is given: handles of shared objects as
/// arguments. It inherits standard input, output and error, the environment, the working directory and the process group, and no
/// descriptor that it was not given.
///
/// **When the child dies**, [`join`](Self::join) returns at once with the cause: its panic, its exit code, its signal. **When the parent dies**,
/// however, the kernel ends the child. Dropping the handle lets the child run on; it is reaped when it ends.
///
/// ```
/// use coproc_pool::{Process, coproc::SharedValue};
///
/// fn worker(counter: SharedValue<i32>, times: i32, name: String) -> coproc::Result<usize> {
///     for _ in 0..times {
///         *counter.lock()? += 1;
///     }
///     Ok(name.len())
/// }
///
/// let counter = SharedValue::new(0)?;
/// let process = Process::spawn(worker, (&counter, 5, "Asia"))?;
/// assert_eq!(process.join()?, 4);
/// assert_eq!(counter.get()?, 5);
/// # Ok::<(), coproc::Error>(())
/// ```
pub struct Process<T> {
    name: String,
    child: Arc<Child>,
    channel: Channel,
    of: PhantomData<fn() -> T>,
}

impl<T: Message> Process<T> {
    /// Starts a child process that calls `function` with these arguments: a tuple with one element for each parameter.
    ///
    /// Parameters are taken by value. An argument is a message of the parameter's type, a reference to a handle for a handle, a `&str` for a
    /// `String`, a slice for a `Vec`. The result is any message, or a `Result` of one with a usual error type, whose `Err` arrives
    /// as [`Cause::Failed`].
    ///
    /// The function may be an item or a closure that captures nothing; another process could not see what it captured:
    ///
    /// ```compile_fail,E0080
    /// # use coproc_pool::Process;
    /// let n = 3_u32;
    /// Process::spawn(move || n + 1, ()); // give it as an argument: `Process::spawn(|n: u32| n + 1, (n,))`
    /// ```
    ///
    /// ```
    /// # use coproc_pool::Process;
    /// let n = 3_u32;
    /// assert_eq!(Process::spawn(|n: u32| n + 1, (n,))?.join()?, 4);
    /// # Ok::<(), coproc::Error>(())
    /// ```
    ///
    /// A captured value of no bytes that proves that something was done in this process (`Copy + Send + 'static`, so a rare thing) proves nothing
    /// in the child.
    ///
    /// # Errors
    /// If the function lies in a loaded library, the arguments do not fit into memory, or the system refuses: the error names the limit.
    pub fn spawn<F, Args, Sig>(f: F, args: Args) -> Result<Self>
    where
        F: Call<Args, Sig, Output = T>,
    {
        const {
            assert!(
                size_of::<F>() == 0,
                "this closure captures variables (or is a fn pointer); another process cannot see them: pass them as arguments"
            );
        }
        let _ = f;
        let mut arguments = Parcel::default();
        F::pack(&args, &mut arguments.writer());
        let entry: Entry = |arguments, _| Parcel::of(&guarded(|| function::<F>().call(arguments)));
        let settings = Settings::new(next_name("Process"), false);
        let (child, channel) = launch::start(entry, &settings, arguments)?;
        Ok(Self { name: settings.name, child, channel, of: PhantomData })
    }

    /// Waits for the child's end and gives what its function returned.
    ///
    /// # Errors
    /// [`ProcessError`] with the cause, if it gave no result.
    pub fn join(self) -> Result<T, ProcessError> {
        let status = self.child.wait();
        let error = |cause| ProcessError { pid: self.child.pid, name: self.name.clone(), cause };
        // What it sent before its end is there, whole. Of several parcels the last counts: the others were words of panics that
        // did not end it.
        let mut last = None;
        loop {
            match self.channel.recv(false) {
                Ok(Received::Parcel(parcel)) => last = Some(parcel),
                Ok(Received::Nothing | Received::End) => break,
                Err(failed) => return Err(error(Cause::Unreadable { message: failed.to_string() })),
            }
        }
        match last.map(|parcel| parcel.open::<Report<T>>()) {
            Some(Some(report)) => report.settle().map_err(error),
            Some(None) => Err(error(Cause::Unreadable { message: "its result is no value of the function's type".into() })),
            None => Err(error(Cause::of(status))),
        }
    }
}

impl<T> Process<T> {
    /// The child's process id.
    #[doc(alias = "ident")]
    pub fn pid(&self) -> u32 {
        self.child.pid
    }

    /// The child's name: `Process-1` and so on, `Process-1:1` for a child's child.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the child still runs.
    pub fn is_alive(&self) -> bool {
        self.child.status().is_none()
    }

    /// Asks the child to end (`SIGTERM`). Nothing is done if it has ended.
    ///
    /// # Errors
    /// If the system refuses, as it does where the child has changed its user.
    pub fn terminate(&self) -> Result<()> {
        self.child.signal(Signal::TERM)
    }

    /// Ends the child at once (`SIGKILL`). What it shares stays whole for the others. Nothing is done if it has ended.
    ///
    /// # Errors
    /// As [`terminate`](Self::terminate).
    pub fn kill(&self) -> Result<()> {
        self.child.signal(Signal::KILL)
    }
}

impl<T> fmt::Debug for Process<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("name", &self.name).field("pid", &self.pid()).field("alive", &self.is_alive()).finish()
    }
}

/// The next default name of a child of this process.
pub(crate) fn next_name(kind: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    match child::name() {
        Some(parent) => format!("{parent}:{number}"),
        None => format!("{kind}-{number}"),
    }
}

impl Cause {
    /// The cause that follows from how a process ended without saying anything.
    pub(crate) fn of(status: Status) -> Self {
        match status {
            Status::Exited(code) => Self::Exited { code },
            Status::Killed(signal) => Self::Killed { signal },
            Status::Unknown => Self::Unknown,
        }
    }
}

/// Ready when the child has ended.
impl<T> Waitable for Process<T> {
    fn is_ready(&self) -> bool {
        self.child.gone.is_ready()
    }

    fn announce(&self) -> (&AtomicU32, u32) {
        self.child.gone.announce()
    }
}
