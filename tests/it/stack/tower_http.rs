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
use tagtrail::{Admit, Disclose, Echo, Inbound, InboundLayer, OutboundLayer, Sample, Trail};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::cors::CorsLayer;
use tower_http::decompression::DecompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::propagate_header::PropagateHeaderLayer;
use tower_http::request_id::{MakeRequestId, PropagateRequestIdLayer, RequestId, SetRequestIdLayer};
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

use crate::support::{self, CALLER, Received, TRACE_ID, caller, current_trace, get_as_caller, response_traceparent};

const ORIGIN: &str = "https://page.example";

fn inbound_layer() -> InboundLayer {
    InboundLayer::new(Admit::Continue)
}

fn restarting_layer() -> InboundLayer {
    InboundLayer::new(Inbound::new(Admit::Restart).echo(Echo::TRACEPARENT))
}

async fn send(app: Router, request: Request) -> (StatusCode, HeaderMap, String) {
    let (parts, body) = app.oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status, parts.headers, String::from_utf8_lossy(&body).into_owned())
}

/// Whether a response names the trace of the caller.
#[track_caller]
fn names_caller_trace(headers: &HeaderMap) -> bool {
    headers.contains_key("traceparent") && response_traceparent(headers).trace_id() == caller().trace_id()
}

/// A handler that responds with the current trace.
async fn echo_trace() -> String {
    current_trace().map_or("none".to_owned(), |trace| trace.to_string())
}

async fn panicking_handler() {
    panic!("on purpose")
}

/// The recipe of the docs: a script of a page may send the three headers, and read the trace of a response.
fn cors() -> CorsLayer {
    let context = ["traceparent", "tracestate", "x-fauna-tags"].map(HeaderName::from_static);
    CorsLayer::new()
        .allow_origin(HeaderValue::from_static(ORIGIN))
        .allow_methods([Method::GET])
        .allow_headers(context)
        .expose_headers([HeaderName::from_static("traceparent")])
}

fn from_page(mut request: Request) -> Request {
    request.headers_mut().insert("origin", HeaderValue::from_static(ORIGIN));
    request
}

fn from_page_with_invalid_tags() -> Request {
    let mut request = from_page(get_as_caller("/"));
    request.headers_mut().insert("x-fauna-tags", HeaderValue::from_static("a=b=c"));
    request
}

#[tokio::test]
async fn cors_lets_script_send_and_read_trace() {
    let app = Router::new().route("/", get(echo_trace)).layer(inbound_layer()).layer(cors());

    let preflight = Request::options("/").header("access-control-request-method", "GET");
    let preflight = preflight.header("access-control-request-headers", "traceparent,x-fauna-tags");
    let (code, headers, _) = send(app.clone(), from_page(preflight.body(Body::empty()).unwrap())).await;
    assert_eq!(code, StatusCode::OK);
    assert_eq!(headers["access-control-allow-origin"], ORIGIN);
    assert_eq!(headers["access-control-allow-headers"], "traceparent,tracestate,x-fauna-tags");

    let (_, headers, body) = send(app, from_page(get_as_caller("/"))).await;
    assert!(names_caller_trace(&headers));
    assert_eq!(headers["access-control-expose-headers"], "traceparent");
    assert_eq!(body, TRACE_ID);
}

#[tokio::test]
async fn cors_outside_layer_lets_script_read_rejection() {
    let app = Router::new().route("/", get(echo_trace));
    let (code, headers, _) =
        send(app.clone().layer(inbound_layer()).layer(cors()), from_page_with_invalid_tags()).await;
    assert_eq!((code, names_caller_trace(&headers)), (StatusCode::BAD_REQUEST, true));
    assert_eq!(headers["access-control-allow-origin"], ORIGIN);
    assert_eq!(headers["access-control-expose-headers"], "traceparent");

    // Inside, it never sees the rejection.
    let (code, headers, _) = send(app.layer(cors()).layer(inbound_layer()), from_page_with_invalid_tags()).await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    assert!(!headers.contains_key("access-control-allow-origin"));
}

/// The order that the recipes of the docs show.
#[tokio::test]
async fn recommended_order_puts_trace_and_cors_on_every_response() {
    let layers = ServiceBuilder::new()
        .layer(cors())
        .layer(inbound_layer())
        .layer(TraceLayer::new_for_http())
        .layer(CompressionLayer::new())
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, Duration::from_millis(10)))
        .layer(CatchPanicLayer::new());
    let app = Router::new()
        .route("/", get(echo_trace))
        .route("/panic", get(panicking_handler))
        .route("/slow", get(std::future::pending::<()>))
        .layer(layers);
    let rows = [
        (from_page(get_as_caller("/")), StatusCode::OK),
        (from_page(get_as_caller("/nowhere")), StatusCode::NOT_FOUND),
        (from_page(get_as_caller("/panic")), StatusCode::INTERNAL_SERVER_ERROR),
        (from_page(get_as_caller("/slow")), StatusCode::GATEWAY_TIMEOUT),
        (from_page_with_invalid_tags(), StatusCode::BAD_REQUEST),
    ];
    for (request, expected) in rows {
        let (code, headers, _) = send(app.clone(), request).await;
        assert_eq!((code, names_caller_trace(&headers)), (expected, true));
        assert_eq!(headers["access-control-expose-headers"], "traceparent");
    }
}

