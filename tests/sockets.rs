//! Real servers and clients on loopback: axum and hyper over HTTP/1.1 and HTTP/2, reqwest and hyper-util as clients.

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
    Admit, Disclose, InboundLayer, InvalidTags, OutboundLayer, OutboundMiddleware, RequestTags, TraceParent, Trail,
};
use tokio::net::TcpListener;
use tower::{Layer, Service, ServiceExt, service_fn};

const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";

async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
    address
}

fn client(told: Disclose, http2: bool) -> ClientWithMiddleware {
    let client = if http2 { reqwest::Client::builder().http2_prior_knowledge() } else { reqwest::Client::builder() };
    ClientBuilder::new(client.build().unwrap()).with(OutboundMiddleware::new(told)).build()
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

/// A service that tells what it received and what its trail is.
fn mirror() -> Router {
    let handler = |trail: Trail, headers: HeaderMap| async move {
        let received = ["traceparent", "tracestate", "x-fauna-tags"].map(|name| header(&headers, name).to_owned());
        Json(json!({
            "received": received,
            "trace_id": trail.trace_id().to_string(),
            "caller": trail.caller().map(|id| id.to_string()),
            "tags": trail.tags().as_str(),
        }))
    };
    Router::new().fallback(get(handler)).layer(InboundLayer::new(Admit::Continue))
}

/// A service that asks another one, through a spawned task, and passes its answer on.
fn gateway(backend: SocketAddr, client: ClientWithMiddleware) -> Router {
    let handler = move |State(client): State<ClientWithMiddleware>, trail: Trail| async move {
        let asked = async move { client.get(format!("http://{backend}/")).send().await.unwrap().json::<Value>().await };
        Json(tokio::spawn(trail.scope(asked)).await.unwrap().unwrap())
    };
    Router::new().route("/", get(handler)).with_state(client).layer(InboundLayer::new(Admit::Continue))
}

#[tokio::test]
async fn a_trace_and_its_tags_go_through_two_services() {
    for http2 in [false, true] {
        let backend = serve(mirror()).await;
        let gateway = serve(gateway(backend, client(Disclose::All, http2))).await;
        let request = reqwest::Client::builder().http1_only().build().unwrap().get(format!("http://{gateway}/"));
        let answer = request
            .header("traceparent", CALLER)
            .header("tracestate", "foo=1")
            .header("tracestate", "bar=2")
            .header("x-fauna-tags", "project=blog")
            .header("x-fauna-tags", "env=prod")
            .send()
            .await
            .unwrap();
        let answered: TraceParent = (&answer.headers()["traceparent"]).try_into().unwrap();
        let seen: Value = answer.json().await.unwrap();
        assert_eq!(answered.trace_id().to_string(), TRACE_ID);
        assert_eq!(seen["trace_id"], TRACE_ID);
        assert_eq!(seen["received"][1], "foo=1,bar=2");
        assert_eq!(seen["tags"], "project=blog,env=prod");
        // The backend's caller is a request of the gateway: neither the client nor the gateway's own operation.
        let caller = seen["caller"].as_str().unwrap();
        assert_ne!(caller, "b7ad6b7169203331");
        assert_ne!(caller, answered.parent_id().to_string());
        assert_eq!(seen["received"][0], format!("00-{TRACE_ID}-{caller}-01"));
    }
}

#[tokio::test]
async fn every_answer_of_the_service_carries_the_trace() {
    // Attack row 14.
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
            let answer = request.header("traceparent", CALLER).header("x-fauna-tags", tags).send().await.unwrap();
            assert_eq!(answer.status(), status, "{method} {path} {tags}");
            assert!(header(answer.headers(), "traceparent").contains(TRACE_ID), "{method} {path} {tags}");
            let length = answer.bytes().await.unwrap().len();
            assert!(method == reqwest::Method::GET || length == 0);
        }
    }
    let posted = client.post(format!("http://{address}/ok")).send().await.unwrap();
    assert_eq!(posted.status(), 405);
    assert!(posted.headers().contains_key("traceparent"));
}

