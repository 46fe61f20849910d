//! [`OutboundLayer`]: the client's side for tower, around a client of hyper-util, say.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Request;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::outbound::Outbound;
use crate::tags::InvalidTags;

/// Sends the [`Trail`](crate::Trail) with every request of a tower client, as [`Outbound`] says.
///
/// ```no_run
/// # async fn call() -> Result<(), tower::BoxError> {
/// use bytes::Bytes;
/// use http_body_util::Full;
/// use hyper_util::client::legacy::Client;
/// use hyper_util::rt::TokioExecutor;
/// use tagtrail::{Disclose, OutboundLayer, Targets};
/// use tower::{Layer, Service, ServiceExt};
///
/// let targets = Targets::otherwise(Disclose::Nothing).host("*.internal.example", Disclose::All)?;
/// let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
/// let mut client = OutboundLayer::new(targets).layer(client);
///
/// let request = http::Request::get("http://users.internal.example/7").body(Full::default())?;
/// let answer = client.ready().await?.call(request).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct OutboundLayer(Outbound);

impl OutboundLayer {
    /// A layer with these settings: an [`Outbound`], or what makes one: a [`Disclose`](crate::Disclose),
    /// [`Targets`](crate::Targets), or a function of the request's URL.
    pub fn new(outbound: impl Into<Outbound>) -> Self {
        Self(outbound.into())
    }
}

impl<S> Layer<S> for OutboundLayer {
    type Service = OutboundService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        OutboundService { inner, layer: self.clone() }
    }
}

/// A client inside an [`OutboundLayer`].
#[derive(Clone, Debug)]
pub struct OutboundService<S> {
    inner: S,
    layer: OutboundLayer,
}

impl<S> OutboundService<S> {
    /// The client inside.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The client inside.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The client inside.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B> Service<Request<B>> for OutboundService<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = OutboundError<S::Error>;
    type Future = OutboundFuture<S::Future, S::Error>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(OutboundError::Inner)
    }

    #[inline]
    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        OutboundFuture {
            state: match self.layer.0.apply(&head.uri, &mut head.headers, &head.extensions) {
                Ok(()) => State::Sent { future: self.inner.call(Request::from_parts(head, body)) },
                Err(fault) => State::Refused { error: Some(OutboundError::Tags(fault)) },
            },
        }
    }
}

pin_project! {
    /// The answer to come of an [`OutboundService`].
    pub struct OutboundFuture<F, E> {
        #[pin]
        state: State<F, E>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, E> {
        Sent {
            #[pin]
            future: F,
        },
        Refused {
            error: Option<OutboundError<E>>,
        },
    }
}

impl<F, T, E> Future for OutboundFuture<F, E>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<T, OutboundError<E>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Sent { future } => future.poll(cx).map_err(OutboundError::Inner),
            // Nothing is left where it is polled again after it was ready.
            StateProjection::Refused { error } => error.take().map_or(Poll::Pending, |error| Poll::Ready(Err(error))),
        }
    }
}

impl<F, E> fmt::Debug for OutboundFuture<F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboundFuture").finish_non_exhaustive()
    }
}

/// Why a request of an [`OutboundService`] has no answer.
///
/// It is an error whatever the client's own error is, a boxed one of tower's among them. The sources of that one are
/// found by a match on `Inner`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutboundError<E> {
    /// The caller set bad tags for it. It was not sent.
    Tags(InvalidTags),
    /// The client inside failed.
    Inner(E),
}

impl<E: fmt::Display> fmt::Display for OutboundError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tags(fault) => write!(f, "the request was not sent: {fault}"),
            Self::Inner(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> Error for OutboundError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Tags(fault) => Some(fault),
            Self::Inner(_) => None,
        }
    }
}
