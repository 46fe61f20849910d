//! tower-http's layers beside this crate's: what each does in the right place, and in the wrong one.
//!
//! In `Router::layer` the layer that is added last is outermost.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::Response;
use axum::routing::get;
use futures_util::FutureExt;
use http_body_util::BodyExt;
use tagtrail::{Admit, Disclose, Echo, Inbound, InboundLayer, OutboundLayer, Trail};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::cors::CorsLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::propagate_header::PropagateHeaderLayer;
use tower_http::request_id::{MakeRequestId, PropagateRequestIdLayer, RequestId, SetRequestIdLayer};
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

use crate::support::{Heads, called, caller, status};

const ORIGIN: &str = "https://page.example";

fn ours() -> InboundLayer {
    InboundLayer::new(Admit::Continue)
}

async fn answer(app: Router, request: Request) -> (StatusCode, HeaderMap, String) {
    let (head, body) = app.oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status, head.headers, String::from_utf8_lossy(&body).into_owned())
}

/// Whether the answer names the trace of the caller.
fn traced(headers: &HeaderMap) -> bool {
    tagtrail::TraceParent::of_answer(headers).is_some_and(|answered| answered.trace_id() == caller().trace_id())
}

async fn current() -> String {
    Trail::current().map_or("none".to_owned(), |trail| trail.trace_id().to_string())
}

/// The recipe: a script of a page may send the three headers, and read the trace of an answer.
fn cors() -> CorsLayer {
    let ours = ["traceparent", "tracestate", "x-fauna-tags"].map(HeaderName::from_static);
    CorsLayer::new()
        .allow_origin(HeaderValue::from_static(ORIGIN))
        .allow_methods([Method::GET])
        .allow_headers(ours)
        .expose_headers([HeaderName::from_static("traceparent")])
}

fn from_page(mut request: Request) -> Request {
    request.headers_mut().insert("origin", HeaderValue::from_static(ORIGIN));
    request
}

#[tokio::test]
async fn cors_lets_a_script_send_and_read_the_trace() {
    let app = Router::new().route("/", get(current)).layer(ours()).layer(cors());

    let preflight = Request::options("/").header("access-control-request-method", "GET");
    let preflight = preflight.header("access-control-request-headers", "traceparent,x-fauna-tags");
    let (code, headers, _) = answer(app.clone(), from_page(preflight.body(Body::empty()).unwrap())).await;
    assert_eq!(code, StatusCode::OK);
    assert_eq!(headers["access-control-allow-origin"], ORIGIN);
    assert_eq!(headers["access-control-allow-headers"], "traceparent,tracestate,x-fauna-tags");

    let (_, headers, body) = answer(app, from_page(called("/"))).await;
    assert!(traced(&headers));
    assert_eq!(headers["access-control-expose-headers"], "traceparent");
    assert_eq!(body, caller().trace_id().to_string());
}

fn with_bad_tags() -> Request {
    let mut request = from_page(called("/"));
    request.headers_mut().insert("x-fauna-tags", HeaderValue::from_static("a=b=c"));
    request
}

#[tokio::test]
async fn cors_outside_lets_a_script_read_a_refusal_and_inside_hides_it() {
    let app = Router::new().route("/", get(current));
    let (code, headers, _) = answer(app.clone().layer(ours()).layer(cors()), with_bad_tags()).await;
    assert_eq!((code, traced(&headers)), (StatusCode::BAD_REQUEST, true));
    assert_eq!(headers["access-control-allow-origin"], ORIGIN);
    assert_eq!(headers["access-control-expose-headers"], "traceparent");

    let (code, headers, _) = answer(app.layer(cors()).layer(ours()), with_bad_tags()).await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    assert!(!headers.contains_key("access-control-allow-origin"));
}

/// The order that the recipes show.
#[tokio::test]
async fn in_the_right_order_every_answer_has_the_trace_and_cors() {
    let layers = ServiceBuilder::new()
        .layer(cors())
        .layer(ours())
        .layer(TraceLayer::new_for_http())
        .layer(CompressionLayer::new())
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, Duration::from_millis(10)))
        .layer(CatchPanicLayer::new());
    let app = Router::new()
        .route("/", get(current))
        .route("/panic", get(panics))
        .route("/slow", get(std::future::pending::<()>))
        .layer(layers);
    let rows = [
        (from_page(called("/")), StatusCode::OK),
        (from_page(called("/nowhere")), StatusCode::NOT_FOUND),
        (from_page(called("/panic")), StatusCode::INTERNAL_SERVER_ERROR),
        (from_page(called("/slow")), StatusCode::GATEWAY_TIMEOUT),
        (with_bad_tags(), StatusCode::BAD_REQUEST),
    ];
    for (request, expected) in rows {
        let (code, headers, _) = answer(app.clone(), request).await;
        assert_eq!((code, traced(&headers)), (expected, true));
        assert_eq!(headers["access-control-expose-headers"], "traceparent");
    }
}

