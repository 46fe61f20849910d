//! Futures and bodies that are polled with their trail as the current one.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::{Trail, enter};

pin_project! {
    /// A future that is polled, and dropped, with its trail as the current one.
    ///
    /// Created by [`Trail::scope`].
    #[must_use = "futures do nothing unless polled"]
    pub struct Scoped<F> {
        #[pin]
        future: InTrail<F>,
    }
}

impl<F> Scoped<F> {
    pub(super) fn new(trail: Trail, future: F) -> Self {
        Self { future: InTrail::new(Some(trail), future) }
    }
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().future.with_current(|future| future.poll(cx))
    }
}

impl<F> fmt::Debug for Scoped<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scoped").field("trail", &self.future.trail).finish_non_exhaustive()
    }
}

pin_project! {
    /// A future or a body, with the trail that is current while it is polled and dropped.
    pub(crate) struct InTrail<T> {
        trail: Option<Trail>,
        // Invariant: `None` only after `finish`, and while this value is dropped.
        #[pin]
        inner: Option<T>,
    }

    impl<T> PinnedDrop for InTrail<T> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            // The context is detached first, while the trail is still current, as everywhere.
            let (_entered, _attached) = enter(this.trail);
            this.inner.set(None);
        }
    }
}

impl<T> InTrail<T> {
    pub(crate) fn new(trail: Option<Trail>, inner: T) -> Self {
        Self { trail, inner: Some(inner) }
    }

    /// Returns the inner value, unless it is finished.
    #[cfg(feature = "tower")]
    pub(crate) fn get_ref(&self) -> Option<&T> {
        self.inner.as_ref()
    }

    /// Polls the inner value with its trail as the current one.
    ///
    /// # Panics
    ///
    /// If it is finished.
    #[inline]
    pub(crate) fn with_current<R>(self: Pin<&mut Self>, poll: impl FnOnce(Pin<&mut T>) -> R) -> R {
        let this = self.project();
        let (_entered, _attached) = enter(this.trail);
        poll(this.inner.as_pin_mut().expect("future polled after completion"))
    }

    /// Drops the inner value, which is done, with its trail as the current one, and returns the trail.
    #[cfg(feature = "tower")]
    #[inline]
    pub(crate) fn finish(self: Pin<&mut Self>) -> Option<Trail> {
        let mut this = self.project();
        let (entered, attached) = enter(this.trail);
        this.inner.set(None);
        drop((attached, entered));
        this.trail.take()
    }
}
