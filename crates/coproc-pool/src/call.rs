//! A function and its arguments on the way to another process: the function as a type, the arguments as bytes.

#![allow(unsafe_code)]

use std::ptr::NonNull;

use coproc::__private::{Failure, Parcel};
use coproc::{Arg, Message, Outcome, Reader, Writer};

/// A function that can be called in another process with `Args`, a tuple of what its parameters are made from.
///
/// Implemented for functions and closures of up to 8 parameters that capture nothing; `Sig` is the function's own signature, found by the
/// compiler. Parameters of closures need their types written down.
#[diagnostic::on_unimplemented(
    message = "this function cannot be called in another process with `{Args}`",
    label = "not a function of these arguments that another process could call",
    note = "the arguments are a tuple with one element for each parameter: `(5,)`, `(&counter, \"Asia\")`, `()`",
    note = "parameters are taken by value (a handle, not a reference to one) and are messages; the result is a message, or a `Result` of one with a usual error type",
    note = "a closure may capture nothing, and needs the types of its parameters: `|n: u64| n * n`"
)]
pub trait Call<Args, Sig>: Copy + Send + 'static {
    /// What the caller gets.
    type Output: Message;

    /// Writes the arguments as the parameters are written.
    #[doc(hidden)]
    fn pack(args: &Args, to: &mut Writer<'_>);

    /// Calls the function with arguments that [`pack`](Self::pack) wrote; `None` if they are none. While it runs it alone has the handles
    /// that it was given: dropping one gives the object up.
    #[doc(hidden)]
    fn call(self, args: Parcel) -> Option<Result<Self::Output, Failure>>;

    /// As [`call`](Self::call), with arguments that hold no handles.
    #[doc(hidden)]
    fn call_with(self, args: Reader<'_>) -> Option<Result<Self::Output, Failure>>;
}

macro_rules! calls {
    ($(($($arg:ident $param:ident $name:ident)*))*) => {$(
        impl<Fun, Out, $($arg, $param),*> Call<($($arg,)*), fn($($param),*) -> Out> for Fun
        where
            Fun: Fn($($param),*) -> Out + Copy + Send + 'static,
            Out: Outcome,
            $($arg: Arg<$param>, $param: Message,)*
        {
            type Output = Out::Output;

            #[allow(unused_variables, clippy::unused_unit, reason = "a function of no parameters")]
            fn pack(($($name,)*): &($($arg,)*), to: &mut Writer<'_>) {
                $($name.put(to);)*
            }

            #[allow(unused_variables, unused_mut, reason = "a function of no parameters")]
            fn call(self, args: Parcel) -> Option<Result<Out::Output, Failure>> {
                let mut reader = args.reader();
                $(let $name = $param::read(&mut reader)?;)*
                drop(args);
                Some(self($($name),*).settle())
            }

            #[allow(unused_variables, unused_mut, reason = "a function of no parameters")]
            fn call_with(self, args: Reader<'_>) -> Option<Result<Out::Output, Failure>> {
                let mut reader = args;
                $(let $name = $param::read(&mut reader)?;)*
                Some(self($($name),*).settle())
            }
        }
    )*};
}

calls! {
    ()
    (A P a)
    (A P a B Q b)
    (A P a B Q b C R c)
    (A P a B Q b C R c D S d)
    (A P a B Q b C R c D S d E T e)
    (A P a B Q b C R c D S d E T e F U f)
    (A P a B Q b C R c D S d E T e F U f G V g)
    (A P a B Q b C R c D S d E T e F U f G V g H W h)
}

/// The value of a function's type. A function that captures nothing has no bytes, so it need not travel.
pub(crate) fn function<F: Copy + Send + 'static>() -> F {
    const { assert!(size_of::<F>() == 0) };
    // SAFETY: a value of no bytes is read from any aligned pointer that is not null. It is `Copy`, so making one more breaks no uniqueness,
    // and `Send`, so it is bound to no thread; the caller of `spawn` or `map` had one. (What a type of no bytes may prove about the
    // process in which it was made is documented there as not preserved.)
    unsafe { NonNull::<F>::dangling().read() }
}
