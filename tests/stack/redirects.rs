//! Redirects: nobody is told by one whom `Disclose` would not tell.

use std::error::Error;
use std::net::{Ipv6Addr, SocketAddr};

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{Extensions, HeaderValue, Method, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use reqwest::redirect;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Middleware, Next};
use tagtrail::Disclose::{All, Nothing, TraceOnly};
use tagtrail::{Disclose, Outbound, OutboundLayer, OutboundMiddleware, RedirectError, Tags, Targets, Trail};
use tokio::net::TcpListener;
use tower::{Layer, ServiceExt};
use tower_http::follow_redirect::FollowRedirectLayer;

use crate::support::{Heads, serve, status};

/// Attack row 13: where the first host, `example.com`, redirects to, and what that receiver is told. `PORT` is that of
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

fn outbound() -> Outbound {
    let targets = Targets::otherwise(Nothing).host("example.com", All).unwrap();
    Outbound::new(targets.host("*.example.com", TraceOnly).unwrap())
}

fn trail() -> Trail {
    Trail::start(true).with_tags(Tags::new([("project", "blog")]).unwrap())
}

/// A server that redirects from `/start` to the place that the header `to` names, with the status of `/start?status`,
/// and counts up from `/chain/1` to as many as the header `to` names. Keeps the heads.
struct Server {
    address: SocketAddr,
    heads: Heads,
}

impl Server {
    async fn new() -> Self {
        let heads = Heads::default();
        let app = heads.app(answer);
        let address = serve(app.clone()).await;
        // The same port of the other loopback address, where the machine has one.
        if let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, address.port())).await {
            tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
        }
        Self { address, heads }
    }

    fn url(&self, path: &str) -> String {
        format!("http://example.com:{}{path}", self.address.port())
    }

    fn place(&self, row: &str) -> String {
        row.replace("PORT", &self.address.port().to_string())
    }

    fn client(&self, policy: redirect::Policy) -> reqwest::Client {
        let builder = reqwest::Client::builder().redirect(policy);
        HOSTS.iter().fold(builder, |builder, host| builder.resolve(host, self.address)).build().unwrap()
    }

    /// A client that does not follow, with a middleware that does.
    fn following(&self) -> ClientWithMiddleware {
        let middleware = OutboundMiddleware::new(outbound()).follow_redirects();
        ClientBuilder::new(self.client(redirect::Policy::none())).with(middleware).build()
    }

    fn with_policy(&self, policy: redirect::Policy) -> ClientWithMiddleware {
        ClientBuilder::new(self.client(policy)).with(OutboundMiddleware::new(outbound())).build()
    }
}

