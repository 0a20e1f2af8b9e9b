//! Calls as tasks: the function as an offset, the arguments as bytes.

use std::cell::Cell as Local;
use std::sync::Arc;

use coproc::__private::Parcel;
use coproc::Message;

use super::Pool;
use super::task::{Callback, Cell, Task};
use super::worker::{Run, run_call};
use crate::call::Call;
use crate::error::PoolError;
use crate::image;

thread_local! {
    /// Where arguments are packed, kept so that its memory is.
    static SCRATCH: Local<Parcel> = Local::new(Parcel::default());
    /// The last function that was looked up, and its offset.
    static LAST: Local<(usize, u64)> = const { Local::new((0, 0)) };
}

/// What a worker finds this function by.
pub(super) fn offset_of(run: Run) -> Result<u64, PoolError> {
    let address = run as usize;
    let (last, offset) = LAST.get();
    if last == address {
        return Ok(offset);
    }
    let offset = image::offset_of(address)?;
    LAST.set((address, offset));
    Ok(offset)
}

/// Runs this with an empty parcel whose memory is there already.
pub(super) fn with_scratch<T>(pack: impl FnOnce(&mut Parcel) -> T) -> T {
    // Taken, not borrowed: a message's `write` may use the pool too.
    let mut parcel = SCRATCH.take();
    parcel.bytes.clear();
    parcel.handles.clear();
    let result = pack(&mut parcel);
    SCRATCH.set(parcel);
    result
}

/// A call that is being put together; made by [`Pool::task`].
#[must_use = "it is not submitted yet: call `submit`"]
pub struct Submission<'a, R> {
    pool: &'a Pool,
    function: Result<u64, PoolError>,
    arguments: Parcel,
    retries: u32,
    callback: Option<Callback<R>>,
    error_callback: Option<Callback<PoolError>>,
}

impl<R: Message + Send> Submission<'_, R> {
    /// Calls this with the result, on a thread of the pool, before the task counts as ready. A panic in it is printed, and the pool goes on.
    ///
    /// It should be quick: the results of other tasks wait meanwhile. It must not wait for a task itself.
    pub fn callback(mut self, callback: impl FnOnce(&R) + Send + 'static) -> Self {
        self.callback = Some(Box::new(callback));
        self
    }

    /// As [`callback`](Self::callback), with the error if there is no result.
    pub fn error_callback(mut self, callback: impl FnOnce(&PoolError) + Send + 'static) -> Self {
        self.error_callback = Some(Box::new(callback));
        self
    }

    /// How often the task is begun anew if a worker dies at it, in place of what the pool was built with.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// Submits the call.
    ///
    /// # Errors
    /// As [`Pool::apply_async`].
    pub fn submit(mut self) -> Result<Task<R>, PoolError> {
        let cell = Cell::new(self.callback.take(), self.error_callback.take());
        self.pool.submit_packed(self.function?, self.retries, &mut self.arguments, cell)
    }
}

impl<R> std::fmt::Debug for Submission<'_, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Submission").field("retries", &self.retries).finish_non_exhaustive()
    }
}

/// The function must be found by its type alone.
macro_rules! captures_nothing {
    ($f:ty) => {
        const {
            assert!(
                size_of::<$f>() == 0,
                "this closure captures variables (or is a fn pointer); another process cannot see them: pass them as arguments"
            );
        }
    };
}
pub(super) use captures_nothing;

impl Pool {
    /// Calls the function in a worker and waits for its result.
    ///
    /// Functions and arguments are as for [`Process::spawn`](crate::Process::spawn).
    ///
    /// ```
    /// # let pool = coproc_pool::Pool::new(2)?;
    /// assert_eq!(pool.apply(|text: String, times: usize| text.repeat(times), ("ab", 2))?, "abab");
    /// # Ok::<(), coproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Task::get`] and [`apply_async`](Self::apply_async).
    pub fn apply<F, Args, Sig>(&self, f: F, args: Args) -> Result<F::Output, PoolError>
    where
        F: Call<Args, Sig, Output: Send>,
    {
        captures_nothing!(F);
        self.submit_call(f, &args)?.get()
    }

    /// Has the function called in a worker, and returns at once.
    ///
    /// ```
    /// # let pool = coproc_pool::Pool::new(2)?;
    /// let tasks: Vec<_> = (0..4).map(|n| pool.apply_async(|n: u32| n * n, (n,))).collect::<Result<_, _>>()?;
    /// let squares: Vec<_> = tasks.into_iter().map(|task| task.get()).collect::<Result<_, _>>()?;
    /// assert_eq!(squares, [0, 1, 4, 9]);
    /// # Ok::<(), coproc::Error>(())
    /// ```
    ///
    /// ```compile_fail,E0080
    /// # let pool = coproc_pool::Pool::new(2).unwrap();
    /// let by = 3;
    /// pool.apply_async(move |n: u64| n * by, (1,)); // give it as an argument
    /// ```
    ///
    /// # Errors
    /// [`PoolError::Closed`], [`PoolError::Terminated`]; [`PoolError::Forked`] in a process that was forked from the pool's; [`PoolError::Call`] if
    /// the function lies in a loaded library.
    #[doc(alias = "submit")]
    pub fn apply_async<F, Args, Sig>(&self, f: F, args: Args) -> Result<Task<F::Output>, PoolError>
    where
        F: Call<Args, Sig, Output: Send>,
    {
        captures_nothing!(F);
        self.submit_call(f, &args)
    }

    /// A call to be submitted with more than arguments.
    ///
    /// ```
    /// # let pool = coproc_pool::Pool::new(2)?;
    /// let task = pool
    ///     .task(|n: u64| n * n, (7,))
    ///     .callback(|square| println!("{square}"))
    ///     .error_callback(|error| eprintln!("{error}"))
    ///     .submit()?;
    /// task.wait(); // the callback has run
    /// # Ok::<(), coproc::Error>(())
    /// ```
    pub fn task<F, Args, Sig>(&self, f: F, args: Args) -> Submission<'_, F::Output>
    where
        F: Call<Args, Sig, Output: Send>,
    {
        captures_nothing!(F);
        let _ = f;
        let mut arguments = Parcel::default();
        F::pack(&args, &mut arguments.writer());
        Submission {
            pool: self,
            function: offset_of(run_call::<F, Args, Sig>),
            arguments,
            retries: self.retries,
            callback: None,
            error_callback: None,
        }
    }

    pub(super) fn submit_packed<R: Message + Send>(
        &self,
        function: u64,
        retries: u32,
        arguments: &mut Parcel,
        cell: Cell<R>,
    ) -> Result<Task<R>, PoolError> {
        let cell = Arc::new(cell);
        let desk = &self.shared.desk;
        desk.submit(function, retries, arguments, Arc::clone(&cell) as _)?;
        Ok(Task { desk: Arc::clone(desk), cell })
    }

    pub(super) fn submit_call<F, Args, Sig>(&self, _: F, args: &Args) -> Result<Task<F::Output>, PoolError>
    where
        F: Call<Args, Sig, Output: Send>,
    {
        let function = offset_of(run_call::<F, Args, Sig>)?;
        with_scratch(|parcel| {
            F::pack(args, &mut parcel.writer());
            self.submit_packed(function, self.retries, parcel, Cell::new(None, None))
        })
    }
}
