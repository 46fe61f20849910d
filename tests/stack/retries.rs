//! Retries, by reqwest-retry and by tower: one trace-id, and a new parent-id for each attempt.

use std::future::{Ready, ready};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use reqwest_retry::RetryTransientMiddleware;
use reqwest_retry::policies::ExponentialBackoff;
use tagtrail::{Disclose, OutboundLayer, OutboundMiddleware, RequestTags, Tags, TraceParent, Trail};
use tower::retry::{Policy, Retry};
use tower::{Layer, Service, ServiceExt};

use crate::support::{CALLER, Heads, get, serve, status};

fn busy(_: &Request, _: usize) -> Response {
    status(StatusCode::SERVICE_UNAVAILABLE)
}

fn retrying(times: u32) -> ClientBuilder {
    let at_once = Duration::from_millis(1);
    let backoff = ExponentialBackoff::builder().retry_bounds(at_once, at_once).build_with_max_retries(times);
    ClientBuilder::new(reqwest::Client::new()).with(RetryTransientMiddleware::new_with_policy(backoff))
}

fn right_order(times: u32) -> ClientWithMiddleware {
    retrying(times).with(OutboundMiddleware::new(Disclose::All)).build()
}

fn trail() -> Trail {
    Trail::start(true).with_tags(Tags::new([("project", "blog")]).unwrap())
}

#[tokio::test]
async fn each_attempt_of_reqwest_retry_has_a_parent_id_of_its_own() {
    for times in 1..=10 {
        let heads = Heads::default();
        let url = format!("http://{}/", serve(heads.app(busy)).await);
        let trail = trail();
        let answer = trail.scope(right_order(times).get(url).send()).await.unwrap();
        assert_eq!((answer.status(), heads.len()), (StatusCode::SERVICE_UNAVAILABLE, times as usize + 1));
        assert_eq!(heads.one_trace(), trail.trace_id());
        assert!(heads.all().iter().all(|headers| headers["x-fauna-tags"] == "project=blog"));
    }
}

#[tokio::test]
async fn attempts_are_of_one_trace_without_a_trail_too() {
    let heads = Heads::default();
    let url = format!("http://{}/", serve(heads.app(busy)).await);
    right_order(3).get(&url).header("x-fauna-tags", "project=blog").send().await.unwrap();
    heads.one_trace();
    assert!(heads.all().iter().all(|headers| headers["x-fauna-tags"] == "project=blog"));

    let heads = Heads::default();
    let url = format!("http://{}/", serve(heads.app(busy)).await);
    let tags = RequestTags::new([("job", "nightly")]);
    right_order(3).get(&url).header("traceparent", CALLER).with_extension(tags).send().await.unwrap();
    assert_eq!(heads.one_trace(), crate::support::caller().trace_id());
    assert!(heads.all().iter().all(|headers| headers["x-fauna-tags"] == "job=nightly"));
}

#[tokio::test]
async fn clones_of_a_client_keep_their_traces_apart() {
    let heads = Heads::default();
    let url = format!("http://{}/", serve(heads.app(busy)).await);
    let client = right_order(2);
    let sent = (0..10).map(|_| {
        let (client, url, trail) = (client.clone(), url.clone(), trail());
        trail.scope(async move { client.get(url).send().await.unwrap() })
    });
    futures_util::future::join_all(sent).await;
    let mut by_trace = std::collections::HashMap::<_, Vec<TraceParent>>::new();
    for sent in heads.traceparents() {
        by_trace.entry(sent.trace_id()).or_default().push(sent);
    }
    assert_eq!(by_trace.len(), 10);
    for sent in by_trace.into_values() {
        let parents: std::collections::HashSet<_> = sent.iter().map(TraceParent::parent_id).collect();
        assert_eq!(parents.len(), 3);
    }
}

#[tokio::test]
async fn outside_of_reqwest_retry_all_attempts_have_one_parent_id() {
    let heads = Heads::default();
    let url = format!("http://{}/", serve(heads.app(busy)).await);
    let at_once = Duration::from_millis(1);
    let backoff = ExponentialBackoff::builder().retry_bounds(at_once, at_once).build_with_max_retries(2);
    let wrong_order = ClientBuilder::new(reqwest::Client::new())
        .with(OutboundMiddleware::new(Disclose::All))
        .with(RetryTransientMiddleware::new_with_policy(backoff))
        .build();
    wrong_order.get(url).send().await.unwrap();
    let sent = heads.traceparents();
    assert_eq!((sent.len(), sent[0], sent[1]), (3, sent[1], sent[2]));
}

/// Tries again, so many times, whatever the answer is.
#[derive(Clone)]
struct Again(usize);

impl<E> Policy<Request, Response, E> for Again {
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
async fn each_attempt_of_towers_retry_has_a_parent_id_of_its_own() {
    for times in 1..=10 {
        let heads = Heads::default();
        let client = OutboundLayer::new(Disclose::All).layer(heads.app(busy));
        let mut client = Retry::new(Again(times), client);
        let trail = trail();
        let answer = trail.scope(async { client.ready().await.unwrap().call(get("/")).await }).await.unwrap();
        assert_eq!((answer.status(), heads.len()), (StatusCode::SERVICE_UNAVAILABLE, times + 1));
        assert_eq!(heads.one_trace(), trail.trace_id());
    }
}

#[tokio::test]
async fn without_a_trail_towers_retry_wants_one_in_the_requests_extensions() {
    let heads = Heads::default();
    let client = OutboundLayer::new(Disclose::All).layer(heads.app(busy));
    Retry::new(Again(2), client.clone()).oneshot(get("/")).await.unwrap();
    let sent = heads.traceparents();
    assert_ne!(sent[0].trace_id(), sent[1].trace_id());

    let heads = Heads::default();
    let client = OutboundLayer::new(Disclose::All).layer(heads.app(busy));
    let with_trail = |mut request: Request| {
        request.extensions_mut().insert(Trail::start(true));
        request
    };
    let client = Retry::new(Again(2), client).map_request(with_trail);
    client.oneshot(get("/")).await.unwrap();
    heads.one_trace();
}
