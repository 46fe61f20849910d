//! What the tests share.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use tagtrail::{TraceId, TraceParent};
use tokio::net::TcpListener;

pub(crate) const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// The trace of [`CALLER`].
pub(crate) fn caller() -> TraceParent {
    CALLER.parse().unwrap()
}

/// Serves on loopback until the test ends.
pub(crate) async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
    address
}

/// The heads of requests, in the order they arrived.
#[derive(Clone, Default)]
pub(crate) struct Heads(Arc<Mutex<Vec<HeaderMap>>>);

impl Heads {
    pub(crate) fn push(&self, headers: &HeaderMap) {
        self.0.lock().unwrap().push(headers.clone());
    }

    pub(crate) fn all(&self) -> Vec<HeaderMap> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    pub(crate) fn traceparents(&self) -> Vec<TraceParent> {
        self.all().iter().map(|headers| TraceParent::from_headers(headers).unwrap().unwrap()).collect()
    }

    /// The one trace of all requests, each of which has a parent-id of its own.
    pub(crate) fn one_trace(&self) -> TraceId {
        let sent = self.traceparents();
        let traces: HashSet<_> = sent.iter().map(TraceParent::trace_id).collect();
        let parents: HashSet<_> = sent.iter().map(TraceParent::parent_id).collect();
        assert_eq!((traces.len(), parents.len()), (1, sent.len()), "{sent:?}");
        sent[0].trace_id()
    }

    /// An app that keeps the heads of what it is sent, and answers.
    pub(crate) fn app(&self, answer: impl Fn(&Request, usize) -> Response + Clone + Send + Sync + 'static) -> Router {
        let heads = self.clone();
        Router::new().fallback(move |request: Request| async move {
            heads.push(request.headers());
            answer(&request, heads.len())
        })
    }
}

pub(crate) fn status(status: StatusCode) -> Response {
    Response::builder().status(status).body(Body::empty()).unwrap()
}

pub(crate) fn get(uri: &str) -> Request {
    Request::get(uri).body(Body::empty()).unwrap()
}

/// A request of [`CALLER`].
pub(crate) fn called(uri: &str) -> Request {
    Request::get(uri).header("traceparent", CALLER).body(Body::empty()).unwrap()
}
