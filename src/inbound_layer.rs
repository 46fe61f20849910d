//! [`InboundLayer`]: the server's side for tower, around any service of HTTP requests.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::current::{self, Scoped};
use crate::inbound::Inbound;

/// Gives every request that arrives its [`Trail`](crate::Trail), and every answer its trace.
///
/// For each request the layer
///
/// 1. reads `traceparent`, `tracestate` and the tag header;
/// 2. decides by [`Admit`](crate::Admit) whether the caller's trace goes on, and by [`Sample`](crate::Sample) whether a trace that starts here is
///    sampled;
/// 3. refuses a bad tag header with a 400, before the handler runs;
/// 4. puts the trail into the request's extensions, and makes it current while the handler is called, while its
///    future and the body of its answer are polled, and while they are dropped;
/// 5. writes the trace on the answer, as [`Echo`](crate::Echo) says: on its own 400 too.
///
/// Nothing is boxed, and the service's errors pass unchanged.
///
/// # Caveats
///
/// An answer that a layer outside this one makes, such as a time-out's, has no trace. Put this layer outside of them,
/// inside only of what must see a request first (a limit of connections, say).
///
/// # Example
///
/// ```
/// use axum::{Router, routing::get};
/// use tagtrail::{Admit, InboundLayer, Trail};
///
/// async fn project(trail: Trail) -> String {
///     trail.tags().get("project").unwrap_or("none").to_owned()
/// }
///
/// let app: Router = Router::new().route("/", get(project)).layer(InboundLayer::new(Admit::Restart));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct InboundLayer(Arc<Inbound>);

impl InboundLayer {
    /// A layer with these settings: an [`Inbound`], or what makes one: an [`Admit`](crate::Admit), or a function of
    /// the request's head.
    pub fn new(inbound: impl Into<Inbound>) -> Self {
        Self(Arc::new(inbound.into()))
    }
}

impl<S> Layer<S> for InboundLayer {
    type Service = InboundService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        InboundService { inner, layer: self.clone() }
    }
}

/// A service inside an [`InboundLayer`].
#[derive(Clone, Debug)]
pub struct InboundService<S> {
    inner: S,
    layer: InboundLayer,
}

impl<S> InboundService<S> {
    /// The service inside.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service inside.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The service inside.
    pub fn into_inner(self) -> S {
        self.inner
    }
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
        let inbound = &self.layer.0;
        let (mut head, body) = request.into_parts();
        let trail = match inbound.receive(&mut head) {
            Ok(trail) => trail,
            Err(answer) => return InboundFuture { state: State::Refused { answer: Some(answer) } },
        };
        let mut slot = Some(trail);
        let (entered, companion) = current::enter(&mut slot);
        let future = self.inner.call(Request::from_parts(head, body));
        drop((companion, entered));
        InboundFuture { state: State::Handled { future: Scoped::new(slot, future), inbound: Arc::clone(inbound) } }
    }
}

pin_project! {
    /// The answer to come of an [`InboundService`].
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
            future: Scoped<F>,
            inbound: Arc<Inbound>,
        },
        Refused {
            answer: Option<Box<Response<Bytes>>>,
        },
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
                let (mut head, body) = ready!(future.as_mut().poll(cx))?.into_parts();
                let trail = future.finish();
                if let Some(trail) = &trail {
                    inbound.answer(trail, &mut head.headers);
                }
                let body = InboundBody { kind: Kind::Handled { body: Scoped::new(trail, body) } };
                Poll::Ready(Ok(Response::from_parts(head, body)))
            }
            StateProjection::Refused { answer } => match answer.take() {
                Some(answer) => Poll::Ready(Ok((*answer).map(|text| InboundBody { kind: Kind::Refused { text } }))),
                // Polled again after it was ready.
                None => Poll::Pending,
            },
        }
    }
}

impl<F> fmt::Debug for InboundFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboundFuture").finish_non_exhaustive()
    }
}

pin_project! {
    /// The body of an answer of an [`InboundService`]: the handler's, under its [`Trail`], or that of a refusal.
    pub struct InboundBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<B> {
        Handled {
            #[pin]
            body: Scoped<B>,
        },
        Refused {
            text: Bytes,
        },
    }
}

impl<B> Body for InboundBody<B>
where
    B: Body<Data = Bytes>,
{
    type Data = Bytes;
    type Error = B::Error;

    #[inline]
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match self.project().kind.project() {
            KindProjection::Handled { body } => body.poll_inner(|body| body.poll_frame(cx)),
            KindProjection::Refused { text } if text.is_empty() => Poll::Ready(None),
            KindProjection::Refused { text } => Poll::Ready(Some(Ok(Frame::data(std::mem::take(text))))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Handled { body } => body.get_ref().is_none_or(Body::is_end_stream),
            Kind::Refused { text } => text.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Handled { body } => body.get_ref().map_or_else(SizeHint::default, Body::size_hint),
            Kind::Refused { text } => SizeHint::with_exact(text.len() as u64),
        }
    }
}

/// An empty body: some layers, such as those of tower-http for time-outs and CORS, answer with it.
impl<B> Default for InboundBody<B> {
    fn default() -> Self {
        Self { kind: Kind::Refused { text: Bytes::new() } }
    }
}

impl<B> fmt::Debug for InboundBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboundBody").finish_non_exhaustive()
    }
}
