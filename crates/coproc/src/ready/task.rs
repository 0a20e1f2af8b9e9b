//! Readiness as a future, for any executor.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use super::watcher::{Registered, Target};
use super::{Observer, Waitable};
use crate::error::Result;

/// Waits, as a task, until this object is ready. Nothing is taken: another may be quicker.
///
/// It works with every executor. A thread of this process waits in the task's place, so nobody else pays for it. Dropping the future ends
/// that, and loses nothing.
pub fn ready<W: Waitable + Clone + Send + Sync + 'static>(object: W) -> Ready<W> {
    Ready { object, waiting: None }
}

/// The future of [`ready`].
#[must_use = "futures do nothing unless awaited"]
pub struct Ready<W> {
    object: W,
    waiting: Option<(Registered, Arc<Wakes>)>,
}

/// Who to wake.
#[derive(Default)]
struct Wakes(Mutex<Option<Waker>>);

impl Target for Arc<Wakes> {
    fn tell(&self) {
        let waker = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<W: Waitable + Clone + Send + Sync + Unpin + 'static> Future for Ready<W> {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        if self.object.is_ready() {
            self.waiting = None;
            return Poll::Ready(Ok(()));
        }
        if !self.waiting.as_ref().is_some_and(|(registered, _)| registered.is_here()) {
            let wakes = Arc::new(Wakes::default());
            match Registered::new(Box::new(self.object.clone()), Box::new(Arc::clone(&wakes))) {
                Ok(registered) => self.waiting = Some((registered, wakes)),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        if let Some((registered, wakes)) = &self.waiting {
            *wakes.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.waker().clone());
            // After the waker is there: it is told as soon as the object is ready, also if that was before.
            registered.arm();
        }
        Poll::Pending
    }
}

/// Waits, as a task, until this is ready. Where the system has no thread for that, the task looks again and again.
pub(crate) async fn wait(object: Observer) {
    if ready(object).await.is_err() {
        give_way().await;
    }
}

/// Lets other tasks run, once.
pub(crate) fn give_way() -> impl Future<Output = ()> {
    let mut given = false;
    std::future::poll_fn(move |context| {
        if std::mem::replace(&mut given, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
}

impl<W> fmt::Debug for Ready<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").field("waiting", &self.waiting.is_some()).finish()
    }
}
