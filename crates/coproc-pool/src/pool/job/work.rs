//! What a call with many items does with each: a function of one parameter or of several. (Those over arrays are with these.)

use std::marker::PhantomData;

use coproc::__private::{Failure, Lease};
use coproc::{Message, Outcome, Reader, Result};

use super::marks::{Marks, are_told_apart};
use crate::call::{Call, function};

/// What is done with an item.
pub(crate) trait Work: Sized + 'static {
    /// What the caller gets for it.
    type Output: Message;

    /// What each item needs of it, small enough to stay in registers.
    type View<'a>: Copy;

    /// Opens what it reaches beside the items.
    fn open(from: &mut Reader<'_>, lease: &Lease) -> Option<Self>;

    /// Whether it may reach that, now as when it was opened.
    fn is_open(&self, lease: &Lease) -> bool {
        let _ = lease;
        true
    }

    fn view(&self) -> Self::View<'_>;

    /// Whether its results are numbers that can be told from a mark, of items that are plain data: in the call's memory, if not elsewhere.
    fn has_marks() -> bool {
        false
    }

    /// Its results elsewhere, with this mark.
    fn marks(&self, mark: u64) -> Option<Marks> {
        let _ = mark;
        None
    }

    /// From this item on there are none.
    fn end(view: Self::View<'_>) -> usize {
        let _ = view;
        usize::MAX
    }

    /// Reads the item of this index and does it; `None` if it is none.
    fn item(view: Self::View<'_>, index: usize, from: Reader<'_>) -> Option<Result<Self::Output, Failure>>;
}

/// A function of one parameter.
pub(crate) struct One<F, P, R>(PhantomData<fn(F, P) -> R>);

impl<F, P, R> Work for One<F, P, R>
where
    F: Fn(P) -> R + Copy + Send + 'static,
    P: Message,
    R: Outcome,
{
    type Output = R::Output;
    type View<'a> = ();

    fn view(&self) {}

    fn has_marks() -> bool {
        P::PLAIN.is_some() && are_told_apart::<R::Output, R>()
    }

    fn open(_: &mut Reader<'_>, _: &Lease) -> Option<Self> {
        Some(Self(PhantomData))
    }

    #[inline(always)]
    fn item((): (), _: usize, mut from: Reader<'_>) -> Option<Result<R::Output, Failure>> {
        let item = P::read(&mut from)?;
        Some(function::<F>()(item).settle())
    }
}

/// A function of several parameters.
pub(crate) struct Many<F, Args, Sig>(PhantomData<fn(F, Args) -> Sig>);

impl<F, Args, Sig> Work for Many<F, Args, Sig>
where
    F: Call<Args, Sig>,
    Args: 'static,
    Sig: 'static,
{
    type Output = F::Output;
    type View<'a> = ();

    fn view(&self) {}

    fn open(_: &mut Reader<'_>, _: &Lease) -> Option<Self> {
        Some(Self(PhantomData))
    }

    #[inline(always)]
    fn item((): (), _: usize, from: Reader<'_>) -> Option<Result<F::Output, Failure>> {
        function::<F>().call_with(from)
    }
}
