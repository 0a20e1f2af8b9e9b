//! Calls over the elements of shared arrays, in place.
//!
//! Meanwhile the arrays' locks are lent to the pool's *lease*: a mark of life that the pool and all its workers hold together. So if the caller is
//! killed, another process gets the lock when the last worker has ended too, and not while one still writes.

#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ptr::NonNull;

use coproc::__private::{Failure, Lease};
use coproc::{Error, Message, Outcome, Plain, Reader, Result, SharedArray};

use super::Pool;
use super::job::{Marks, Scene, Work, are_told_apart};
use super::map::Mapping;
use super::submit::captures_nothing;
use crate::call::function;
use crate::error::PoolError;

/// A function of the elements of one array, into those of another.
struct Elements<F, T: Plain, U: Plain, R> {
    input: SharedArray<T>,
    output: SharedArray<U>,
    of: PhantomData<fn(F) -> R>,
}

impl<F, T, U, R> Work for Elements<F, T, U, R>
where
    F: Fn(T) -> R + Copy + Send + 'static,
    T: Plain,
    U: Plain,
    R: Outcome<Output = U>,
{
    type Output = ();
    type View<'a> = Places<'a, T, U>;

    fn open(from: &mut Reader<'_>, lease: &Lease) -> Option<Self> {
        let (input, output) = (<SharedArray<T> as Message>::read(from)?, <SharedArray<U> as Message>::read(from)?);
        let work = Self { input, output, of: PhantomData };
        (work.input.len() == work.output.len() && work.is_open(lease)).then_some(work)
    }

    fn is_open(&self, lease: &Lease) -> bool {
        self.input.is_lent_to(lease) && self.output.is_lent_to(lease)
    }

    fn has_marks() -> bool {
        are_told_apart::<U, R>()
    }

    fn marks(&self, mark: u64) -> Option<Marks> {
        Marks::of_array(&self.output, mark)
    }

    fn view(&self) -> Places<'_, T, U> {
        let len = self.input.len().min(self.output.len());
        Places { from: self.input.raw_elements().cast(), to: self.output.raw_elements().cast(), len, of: PhantomData }
    }

    fn end(view: Places<'_, T, U>) -> usize {
        view.len
    }

    #[inline(always)]
    fn item(view: Places<'_, T, U>, index: usize, _: Reader<'_>) -> Option<Result<(), Failure>> {
        if index >= view.len {
            return None;
        }
        // SAFETY: the element is in the array (above).
        let from = unsafe { view.from.add(index) };
        // SAFETY: the array is mapped for the life of the view; its lock is lent to the lease that this process holds (`open`), so nobody writes
        // it; every bit pattern of plain data is a value.
        let value = unsafe { from.read() };
        match function::<F>()(value).settle() {
            Ok(value) => {
                // SAFETY: the element is in the array (above).
                let to = unsafe { view.to.add(index) };
                // SAFETY: mapped and lent as above; the item is this process's alone, and it is another array than the input (`map_array_into`).
                unsafe { to.write(value) };
                Some(Ok(()))
            }
            Err(failure) => Some(Err(failure)),
        }
    }
}

/// Where the elements of two arrays are, `len` in each.
struct Places<'a, T, U> {
    from: NonNull<T>,
    to: NonNull<U>,
    len: usize,
    of: PhantomData<&'a T>,
}

impl<T, U> Clone for Places<'_, T, U> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, U> Copy for Places<'_, T, U> {}

/// A function of chunks of an array: an item is a chunk.
struct Chunks<F, T: Plain, R> {
    array: SharedArray<T>,
    size: usize,
    of: PhantomData<fn(F) -> R>,
}

