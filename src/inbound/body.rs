//! [`InboundBody`]: the body of a response.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::trail::InTrail;

pin_project! {
    /// The response body of [`InboundService`](crate::InboundService): the handler's body, which is polled and dropped
    /// with its [`Trail`](crate::Trail) as the current one, or the body of a rejection.
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
            body: InTrail<B>,
        },
        Full {
            bytes: Bytes,
        },
    }
}

impl<B> InboundBody<B> {
    pub(super) fn handled(body: InTrail<B>) -> Self {
        Self { kind: Kind::Handled { body } }
    }

    pub(super) fn full(bytes: Bytes) -> Self {
        Self { kind: Kind::Full { bytes } }
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
            KindProjection::Handled { body } => body.with_current(|body| body.poll_frame(cx)),
            KindProjection::Full { bytes } if bytes.is_empty() => Poll::Ready(None),
            KindProjection::Full { bytes } => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Handled { body } => body.get_ref().is_none_or(Body::is_end_stream),
            Kind::Full { bytes } => bytes.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Handled { body } => body.get_ref().map_or_else(SizeHint::default, Body::size_hint),
            Kind::Full { bytes } => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}

/// Creates an empty body, which some layers, such as tower-http's timeout and CORS layers, respond with.
impl<B> Default for InboundBody<B> {
    fn default() -> Self {
        Self::full(Bytes::new())
    }
}

impl<B> fmt::Debug for InboundBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboundBody").finish_non_exhaustive()
    }
}