fn answer(request: &Request, _: usize) -> Response {
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

fn redirect_to(code: StatusCode, to: Option<String>) -> Response {
    let mut answer = status(if to.is_some() { code } else { StatusCode::OK });
    if let Some(to) = to.filter(|to| !to.is_empty()) {
        answer.headers_mut().insert("location", HeaderValue::try_from(to).unwrap());
    }
    answer
}

/// An app that redirects to the place that the header `to` names, from there to that of the header `back`, and answers.
fn there_and_back(heads: &Heads) -> Router {
    let place = |request: &Request, name| Some(request.headers()[name].to_str().unwrap().to_owned());
    heads.app(move |request, hop| match hop {
        1 => redirect_to(StatusCode::FOUND, place(request, "to")),
        2 => redirect_to(StatusCode::FOUND, place(request, "back")),
        _ => status(StatusCode::OK),
    })
}

/// Whether these headers tell no more, and no less, than this.
fn tells(headers: &http::HeaderMap, told: Disclose) -> bool {
    headers.contains_key("traceparent") == (told != Nothing) && headers.contains_key("x-fauna-tags") == (told == All)
}

#[tokio::test]
async fn reqwest_alone_tells_every_host_what_it_told_the_first() {
    let server = Server::new().await;
    let client = server.with_policy(redirect::Policy::default());
    let to = server.place("http://evil.example:PORT/end");
    trail().scope(client.get(server.url("/start")).header("to", to).send()).await.unwrap();
    let heads = server.heads.all();
    assert!(tells(&heads[1], All), "{heads:?}");
    assert_eq!(heads[0]["traceparent"], heads[1]["traceparent"]);
}

#[tokio::test]
async fn the_policy_stops_before_a_hop_that_may_be_told_less() {
    for (row, told) in ROWS {
        let server = Server::new().await;
        let client = server.with_policy(outbound().redirect_policy());
        let request = client.get(server.url("/start")).header("to", server.place(row));
        let answer = trail().scope(request.send()).await.unwrap();
        let (expected, hops) = if *told == All { (StatusCode::OK, 2) } else { (StatusCode::FOUND, 1) };
        assert_eq!((answer.status(), server.heads.len()), (expected, hops), "{row}");
    }
}

#[tokio::test]
async fn the_policy_fails_before_a_hop_that_may_be_told_less() {
    for (row, told) in ROWS {
        let server = Server::new().await;
        let client = server.with_policy(outbound().failing_redirect_policy());
        let request = client.get(server.url("/start")).header("to", server.place(row));
        let answer = trail().scope(request.send()).await;
        match told {
            All => assert_eq!((answer.unwrap().status(), server.heads.len()), (StatusCode::OK, 2), "{row}"),
            TraceOnly | Nothing => {
                assert_eq!(redirect_error(&answer.unwrap_err()), Some(RedirectError::ToldLess), "{row}");
                assert_eq!(server.heads.len(), 1, "{row}");
            }
        }
    }
}

fn redirect_error(error: &reqwest_middleware::Error) -> Option<RedirectError> {
    match error {
        reqwest_middleware::Error::Middleware(error) => error.downcast_ref().copied(),
        reqwest_middleware::Error::Reqwest(error) => error.source()?.downcast_ref().copied(),
    }
}

#[tokio::test]
async fn the_policy_follows_from_one_that_is_told_nothing() {
    let server = Server::new().await;
    let client = server.with_policy(outbound().failing_redirect_policy());
    let start = format!("http://evil.example:{}/start", server.address.port());
    let to = server.place("http://example.com:PORT/end");
    trail().scope(client.get(start).header("to", to).send()).await.unwrap();
    let heads = server.heads.all();
    assert_eq!(heads.len(), 2);
    assert!(heads.iter().all(|headers| tells(headers, Nothing)));
}

#[tokio::test]
async fn the_policy_compares_with_the_first_hop_and_not_with_the_last() {
    let heads = Heads::default();
    let server = Server { address: serve(there_and_back(&heads)).await, heads };
    let start = server.place("http://evil.example:PORT/");
    let client = server.with_policy(outbound().failing_redirect_policy());
    let request = client.get(&start).header("to", server.url("/")).header("back", start);
    assert_eq!(trail().scope(request.send()).await.unwrap().status(), StatusCode::OK);
    let heads = server.heads.all();
    assert_eq!(heads.len(), 3);
    assert!(heads.iter().all(|headers| tells(headers, Nothing)));
}

/// Keeps the head of a request, and does not send it.
struct Kept(Heads);

#[async_trait]
impl Middleware for Kept {
    async fn handle(
        &self,
        request: reqwest::Request,
        _: &mut Extensions,
        _: Next<'_>,
    ) -> reqwest_middleware::Result<reqwest::Response> {
        self.0.push(request.headers());
        Ok(status(StatusCode::OK).map(|_| "").into())
    }
}

#[tokio::test]
async fn a_url_that_is_too_long_to_be_matched_is_told_nothing() {
    let heads = Heads::default();
    let targets = Targets::otherwise(All);
    let client = ClientBuilder::new(reqwest::Client::new())
        .with(OutboundMiddleware::new(targets))
        .with(Kept(heads.clone()))
        .build();
    for (length, told) in [(65_000, All), (66_000, Nothing)] {
        let url = format!("http://example.com/{}", "a".repeat(length));
        trail().scope(client.get(url).send()).await.unwrap();
        assert!(tells(heads.all().last().unwrap(), told), "{length}");
    }
}

#[tokio::test]
async fn the_middleware_decides_each_hop_anew() {
    for (row, told) in ROWS {
        let server = Server::new().await;
        if row.contains("[::1]") && TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await.is_err() {
            continue;
        }
        let request = server.following().get(server.url("/start")).header("to", server.place(row));
        let trail = trail();
        let answer = trail.scope(request.send()).await.unwrap();
        let heads = server.heads.all();
        assert_eq!((answer.status(), heads.len()), (StatusCode::OK, 2), "{row}");
        assert!(tells(&heads[0], All) && tells(&heads[1], *told), "{row}: {heads:?}");
        if *told != Nothing {
            assert_eq!(server.heads.one_trace(), trail.trace_id(), "{row}");
        }
    }
}

#[tokio::test]
async fn a_port_is_part_of_whom_to_tell() {
    let (server, other) = (Server::new().await, Server::new().await);
    let by_address = Outbound::new(Targets::otherwise(Nothing).host(&server.address.to_string(), All).unwrap());
    let client = |policy| ClientBuilder::new(reqwest::Client::builder().redirect(policy).build().unwrap());
    let start = format!("http://{}/start", server.address);
    let to = format!("http://{}/end", other.address);
    let stopping = client(by_address.redirect_policy()).with(OutboundMiddleware::new(by_address.clone())).build();
    let answer = trail().scope(stopping.get(&start).header("to", &to).send()).await.unwrap();
    assert_eq!((answer.status(), other.heads.len()), (StatusCode::FOUND, 0));

    let following = OutboundMiddleware::new(by_address).follow_redirects();
    let following = client(redirect::Policy::none()).with(following).build();
    trail().scope(following.get(&start).header("to", &to).send()).await.unwrap();
    assert!(tells(&other.heads.all()[0], Nothing));
}

#[tokio::test]
async fn hops_are_of_one_trace_without_a_trail_too() {
    let server = Server::new().await;
    server.following().get(server.url("/chain/1")).header("to", "4").send().await.unwrap();
    assert_eq!(server.heads.len(), 5);
    server.heads.one_trace();
}

#[tokio::test]
async fn ten_redirects_are_followed_and_no_more() {
    for hops in 1..=12_usize {
        let server = Server::new().await;
        let clients = [
            (server.following(), Some(RedirectError::TooMany)),
            (server.with_policy(outbound().redirect_policy()), None),
            (server.with_policy(outbound().failing_redirect_policy()), None),
        ];
        for (client, expected) in clients {
            let before = server.heads.len();
            let answer = client.get(server.url("/chain/1")).header("to", hops.to_string()).send().await;
            assert_eq!(server.heads.len() - before, hops.min(10) + 1);
            match answer {
                Ok(answer) => assert!(hops <= 10 && answer.status() == StatusCode::OK, "{hops}"),
                Err(error) => assert!(hops > 10 && redirect_error(&error) == expected, "{hops}: {error:?}"),
            }
        }
    }
}

/// What of a request comes through a redirect.
#[derive(Debug, PartialEq)]
struct Came {
    method: Method,
    body: String,
    content_type: bool,
    credentials: Vec<&'static str>,
}

const CREDENTIALS: [&str; 4] = ["authorization", "cookie", "cookie2", "proxy-authorization"];

/// What comes through from `/start` to the end, and the answer's status.
async fn through(client: &ClientWithMiddleware, request: reqwest::Request) -> (StatusCode, Option<Came>) {
    let answer = client.execute(request).await.unwrap();
    let code = answer.status();
    let came = answer.headers().get("came").map(|came| {
        let came: serde_json::Value = serde_json::from_slice(came.as_bytes()).unwrap();
        Came {
            method: came["method"].as_str().unwrap().parse().unwrap(),
            body: came["body"].as_str().unwrap().to_owned(),
            content_type: came["content-type"].as_bool().unwrap(),
            credentials: CREDENTIALS.into_iter().filter(|name| came[*name].as_bool().unwrap()).collect(),
        }
    });
    (code, came)
}

async fn describe(request: Request) -> Response {
    if request.uri().path() == "/start" {
        return answer(&request, 0);
    }
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let mut came = serde_json::json!({
        "method": head.method.as_str(),
        "body": str::from_utf8(&body).unwrap(),
        "content-type": head.headers.contains_key("content-type"),
    });
    for name in CREDENTIALS {
        came[name] = head.headers.contains_key(name).into();
    }
    let mut answer = status(StatusCode::OK);
    answer.headers_mut().insert("came", HeaderValue::try_from(came.to_string()).unwrap());
    answer
}

/// reqwest's own following is the oracle: the same method, body and credentials come through.
#[tokio::test]
async fn requests_come_through_as_with_reqwest() {
    let heads = Heads::default();
    let address = serve(Router::new().fallback(describe)).await;
    let other_port = format!("http://example.com:{}/end", serve(Router::new().fallback(describe)).await.port());
    let server = Server { address, heads };
    let oracle = server.with_policy(redirect::Policy::default());
    let ours = server.following();
    let places = [
        "/end",
        "http://example.com:PORT/end",
        "http://other.example:PORT/end",
        "http://127.0.0.1:PORT/end",
        &other_port,
        "",
    ];
    for code in [200, 300, 301, 302, 303, 304, 305, 307, 308] {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            for place in places {
                for streamed in [false, true] {
                    let request = || {
                        let mut request = reqwest::Request::new(
                            method.parse().unwrap(),
                            server.url(&format!("/start?{code}")).parse().unwrap(),
                        );
                        let headers = request.headers_mut();
                        headers.insert("to", HeaderValue::try_from(server.place(place)).unwrap());
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
                    let expected = through(&oracle, request()).await;
                    assert_eq!(through(&ours, request()).await, expected, "{code} {method} {place} {streamed}");
                }
            }
        }
    }
}

#[tokio::test]
async fn credentials_that_were_removed_do_not_come_back() {
    let heads = Heads::default();
    let server = Server { address: serve(there_and_back(&heads)).await, heads };
    let request = server
        .following()
        .get(server.url("/"))
        .header("to", server.place("http://other.example:PORT/"))
        .header("back", server.url("/"))
        .header("authorization", "secret");
    request.send().await.unwrap();
    let had: Vec<_> = server.heads.all().iter().map(|headers| headers.contains_key("authorization")).collect();
    assert_eq!(had, [true, false, false]);
}

#[tokio::test]
async fn by_tower_http_above_the_layer_each_hop_is_decided_anew() {
    for (row, told) in ROWS {
        let heads = Heads::default();
        let client = OutboundLayer::new(outbound()).layer(heads.app(answer));
        let client = FollowRedirectLayer::new().layer(client);
        let request = Request::get("http://example.com/start").header("to", row.replace("PORT", "80"));
        let trail = trail();
        let answer = trail.scope(client.oneshot(request.body(Body::empty()).unwrap())).await.unwrap();
        let heads_all = heads.all();
        assert_eq!((answer.status(), heads.len()), (StatusCode::OK, 2), "{row}");
        assert!(tells(&heads_all[0], All) && tells(&heads_all[1], *told), "{row}: {heads_all:?}");
        if *told != Nothing {
            assert_eq!(heads.one_trace(), trail.trace_id(), "{row}");
        }
    }
}

#[tokio::test]
async fn by_tower_http_beneath_the_layer_every_host_is_told_what_the_first_was() {
    let heads = Heads::default();
    let client = FollowRedirectLayer::new().layer(heads.app(answer));
    let client = OutboundLayer::new(outbound()).layer(client);
    let request = Request::get("http://example.com/start").header("to", "http://evil.example/end");
    trail().scope(client.oneshot(request.body(Body::empty()).unwrap())).await.unwrap();
    let heads = heads.all();
    assert!(tells(&heads[1], All));
    assert_eq!(heads[0]["traceparent"], heads[1]["traceparent"]);
}