#[tokio::test]
async fn compression_works_on_either_side_of_layer() {
    // Made while the body is polled, and long enough to be compressed.
    let streamed = || async {
        Body::from_stream(futures_util::stream::once(async { Ok::<_, Infallible>(echo_trace().await.repeat(100)) }))
    };
    let app = Router::new().route("/", get(streamed));
    let orders = [
        app.clone().layer(CompressionLayer::new()).layer(inbound_layer()),
        app.layer(inbound_layer()).layer(CompressionLayer::new()),
    ];
    for app in orders {
        let mut request = get_as_caller("/");
        request.headers_mut().insert("accept-encoding", HeaderValue::from_static("gzip"));
        let (parts, body) = app.oneshot(request).await.unwrap().into_parts();
        assert!(names_caller_trace(&parts.headers) && parts.headers["content-encoding"] == "gzip");
        let compressed = body.collect().await.unwrap().to_bytes();
        let mut response = Response::new(Body::from(compressed));
        *response.headers_mut() = parts.headers;
        let service = DecompressionLayer::new().layer(service_fn(move |_: Request| {
            let response = std::mem::take(&mut response);
            async { Ok::<_, Infallible>(response) }
        }));
        let body = service.oneshot(get_as_caller("/")).await.unwrap().into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, TRACE_ID.repeat(100));
    }
}

#[tokio::test]
async fn timeout_inside_layer_has_trace_and_outside_has_none() {
    let app = Router::new().route("/", get(std::future::pending::<()>));
    let timeout = || TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, Duration::from_millis(10));
    let (code, headers, _) = send(app.clone().layer(timeout()).layer(inbound_layer()), get_as_caller("/")).await;
    assert_eq!((code, names_caller_trace(&headers)), (StatusCode::GATEWAY_TIMEOUT, true));
    let (code, headers, _) = send(app.layer(inbound_layer()).layer(timeout()), get_as_caller("/")).await;
    assert_eq!((code, headers.contains_key("traceparent")), (StatusCode::GATEWAY_TIMEOUT, false));
    assert!(Trail::current().is_none());
}

#[tokio::test]
async fn caught_panic_inside_layer_has_trace_and_outside_has_none() {
    let app = Router::new().route("/", get(panicking_handler));
    let inside = app.clone().layer(CatchPanicLayer::new()).layer(inbound_layer());
    let (code, headers, _) = send(inside, get_as_caller("/")).await;
    assert_eq!((code, names_caller_trace(&headers)), (StatusCode::INTERNAL_SERVER_ERROR, true));
    let outside = app.layer(inbound_layer()).layer(CatchPanicLayer::new());
    let (code, headers, _) = send(outside, get_as_caller("/")).await;
    assert_eq!((code, headers.contains_key("traceparent")), (StatusCode::INTERNAL_SERVER_ERROR, false));
    assert!(Trail::current().is_none());
}

#[tokio::test]
async fn uncaught_panic_leaves_no_trail_behind() {
    let app = Router::new().route("/", get(panicking_handler)).layer(inbound_layer());
    assert!(AssertUnwindSafe(send(app, get_as_caller("/"))).catch_unwind().await.is_err());
    assert!(Trail::current().is_none());
}

#[tokio::test]
async fn body_limit_inside_layer_has_trace_and_outside_has_none() {
    let app = Router::new().route("/", get(echo_trace));
    let too_long = || {
        let mut request = get_as_caller("/");
        request.headers_mut().insert("content-length", HeaderValue::from_static("100"));
        request
    };
    let limit = || RequestBodyLimitLayer::new(10);
    let (code, headers, _) = send(app.clone().layer(limit()).layer(inbound_layer()), too_long()).await;
    assert_eq!((code, names_caller_trace(&headers)), (StatusCode::PAYLOAD_TOO_LARGE, true));
    let (code, headers, _) = send(app.layer(inbound_layer()).layer(limit()), too_long()).await;
    assert_eq!((code, headers.contains_key("traceparent")), (StatusCode::PAYLOAD_TOO_LARGE, false));
}

/// The recipe of the docs: the id of a request is its trace-id.
#[derive(Clone)]
struct TraceIds;

impl MakeRequestId for TraceIds {
    fn make_request_id<B>(&mut self, request: &http::Request<B>) -> Option<RequestId> {
        let trail = request.extensions().get::<Trail>()?;
        HeaderValue::try_from(trail.trace_id().to_string()).ok().map(RequestId::new)
    }
}

