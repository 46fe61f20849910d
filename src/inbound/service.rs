//! [`InboundService`], and its future.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{Inbound, InboundBody, Rejection};
use crate::macros::inner_service_accessors;
use crate::trail::{InTrail, enter};

/// Assigns a [`Trail`](crate::Trail) to each request, and adds the trace to each response: see
/// [`InboundLayer`](super::InboundLayer).
#[derive(Clone, Debug)]
pub struct InboundService<S> {
    inner: S,
    inbound: Arc<Inbound>,
}

impl<S> InboundService<S> {
    /// Wraps a service. The settings are those of [`InboundLayer::new`](super::InboundLayer::new).
    pub fn new(inner: S, inbound: impl Into<Inbound>) -> Self {
        Self::from_parts(inner, Arc::new(inbound.into()))
    }

    pub(super) fn from_parts(inner: S, inbound: Arc<Inbound>) -> Self {
        Self { inner, inbound }
    }

    inner_service_accessors!();
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for InboundService<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    type Response = Response<InboundBody<ResBody>>;
    type Error = S::Error;
    type Future = InboundFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        let trail = match self.inbound.receive(&mut parts) {
            Ok(trail) => trail,
            Err(rejection) => return InboundFuture::rejected(rejection),
        };
        let mut slot = Some(trail);
        let (entered, attached) = enter(&mut slot);
        let future = self.inner.call(Request::from_parts(parts, body));
        drop((attached, entered));
        InboundFuture::handled(InTrail::new(slot, future), Arc::clone(&self.inbound))
    }
}

pin_project! {
    /// The response future of [`InboundService`].
    pub struct InboundFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F> {
        Handled {
            #[pin]
            future: InTrail<F>,
            inbound: Arc<Inbound>,
        },
        Rejected {
            rejection: Option<Rejection>,
        },
    }
}

impl<F> InboundFuture<F> {
    fn handled(future: InTrail<F>, inbound: Arc<Inbound>) -> Self {
        Self { state: State::Handled { future, inbound } }
    }

    fn rejected(rejection: Rejection) -> Self {
        Self { state: State::Rejected { rejection: Some(rejection) } }
    }
}

impl<F, B, E> Future for InboundFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<InboundBody<B>>, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Handled { mut future, inbound } => {
                let polled = future.as_mut().with_current(|future| future.poll(cx));
                let (mut parts, body) = ready!(polled)?.into_parts();
                let trail = future.finish();
                if let Some(trail) = &trail {
                    inbound.write_response_headers(trail, &mut parts.headers);
                }
                let body = InboundBody::handled(InTrail::new(trail, body));
                Poll::Ready(Ok(Response::from_parts(parts, body)))
            }
            StateProjection::Rejected { rejection } => {
                let rejection = rejection.take().expect("future polled after completion");
                Poll::Ready(Ok(rejection.into_response().map(InboundBody::full)))
            }
        }
    }
}

impl<F> fmt::Debug for InboundFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboundFuture").finish_non_exhaustive()
    }
}
