//! Responses of which hyper does not poll the end, over a real connection of HTTP/2.

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

/// Serves a router, and reads a response of it by HTTP/2 with prior knowledge. Returns the record, and the body with
/// its trailers.
async fn record_over_http2(routes: Router, request: Request<Body>) -> (Record, Bytes, Option<HeaderMap>) {
    let logged = Logged::new();
    let app = routes.layer(QueryLogLayer::new(logged.log.clone()).with_inbound(Admit::Continue));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let response = sender.send_request(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    let trailers = body.trailers().cloned();
    // The server drops the body after it has sent the end of it.
    wait_for("the end of the request", || logged.log.stats().open == 0);
    server.abort();
    (logged.records().remove(0), body.to_bytes(), trailers)
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
