//! The middleware follows redirects, and decides for each hop what to disclose.

use std::net::Ipv6Addr;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use reqwest::redirect;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use tagtrail::Disclose::{All, Nothing};
use tagtrail::{FollowRedirects, OutboundMiddleware, Targets};
use tokio::net::TcpListener;

use super::{ROWS, Server, discloses, respond};
use crate::support::{Received, empty_response, serve, trail};

#[tokio::test]
async fn middleware_decides_disclosure_for_each_hop() {
    let has_ipv6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await.is_ok();
    for (row, disclose) in ROWS {
        if row.contains("[::1]") && !has_ipv6 {
            continue;
        }
        let server = Server::start().await;
        let request = server.following_client().get(server.url("/start")).header("to", server.location(row));
        let trail = trail();
        let response = trail.scope(request.send()).await.unwrap();
        let received = server.received.all();
        assert_eq!((response.status(), received.len()), (StatusCode::OK, 2), "{row}");
        assert!(discloses(&received[0], All) && discloses(&received[1], *disclose), "{row}: {received:?}");
        if *disclose != Nothing {
            assert_eq!(server.received.assert_one_trace(), trail.trace_id(), "{row}");
        }
    }
}

#[tokio::test]
async fn middleware_discloses_nothing_to_other_port() {
    let (server, other) = (Server::start().await, Server::start().await);
    let by_address = Targets::with_default(Nothing).host(&server.address.to_string(), All).unwrap();
    let client = reqwest::Client::builder().redirect(redirect::Policy::none()).build().unwrap();
    let client =
        ClientBuilder::new(client).with(FollowRedirects::default()).with(OutboundMiddleware::new(by_address)).build();
    let request =
        client.get(format!("http://{}/start", server.address)).header("to", format!("http://{}/end", other.address));
    trail().scope(request.send()).await.unwrap();
    assert!(discloses(&server.received.all()[0], All));
    assert!(discloses(&other.received.all()[0], Nothing));
}

#[tokio::test]
async fn hops_without_trail_stay_in_one_trace() {
    let server = Server::start().await;
    server.following_client().get(server.url("/chain/1")).header("to", "4").send().await.unwrap();
    assert_eq!(server.received.len(), 5);
    server.received.assert_one_trace();
}

#[tokio::test]
async fn removed_credentials_do_not_come_back() {
    let server = Server::start_there_and_back().await;
    let request = server
        .following_client()
        .get(server.url("/"))
        .header("to", server.location("http://other.example:PORT/"))
        .header("back", server.url("/"))
        .header("authorization", "secret");
    request.send().await.unwrap();
    let authorized: Vec<_> =
        server.received.all().iter().map(|headers| headers.contains_key("authorization")).collect();
    assert_eq!(authorized, [true, false, false]);
}

/// What arrives at the end of a redirect.
#[derive(Debug, PartialEq)]
struct Arrived {
    method: Method,
    body: String,
    content_type: bool,
    credentials: Vec<&'static str>,
}

const CREDENTIALS: [&str; 4] = ["authorization", "cookie", "cookie2", "proxy-authorization"];

/// Redirects from `/start`, and describes in a header what arrives anywhere else.
async fn describe(request: Request) -> Response {
    if request.uri().path() == "/start" {
        return respond(&request, 0);
    }
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let mut arrived = serde_json::json!({
        "method": parts.method.as_str(),
        "body": str::from_utf8(&body).unwrap(),
        "content-type": parts.headers.contains_key("content-type"),
    });
    for name in CREDENTIALS {
        arrived[name] = parts.headers.contains_key(name).into();
    }
    let mut response = empty_response(StatusCode::OK);
    response.headers_mut().insert("arrived", HeaderValue::try_from(arrived.to_string()).unwrap());
    response
}

/// Sends a request to `/start`. Returns the status of the response, and what arrived at the end.
async fn send(client: &ClientWithMiddleware, request: reqwest::Request) -> (StatusCode, Option<Arrived>) {
    let response = client.execute(request).await.unwrap();
    let code = response.status();
    let arrived = response.headers().get("arrived").map(|arrived| {
        let arrived: serde_json::Value = serde_json::from_slice(arrived.as_bytes()).unwrap();
        Arrived {
            method: arrived["method"].as_str().unwrap().parse().unwrap(),
            body: arrived["body"].as_str().unwrap().to_owned(),
            content_type: arrived["content-type"].as_bool().unwrap(),
            credentials: CREDENTIALS.into_iter().filter(|name| arrived[*name].as_bool().unwrap()).collect(),
        }
    });
    (code, arrived)
}

/// reqwest itself is the oracle: the same method, body and credentials arrive.
#[tokio::test]
async fn middleware_redirects_requests_like_reqwest() {
    let address = serve(Router::new().fallback(describe)).await;
    let other_port = format!("http://example.com:{}/end", serve(Router::new().fallback(describe)).await.port());
    let server = Server { address, received: Received::default() };
    let oracle = server.client_with_policy(redirect::Policy::default());
    let client = server.following_client();
    let locations = [
        "/end",
        "http://example.com:PORT/end",
        "http://other.example:PORT/end",
        "http://127.0.0.1:PORT/end",
        &other_port,
        "",
    ];
    for code in [200, 300, 301, 302, 303, 304, 305, 307, 308] {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            for location in locations {
                for streamed in [false, true] {
                    let request = || {
                        let mut request = reqwest::Request::new(
                            method.parse().unwrap(),
                            server.url(&format!("/start?{code}")).parse().unwrap(),
                        );
                        let headers = request.headers_mut();
                        headers.insert("to", HeaderValue::try_from(server.location(location)).unwrap());
                        headers.insert("content-type", HeaderValue::from_static("text/plain"));
                        for name in CREDENTIALS {
                            headers.insert(name, HeaderValue::from_static("secret"));
                        }
                        *request.body_mut() = if streamed {
                            Some(reqwest::Body::wrap(Full::<Bytes>::from("body")))
                        } else {
                            Some("body".into())
                        };
                        request
                    };
                    let expected = send(&oracle, request()).await;
                    assert_eq!(send(&client, request()).await, expected, "{code} {method} {location} {streamed}");
                }
            }
        }
    }
}
