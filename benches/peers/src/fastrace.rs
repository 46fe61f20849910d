//! fastrace, with a reporter that drops what it is given. It reads and writes `traceparent` alone.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use fastrace::collector::{Config, Reporter, SpanRecord};
use fastrace::prelude::{Span, SpanContext};
use fastrace_axum::FastraceLayer;
use fastrace_tower::{FastraceClientLayer, FastraceServerLayer};
use http::Request;
use http::header::{CONTENT_TYPE, HeaderValue};
use tagtrail_benches::case::Case;
use tagtrail_benches::service::{Bare, drive, request};
use tower::{Layer, Service};

use crate::{bare_client, bare_servers, client, heads, server};

struct Dropped;

impl Reporter for Dropped {
    fn report(&mut self, _: Vec<SpanRecord>) {}
}

/// The bare service with axum's body, which fastrace-axum wants.
#[derive(Clone, Copy)]
struct AxumBare;

impl Service<Request<Body>> for AxumBare {
    type Response = Response;
    type Error = Infallible;
    type Future = Ready<Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        let mut response = Response::new(Body::from("ok"));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        ready(Ok(response))
    }
}

/// For the whole process: spans are collected, and dropped.
pub fn report() {
    fastrace::set_reporter(Dropped, Config::default());
}

pub(crate) fn cases() -> Vec<Case> {
    report();
    // Requests are sent within a span.
    let root = Span::root("bench", SpanContext::random());
    let guard = root.set_local_parent();
    assert!(SpanContext::current_local_parent().is_some());
    std::mem::forget((root, guard));

    let mut cases: Vec<Case> = bare_servers().collect();
    cases.extend(server!("fastrace-tower", FastraceServerLayer::default().layer(Bare)));
    for (name, head) in heads() {
        let bare = format!("server-{name}-bare-axum");
        let of_bare = head.clone();
        cases.push(Case::new(&*bare, "bare", move || drive(&mut AxumBare, request(&of_bare, Body::empty()))));
        let mut service = FastraceLayer::default().layer(AxumBare);
        let run = move || drive(&mut service, request(&head, Body::empty()));
        cases.push(Case::new(format!("server-{name}"), "fastrace-axum", run).over(&bare));
    }
    cases.push(bare_client());
    cases.push(client!("fastrace-tower", FastraceClientLayer.layer(Bare)));
    cases
}
