//! Child processes that run one function each: starting, watching, joining and ending them.

mod builder;
mod exit;
mod handle;
mod link;
mod relatives;
mod scope;
mod status;
mod stdio;

use std::fmt;
use std::io::{PipeReader, PipeWriter};
use std::marker::PhantomData;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use coproc::{Message, Result, Waitable};

pub use builder::Builder;
pub(crate) use exit::{CHILDREN, enter, see_children_off};
pub use handle::Child;
pub use relatives::{Parent, active_children, current_name, interrupted, parent};
pub use scope::{Scope, ScopedProcess, scope};
pub use status::ExitStatus;
pub use stdio::Stdio;

use crate::call::Call;
use crate::context::Settings;
use crate::error::{Cause, ProcessError};
use crate::me::me;
use crate::sys::Status;
use link::Link;
use stdio::Pipes;

/// What is said of a function that cannot be called elsewhere.
const CAPTURES: &str =
    "this closure captures variables (or is a fn pointer); another process cannot see them: pass them as arguments";

/// A child process that runs one function of this program: what `std::thread::JoinHandle` is for a thread.
///
/// The child is this same executable, copied before its `main`: there is nothing to initialise and no guard to write, and it works in
/// tests, examples and doctests too. It has its own memory. What it shares with its parent is what it is given: handles of shared objects as
/// arguments. It inherits standard input, output and error, the environment, the working directory and the process group, and no
/// descriptor that it was not given; [`builder`](Process::builder) changes that.
///
/// **When the child dies**, [`join`](Self::join) returns at once with the cause: its panic, its exit code, its signal. **When the parent exits**
/// (its `main` returns or panics, or it calls `std::process::exit`), it waits for its children, but for [daemons](Builder::daemon). **When the parent is killed**
/// or aborts, however, the kernel ends the child. Dropping the handle lets the child run on; it is reaped when it ends.
///
/// A child ends when its function returns, though threads of its own still run; what it has printed is written out before that. Ctrl-C at the
/// terminal is for its parent: see [`interrupted`].
///
/// What is copied is the *zygote*: this program, executed when the first child is started, which never gets to its `main`. It and the copies that it keeps ready for
/// the next starts are children of this process too, `coproc-zygote` and `coproc-spare` in `ps`, and end with it. So a loop that calls `waitpid(-1)` until
/// `ECHILD` never ends, and it takes the statuses of children away from those who join them: wait for children of your own by their pids. Where there can
/// be no zygote, and for [`Builder::exec`], the program is executed for each child.
///
/// To watch and end it, a process has the methods of [`Child`]. Several that shall not outlive a block of code are started in a [`scope`](fn@scope).
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
    /// The other end of its standard input, if that is [piped](Stdio::piped). Dropping it is the end of the input.
    pub stdin: Option<PipeWriter>,
    /// The other end of its standard output, if that is piped.
    pub stdout: Option<PipeReader>,
    /// The other end of its standard error, if that is piped.
    pub stderr: Option<PipeReader>,
    link: Arc<Link>,
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
        const { assert!(size_of::<F>() == 0, "{}", CAPTURES) };
        Process::builder().start(f, &args)
    }

    /// Waits for the child's end and gives what its function returned. Closes the child's standard input first, if that is piped.
    ///
    /// # Errors
    /// [`ProcessError`] with the cause, if it gave no result.
    pub fn join(mut self) -> Result<T, ProcessError> {
        drop(self.stdin.take());
        self.child().wait();
        self.link.take()
    }

    /// Waits for the child's end, at most this long (monotonic time), and gives what its function returned; `None` if it still runs: it can be joined again,
    /// as often as need be.
    ///
    /// ```
    /// use std::time::Duration;
    /// # use coproc_pool::Process;
    ///
    /// let process = Process::spawn(|| std::io::stdin().lines().count(), ())?;
    /// # let process = Process::builder().stdin(coproc_pool::Stdio::piped()).spawn(|| std::io::stdin().lines().count(), ())?;
    /// if process.join_timeout(Duration::from_millis(10))?.is_none() {
    ///     process.kill()?;
    ///     assert!(process.join().is_err());
    /// }
    /// # Ok::<(), coproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`join`](Self::join). The result is given once: after that, [`Cause::Taken`].
    pub fn join_timeout(&self, time: Duration) -> Result<Option<T>, ProcessError> {
        self.child().wait_timeout(time).map(|_| self.link.take()).transpose()
    }

    /// Gives what the child's function returned, if it has ended; `None` if it still runs.
    ///
    /// # Errors
    /// As [`join_timeout`](Self::join_timeout).
    pub fn try_join(&self) -> Result<Option<T>, ProcessError> {
        self.child().exit_status().map(|_| self.link.take()).transpose()
    }

    fn start<F, Args, Sig>(settings: Settings, args: &Args, pipes: Pipes) -> Result<Self>
    where
        F: Call<Args, Sig, Output = T>,
    {
        let link = Arc::new(Link::start::<F, Args, Sig>(&settings, args)?);
        let Pipes { stdin, stdout, stderr } = pipes;
        Ok(Self { stdin, stdout, stderr, link, of: PhantomData })
    }
}

/// What a [`Child`] has too, for those who name it by its path (`Process::pid`).
impl<T> Process<T> {
    /// The child's process id.
    #[doc(alias = "ident")]
    pub fn pid(&self) -> u32 {
        self.child().pid()
    }

    /// The child's name.
    pub fn name(&self) -> &str {
        self.child().name()
    }

    /// Whether the child still runs.
    pub fn is_alive(&self) -> bool {
        self.child().is_alive()
    }

    /// As [`Child::terminate`].
    ///
    /// # Errors
    /// As there.
    pub fn terminate(&self) -> Result<()> {
        self.child().terminate()
    }

    /// As [`Child::kill`].
    ///
    /// # Errors
    /// As there.
    pub fn kill(&self) -> Result<()> {
        self.child().kill()
    }

    /// The child, whatever its function returns: for other threads, which may end it while this one waits.
    pub fn child(&self) -> &Child {
        &self.link.child
    }
}

impl<T> Deref for Process<T> {
    type Target = Child;

    fn deref(&self) -> &Child {
        self.child()
    }
}

impl<T> fmt::Debug for Process<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("name", &self.name()).field("pid", &self.pid()).field("alive", &self.is_alive()).finish()
    }
}

/// The sentinel: as [`Child`]'s.
impl<T> AsFd for Process<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.child().as_fd()
    }
}

/// The next default name of a child of this process.
pub(crate) fn next_name(kind: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    match me() {
        Some(me) => format!("{}:{number}", me.name),
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
        self.child().is_ready()
    }

    fn announce(&self) -> (&AtomicU32, u32) {
        self.child().announce()
    }
}
