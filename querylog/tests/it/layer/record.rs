//! What is recorded of requests.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::routing::{get, post};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request, StatusCode};
use tagtrail::{Admit, Disclose, Inbound, Outbound, Sample, Trail};
use tagtrail_querylog::{Outcome, QueryLogLayer, Record, RecordHandle, Timestamp};
use tower::ServiceExt;

use super::send::{record_of, records, request, streaming};
use crate::support::common::{Logged, Step};

#[tokio::test]
async fn record_contains_the_request_and_what_the_handler_adds() {
    async fn handler(record: RecordHandle, body: Bytes) -> (StatusCode, String) {
        record.update(|notes| {
            notes.caller.user_id = Some("ada".into());
            notes.operation.name = Some("create".into());
            notes.operation.cache = Some(false);
            notes.database = vec!["classic".into(), "shop".into()];
            notes.stdout = Some("secret output".into());
            notes.add("rows", 3);
        });
        (StatusCode::CREATED, format!("{} bytes", body.len()))
    }
    let request = Request::post("/posts/7?token=secret")
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .header("x-fauna-tags", "project=blog,env=prod")
        .header("user-agent", "check/1.0")
        .header("authorization", "Bearer secret")
        .header("cookie", "session=secret")
        .extension(axum::extract::ConnectInfo(SocketAddr::from(([203, 0, 113, 9], 4711))))
        .body(Body::from("a body of 18 bytes"))
        .unwrap();
    let routes = Router::new().route("/posts/{id}", post(handler));
    let logged = Logged::new();
    let app = routes.layer(QueryLogLayer::new(logged.log.clone()).host("web-1").with_inbound(Admit::Continue));
    let response = app.oneshot(request).await.unwrap();
    let named = response.headers()["traceparent"].to_str().unwrap().to_owned();
    to_bytes(response.into_body(), 100).await.unwrap();

    let record = logged.records().remove(0);
    assert_eq!(record.trace_id.to_string(), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(record.parent_id.unwrap().to_string(), "b7ad6b7169203331");
    assert_eq!(named, format!("00-{}-{}-01", record.trace_id, record.span_id));
    assert_eq!(record.tags.to_string(), "project=blog,env=prod");
    assert_eq!((record.request.method.as_str(), record.request.path.as_str()), ("POST", "/posts/7"));
    assert_eq!(record.request.route.as_deref(), Some("/posts/{id}"));
    assert_eq!(record.request.headers, [(http::header::USER_AGENT, "check/1.0".to_owned())]);
    assert_eq!((record.request.body_bytes, record.response.body_bytes), (18, 8));
    assert_eq!((record.response.status, record.response.outcome), (Some(201), Some(Outcome::Complete)));
    assert_eq!(record.client_ip, Some(IpAddr::from([203, 0, 113, 9])));
    assert_eq!(record.host.as_deref(), Some("web-1"));
    assert_eq!(record.notes.caller.user_id.as_deref(), Some("ada"));
    assert_eq!(record.notes.operation.cache, Some(false));
    assert_eq!(record.notes.database, ["classic", "shop"]);
    assert_eq!(record.notes.counter("rows"), 3);
    assert!(!logged.text().contains("secret"), "headers, query string and output are not in the file");
}

#[tokio::test]
async fn line_has_the_members_of_the_format_in_order() {
    let logged = Logged::new();
    let app = Router::new().fallback(|| async { "hello" });
    let app = app.layer(QueryLogLayer::new(logged.log.clone()).host("web-1").with_inbound(Admit::Continue));
    to_bytes(app.oneshot(request("/x")).await.unwrap().into_body(), 100).await.unwrap();
    logged.records();
    let text = logged.text();
    let members = [
        r#"{"id":""#,
        r#","ts":"2"#,
        r#"Z","trace":{"trace_id":""#,
        r#","span_id":""#,
        r#","parent_id":null,"flags":"03"},"sent":[],"tags":{},"request":{"method":"GET","path":"/x","route":null,"http_version":"1.1","headers":{}},"response":{"code":200,"outcome":"complete"},"stats":{"query_time":"#,
        r#","query_bytes_in":0,"query_bytes_out":5},"caller":{"user_id":null,"user_email":null,"exec_env_id":null},"operation":{"id":null,"name":null,"engine":null,"cache":null},"database":null,"region_group":null,"client_ip":null,"host":"web-1","service":null,"authority":null,"grpc_status":null,"error":null,"cut":[]}"#,
    ];
    let mut rest = text.as_str();
    for member in members {
        let at = rest.find(member).unwrap_or_else(|| panic!("{member} is not in {rest}"));
        rest = &rest[at + member.len()..];
    }
    assert_eq!(rest, "\n");
}

#[tokio::test]
async fn rejected_request_has_a_record_with_its_trace_and_without_tags() {
    let logged = Logged::new();
    let rejections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&rejections);
    let slow = Duration::from_millis(5);
    let slowly = move |_: &Parts| {
        std::thread::sleep(slow);
        Admit::Continue
    };
    let inbound = Inbound::admit_with(slowly).on_rejection(move |_, _| {
        counted.fetch_add(1, SeqCst);
    });
    let app = Router::new().route("/", get(|| async { "hello" }));
    let app = app.layer(QueryLogLayer::new(logged.log.clone()).with_inbound(inbound));
    let request = Request::get("/")
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .header("x-fauna-tags", "no tags")
        .body(Body::empty())
        .unwrap();
    let sent = Timestamp::now().saturating_sub(Duration::from_millis(1));
    let response = app.oneshot(request).await.unwrap();
    let named = response.headers()["traceparent"].clone();
    let body = to_bytes(response.into_body(), 1000).await.unwrap();
    let record = logged.records().remove(0);
    assert_eq!((record.response.status, record.response.outcome), (Some(400), Some(Outcome::Refused)));
    assert_eq!(named, format!("00-{}-{}-01", record.trace_id, record.span_id));
    assert_eq!(record.trace_id.to_string(), "0af7651916cd43dd8448eb211c80319c");
    assert!(record.tags.is_empty());
    assert_eq!(record.response.body_bytes, body.len() as u64);
    let duration = record.duration.unwrap();
    assert!(
        duration >= slow && record.start_time >= sent && record.start_time.saturating_add(duration) <= Timestamp::now(),
        "{record:?}"
    );
    assert_eq!(rejections.load(SeqCst), 1, "the callback of the service is called too");
}