#[tokio::test]
async fn compression_works_on_either_side() {
    // Made while the body is polled, and long enough to be compressed.
    let streamed = || async {
        Body::from_stream(futures_util::stream::once(async { Ok::<_, Infallible>(current().await.repeat(100)) }))
    };
    let app = Router::new().route("/", get(streamed));
    let orders =
        [app.clone().layer(CompressionLayer::new()).layer(ours()), app.layer(ours()).layer(CompressionLayer::new())];
    for app in orders {
        let mut request = called("/");
        request.headers_mut().insert("accept-encoding", HeaderValue::from_static("gzip"));
        let (head, body) = app.oneshot(request).await.unwrap().into_parts();
        assert!(traced(&head.headers) && head.headers["content-encoding"] == "gzip");
        let compressed = body.collect().await.unwrap().to_bytes();
        let mut response = Response::new(Body::from(compressed));
        *response.headers_mut() = head.headers;
        let decompress = tower_http::decompression::DecompressionLayer::new();
        let service = decompress.layer(service_fn(move |_: Request| {
            let response = std::mem::take(&mut response);
            async { Ok::<_, Infallible>(response) }
        }));
        let body = service.oneshot(called("/")).await.unwrap().into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, caller().trace_id().to_string().repeat(100));
    }
}

#[tokio::test]
async fn a_time_out_inside_has_the_trace_and_outside_has_none() {
    let app = Router::new().route("/", get(std::future::pending::<()>));
    let time_out = || TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, Duration::from_millis(10));
    let (code, headers, _) = answer(app.clone().layer(time_out()).layer(ours()), called("/")).await;
    assert_eq!((code, traced(&headers)), (StatusCode::GATEWAY_TIMEOUT, true));
    let (code, headers, _) = answer(app.layer(ours()).layer(time_out()), called("/")).await;
    assert_eq!((code, traced(&headers)), (StatusCode::GATEWAY_TIMEOUT, false));
    assert!(Trail::current().is_none());
}

async fn panics() {
    panic!("on purpose")
}

#[tokio::test]
async fn a_caught_panic_inside_has_the_trace_and_outside_has_none() {
    let app = Router::new().route("/", get(panics));
    let (code, headers, _) = answer(app.clone().layer(CatchPanicLayer::new()).layer(ours()), called("/")).await;
    assert_eq!((code, traced(&headers)), (StatusCode::INTERNAL_SERVER_ERROR, true));
    let (code, headers, _) = answer(app.clone().layer(ours()).layer(CatchPanicLayer::new()), called("/")).await;
    assert_eq!((code, traced(&headers)), (StatusCode::INTERNAL_SERVER_ERROR, false));
    assert!(Trail::current().is_none());
    // Caught by nobody inside.
    assert!(AssertUnwindSafe(answer(app.layer(ours()), called("/"))).catch_unwind().await.is_err());
    assert!(Trail::current().is_none());
}

#[tokio::test]
async fn a_body_limit_inside_has_the_trace_and_outside_has_none() {
    let app = Router::new().route("/", get(current));
    let too_long = || {
        let mut request = called("/");
        request.headers_mut().insert("content-length", HeaderValue::from_static("100"));
        request
    };
    let limit = || RequestBodyLimitLayer::new(10);
    let (code, headers, _) = answer(app.clone().layer(limit()).layer(ours()), too_long()).await;
    assert_eq!((code, traced(&headers)), (StatusCode::PAYLOAD_TOO_LARGE, true));
    let (code, headers, _) = answer(app.layer(ours()).layer(limit()), too_long()).await;
    assert_eq!((code, traced(&headers)), (StatusCode::PAYLOAD_TOO_LARGE, false));
}

/// The recipe: the request's id is its trace-id.
#[derive(Clone)]
struct TraceIds;

impl MakeRequestId for TraceIds {
    fn make_request_id<B>(&mut self, request: &http::Request<B>) -> Option<RequestId> {
        let trail = request.extensions().get::<Trail>()?;
        HeaderValue::try_from(trail.trace_id().to_string()).ok().map(RequestId::new)
    }
}

