//! reqwest follows redirects, by a policy of this crate: the request stops, or fails, before a host that is trusted
//! less than the first one.

use async_trait::async_trait;
use axum::http::{Extensions, StatusCode};
use reqwest::redirect;
use reqwest_middleware::{ClientBuilder, Middleware, Next};
use tagtrail::Disclose::{All, Nothing};
use tagtrail::{OnDowngrade, OutboundMiddleware, RedirectError, Targets};

use super::{ROWS, Server, discloses, middleware, redirect_error};
use crate::support::{Received, empty_response, trail};

/// Why a policy is needed.
#[tokio::test]
async fn reqwest_default_policy_discloses_everything_to_every_host() {
    let server = Server::start().await;
    let client = server.client_with_policy(redirect::Policy::default());
    let to = server.location("http://evil.example:PORT/end");
    trail().scope(client.get(server.url("/start")).header("to", to).send()).await.unwrap();
    let received = server.received.all();
    assert!(discloses(&received[1], All), "{received:?}");
    assert_eq!(received[0]["traceparent"], received[1]["traceparent"]);
}

#[tokio::test]
async fn stopping_policy_returns_redirect_to_less_trusted_host() {
    for (row, disclose) in ROWS {
        let server = Server::start().await;
        let client = server.client_with_policy(middleware().redirect_policy(OnDowngrade::Stop));
        let request = client.get(server.url("/start")).header("to", server.location(row));
        let response = trail().scope(request.send()).await.unwrap();
        let (expected, hops) = if *disclose == All { (StatusCode::OK, 2) } else { (StatusCode::FOUND, 1) };
        assert_eq!((response.status(), server.received.len()), (expected, hops), "{row}");
    }
}

#[tokio::test]
async fn failing_policy_returns_error_for_less_trusted_host() {
    for (row, disclose) in ROWS {
        let server = Server::start().await;
        let client = server.client_with_policy(middleware().redirect_policy(OnDowngrade::Fail));
        let request = client.get(server.url("/start")).header("to", server.location(row));
        let response = trail().scope(request.send()).await;
        if *disclose == All {
            assert_eq!((response.unwrap().status(), server.received.len()), (StatusCode::OK, 2), "{row}");
        } else {
            assert_eq!(redirect_error(&response.unwrap_err()), Some(RedirectError::LessTrusted), "{row}");
            assert_eq!(server.received.len(), 1, "{row}");
        }
    }
}

#[tokio::test]
async fn policy_follows_to_more_trusted_host_and_discloses_nothing() {
    let server = Server::start().await;
    let client = server.client_with_policy(middleware().redirect_policy(OnDowngrade::Fail));
    let start = server.location("http://evil.example:PORT/start");
    let to = server.location("http://example.com:PORT/end");
    trail().scope(client.get(start).header("to", to).send()).await.unwrap();
    let received = server.received.all();
    assert_eq!(received.len(), 2);
    assert!(received.iter().all(|headers| discloses(headers, Nothing)));
}

#[tokio::test]
async fn policy_compares_with_first_host_and_not_with_previous() {
    let server = Server::start_there_and_back().await;
    let start = server.location("http://evil.example:PORT/");
    let client = server.client_with_policy(middleware().redirect_policy(OnDowngrade::Fail));
    let request = client.get(&start).header("to", server.url("/")).header("back", start);
    assert_eq!(trail().scope(request.send()).await.unwrap().status(), StatusCode::OK);
    let received = server.received.all();
    assert_eq!(received.len(), 3);
    assert!(received.iter().all(|headers| discloses(headers, Nothing)));
}

#[tokio::test]
async fn policy_treats_other_port_as_less_trusted() {
    let (server, other) = (Server::start().await, Server::start().await);
    let targets = Targets::with_default(Nothing).host(&server.address.to_string(), All).unwrap();
    let by_address = OutboundMiddleware::new(targets);
    let client = reqwest::Client::builder().redirect(by_address.redirect_policy(OnDowngrade::Stop)).build().unwrap();
    let client = ClientBuilder::new(client).with(by_address).build();
    let request =
        client.get(format!("http://{}/start", server.address)).header("to", format!("http://{}/end", other.address));
    let response = trail().scope(request.send()).await.unwrap();
    assert_eq!((response.status(), other.received.len()), (StatusCode::FOUND, 0));
}

/// Keeps the headers of a request, and does not send it.
struct Capture(Received);

#[async_trait]
impl Middleware for Capture {
    async fn handle(
        &self,
        request: reqwest::Request,
        _: &mut Extensions,
        _: Next<'_>,
    ) -> reqwest_middleware::Result<reqwest::Response> {
        self.0.push(request.headers());
        Ok(empty_response(StatusCode::OK).map(|_| "").into())
    }
}

/// `http::Uri` holds at most 65,534 bytes, so a longer URL cannot be matched.
#[tokio::test]
async fn too_long_url_discloses_nothing() {
    let received = Received::default();
    let client = ClientBuilder::new(reqwest::Client::new())
        .with(OutboundMiddleware::new(Targets::with_default(All)))
        .with(Capture(received.clone()))
        .build();
    for (length, disclose) in [(65_000, All), (66_000, Nothing)] {
        let url = format!("http://example.com/{}", "a".repeat(length));
        trail().scope(client.get(url).send()).await.unwrap();
        assert!(discloses(received.all().last().unwrap(), disclose), "{length}");
    }
}
