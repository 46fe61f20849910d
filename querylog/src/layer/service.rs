//! The service inside a [`QueryLogLayer`], and its future.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;
use tagtrail::{Sample, Trail};
use tower_service::Service;

use crate::layer::QueryLogLayer;
use crate::layer::body::{CountedBody, LoggedBody};
use crate::layer::open::Open;
use crate::model::record::Outcome;
use crate::queue::ack::Ack;
use crate::queue::overload::Overload;

/// A service inside a [`QueryLogLayer`]. Its inner service gets [`CountedBody`].
pub struct QueryLogService<S> {
    inner: S,
    layer: QueryLogLayer,
    room: Option<Room>,
}

/// Whether a request has waited for room in the queue.
enum Room {
    Waiting(Pin<Box<dyn Future<Output = ()> + Send + Sync>>),
    /// Until the request comes.
    Waited,
}

impl<S> QueryLogService<S> {
    pub(crate) fn new(inner: S, layer: QueryLogLayer) -> Self {
        Self { inner, layer, room: None }
    }

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

    /// Ready when the queue has room, or the request has waited for as long as it may. A request waits once, however
    /// often this is polled before it comes.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let log = self.layer.log();
        if self.room.is_none() {
            let Some(wait) = log.overload().map(Overload::wait).filter(|wait| !wait.is_zero()) else {
                return Poll::Ready(());
            };
            // There is no timer outside of tokio.
            if tokio::runtime::Handle::try_current().is_err() {
                return Poll::Ready(());
            }
            let log = log.clone();
            self.room = Some(Room::Waiting(Box::pin(async move {
                // Ready either way: what to do is decided when the request is there.
                let _ = tokio::time::timeout(wait, log.room()).await;
            })));
        }
        if let Some(Room::Waiting(room)) = &mut self.room {
            ready!(room.as_mut().poll(cx));
            self.room = Some(Room::Waited);
        }
        Poll::Ready(())
    }
}

impl<S: Clone> Clone for QueryLogService<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: self.layer.clone(), room: None }
    }
}

impl<S: fmt::Debug> fmt::Debug for QueryLogService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryLogService")
            .field("inner", &self.inner)
            .field("layer", &self.layer)
            .finish_non_exhaustive()
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for QueryLogService<S>
where
    S: Service<Request<CountedBody<ReqBody>>, Response = Response<ResBody>>,
    ResBody: Body<Data: From<Bytes>>,
{
    type Response = Response<LoggedBody<ResBody>>;
    type Error = S::Error;
    type Future = QueryLogFuture<S::Future, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // First, so that what the inner service keeps for a request is not kept while waiting.
        ready!(self.poll_room(cx));
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        self.room = None;
        let layer = &self.layer;
        if !layer.passes(&head) {
            let request = Request::from_parts(head, CountedBody::uncounted(body));
            return QueryLogFuture::handled(self.inner.call(request), None);
        }
        let trail = match head.extensions.get::<Trail>() {
            Some(trail) => trail.clone(),
            None if layer.is_standalone() => {
                let trail = Trail::start(Sample::Always);
                head.extensions.insert(trail.clone());
                trail
            }
            None => return QueryLogFuture::answer(no_trail()),
        };
        let log = layer.log();
        if matches!(log.overload(), Some(Overload::Fail { .. })) {
            log.reject();
            return QueryLogFuture::answer(overloaded());
        }
        let (mut open, handle) = Open::begin(layer.record(&trail, &head), &trail, layer);
        head.extensions.insert(handle.clone());
        let request = Request::from_parts(head, CountedBody::counted(body, handle));
        let inner = &mut self.inner;
        let future = open.guard(|| inner.call(request));
        QueryLogFuture::handled(future, Some(Logged { open, acknowledged: layer.is_acknowledged() }))
    }
}

/// The record of a request, and whether its answer waits for it.
pub(crate) struct Logged {
    pub(crate) open: Open,
    pub(crate) acknowledged: bool,
}

#[cold]
fn no_trail() -> Response<Bytes> {
    const TEXT: &str = "no Trail in the request: tagtrail::InboundLayer is missing around \
                        tagtrail_querylog::QueryLogLayer. Set up both with QueryLogLayer::with_inbound, or ask for a trace \
                        of its own with QueryLogLayer::standalone";
    tracing::error!("{TEXT}");
    plain(StatusCode::INTERNAL_SERVER_ERROR, TEXT)
}

#[cold]
fn overloaded() -> Response<Bytes> {
    let mut answer = plain(StatusCode::SERVICE_UNAVAILABLE, "the query log is full: try again later");
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}

fn plain(status: StatusCode, text: &'static str) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::from_static(text.as_bytes()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

pin_project! {
    /// The answer to come of a [`QueryLogService`].
    pub struct QueryLogFuture<F, B> where B: Body {
        #[pin]
        state: State<F, B>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, B> where B: Body {
        Handled {
            #[pin]
            future: F,
            logged: Option<Logged>,
        },
        // The record is not safe yet, and the answer has no body to hold back.
        Acknowledging {
            answer: Option<Response<LoggedBody<B>>>,
            ack: Ack,
        },
        Answered {
            answer: Option<Response<Bytes>>,
        },
    }
}

impl<F, B: Body> QueryLogFuture<F, B> {
    fn handled(future: F, logged: Option<Logged>) -> Self {
        Self { state: State::Handled { future, logged } }
    }

    fn answer(answer: Response<Bytes>) -> Self {
        Self { state: State::Answered { answer: Some(answer) } }
    }
}

impl<F, B, E> Future for QueryLogFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<LoggedBody<B>>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let (answer, ack) = match self.as_mut().project().state.project() {
                StateProjection::Handled { future, logged } => {
                    let polled = match logged {
                        Some(logged) => logged.open.guard(|| future.poll(cx)),
                        None => future.poll(cx),
                    };
                    let mut logged = logged.take_if(|_| polled.is_ready());
                    let answer = ready!(polled)?;
                    let ack = logged.as_mut().and_then(|logged| logged.answered(&answer));
                    (answer.map(|body| LoggedBody::handled(body, logged)), ack)
                }
                StateProjection::Acknowledging { answer, ack } => {
                    // The answer goes out whether the record is written or not.
                    let _ = ready!(Pin::new(ack).poll(cx));
                    return Poll::Ready(Ok(answer.take().expect("future polled after completion")));
                }
                StateProjection::Answered { answer } => {
                    let answer = answer.take().expect("future polled after completion");
                    return Poll::Ready(Ok(answer.map(LoggedBody::own)));
                }
            };
            match ack {
                None => return Poll::Ready(Ok(answer)),
                Some(ack) => self.as_mut().project().state.set(State::Acknowledging { answer: Some(answer), ack }),
            }
        }
    }
}

impl Logged {
    /// The handler has answered. Ends the record if there is no body to come, and tells what to wait for then.
    fn answered<B: Body>(&mut self, answer: &Response<B>) -> Option<Ack> {
        let body = answer.body();
        let length = body.size_hint().exact().or_else(|| content_length(answer.headers()));
        self.open.answered(answer.status(), length);
        if body.is_end_stream() { self.open.end(Outcome::Complete).filter(|_| self.acknowledged) } else { None }
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

impl<F, B: Body> fmt::Debug for QueryLogFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryLogFuture").finish_non_exhaustive()
    }
}