impl<F, T, R> Work for Chunks<F, T, R>
where
    F: Fn(usize, &mut [T]) -> R + Copy + Send + 'static,
    T: Plain,
    R: Outcome<Output = ()>,
{
    type Output = ();
    type View<'a> = &'a Self;

    fn open(from: &mut Reader<'_>, lease: &Lease) -> Option<Self> {
        let (array, size) = (<SharedArray<T> as Message>::read(from)?, usize::read(from)?);
        let work = Self { array, size, of: PhantomData };
        (size > 0 && work.is_open(lease)).then_some(work)
    }

    fn is_open(&self, lease: &Lease) -> bool {
        self.array.is_lent_to(lease)
    }

    fn view(&self) -> &Self {
        self
    }

    fn item(view: &Self, index: usize, _: Reader<'_>) -> Option<Result<(), Failure>> {
        let first = index.checked_mul(view.size).filter(|&first| first < view.array.len())?;
        let len = view.size.min(view.array.len() - first);
        let at = view.array.raw_elements().cast::<T>().as_ptr().wrapping_add(first);
        // SAFETY: these elements are in the array (above), whose lock is lent to the lease that this process holds (`open`); of those who hold
        // it, whoever has claimed this item alone reaches them, until the function returns; every bit pattern of plain data is a value.
        let chunk = unsafe { std::slice::from_raw_parts_mut(at, len) };
        Some(function::<F>()(first, chunk).settle())
    }
}

/// An array whose lock is lent to the pool's lease.
struct Lent<'a, T: Plain> {
    array: &'a SharedArray<T>,
    lease: &'a Lease,
    /// Who may have left it torn: this process, until it is known better.
    torn_by: Option<u32>,
}

impl<'a, T: Plain> Lent<'a, T> {
    fn new(array: &'a SharedArray<T>, lease: &'a Lease) -> Result<Self> {
        array.lend(lease)?;
        Ok(Self { array, lease, torn_by: Some(std::process::id()) })
    }

    /// Makes the calls, and notes what came of them.
    fn run(&mut self, calls: Mapping<'_, ()>) -> Result<(), PoolError> {
        let (result, torn_by) = calls.run_and_tell()?;
        match result {
            // Every item was done, or failed. The failure is the first, of which there may be others.
            Ok(_) | Err(PoolError::Task { .. } | PoolError::WorkerDied { .. }) => self.torn_by = torn_by,
            Err(_) => {}
        }
        result.map(drop)
    }
}

impl<T: Plain> Drop for Lent<'_, T> {
    fn drop(&mut self) {
        self.array.end_lease(self.lease, self.torn_by);
    }
}

impl Pool {
    /// Calls `f` on every element, spread over the processes, and returns an array of the results. No element is copied to get to a worker or
    /// back.
    ///
    /// The array's lock is held meanwhile, by the caller and all workers together: if the caller is killed, others get it when the workers have
    /// ended too.
    ///
    /// The pool keeps the memory of the last results, up to 64 MiB, and uses it again when nobody has such an array any more: new memory takes ten times as long.
    /// So a lock of such an array that was forgotten (`mem::forget` of its guard) can be held for as long as the pool lives.
    ///
    /// ```
    /// use coproc_pool::{Pool, coproc::SharedArray};
    ///
    /// let pool = Pool::new(2)?;
    /// let numbers = SharedArray::from_slice(&[1_u64, 2, 3])?;
    /// assert_eq!(pool.map_array(|n: u64| n * n, &numbers)?.to_vec()?, [1, 4, 9]);
    /// # Ok::<(), coproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`map`](Self::map), and if the array is poisoned ([`PoolError::Call`]).
    pub fn map_array<F, T, R>(&self, f: F, input: &SharedArray<T>) -> Result<SharedArray<R::Output>, PoolError>
    where
        F: Fn(T) -> R + Copy + Send + 'static,
        T: Plain,
        R: Outcome<Output: Plain>,
    {
        captures_nothing!(F);
        self.check_home()?;
        let output = self.shared.results.take(input.len())?;
        self.map_array_into(f, input, &output)?;
        self.shared.results.keep(&output);
        Ok(output)
    }

