//! The bodies of a request and its response, as the layer sees them pass.

use std::fmt::{self, Display};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::layer::hold::Hold;
use crate::layer::logged::Logged;
use crate::layer::open::RecordHandle;
use crate::model::record::Outcome;

pin_project! {
    /// The body of a request: its bytes are counted as they are read.
    pub struct CountedBody<B> {
        #[pin]
        inner: B,
        record: Option<RecordHandle>,
    }
}

impl<B> CountedBody<B> {
    pub(crate) fn counted(inner: B, record: RecordHandle) -> Self {
        Self { inner, record: Some(record) }
    }

    pub(crate) fn uncounted(inner: B) -> Self {
        Self { inner, record: None }
    }

    /// Returns the body inside.
    pub fn get_ref(&self) -> &B {
        &self.inner
    }

    /// Returns the body inside. What is read of it is not counted.
    pub fn into_inner(self) -> B {
        self.inner
    }
}

impl<B: Body> Body for CountedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        let frame = ready!(this.inner.poll_frame(cx));
        if let (Some(record), Some(Ok(frame))) = (this.record, &frame)
            && let Some(data) = frame.data_ref()
        {
            record.count_body(data.remaining());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B> fmt::Debug for CountedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CountedBody").finish_non_exhaustive()
    }
}

pin_project! {
    /// The body of a response: the record of the request ends with it.
    pub struct LoggedBody<B> where B: Body {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<B> where B: Body {
        Handled {
            #[pin]
            inner: B,
            logged: Option<Logged>,
            // The last frame, until the record is safe.
            held: Option<Held<B>>,
        },
        Own {
            text: Bytes,
        },
    }
}

type Polled<B> = Option<Result<Frame<<B as Body>::Data>, <B as Body>::Error>>;

struct Held<B: Body> {
    last: Polled<B>,
    until: Hold,
}

impl<B: Body> LoggedBody<B> {
    pub(crate) fn handled(inner: B, logged: Option<Logged>) -> Self {
        Self { kind: Kind::Handled { inner, logged, held: None } }
    }

    pub(crate) fn own(text: Bytes) -> Self {
        Self { kind: Kind::Own { text } }
    }
}

impl<B> Body for LoggedBody<B>
where
    B: Body<Data: From<Bytes>, Error: Display + 'static>,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match self.project().kind.project() {
            KindProjection::Handled { inner, logged, held } => {
                if held.is_none() {
                    let Some(logging) = logged else { return inner.poll_frame(cx) };
                    let (polled, until) = ready!(poll_logged(inner, logging, cx));
                    let Some(until) = until else { return Poll::Ready(polled) };
                    *held = Some(Held { last: polled, until });
                }
                if let Some(holding) = held {
                    ready!(holding.until.as_mut().poll(cx));
                }
                *logged = None;
                Poll::Ready(held.take().and_then(|held| held.last))
            }
            KindProjection::Own { text } if text.is_empty() => Poll::Ready(None),
            KindProjection::Own { text } => Poll::Ready(Some(Ok(Frame::data(std::mem::take(text).into())))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Handled { inner, held, .. } => held.is_none() && inner.is_end_stream(),
            Kind::Own { text } => text.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Handled { inner, held, .. } => match held.as_ref().and_then(Held::size) {
                None => inner.size_hint(),
                // Nothing comes after it.
                Some(size) => SizeHint::with_exact(size),
            },
            Kind::Own { text } => SizeHint::with_exact(text.len() as u64),
        }
    }
}

/// Polls the body, counts, and ends the record if the body has ended.
fn poll_logged<B: Body<Error: Display + 'static>>(
    mut inner: Pin<&mut B>,
    logged: &mut Logged,
    cx: &mut Context<'_>,
) -> Poll<(Polled<B>, Option<Hold>)> {
    let open = &mut logged.open;
    let polled = ready!(open.guard(|| inner.as_mut().poll_frame(cx)));
    // Servers do not poll further after trailers, nor once they know that a body is whole.
    let is_complete = match &polled {
        None => true,
        Some(Err(error)) => {
            let ack = open.fail(error);
            return Poll::Ready((polled, logged.hold(ack)));
        }
        Some(Ok(frame)) => match frame.trailers_ref() {
            Some(trailers) => {
                open.trailers(trailers);
                true
            }
            None => open.sent(frame.data_ref().map_or(0, Buf::remaining)) || inner.is_end_stream(),
        },
    };
    let ack = if is_complete { open.end(Outcome::Complete) } else { None };
    Poll::Ready((polled, logged.hold(ack)))
}

impl<B: Body> Held<B> {
    fn size(&self) -> Option<u64> {
        let frame = self.last.as_ref()?.as_ref().ok()?;
        Some(frame.data_ref().map_or(0, |data| data.remaining() as u64))
    }
}

/// The inner body's default, without a record: some layers, such as tower-http's timeout, respond with it.
impl<B: Body + Default> Default for LoggedBody<B> {
    fn default() -> Self {
        Self::handled(B::default(), None)
    }
}

impl<B: Body> fmt::Debug for LoggedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoggedBody").finish_non_exhaustive()
    }
}