#[tokio::test]
async fn request_id_inside_layer_can_be_trace_id() {
    let ids = || {
        ServiceBuilder::new()
            .layer(SetRequestIdLayer::x_request_id(TraceIds))
            .layer(PropagateRequestIdLayer::x_request_id())
    };
    let app = Router::new().route("/", get(echo_trace));
    let (_, headers, _) = send(app.clone().layer(ids()).layer(inbound_layer()), get_as_caller("/")).await;
    assert!(names_caller_trace(&headers));
    assert_eq!(headers["x-request-id"], TRACE_ID);
    // Outside, there is no trail yet.
    let (_, headers, _) = send(app.layer(inbound_layer()).layer(ids()), get_as_caller("/")).await;
    assert!(names_caller_trace(&headers) && !headers.contains_key("x-request-id"));
}

#[tokio::test]
async fn propagate_header_outside_layer_replaces_response_trace() {
    let propagate = || PropagateHeaderLayer::new(HeaderName::from_static("traceparent"));
    let app = Router::new().route("/", get(echo_trace));
    // Inside, the layer replaces the propagated header with the trace that it started.
    let (_, headers, body) = send(app.clone().layer(propagate()).layer(restarting_layer()), get_as_caller("/")).await;
    assert_eq!(response_traceparent(&headers).trace_id().to_string(), body);
    // Outside, the response names the caller's trace, although the service works in another one.
    let (_, headers, body) = send(app.layer(restarting_layer()).layer(propagate()), get_as_caller("/")).await;
    assert_eq!(headers["traceparent"], CALLER);
    assert_ne!(body, TRACE_ID);
}

#[tokio::test]
async fn nested_layers_are_two_operations_of_one_trace() {
    let app = Router::new().route("/", get(echo_trace)).layer(inbound_layer()).layer(inbound_layer());
    let (_, headers, body) = send(app, get_as_caller("/")).await;
    assert!(names_caller_trace(&headers));
    assert_eq!(body, TRACE_ID);
    assert_eq!(headers.get_all("traceparent").iter().count(), 1);
}

/// Why one layer is enough.
#[tokio::test]
async fn nested_restarting_layers_start_two_traces() {
    let app = Router::new().route("/", get(echo_trace)).layer(restarting_layer()).layer(restarting_layer());
    let (_, headers, body) = send(app, get_as_caller("/")).await;
    assert_ne!(response_traceparent(&headers).trace_id().to_string(), body);
}

#[tokio::test]
async fn axum_layer_covers_only_routes_added_before() {
    // `layer` covers the fallback, `route_layer` does not.
    let app = Router::new().route("/", get(echo_trace));
    let (code, headers, _) = send(app.clone().layer(inbound_layer()), get_as_caller("/nowhere")).await;
    assert_eq!((code, names_caller_trace(&headers)), (StatusCode::NOT_FOUND, true));
    let (code, headers, _) = send(app.route_layer(inbound_layer()), get_as_caller("/nowhere")).await;
    assert_eq!((code, headers.contains_key("traceparent")), (StatusCode::NOT_FOUND, false));
    // A route that is added after the layer is outside it, and the extractor's error says so.
    let extracting = get(|trail: Trail| async move { trail.trace_id().to_string() });
    let app = Router::new().layer(inbound_layer()).route("/", extracting);
    let (code, _, body) = send(app, get_as_caller("/")).await;
    assert_eq!(code, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(body.contains("InboundLayer"), "{body}");
}

#[tokio::test]
async fn buffer_below_layer_keeps_trail() {
    let trail = Trail::start(Sample::Always);
    let received = Received::default();
    let client = ServiceBuilder::new().layer(OutboundLayer::new(Disclose::All)).buffer(1).service(received.ok_app());
    trail.scope(client.oneshot(support::get("/"))).await.unwrap();
    assert_eq!(received.assert_one_trace(), trail.trace_id());
}

/// A buffer calls the service inside from its own task, where no trail is current.
#[tokio::test]
async fn buffer_above_layer_loses_trail() {
    let trail = Trail::start(Sample::Always);
    let received = Received::default();
    let client = || ServiceBuilder::new().buffer(1).layer(OutboundLayer::new(Disclose::All)).service(received.ok_app());
    trail.scope(client().oneshot(support::get("/"))).await.unwrap();
    assert_ne!(received.assert_one_trace(), trail.trace_id());
    // The request's extensions pass through the buffer.
    let mut request = support::get("/");
    request.extensions_mut().insert(trail.clone());
    client().oneshot(request).await.unwrap();
    assert_eq!(received.traceparents()[1].trace_id(), trail.trace_id());
    // So do its headers, and the trace that they name.
    trail.scope(client().oneshot(get_as_caller("/"))).await.unwrap();
    assert_eq!(received.traceparents()[2].trace_id(), caller().trace_id());
}