#[tokio::test]
async fn a_caller_stays_in_the_trace_of_an_answer() {
    let address = serve(mirror()).await;
    let client = client(Disclose::All, false);
    let first = client.get(format!("http://{address}/")).send().await.unwrap();
    let trail = Trail::of_answer(first.headers()).unwrap();
    let second = client.get(format!("http://{address}/")).with_extension(trail.clone()).send().await.unwrap();
    assert_eq!(second.json::<Value>().await.unwrap()["trace_id"], trail.trace_id().to_string());
}

#[tokio::test]
async fn bad_tags_of_one_request_are_a_typed_error() {
    let address = serve(mirror()).await;
    let request = client(Disclose::All, false).get(format!("http://{address}/"));
    let error = request.with_extension(RequestTags::new([("job", "every night")])).send().await.unwrap_err();
    let reqwest_middleware::Error::Middleware(error) = &error else { panic!("{error:?}") };
    assert_eq!(error.downcast_ref::<InvalidTags>().unwrap().rule(), "invalid tags");
}

#[tokio::test]
async fn reqwest_decides_by_url_too() {
    let address = serve(mirror()).await;
    for (host, told) in [("127.0.0.1", true), ("*.example.com", false)] {
        let targets = tagtrail::Targets::otherwise(Disclose::Nothing).host(host, Disclose::All).unwrap();
        let client = ClientBuilder::new(reqwest::Client::new()).with(OutboundMiddleware::new(targets)).build();
        let url = format!("http://user:password@{address}/path?query#fragment");
        let seen: Value = client.get(url).send().await.unwrap().json().await.unwrap();
        assert_eq!(seen["received"][0] != "", told, "{host}");
    }
}

#[tokio::test]
async fn the_extractor_without_the_layer_names_it() {
    let app = Router::new()
        .route("/must", get(|_: Trail| async {}))
        .route("/may", get(|trail: Option<Trail>| async move { trail.is_none().to_string() }));
    let layered = serve(app.clone().layer(InboundLayer::new(Admit::Restart))).await;
    let address = serve(app).await;
    let answer = reqwest::get(format!("http://{address}/must")).await.unwrap();
    assert_eq!(answer.status(), 500);
    assert!(answer.text().await.unwrap().contains("tagtrail::InboundLayer"));
    assert_eq!(reqwest::get(format!("http://{address}/may")).await.unwrap().text().await.unwrap(), "true");
    assert_eq!(reqwest::get(format!("http://{layered}/must")).await.unwrap().status(), 200);
    assert_eq!(reqwest::get(format!("http://{layered}/may")).await.unwrap().text().await.unwrap(), "false");
}

#[tokio::test]
async fn a_hyper_server_and_a_hyper_client_over_both_versions() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
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
    let trail = Trail::start(true).with_tags("a=1".parse().unwrap());
    for (http2, version) in [(false, Version::HTTP_11), (true, Version::HTTP_2)] {
        let client = HyperClient::builder(TokioExecutor::new()).http2_only(http2).build_http::<Empty<Bytes>>();
        let mut client = OutboundLayer::new(Disclose::All).layer(client);
        let request = Request::get(format!("http://{address}/")).extension(trail.clone()).body(Empty::new()).unwrap();
        let answer = client.ready().await.unwrap().call(request).await.unwrap();
        assert!(header(answer.headers(), "traceparent").contains(&trail.trace_id().to_string()));
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, trail.trace_id().to_string());
        // hyper strips the body of an answer to HEAD over HTTP/1.1 only.
        let refused =
            Request::head(format!("http://{address}/")).header("x-fauna-tags", "?").body(Empty::new()).unwrap();
        let refused = client.get_ref().clone().oneshot(refused).await.unwrap();
        assert_eq!(refused.status(), 400);
        assert_ne!(header(refused.headers(), "content-length"), "0");
        assert_eq!(refused.into_body().collect().await.unwrap().to_bytes().len(), 0);
        assert_eq!(seen.lock().unwrap().pop(), Some((version, "a=1".to_owned())));
    }
}