    /// As [`map_array`](Self::map_array), into an array that is there already, whose lock is held meanwhile too.
    ///
    /// If the function returns an error for an element, the result of that stays as it was, and all others are made. If it panics, a worker dies for good
    /// at an element, or the call fails otherwise, the lock of the results is poisoned: some of them may be anything.
    ///
    /// # Errors
    /// As [`map_array`](Self::map_array); also if the arrays differ in length or are the same one: for that there is
    /// [`for_each_chunk`](Self::for_each_chunk).
    pub fn map_array_into<F, T, R>(&self, f: F, input: &SharedArray<T>, output: &SharedArray<R::Output>) -> Result<(), PoolError>
    where
        F: Fn(T) -> R + Copy + Send + 'static,
        T: Plain,
        R: Outcome<Output: Plain>,
    {
        captures_nothing!(F);
        let _ = f;
        self.check_home()?;
        if input.len() != output.len() {
            return Err(Error::other("the arrays differ in length: results go where their elements are").into());
        }
        if input.segment().is_same(output.segment()) {
            return Err(Error::other("input and output are one array: use for_each_chunk to change it in place").into());
        }
        // In one order, whoever has two arrays to lock.
        let lease = &self.shared.lease;
        let (mut from, mut to) = if input.segment().header().id < output.segment().header().id {
            let from = Lent::new(input, lease)?;
            (from, Lent::new(output, lease)?)
        } else {
            let to = Lent::new(output, lease)?;
            (Lent::new(input, lease)?, to)
        };
        // It is only read.
        from.torn_by = None;
        let scene = Scene::new([input.segment(), output.segment()], 0);
        let marks = |mark| Marks::of_array(output, mark);
        let calls = Mapping::counted::<Elements<F, T, R::Output, R>>(self, input.len(), scene, marks, |to| {
            input.write(to);
            output.write(to);
        });
        to.run(calls.named("map_array"))
    }

    /// Gives every process chunks of the array to change in place: `f` gets the index of the first element, and the elements.
    ///
    /// The array's lock is held meanwhile, by the caller and all workers together: if the caller is killed, others get it when the workers have
    /// ended too. A worker that dies or panics may leave its chunk torn, so the array is poisoned then.
    ///
    /// ```
    /// use coproc_pool::{Pool, coproc::SharedArray};
    ///
    /// let pool = Pool::new(2)?;
    /// let squares = SharedArray::<u64>::zeroed(100)?;
    /// pool.for_each_chunk(&squares, |first: usize, chunk: &mut [u64]| {
    ///     (first as u64..).zip(chunk).for_each(|(n, square)| *square = n * n);
    /// })?;
    /// assert_eq!(squares.get(9)?, 81);
    /// # Ok::<(), coproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`map`](Self::map), where `task` counts chunks, which are not begun anew; and if the array is poisoned ([`PoolError::Call`]).
    pub fn for_each_chunk<F, T, R>(&self, array: &SharedArray<T>, f: F) -> Result<(), PoolError>
    where
        F: Fn(usize, &mut [T]) -> R + Copy + Send + 'static,
        T: Plain,
        R: Outcome<Output = ()>,
    {
        captures_nothing!(F);
        self.for_each_chunk_of(array, array.len().div_ceil(4 * self.processes()), f)
    }

    /// As [`for_each_chunk`](Self::for_each_chunk), with so many elements in a chunk.
    ///
    /// # Errors
    /// As [`for_each_chunk`](Self::for_each_chunk), and if `size` is 0.
    pub fn for_each_chunk_of<F, T, R>(&self, array: &SharedArray<T>, size: usize, f: F) -> Result<(), PoolError>
    where
        F: Fn(usize, &mut [T]) -> R + Copy + Send + 'static,
        T: Plain,
        R: Outcome<Output = ()>,
    {
        captures_nothing!(F);
        let _ = f;
        self.check_home()?;
        if size == 0 {
            return Err(Error::other("a chunk has at least one element").into());
        }
        let mut lent = Lent::new(array, &self.shared.lease)?;
        let chunks = array.len().div_ceil(size);
        let scene = Scene::new([array.segment(); 2], size);
        let calls = Mapping::counted::<Chunks<F, T, R>>(
            self,
            chunks,
            scene,
            |_| None,
            |to| {
                array.write(to);
                size.write(to);
            },
        );
        lent.run(calls.named("for_each_chunk").chunk_size(1).retries(0))
    }
}
