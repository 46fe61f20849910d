//! [`OutboundService`], and its future.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Request;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::Outbound;
use crate::header::InvalidTags;
use crate::macros::inner_service_accessors;

type BoxError = Box<dyn Error + Send + Sync>;

/// Sends the [`Trail`](crate::Trail) with each request of a tower client: see [`OutboundLayer`](super::OutboundLayer).
#[derive(Clone, Debug)]
pub struct OutboundService<S> {
    inner: S,
    outbound: Arc<Outbound>,
}

impl<S> OutboundService<S> {
    /// Wraps a client. The settings are those of [`OutboundLayer::new`](super::OutboundLayer::new).
    pub fn new(inner: S, outbound: impl Into<Outbound>) -> Self {
        Self::from_parts(inner, Arc::new(outbound.into()))
    }

    pub(super) fn from_parts(inner: S, outbound: Arc<Outbound>) -> Self {
        Self { inner, outbound }
    }

    inner_service_accessors!();
}

impl<S, B> Service<Request<B>> for OutboundService<S>
where
    S: Service<Request<B>>,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = OutboundFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    #[inline]
    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        OutboundFuture {
            state: match self.outbound.apply(&parts.uri, &mut parts.headers, &parts.extensions) {
                Ok(()) => State::Sent { future: self.inner.call(Request::from_parts(parts, body)) },
                Err(error) => State::NotSent { error: Some(error) },
            },
        }
    }
}

pin_project! {
    /// The response future of [`OutboundService`].
    pub struct OutboundFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F> {
        Sent {
            #[pin]
            future: F,
        },
        NotSent {
            error: Option<InvalidTags>,
        },
    }
}

impl<F, T, E> Future for OutboundFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<T, BoxError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Sent { future } => future.poll(cx).map_err(Into::into),
            StateProjection::NotSent { error } => {
                let error = error.take().expect("future polled after completion");
                Poll::Ready(Err(error.into()))
            }
        }
    }
}

impl<F> fmt::Debug for OutboundFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboundFuture").finish_non_exhaustive()
    }
}
