//! axum and hyper as servers over HTTP/1.1 and HTTP/2, reqwest and hyper-util as clients, on loopback.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use serde_json::{Value, json};
use tagtrail::{
    Admit, Disclose, InboundLayer, InvalidTags, OutboundLayer, OutboundMiddleware, RequestTags, Sample, Targets, Trail,
};
use tokio::net::TcpListener;
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{CALLER, TRACE_ID, response_traceparent, serve};

fn client(disclose: Disclose, http2: bool) -> ClientWithMiddleware {
    let client = if http2 { reqwest::Client::builder().http2_prior_knowledge() } else { reqwest::Client::builder() };
    ClientBuilder::new(client.build().unwrap()).with(OutboundMiddleware::new(disclose)).build()
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

/// A service that responds with the headers it received and its trail.
fn mirror() -> Router {
    let handler = |trail: Trail, headers: HeaderMap| async move {
        let received = ["traceparent", "tracestate", "x-fauna-tags"].map(|name| header(&headers, name).to_owned());
        Json(json!({
            "received": received,
            "trace_id": trail.trace_id().to_string(),
            "caller": trail.parent_span_id().map(|id| id.to_string()),
            "tags": trail.tags().as_str(),
        }))
    };
    Router::new().fallback(get(handler)).layer(InboundLayer::new(Admit::Continue))
}

/// A service that calls the backend from a spawned task, and passes its response on.
fn gateway(backend: SocketAddr, client: ClientWithMiddleware) -> Router {
    let handler = move |State(client): State<ClientWithMiddleware>, trail: Trail| async move {
        let call = async move { client.get(format!("http://{backend}/")).send().await.unwrap().json::<Value>().await };
        Json(tokio::spawn(trail.scope(call)).await.unwrap().unwrap())
    };
    Router::new().route("/", get(handler)).with_state(client).layer(InboundLayer::new(Admit::Continue))
}

#[tokio::test]
async fn trace_and_tags_cross_two_services() {
    for http2 in [false, true] {
        let backend = serve(mirror()).await;
        let gateway = serve(gateway(backend, client(Disclose::All, http2))).await;
        let request = reqwest::Client::builder().http1_only().build().unwrap().get(format!("http://{gateway}/"));
        let response = request
            .header("traceparent", CALLER)
            .header("tracestate", "foo=1")
            .header("tracestate", "bar=2")
            .header("x-fauna-tags", "project=blog")
            .header("x-fauna-tags", "env=prod")
            .send()
            .await
            .unwrap();
        let echoed = response_traceparent(response.headers());
        let seen: Value = response.json().await.unwrap();
        assert_eq!(echoed.trace_id().to_string(), TRACE_ID);
        assert_eq!(seen["trace_id"], TRACE_ID);
        assert_eq!(seen["received"][1], "foo=1,bar=2");
        assert_eq!(seen["tags"], "project=blog,env=prod");
        // The backend's caller is a request of the gateway: neither the client nor the gateway's own operation.
        let caller = seen["caller"].as_str().unwrap();
        assert_ne!(caller, "b7ad6b7169203331");
        assert_ne!(caller, echoed.parent_id().to_string());
        assert_eq!(seen["received"][0], format!("00-{TRACE_ID}-{caller}-01"));
    }
}

/// Success, error, no such route, wrong method, or rejected tags: every response names the trace.
#[tokio::test]
async fn every_response_carries_trace() {
    let app = Router::new()
        .route("/ok", get(|| async { "ok" }))
        .route("/teapot", get(|| async { StatusCode::IM_A_TEAPOT }))
        .route("/error", get(|| async { StatusCode::INTERNAL_SERVER_ERROR }))
        .layer(InboundLayer::new(Admit::Continue));
    let address = serve(app).await;
    let client = reqwest::Client::new();
    for (path, tags, status) in [
        ("ok", "a=1", 200),
        ("teapot", "a=1", 418),
        ("error", "a=1", 500),
        ("unknown", "a=1", 404),
        ("ok", "a b", 400),
        ("unknown", "a b", 400),
    ] {
        for method in [reqwest::Method::GET, reqwest::Method::HEAD] {
            let request = client.request(method.clone(), format!("http://{address}/{path}"));
            let response = request.header("traceparent", CALLER).header("x-fauna-tags", tags).send().await.unwrap();
            assert_eq!(response.status(), status, "{method} {path} {tags}");
            assert!(header(response.headers(), "traceparent").contains(TRACE_ID), "{method} {path} {tags}");
            let length = response.bytes().await.unwrap().len();
            assert!(method == reqwest::Method::GET || length == 0);
        }
    }
    let posted = client.post(format!("http://{address}/ok")).send().await.unwrap();
    assert_eq!(posted.status(), 405);
    assert!(posted.headers().contains_key("traceparent"));
}

#[tokio::test]
async fn client_can_continue_trace_of_response() {
    let address = serve(mirror()).await;
    let client = client(Disclose::All, false);
    let first = client.get(format!("http://{address}/")).send().await.unwrap();
    let trail = Trail::from_response_headers(first.headers()).unwrap();
    let second = client.get(format!("http://{address}/")).with_extension(trail.clone()).send().await.unwrap();
    assert_eq!(second.json::<Value>().await.unwrap()["trace_id"], trail.trace_id().to_string());
}

#[tokio::test]
async fn invalid_request_tags_are_typed_error() {
    let address = serve(mirror()).await;
    let request = client(Disclose::All, false).get(format!("http://{address}/"));
    let error = request.with_extension(RequestTags::new([("job", "every night")])).send().await.unwrap_err();
    let reqwest_middleware::Error::Middleware(error) = &error else { panic!("{error:?}") };
    assert_eq!(error.downcast_ref::<InvalidTags>().unwrap().kind().as_str(), "invalid tags");
}

#[tokio::test]
async fn reqwest_discloses_by_url() {
    let address = serve(mirror()).await;
    for (host, disclosed) in [("127.0.0.1", true), ("*.example.com", false)] {
        let targets = Targets::with_default(Disclose::Nothing).host(host, Disclose::All).unwrap();
        let client = ClientBuilder::new(reqwest::Client::new()).with(OutboundMiddleware::new(targets)).build();
        let url = format!("http://user:password@{address}/path?query#fragment");
        let seen: Value = client.get(url).send().await.unwrap().json().await.unwrap();
        assert_eq!(seen["received"][0] != "", disclosed, "{host}");
    }
}

#[tokio::test]
async fn extractor_without_layer_names_layer_in_error() {
    let app = Router::new()
        .route("/must", get(|_: Trail| async {}))
        .route("/may", get(|trail: Option<Trail>| async move { trail.is_none().to_string() }));
    let layered = serve(app.clone().layer(InboundLayer::new(Admit::Restart))).await;
    let address = serve(app).await;
    let response = reqwest::get(format!("http://{address}/must")).await.unwrap();
    assert_eq!(response.status(), 500);
    assert!(response.text().await.unwrap().contains("tagtrail::InboundLayer"));
    assert_eq!(reqwest::get(format!("http://{address}/may")).await.unwrap().text().await.unwrap(), "true");
    assert_eq!(reqwest::get(format!("http://{layered}/must")).await.unwrap().status(), 200);
    assert_eq!(reqwest::get(format!("http://{layered}/may")).await.unwrap().text().await.unwrap(), "false");
}

/// The versions and tags of the requests that a hyper server received.
type Requests = Arc<Mutex<Vec<(Version, String)>>>;

/// A hyper server that responds with the trace-id of each request.
async fn serve_hyper() -> (SocketAddr, Requests) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Requests::default();
    let log = Arc::clone(&requests);
    let handler = service_fn(move |request: Request<hyper::body::Incoming>| {
        let log = Arc::clone(&log);
        async move {
            let trail = Trail::current().unwrap();
            log.lock().unwrap().push((request.version(), trail.tags().as_str().to_owned()));
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(trail.trace_id().to_string())))
        }
    });
    let service = InboundLayer::new(Admit::Continue).layer(handler);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await.unwrap();
            });
        }
    });
    (address, requests)
}