#[tokio::test]
async fn record_contains_the_parent_ids_that_outbound_requests_send() {
    async fn calls(trail: Trail) -> String {
        let outbound = Outbound::new(Disclose::All);
        let mut sent = Vec::new();
        for _ in 0..70 {
            let mut headers = http::HeaderMap::new();
            outbound.apply(&"http://users.example/".parse().unwrap(), &mut headers, &http::Extensions::new()).unwrap();
            sent.push(headers["traceparent"].to_str().unwrap()[36..52].to_owned());
        }
        drop(trail);
        sent.join(",")
    }
    let logged = Logged::new();
    let app = Router::new().route("/", get(calls));
    let app = app.layer(QueryLogLayer::new(logged.log.clone()).with_inbound(Admit::Restart));
    let response = app.oneshot(request("/")).await.unwrap();
    let text = to_bytes(response.into_body(), 10_000).await.unwrap();
    let sent: Vec<_> = str::from_utf8(&text).unwrap().split(',').collect();
    let record = logged.records().remove(0);
    let recorded: Vec<_> = record.sent.iter().map(ToString::to_string).collect();
    assert_eq!(recorded, sent[..64]);
}

#[tokio::test]
async fn response_says_what_is_missing_without_the_inbound_layer() {
    let logged = Logged::new();
    let app = Router::new().route("/", get(|| async { "hello" })).layer(QueryLogLayer::new(logged.log.clone()));
    let response = app.oneshot(request("/")).await.unwrap();
    assert_eq!(response.status(), 500);
    let body = to_bytes(response.into_body(), 1000).await.unwrap();
    let text = str::from_utf8(&body).unwrap();
    assert!(text.contains("InboundLayer") && text.contains("standalone"), "{text}");
    assert!(logged.records().is_empty());

    let logged = Logged::new();
    let app = Router::new().route("/", get(|trail: Trail| async move { trail.trace_id().to_string() }));
    let app = app.layer(QueryLogLayer::new(logged.log.clone()).standalone());
    let body = to_bytes(app.oneshot(request("/")).await.unwrap().into_body(), 100).await.unwrap();
    assert_eq!(logged.records().remove(0).trace_id.to_string().as_bytes(), body);
}

