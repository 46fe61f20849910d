//! Signed requests: the order of middleware decides whether the signature covers the headers of this crate.

use std::hash::{DefaultHasher, Hash, Hasher};

use async_trait::async_trait;
use axum::extract::Request;
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use reqwest_middleware::{ClientBuilder, Middleware, Next};
use tagtrail::{Disclose, OutboundLayer, OutboundMiddleware};
use tower::{Layer, ServiceExt};

use crate::support::{CALLER, Received, empty_response, get, serve, trail};

const CONTEXT_HEADERS: [&str; 3] = ["traceparent", "tracestate", "x-fauna-tags"];

/// Stands in for a real signature over the context headers: what counts here is which headers are covered, by a key.
fn sign(headers: &HeaderMap) -> (String, String) {
    let is_context = |name: &&str| CONTEXT_HEADERS.contains(name);
    let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).filter(is_context).collect();
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

/// The receiver: rejects a wrong signature with 403.
fn verify(request: &Request, _: usize) -> Response {
    let names = request.headers()["x-signed"].to_str().unwrap();
    let holds = request.headers()["x-signature"] == signature(names, request.headers());
    empty_response(if holds { StatusCode::OK } else { StatusCode::FORBIDDEN })
}

/// Which context headers were signed, and which were sent.
fn signed_and_sent(headers: &HeaderMap) -> (String, Vec<&'static str>) {
    let sent = CONTEXT_HEADERS.into_iter().filter(|name| headers.contains_key(*name)).collect();
    (headers["x-signed"].to_str().unwrap().to_owned(), sent)
}

#[tokio::test]
async fn reqwest_signature_covers_headers_added_before() {
    let received = Received::default();
    let url = format!("http://{}/", serve(received.app(verify)).await);
    let builder = || ClientBuilder::new(reqwest::Client::new());
    let context = || OutboundMiddleware::new(Disclose::All);
    let clients = [
        // The context first: the signature covers it.
        (builder().with(context()).with(Sign).build(), "traceparent;x-fauna-tags"),
        // The signature first: the context is sent, but not covered.
        (builder().with(Sign).with(context()).build(), ""),
    ];
    for (client, signed) in clients {
        let response = trail().scope(client.get(&url).send()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let expected = (signed.to_owned(), vec!["traceparent", "x-fauna-tags"]);
        assert_eq!(signed_and_sent(received.all().last().unwrap()), expected);
    }
}

#[tokio::test]
async fn tower_signature_covers_headers_added_before() {
    let received = Received::default();
    let signing = |mut request: Request| {
        add_signature(request.headers_mut());
        request
    };
    let covered = OutboundLayer::new(Disclose::All).layer(received.app(verify).map_request(signing));
    assert_eq!(trail().scope(covered.oneshot(get("/"))).await.unwrap().status(), StatusCode::OK);
    let not_covered = OutboundLayer::new(Disclose::All).layer(received.app(verify)).map_request(signing);
    assert_eq!(trail().scope(not_covered.oneshot(get("/"))).await.unwrap().status(), StatusCode::OK);
    let signed: Vec<_> = received.all().iter().map(|headers| signed_and_sent(headers).0).collect();
    assert_eq!(signed, ["traceparent;x-fauna-tags", ""]);
}

/// If a caller signs a header that the layer then replaces, the signature is wrong: sign later, or leave it out.
#[tokio::test]
async fn signature_breaks_when_signed_header_is_replaced() {
    let received = Received::default();
    let url = format!("http://{}/", serve(received.app(verify)).await);
    let client = ClientBuilder::new(reqwest::Client::new()).with(Sign).with(OutboundMiddleware::new(Disclose::All));
    let request = client.build().get(&url).header("traceparent", CALLER);
    assert_eq!(request.send().await.unwrap().status(), StatusCode::FORBIDDEN);
}