#[tokio::test]
async fn hyper_server_and_client_work_over_both_http_versions() {
    let (address, requests) = serve_hyper().await;
    let trail = Trail::start(Sample::Always).with_tags("a=1".parse().unwrap());
    for (http2, version) in [(false, Version::HTTP_11), (true, Version::HTTP_2)] {
        let client = HyperClient::builder(TokioExecutor::new()).http2_only(http2).build_http::<Empty<Bytes>>();
        let mut client = OutboundLayer::new(Disclose::All).layer(client);
        let request = Request::get(format!("http://{address}/")).extension(trail.clone()).body(Empty::new()).unwrap();
        let response = client.ready().await.unwrap().call(request).await.unwrap();
        assert!(header(response.headers(), "traceparent").contains(&trail.trace_id().to_string()));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, trail.trace_id().to_string());
        assert_eq!(requests.lock().unwrap().pop(), Some((version, "a=1".to_owned())));
    }
}

/// hyper removes the body of a response to HEAD over HTTP/1.1 only, so the layer must not send one.
#[tokio::test]
async fn hyper_head_rejection_has_no_body_over_both_http_versions() {
    let (address, requests) = serve_hyper().await;
    for http2 in [false, true] {
        let client = HyperClient::builder(TokioExecutor::new()).http2_only(http2).build_http::<Empty<Bytes>>();
        let request =
            Request::head(format!("http://{address}/")).header("x-fauna-tags", "?").body(Empty::new()).unwrap();
        let response = client.oneshot(request).await.unwrap();
        assert_eq!(response.status(), 400);
        let length: usize = header(response.headers(), "content-length").parse().unwrap();
        assert!(length > 0);
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes().len(), 0);
    }
    assert!(requests.lock().unwrap().is_empty());
}
