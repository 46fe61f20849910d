use std::collections::HashSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use futures_util::stream::{self, StreamExt};
use tagtrail::{Sample, Tags, TraceId, TraceParent, Trail};
use tokio::net::TcpListener;
use tower::Service;

/// The `traceparent` of a caller.
pub(crate) const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// The trace-id of [`CALLER`].
pub(crate) const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";

/// [`CALLER`], parsed.
pub(crate) fn caller() -> TraceParent {
    CALLER.parse().unwrap()
}

/// A sampled trail with one tag.
pub(crate) fn trail() -> Trail {
    Trail::start(Sample::Always).with_tags(Tags::from_pairs([("project", "blog")]).unwrap())
}

/// The trace-id of the current trail.
pub(crate) fn current_trace() -> Option<TraceId> {
    Trail::current().map(|trail| trail.trace_id())
}

/// The `traceparent` of a response, which has exactly one.
#[track_caller]
pub(crate) fn response_traceparent(headers: &HeaderMap) -> TraceParent {
    let lines: Vec<_> = headers.get_all("traceparent").iter().collect();
    assert_eq!(lines.len(), 1, "{headers:?}");
    lines[0].try_into().unwrap()
}

/// A GET request without headers.
pub(crate) fn get(uri: &str) -> Request {
    Request::get(uri).body(Body::empty()).unwrap()
}

/// A GET request from [`CALLER`].
pub(crate) fn get_as_caller(uri: &str) -> Request {
    Request::get(uri).header("traceparent", CALLER).body(Body::empty()).unwrap()
}

/// A response without a body.
pub(crate) fn empty_response(status: StatusCode) -> Response {
    Response::builder().status(status).body(Body::empty()).unwrap()
}

/// Serves on loopback until the test ends.
pub(crate) async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
    address
}

/// The headers of each request that arrived, in order.
#[derive(Clone, Default)]
pub(crate) struct Received(Arc<Mutex<Vec<HeaderMap>>>);

impl Received {
    pub(crate) fn push(&self, headers: &HeaderMap) {
        self.0.lock().unwrap().push(headers.clone());
    }

    pub(crate) fn all(&self) -> Vec<HeaderMap> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    #[track_caller]
    pub(crate) fn traceparents(&self) -> Vec<TraceParent> {
        let all = self.all();
        let mut traceparents = Vec::with_capacity(all.len());
        for headers in all {
            traceparents.push(TraceParent::from_headers(&headers).unwrap().unwrap());
        }
        traceparents
    }

    /// Asserts that all requests belong to one trace, each with its own parent-id. Returns the trace.
    #[track_caller]
    pub(crate) fn assert_one_trace(&self) -> TraceId {
        let sent = self.traceparents();
        let traces: HashSet<_> = sent.iter().map(TraceParent::trace_id).collect();
        let parents: HashSet<_> = sent.iter().map(TraceParent::parent_id).collect();
        assert_eq!((traces.len(), parents.len()), (1, sent.len()), "{sent:?}");
        sent[0].trace_id()
    }

    /// An app that keeps the headers of each request. `respond` also gets the number of requests so far.
    pub(crate) fn app(&self, respond: impl Fn(&Request, usize) -> Response + Clone + Send + Sync + 'static) -> Router {
        let received = self.clone();
        Router::new().fallback(move |request: Request| async move {
            received.push(request.headers());
            respond(&request, received.len())
        })
    }

    /// An app that keeps the headers of each request and responds with 200.
    pub(crate) fn ok_app(&self) -> Router {
        self.app(|_, _| empty_response(StatusCode::OK))
    }
}

/// Polls a future on this thread until it is ready: an executor that needs no runtime.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
}

/// A service that fails before it can be called.
pub(crate) struct NotReady;

impl Service<http::Request<()>> for NotReady {
    type Response = http::Response<http_body_util::Full<bytes::Bytes>>;
    type Error = &'static str;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Err("not ready"))
    }

    fn call(&mut self, _: http::Request<()>) -> Self::Future {
        unreachable!("called although it is not ready")
    }
}

/// Counts the open streams, and the streams that were dropped while a trail was current.
#[derive(Clone, Default)]
pub(crate) struct OpenStreams {
    open: Arc<AtomicUsize>,
    dropped_with_trail: Arc<AtomicUsize>,
}

struct OpenStream(OpenStreams);

impl OpenStreams {
    pub(crate) fn count(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    pub(crate) fn dropped_with_trail(&self) -> usize {
        self.dropped_with_trail.load(Ordering::SeqCst)
    }

    /// A body that yields `data: first`, and then never ends.
    pub(crate) fn endless_body(&self) -> Body {
        self.open.fetch_add(1, Ordering::SeqCst);
        let guard = OpenStream(self.clone());
        let first = stream::once(async { Ok::<_, Infallible>("data: first\n\n") });
        Body::from_stream(first.chain(stream::pending()).map(move |chunk| {
            let _guard = &guard;
            chunk
        }))
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
        self.0.dropped_with_trail.fetch_add(usize::from(Trail::current().is_some()), Ordering::SeqCst);
    }
}
