//! Signed requests: the order of middleware says whether the signature covers what this crate adds.

use std::hash::{DefaultHasher, Hash, Hasher};

use async_trait::async_trait;
use axum::extract::Request;
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use reqwest_middleware::{ClientBuilder, Middleware, Next};
use tagtrail::{Disclose, OutboundLayer, OutboundMiddleware, Tags, Trail};
use tower::{Layer, ServiceExt};

use crate::support::{Heads, get, serve, status};

const OURS: [&str; 3] = ["traceparent", "tracestate", "x-fauna-tags"];

/// Stands in for a real signature, over the headers that are there: what is signed, and by a key, is all that counts.
fn sign(headers: &HeaderMap) -> (String, String) {
    let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).filter(|name| OURS.contains(name)).collect();
    names.sort_unstable();
    let names = names.join(";");
    let signature = signature(&names, headers);
    (names, signature)
}

fn signature(names: &str, headers: &HeaderMap) -> String {
    let mut hasher = DefaultHasher::new();
    "key".hash(&mut hasher);
    for name in names.split(';').filter(|name| !name.is_empty()) {
        (name, headers.get(name).map(HeaderValue::as_bytes)).hash(&mut hasher);
    }
    format!("{:x}", hasher.finish())
}

fn add_signature(headers: &mut HeaderMap) {
    let (names, signature) = sign(headers);
    headers.insert("x-signed", names.parse().unwrap());
    headers.insert("x-signature", signature.parse().unwrap());
}

struct Sign;

#[async_trait]
impl Middleware for Sign {
    async fn handle(
        &self,
        mut request: reqwest::Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<reqwest::Response> {
        add_signature(request.headers_mut());
        next.run(request, extensions).await
    }
}

/// The receiver: refuses a signature that does not hold.
fn verify(request: &Request, _: usize) -> Response {
    let names = request.headers()["x-signed"].to_str().unwrap();
    let holds = request.headers()["x-signature"] == signature(names, request.headers());
    status(if holds { StatusCode::OK } else { StatusCode::FORBIDDEN })
}

fn trail() -> Trail {
    Trail::start(true).with_tags(Tags::new([("project", "blog")]).unwrap())
}

/// Which headers of ours were signed, and were there.
fn signed_and_there(headers: &HeaderMap) -> (String, Vec<&'static str>) {
    let there = OURS.into_iter().filter(|name| headers.contains_key(*name)).collect();
    (headers["x-signed"].to_str().unwrap().to_owned(), there)
}

#[tokio::test]
async fn reqwest_signs_what_was_added_before() {
    let heads = Heads::default();
    let url = format!("http://{}/", serve(heads.app(verify)).await);
    let new = || ClientBuilder::new(reqwest::Client::new());
    let ours = || OutboundMiddleware::new(Disclose::All);
    let clients = [
        // Context first, then the signature covers it.
        (new().with(ours()).with(Sign).build(), "traceparent;x-fauna-tags"),
        // The signature first: the context is sent, and not covered.
        (new().with(Sign).with(ours()).build(), ""),
    ];
    for (client, signed) in clients {
        let answer = trail().scope(client.get(&url).send()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let expected = (signed.to_owned(), vec!["traceparent", "x-fauna-tags"]);
        assert_eq!(signed_and_there(heads.all().last().unwrap()), expected);
    }
}

#[tokio::test]
async fn tower_signs_what_was_added_before() {
    let heads = Heads::default();
    let signing = |mut request: Request| {
        add_signature(request.headers_mut());
        request
    };
    let covered = OutboundLayer::new(Disclose::All).layer(heads.app(verify).map_request(signing));
    assert_eq!(trail().scope(covered.oneshot(get("/"))).await.unwrap().status(), StatusCode::OK);
    let left_out = OutboundLayer::new(Disclose::All).layer(heads.app(verify)).map_request(signing);
    assert_eq!(trail().scope(left_out.oneshot(get("/"))).await.unwrap().status(), StatusCode::OK);
    let signed: Vec<_> = heads.all().iter().map(|headers| signed_and_there(headers).0).collect();
    assert_eq!(signed, ["traceparent;x-fauna-tags", ""]);
}

/// A header that a caller signed and that the layer then replaces breaks the signature: leave it out, or sign later.
#[tokio::test]
async fn a_signed_header_that_is_replaced_breaks_the_signature() {
    let heads = Heads::default();
    let url = format!("http://{}/", serve(heads.app(verify)).await);
    let client = ClientBuilder::new(reqwest::Client::new()).with(Sign).with(OutboundMiddleware::new(Disclose::All));
    let request = client.build().get(&url).header("traceparent", crate::support::CALLER);
    assert_eq!(request.send().await.unwrap().status(), StatusCode::FORBIDDEN);
}
