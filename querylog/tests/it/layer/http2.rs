//! Responses of which hyper does not poll the end, over a real connection of HTTP/2.

use std::net::SocketAddr;
use std::process::Command;

use axum::Router;
use axum::body::{Body, Bytes};
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tagtrail::Admit;
use tagtrail_querylog::{Outcome, QueryLogLayer, Record};
use tokio::net::{TcpListener, TcpStream};

use super::send::request;
use crate::support::common::{Logged, wait_for};

/// Serves a router while a client sends a request to it. Returns the record, and what the client returns.
async fn record_of<T>(routes: Router, client: impl AsyncFnOnce(SocketAddr) -> T) -> (Record, T) {
    let logged = Logged::new();
    let app = routes.layer(QueryLogLayer::new(logged.log.clone()).with_inbound(Admit::Continue));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let returned = client(address).await;
    // The server drops the body after it has sent the end of it.
    wait_for("the end of the request", || logged.log.stats().open == 0);
    server.abort();
    (logged.records().remove(0), returned)
}

/// Serves a router, and reads a response of it by HTTP/2 with prior knowledge. Returns the record, and the body with
/// its trailers.
async fn record_over_http2(routes: Router, request: Request<Body>) -> (Record, Bytes, Option<HeaderMap>) {
    let client = async |address| {
        let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        let response = sender.send_request(request).await.unwrap();
        response.into_body().collect().await.unwrap()
    };
    let (record, body) = record_of(routes, client).await;
    let trailers = body.trailers().cloned();
    (record, body.to_bytes(), trailers)
}

/// Runs curl, if it is there and knows HTTP/2.
async fn curl(arguments: &[&str]) -> Option<String> {
    let version = Command::new("curl").arg("--version").output().ok()?;
    String::from_utf8(version.stdout).unwrap().contains("HTTP2").then_some(())?;
    let mut curl = Command::new("curl");
    curl.args(["--http2-prior-knowledge", "--silent", "--show-error", "--noproxy", "*"]).args(arguments);
    let output = tokio::task::spawn_blocking(move || curl.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

fn fields(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

/// A router whose responses have a frame of data, and trailers.
fn with_trailers(content_type: &'static str, trailers: &'static [(&'static str, &'static str)]) -> Router {
    Router::new().fallback(move || async move {
        let frames = [Frame::data(Bytes::from_static(b"12345")), Frame::trailers(fields(trailers))];
        let frames = frames.map(Ok::<_, std::convert::Infallible>);
        let body = Body::new(StreamBody::new(futures_util::stream::iter(frames)));
        Response::builder().header("content-type", content_type).body(body).unwrap()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn response_is_complete_with_its_trailers() {
    let routes = with_trailers("text/plain", &[("server-timing", "total;dur=5")]);
    let (record, body, trailers) = record_over_http2(routes, request("/")).await;
    assert_eq!(body, "12345");
    assert_eq!(trailers.unwrap()["server-timing"], "total;dur=5");
    assert_eq!((record.response.outcome, record.response.body_bytes), (Some(Outcome::Complete), 5));
    assert_eq!((record.response.grpc_status, record.has_failed()), (None, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_status_is_that_of_the_trailers_or_unknown() {
    for (trailers, status, error, failed) in [
        (&[("grpc-status", "0")][..], 0, None, false),
        (&[("grpc-status", "5"), ("grpc-message", "no such caf%C3%A9")], 5, Some("no such café"), false),
        (&[("grpc-status", "14"), ("grpc-message", "down")], 14, Some("down"), true),
        (&[("grpc-status", "x")], 2, None, true),
        (&[("other", "1")], 2, None, true),
    ] {
        let (record, ..) = record_over_http2(with_trailers("application/grpc", trailers), request("/")).await;
        assert_eq!((record.response.status, record.response.outcome), (Some(200), Some(Outcome::Complete)));
        assert_eq!((record.response.grpc_status, record.response.error.as_deref()), (Some(status), error));
        assert_eq!(record.has_failed(), failed, "{trailers:?}");
    }
    let headers = fields(&[("content-type", "application/grpc"), ("grpc-status", "12"), ("grpc-message", "what?")]);
    let trailers_only = Router::new().fallback(move || async move { headers });
    let (record, ..) = record_over_http2(trailers_only, request("/")).await;
    assert_eq!((record.response.grpc_status, record.response.error.as_deref()), (Some(12), Some("what?")));
    assert_eq!((record.response.outcome, record.has_failed()), (Some(Outcome::Complete), true));
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_status_is_read_though_the_length_is_known() {
    let routes = with_trailers("application/grpc", &[("grpc-status", "14")]);
    let routes = routes.layer(axum::middleware::map_response(|mut response: Response<Body>| async {
        response.headers_mut().insert("content-length", 5.into());
        response
    }));
    let (record, ..) = record_over_http2(routes, request("/")).await;
    assert_eq!((record.response.grpc_status, record.response.outcome), (Some(14), Some(Outcome::Complete)));
}

#[tokio::test(flavor = "multi_thread")]
async fn response_that_curl_reads_is_complete() {
    if curl(&["--version"]).await.is_none() {
        eprintln!("left out: curl is not installed, or does not know HTTP/2");
        return;
    }
    for (content_type, trailers, grpc_status) in [
        ("text/plain", &[("server-timing", "total;dur=5")][..], None),
        ("application/grpc", &[("grpc-status", "5")], Some(5)),
    ] {
        let client = async |address| curl(&["--write-out", " %{http_version}", &format!("http://{address}/")]).await;
        let (record, read) = record_of(with_trailers(content_type, trailers), client).await;
        assert_eq!(read.unwrap(), "12345 2");
        assert_eq!((record.response.outcome, record.response.grpc_status), (Some(Outcome::Complete), grpc_status));
        assert_eq!((record.response.status, record.response.body_bytes), (Some(200), 5));
    }
}