#[tokio::test]
async fn request_is_recorded_if_it_passes_filter_and_sample() {
    let routes = || {
        Router::new()
            .route("/health", get(|| async { "up" }))
            .route("/fails", get(|| async { StatusCode::BAD_GATEWAY }))
    };
    let all = || vec![request("/health"), request("/fails"), request("/nowhere")];
    let paths = |records: Vec<Record>| records.into_iter().map(|record| record.request.path).collect::<Vec<_>>();

    let filtered = records(routes(), |layer| layer.filter(|parts| parts.uri.path() != "/health"), all()).await;
    assert_eq!(paths(filtered), ["/fails", "/nowhere"]);
    let none = records(routes(), |layer| layer.sample(Sample::Never), all()).await;
    assert!(none.is_empty());
    let failing = |record: &Record| record.response.status.is_some_and(|status| status >= 500);
    let always = records(routes(), |layer| layer.sample(Sample::Never).or_if(failing), all()).await;
    assert_eq!(paths(always), ["/fails"]);

    // Every service samples the same traces.
    let traced = |id: u64| {
        let parent = format!("00-0af7651916cd43dd{id:016x}-b7ad6b7169203331-03");
        Request::get(format!("/{id}")).header("traceparent", parent).body(Body::empty()).unwrap()
    };
    let ids = || (0..100_u64).map(|id| traced(id.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    let half = paths(records(routes(), |layer| layer.sample(Sample::ratio(0.5)), ids()).await);
    assert!((30..70).contains(&half.len()), "{}", half.len());
    assert_eq!(half, paths(records(routes(), |layer| layer.sample(Sample::ratio(0.5)), ids()).await));
}

#[tokio::test]
async fn headers_are_recorded_by_name_unless_they_are_secret() {
    let names = ["accept", "authorization", "cookie", "proxy-authorization", "x-key"].map(HeaderName::from_static);
    let mut key = HeaderValue::from_static("secret");
    key.set_sensitive(true);
    let request = Request::get("/?q=1")
        .header("accept", "text/html")
        .header("accept", HeaderValue::from_bytes(b"caf\xe9").unwrap())
        .header("authorization", "Bearer secret")
        .header("proxy-authorization", "Basic secret")
        .header("cookie", "a=secret")
        .header("x-key", key)
        .header("user-agent", "not listed")
        .body(Body::empty())
        .unwrap();
    let records = records(Router::new(), |layer| layer.headers(names).query_string(), vec![request]).await;
    assert_eq!(records[0].request.headers, [(http::header::ACCEPT, "text/html, caf\u{fffd}".to_owned())]);
    assert_eq!(records[0].request.path, "/?q=1");
}

#[tokio::test]
async fn notes_are_rejected_after_the_response_has_ended() {
    let kept = Arc::new(std::sync::Mutex::new(None));
    let keeps = Arc::clone(&kept);
    let routes = Router::new().route(
        "/",
        get(move |record: RecordHandle| async move {
            *keeps.lock().unwrap() = Some(record);
        }),
    );
    let record = record_of(routes, request("/")).await;
    let handle = kept.lock().unwrap().take().unwrap();
    assert_eq!(handle.record_id(), record.id);
    assert_eq!(handle.update(|_| ()), None);
}

#[tokio::test]
async fn layer_records_requests_over_a_real_connection() {
    let logged = Logged::new();
    let steps = [Step::Data("12345"), Step::Wait(1), Step::Data("678")];
    let routes = streaming(&steps).route("/echo", post(|body: Bytes| async move { body }));
    let app = routes.layer(
        QueryLogLayer::new(logged.log.clone()).trusted_proxies(|ip| ip.is_loopback()).with_inbound(Admit::Continue),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server =
        tokio::spawn(
            async move { axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await },
        );
    let client = reqwest::Client::new();
    let echoed = client.post(format!("{url}/echo")).body("x".repeat(100_000)).header("x-forwarded-for", "203.0.113.9");
    assert_eq!(echoed.send().await.unwrap().bytes().await.unwrap().len(), 100_000);
    client.get(format!("{url}/stream")).send().await.unwrap().bytes().await.unwrap();
    client.head(format!("{url}/stream")).send().await.unwrap().bytes().await.unwrap();
    server.abort();
    let records = logged.records();
    let recorded: Vec<_> =
        records.iter().map(|r| (r.request.body_bytes, r.response.body_bytes, r.response.outcome)).collect();
    let complete = Some(Outcome::Complete);
    assert_eq!(recorded, [(100_000, 100_000, complete), (0, 8, complete), (0, 0, complete)]);
    assert_eq!(records[0].client_ip, Some(IpAddr::from([203, 0, 113, 9])));
    assert_eq!(records[1].client_ip, Some(IpAddr::from([127, 0, 0, 1])));
}