#[tokio::test]
async fn a_request_id_inside_can_be_the_trace_id_and_outside_cannot() {
    let ids = || {
        ServiceBuilder::new()
            .layer(SetRequestIdLayer::x_request_id(TraceIds))
            .layer(PropagateRequestIdLayer::x_request_id())
    };
    let app = Router::new().route("/", get(current));
    let (_, headers, _) = answer(app.clone().layer(ids()).layer(ours()), called("/")).await;
    assert!(traced(&headers));
    assert_eq!(headers["x-request-id"], caller().trace_id().to_string());
    let (_, headers, _) = answer(app.layer(ours()).layer(ids()), called("/")).await;
    assert!(traced(&headers) && !headers.contains_key("x-request-id"));
}

#[tokio::test]
async fn a_propagated_traceparent_outside_is_the_callers_own() {
    let propagate = || PropagateHeaderLayer::new(HeaderName::from_static("traceparent"));
    let restarts = || InboundLayer::new(Admit::Restart);
    let app = Router::new().route("/", get(current));
    // Inside, ours replaces it: a restarted trace has another id.
    let (_, headers, body) = answer(app.clone().layer(propagate()).layer(restarts()), called("/")).await;
    assert_eq!(tagtrail::TraceParent::of_answer(&headers).unwrap().trace_id().to_string(), body);
    // Outside, it replaces ours: the answer names a trace that this service has nothing of.
    let (_, headers, body) = answer(app.layer(restarts()).layer(propagate()), called("/")).await;
    assert_eq!(headers["traceparent"], caller().to_string());
    assert_ne!(caller().trace_id().to_string(), body);
}

#[tokio::test]
async fn two_of_ours_are_two_operations_of_one_trace() {
    let app = Router::new().route("/", get(current)).layer(ours()).layer(ours());
    let (_, headers, body) = answer(app, called("/")).await;
    assert!(traced(&headers));
    assert_eq!(body, caller().trace_id().to_string());
    assert_eq!(headers.get_all("traceparent").iter().count(), 1);
    // With a restart, the inner one starts a trace of its own: one layer is enough.
    let restarts = || InboundLayer::new(Inbound::new(Admit::Restart).echo(Echo::TRACEPARENT));
    let app = Router::new().route("/", get(current)).layer(restarts()).layer(restarts());
    let (_, headers, body) = answer(app, called("/")).await;
    assert_ne!(tagtrail::TraceParent::of_answer(&headers).unwrap().trace_id().to_string(), body);
}

#[tokio::test]
async fn axum_puts_a_layer_around_the_routes_that_are_there() {
    // `layer` covers the fallback, `route_layer` does not.
    let app = Router::new().route("/", get(current));
    let (code, headers, _) = answer(app.clone().layer(ours()), called("/nowhere")).await;
    assert_eq!((code, traced(&headers)), (StatusCode::NOT_FOUND, true));
    let (code, headers, _) = answer(app.route_layer(ours()), called("/nowhere")).await;
    assert_eq!((code, traced(&headers)), (StatusCode::NOT_FOUND, false));
    // A route that is added after the layer is outside of it, and the extractor says so.
    let app = Router::new().layer(ours()).route("/", get(|trail: Trail| async move { trail.trace_id().to_string() }));
    let (code, _, body) = answer(app, called("/")).await;
    assert_eq!(code, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(body.contains("InboundLayer"), "{body}");
}

#[tokio::test]
async fn a_buffer_beneath_a_client_layer_keeps_the_trail_and_above_it_loses_it() {
    let trail = Trail::start(true);
    let heads = Heads::default();
    let app = heads.app(|_, _| status(StatusCode::OK));
    let right = ServiceBuilder::new().layer(OutboundLayer::new(Disclose::All)).buffer(1).service(app.clone());
    trail.scope(right.oneshot(crate::support::get("/"))).await.unwrap();
    assert_eq!(heads.one_trace(), trail.trace_id());

    // A buffer calls what is inside from a task of its own: nothing is current there.
    let heads = Heads::default();
    let app = heads.app(|_, _| status(StatusCode::OK));
    let client = || ServiceBuilder::new().buffer(1).layer(OutboundLayer::new(Disclose::All)).service(app.clone());
    trail.scope(client().oneshot(crate::support::get("/"))).await.unwrap();
    assert_ne!(heads.one_trace(), trail.trace_id());
    // The request's extensions go with it.
    let mut request = crate::support::get("/");
    request.extensions_mut().insert(trail.clone());
    client().oneshot(request).await.unwrap();
    assert_eq!(heads.traceparents()[1].trace_id(), trail.trace_id());
    // So do its headers, and the trace that they name.
    trail.scope(client().oneshot(crate::support::called("/"))).await.unwrap();
    assert_eq!(heads.traceparents()[2].trace_id(), crate::support::caller().trace_id());
}
