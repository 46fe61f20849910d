//! The service of a [`QueryLogLayer`](crate::QueryLogLayer), and its future.

use std::fmt::{self, Display};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;
use tagtrail::{Sample, Trail};
use tower_service::Service;

use crate::layer::body::{CountedBody, LoggedBody};
use crate::layer::hold::Hold;
use crate::layer::logged::Logged;
use crate::layer::open::Open;
use crate::layer::options::Options;
use crate::queue::overload::Overload;

/// The service of a [`QueryLogLayer`](crate::QueryLogLayer). Its inner service gets [`CountedBody`].
pub struct QueryLogService<S> {
    inner: S,
    options: Arc<Options>,
    room: Option<Room>,
}

/// Whether a request has waited for room in the queue.
enum Room {
    Waiting(Pin<Box<dyn Future<Output = ()> + Send + Sync>>),
    /// Until the request comes.
    Waited,
}

impl<S> QueryLogService<S> {
    pub(crate) fn new(inner: S, options: Arc<Options>) -> Self {
        Self { inner, options, room: None }
    }

    /// Returns the service inside.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns the service inside.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the service inside.
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// Ready when the queue has room, or the request has waited for as long as it may. A request waits once, however
    /// often this is polled before it comes.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let log = &self.options.log;
        if self.room.is_none() {
            let Some(wait) = log.overload().map(Overload::wait).filter(|wait| !wait.is_zero()) else {
                return Poll::Ready(());
            };
            // There is no timer outside tokio.
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
        Self { inner: self.inner.clone(), options: Arc::clone(&self.options), room: None }
    }
}

impl<S: fmt::Debug> fmt::Debug for QueryLogService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryLogService")
            .field("inner", &self.inner)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for QueryLogService<S>
where
    S: Service<Request<CountedBody<ReqBody>>, Response = Response<ResBody>, Error: Display + 'static>,
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
        let options = &self.options;
        if !options.passes(&head) {
            let request = Request::from_parts(head, CountedBody::uncounted(body));
            return QueryLogFuture::handled(self.inner.call(request), None);
        }
        let trail = match head.extensions.get::<Trail>() {
            Some(trail) => trail.clone(),
            None if options.standalone => {
                let trail = Trail::start(Sample::Always);
                head.extensions.insert(trail.clone());
                trail
            }
            None => return QueryLogFuture::own(no_trail()),
        };
        let log = &options.log;
        let has_room = !matches!(log.overload(), Some(Overload::Fail { .. }));
        let started = has_room.then(|| Open::start(options.record(&trail, &head), &trail, options)).flatten();
        let Some((mut open, handle)) = started else {
            log.reject();
            return QueryLogFuture::own(overloaded());
        };
        head.extensions.insert(handle.clone());
        let request = Request::from_parts(head, CountedBody::counted(body, handle));
        let inner = &mut self.inner;
        let future = open.guard(|| inner.call(request));
        QueryLogFuture::handled(future, Some(Logged { open, held_for: options.held_for() }))
    }
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
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, "the query log is full; try again later");
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(text.as_bytes()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

pin_project! {
    /// The future of a [`QueryLogService`].
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
        // The record is not safe yet, and the response has no body to hold back.
        Acknowledging {
            response: Option<Response<LoggedBody<B>>>,
            until: Hold,
        },
        Own {
            response: Option<Response<Bytes>>,
        },
    }
}

impl<F, B: Body> QueryLogFuture<F, B> {
    fn handled(future: F, logged: Option<Logged>) -> Self {
        Self { state: State::Handled { future, logged } }
    }

    fn own(response: Response<Bytes>) -> Self {
        Self { state: State::Own { response: Some(response) } }
    }
}

impl<F, B, E> Future for QueryLogFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
    E: Display + 'static,
{
    type Output = Result<Response<LoggedBody<B>>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let (response, until) = match self.as_mut().project().state.project() {
                StateProjection::Handled { future, logged } => {
                    let polled = match logged {
                        Some(logged) => logged.open.guard(|| future.poll(cx)),
                        None => future.poll(cx),
                    };
                    let mut logged = logged.take_if(|_| polled.is_ready());
                    let response = match ready!(polled) {
                        Ok(response) => response,
                        Err(error) => {
                            if let Some(mut logged) = logged {
                                drop(logged.open.fail(&error));
                            }
                            return Poll::Ready(Err(error));
                        }
                    };
                    let until = logged.as_mut().and_then(|logged| logged.responded(&response));
                    (response.map(|body| LoggedBody::handled(body, logged)), until)
                }
                StateProjection::Acknowledging { response, until } => {
                    assert!(response.is_some(), "future polled after completion");
                    ready!(until.as_mut().poll(cx));
                    return Poll::Ready(Ok(response.take().expect("future polled after completion")));
                }
                StateProjection::Own { response } => {
                    let response = response.take().expect("future polled after completion");
                    return Poll::Ready(Ok(response.map(LoggedBody::own)));
                }
            };
            let Some(until) = until else { return Poll::Ready(Ok(response)) };
            self.as_mut().project().state.set(State::Acknowledging { response: Some(response), until });
        }
    }
}

impl<F, B: Body> fmt::Debug for QueryLogFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryLogFuture").finish_non_exhaustive()
    }
}
