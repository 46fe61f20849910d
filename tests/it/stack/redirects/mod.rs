//! Redirects: no host gets more than `Disclose` allows it, however a request reaches it.

mod follow;
mod policy;
mod tower;

use std::error::Error;
use std::net::{Ipv6Addr, SocketAddr};

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use reqwest::redirect;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use tagtrail::Disclose::{All, Nothing, TraceOnly};
use tagtrail::{Disclose, FollowRedirects, OnDowngrade, Outbound, OutboundMiddleware, RedirectError, Targets};
use tokio::net::TcpListener;

use crate::support::{Received, empty_response, serve};

/// Where the first host, `example.com`, redirects to, and what is disclosed to the new receiver. `PORT` is the port of
/// the server, which has all the hosts.
const ROWS: &[(&str, Disclose)] = &[
    ("/end", All),
    ("?relative", All),
    ("//example.com:PORT/end", All),
    ("http://example.com:PORT/end", All),
    ("http://EXAMPLE.com:PORT/end", All),
    ("http://example.com.:PORT/end", All),
    ("http://user:password@example.com:PORT/end", All),
    ("http://api.example.com:PORT/end", TraceOnly),
    ("http://a.b.example.com:PORT/end", TraceOnly),
    ("http://example.com.evil:PORT/end", Nothing),
    ("http://evil-example.com:PORT/end", Nothing),
    ("http://evil.example:PORT/example.com", Nothing),
    ("http://example.com@evil.example:PORT/end", Nothing),
    ("http://example.com%2eevil.example:PORT/end", Nothing),
    ("//evil.example:PORT/end", Nothing),
    ("http://xn--exmple-cua.com:PORT/end", Nothing),
    ("http://127.0.0.1:PORT/end", Nothing),
    ("http://[::1]:PORT/end", Nothing),
];

const HOSTS: &[&str] = &[
    "example.com",
    "example.com.",
    "api.example.com",
    "a.b.example.com",
    "example.com.evil",
    "evil-example.com",
    "evil.example",
    "example.com.evil.example",
    "xn--exmple-cua.com",
    "other.example",
];

fn middleware() -> OutboundMiddleware {
    OutboundMiddleware::new(outbound())
}

fn outbound() -> Outbound {
    let targets = Targets::with_default(Nothing).host("example.com", All).unwrap();
    Outbound::targets(targets.host("*.example.com", TraceOnly).unwrap())
}

/// A server that keeps the headers it receives.
struct Server {
    address: SocketAddr,
    received: Received,
}

impl Server {
    /// Responds as [`respond`].
    async fn start() -> Self {
        let received = Received::default();
        let app = received.app(respond);
        let address = serve(app.clone()).await;
        // The same port of the other loopback address, if the machine has one.
        if let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, address.port())).await {
            tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
        }
        Self { address, received }
    }

    /// Responds as [`there_and_back`].
    async fn start_there_and_back() -> Self {
        let received = Received::default();
        Self { address: serve(there_and_back(&received)).await, received }
    }

    fn url(&self, path: &str) -> String {
        format!("http://example.com:{}{path}", self.address.port())
    }

    /// The location of a row.
    fn location(&self, row: &str) -> String {
        row.replace("PORT", &self.address.port().to_string())
    }

    /// A client that resolves all hosts to this server.
    fn client(&self, policy: redirect::Policy) -> reqwest::Client {
        let builder = reqwest::Client::builder().redirect(policy);
        HOSTS.iter().fold(builder, |builder, host| builder.resolve(host, self.address)).build().unwrap()
    }

    /// A client whose middleware follows redirects.
    fn following_client(&self) -> ClientWithMiddleware {
        let client = ClientBuilder::new(self.client(redirect::Policy::none()));
        client.with(FollowRedirects::default()).with(middleware()).build()
    }

    /// A client that follows redirects itself, by this policy.
    fn client_with_policy(&self, policy: redirect::Policy) -> ClientWithMiddleware {
        ClientBuilder::new(self.client(policy)).with(middleware()).build()
    }
}

/// Redirects from `/start` to the location in the header `to`, with the status in `/start?status`, and counts up from
/// `/chain/1` to the number in the header `to`.
fn respond(request: &Request, _: usize) -> Response {
    let to = request.headers().get("to").cloned().unwrap_or(HeaderValue::from_static(""));
    if let Some(hop) = request.uri().path().strip_prefix("/chain/") {
        let (hop, hops): (usize, usize) = (hop.parse().unwrap(), to.to_str().unwrap().parse().unwrap());
        return redirect_to(StatusCode::FOUND, (hop <= hops).then(|| format!("/chain/{}", hop + 1)));
    }
    let to = str::from_utf8(to.as_bytes()).unwrap().to_owned();
    let code = match (request.uri().path(), request.uri().query()) {
        ("/start", None) => 302,
        ("/start", Some(code)) => code.parse().unwrap_or(200),
        _ => 200,
    };
    redirect_to(StatusCode::from_u16(code).unwrap(), (code != 200).then_some(to))
}

/// A redirect, without a `location` if it is empty; or 200 without one.
fn redirect_to(code: StatusCode, location: Option<String>) -> Response {
    let mut response = empty_response(if location.is_some() { code } else { StatusCode::OK });
    if let Some(location) = location.filter(|location| !location.is_empty()) {
        response.headers_mut().insert("location", HeaderValue::try_from(location).unwrap());
    }
    response
}

/// An app that redirects to the location in the header `to`, then to that in the header `back`, and then responds 200.
fn there_and_back(received: &Received) -> Router {
    let location = |request: &Request, name| Some(request.headers()[name].to_str().unwrap().to_owned());
    received.app(move |request, hop| match hop {
        1 => redirect_to(StatusCode::FOUND, location(request, "to")),
        2 => redirect_to(StatusCode::FOUND, location(request, "back")),
        _ => empty_response(StatusCode::OK),
    })
}

/// Whether these headers disclose exactly this.
fn discloses(headers: &HeaderMap, disclose: Disclose) -> bool {
    headers.contains_key("traceparent") == (disclose != Nothing)
        && headers.contains_key("x-fauna-tags") == (disclose == All)
}

fn redirect_error(error: &reqwest_middleware::Error) -> Option<RedirectError> {
    match error {
        reqwest_middleware::Error::Middleware(error) => error.downcast_ref().copied(),
        reqwest_middleware::Error::Reqwest(error) => error.source()?.downcast_ref().copied(),
    }
}

/// All three ways to follow a redirect stop after ten, like reqwest.
#[tokio::test]
async fn at_most_ten_redirects_are_followed() {
    for hops in 1..=12_usize {
        let server = Server::start().await;
        let clients = [
            (server.following_client(), Some("too many redirects (limit: 10)")),
            (server.client_with_policy(middleware().redirect_policy(OnDowngrade::Stop)), None),
            (server.client_with_policy(middleware().redirect_policy(OnDowngrade::Fail)), None),
        ];
        for (client, expected) in clients {
            let before = server.received.len();
            let response = client.get(server.url("/chain/1")).header("to", hops.to_string()).send().await;
            assert_eq!(server.received.len() - before, hops.min(10) + 1);
            match response {
                Ok(response) => assert!(hops <= 10 && response.status() == StatusCode::OK, "{hops}"),
                Err(error) => assert!(
                    hops > 10 && redirect_error(&error).map(|error| error.to_string()).as_deref() == expected,
                    "{hops}: {error:?}"
                ),
            }
        }
    }
}
