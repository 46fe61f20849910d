//! The current [`Trail`]: a slot of the thread. A future that is scoped puts its trail there around every poll, so the
//! slot follows a task from thread to thread, without a runtime's help.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::trail::Trail;

thread_local! {
    static CURRENT: Cell<Option<Trail>> = const { Cell::new(None) };
}

/// The current trail of this thread, if there is one.
#[inline]
pub(crate) fn get() -> Option<Trail> {
    // None while the thread is being torn down, too.
    CURRENT
        .try_with(|current| {
            let trail = current.take();
            let found = trail.clone();
            current.set(trail);
            found
        })
        .ok()
        .flatten()
}

/// Makes `trail`, and its companion, current until the guards are dropped, also by a panic; then what was current before
/// is again.
///
/// The two trails are exchanged, not cloned: `trail` holds what was current before, meanwhile. There are two guards, not
/// one that holds both, since the compiler then leaves no call on the way of a trail without a companion.
#[inline]
pub(crate) fn enter(trail: &mut Option<Trail>) -> (Entered<'_>, Option<Box<dyn Any>>) {
    let companion = trail.as_ref().and_then(Trail::attach_companion);
    exchange(trail);
    (Entered(trail), companion)
}

pub(crate) struct Entered<'a>(&'a mut Option<Trail>);

impl Drop for Entered<'_> {
    #[inline]
    fn drop(&mut self) {
        exchange(self.0);
    }
}

#[inline]
fn exchange(trail: &mut Option<Trail>) {
    // Without the slot, in a thread that is being torn down, nothing is current.
    let _ = CURRENT.try_with(|current| *trail = current.replace(trail.take()));
}

pin_project! {
    /// A future, or a body, with a trail of its own: made by [`Trail::scope`].
    ///
    /// The trail is current during each poll, and while what is inside is dropped.
    #[must_use = "futures do nothing unless polled"]
    pub struct Scoped<F> {
        trail: Option<Trail>,
        // There until it is dropped.
        #[pin]
        inner: Option<F>,
    }

    impl<F> PinnedDrop for Scoped<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let _guards = this.trail.is_some().then(|| enter(this.trail));
            this.inner.set(None);
        }
    }
}

impl<F> Scoped<F> {
    pub(crate) fn new(trail: Option<Trail>, inner: F) -> Self {
        Self { trail, inner: Some(inner) }
    }

    /// What is inside, until it is dropped.
    #[cfg(feature = "tower")]
    pub(crate) fn get_ref(&self) -> Option<&F> {
        self.inner.as_ref()
    }

    /// Polls what is inside, with the trail as the current one.
    #[inline]
    pub(crate) fn poll_inner<T>(self: Pin<&mut Self>, poll: impl FnOnce(Pin<&mut F>) -> Poll<T>) -> Poll<T> {
        let this = self.project();
        let (_entered, _companion) = enter(this.trail);
        this.inner.as_pin_mut().map_or(Poll::Pending, poll)
    }

    /// Drops what is inside, which has done its work, under its trail, and gives the trail away.
    #[cfg(feature = "tower")]
    #[inline]
    pub(crate) fn finish(self: Pin<&mut Self>) -> Option<Trail> {
        let mut this = self.project();
        let guards = enter(this.trail);
        this.inner.set(None);
        drop(guards);
        this.trail.take()
    }
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_inner(|future| future.poll(cx))
    }
}

impl<F> fmt::Debug for Scoped<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scoped").field("trail", &self.trail).finish_non_exhaustive()
    }
}
