//! Retries by reqwest-retry and by tower: one trace-id, and a new parent-id for each attempt.

use std::collections::{HashMap, HashSet};
use std::future::{Ready, ready};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use reqwest_retry::RetryTransientMiddleware;
use reqwest_retry::policies::ExponentialBackoff;
use tagtrail::{Disclose, OutboundLayer, OutboundMiddleware, RequestTags, Sample, TraceParent, Trail};
use tower::retry::{Policy, Retry};
use tower::{Layer, Service, ServiceExt};

use crate::support::{CALLER, Received, caller, empty_response, get, serve, trail};

/// Responds with a status that is retried.
fn unavailable(_: &Request, _: usize) -> Response {
    empty_response(StatusCode::SERVICE_UNAVAILABLE)
}

/// reqwest-retry, almost without a pause.
fn retry(times: u32) -> RetryTransientMiddleware<ExponentialBackoff> {
    let pause = Duration::from_millis(1);
    let backoff = ExponentialBackoff::builder().retry_bounds(pause, pause).build_with_max_retries(times);
    RetryTransientMiddleware::new_with_policy(backoff)
}

/// A client with the middlewares in the order that the docs recommend.
fn retrying_client(times: u32) -> ClientWithMiddleware {
    ClientBuilder::new(reqwest::Client::new()).with(retry(times)).with(OutboundMiddleware::new(Disclose::All)).build()
}

#[tokio::test]
async fn reqwest_retry_gives_each_attempt_its_own_parent_id() {
    for times in 1..=10 {
        let received = Received::default();
        let url = format!("http://{}/", serve(received.app(unavailable)).await);
        let trail = trail();
        let response = trail.scope(retrying_client(times).get(url).send()).await.unwrap();
        assert_eq!((response.status(), received.len()), (StatusCode::SERVICE_UNAVAILABLE, times as usize + 1));
        assert_eq!(received.assert_one_trace(), trail.trace_id());
        assert!(received.all().iter().all(|headers| headers["x-fauna-tags"] == "project=blog"));
    }
}

#[tokio::test]
async fn reqwest_retry_without_trail_stays_in_one_trace() {
    let received = Received::default();
    let url = format!("http://{}/", serve(received.app(unavailable)).await);
    retrying_client(3).get(&url).header("x-fauna-tags", "project=blog").send().await.unwrap();
    received.assert_one_trace();
    assert!(received.all().iter().all(|headers| headers["x-fauna-tags"] == "project=blog"));

    let received = Received::default();
    let url = format!("http://{}/", serve(received.app(unavailable)).await);
    let tags = RequestTags::new([("job", "nightly")]);
    retrying_client(3).get(&url).header("traceparent", CALLER).with_extension(tags).send().await.unwrap();
    assert_eq!(received.assert_one_trace(), caller().trace_id());
    assert!(received.all().iter().all(|headers| headers["x-fauna-tags"] == "job=nightly"));
}

#[tokio::test]
async fn cloned_clients_keep_traces_apart() {
    let received = Received::default();
    let url = format!("http://{}/", serve(received.app(unavailable)).await);
    let client = retrying_client(2);
    let requests = (0..10).map(|_| {
        let (client, url, trail) = (client.clone(), url.clone(), trail());
        trail.scope(async move { client.get(url).send().await.unwrap() })
    });
    futures_util::future::join_all(requests).await;
    let mut by_trace = HashMap::<_, Vec<TraceParent>>::new();
    for sent in received.traceparents() {
        by_trace.entry(sent.trace_id()).or_default().push(sent);
    }
    assert_eq!(by_trace.len(), 10);
    for sent in by_trace.into_values() {
        let parents: HashSet<_> = sent.iter().map(TraceParent::parent_id).collect();
        assert_eq!(parents.len(), 3);
    }
}

#[tokio::test]
async fn middleware_outside_reqwest_retry_repeats_parent_id() {
    let received = Received::default();
    let url = format!("http://{}/", serve(received.app(unavailable)).await);
    let wrong_order =
        ClientBuilder::new(reqwest::Client::new()).with(OutboundMiddleware::new(Disclose::All)).with(retry(2)).build();
    wrong_order.get(url).send().await.unwrap();
    let sent = received.traceparents();
    assert_eq!((sent.len(), sent[0], sent[1]), (3, sent[1], sent[2]));
}

/// Retries this many times, whatever the response is.
#[derive(Clone)]
struct AlwaysRetry(usize);

impl<E> Policy<Request, Response, E> for AlwaysRetry {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut Request, _: &mut Result<Response, E>) -> Option<Self::Future> {
        self.0 = self.0.checked_sub(1)?;
        Some(ready(()))
    }

    fn clone_request(&mut self, request: &Request) -> Option<Request> {
        let mut copy = Request::new(Body::empty());
        *copy.uri_mut() = request.uri().clone();
        *copy.headers_mut() = request.headers().clone();
        *copy.extensions_mut() = request.extensions().clone();
        Some(copy)
    }
}

#[tokio::test]
async fn tower_retry_gives_each_attempt_its_own_parent_id() {
    for times in 1..=10 {
        let received = Received::default();
        let client = OutboundLayer::new(Disclose::All).layer(received.app(unavailable));
        let mut client = Retry::new(AlwaysRetry(times), client);
        let trail = trail();
        let response = trail.scope(async { client.ready().await.unwrap().call(get("/")).await }).await.unwrap();
        assert_eq!((response.status(), received.len()), (StatusCode::SERVICE_UNAVAILABLE, times + 1));
        assert_eq!(received.assert_one_trace(), trail.trace_id());
    }
}

#[tokio::test]
async fn tower_retry_without_trail_starts_new_trace_per_attempt() {
    let received = Received::default();
    let client = OutboundLayer::new(Disclose::All).layer(received.app(unavailable));
    Retry::new(AlwaysRetry(2), client).oneshot(get("/")).await.unwrap();
    let traces: HashSet<_> = received.traceparents().iter().map(TraceParent::trace_id).collect();
    assert_eq!((traces.len(), received.len()), (3, 3));
}

#[tokio::test]
async fn tower_retry_with_trail_in_extensions_stays_in_one_trace() {
    let received = Received::default();
    let client = OutboundLayer::new(Disclose::All).layer(received.app(unavailable));
    let with_trail = |mut request: Request| {
        request.extensions_mut().insert(Trail::start(Sample::Always));
        request
    };
    Retry::new(AlwaysRetry(2), client).map_request(with_trail).oneshot(get("/")).await.unwrap();
    received.assert_one_trace();
    assert_eq!(received.len(), 3);
}
