//! tower-http's layers together with this crate's: what each does in the right place, and in the wrong one.
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
use tagtrail::{Admit, Disclose, Echo, Inbound, InboundLayer, OutboundLayer, Sample, TraceParent, Trail};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::cors::CorsLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::propagate_header::PropagateHeaderLayer;
use tower_http::request_id::{MakeRequestId, PropagateRequestIdLayer, RequestId, SetRequestIdLayer};
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

use crate::support::{Received, caller, get_as_caller};

const ORIGIN: &str = "https://page.example";

fn layer() -> InboundLayer {
    InboundLayer::new(Admit::Continue)
}

async fn respond(app: Router, request: Request) -> (StatusCode, HeaderMap, String) {
    let (head, body) = app.oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status, head.headers, String::from_utf8_lossy(&body).into_owned())
}

/// Returns whether the response names the caller's trace.
fn has_callers_trace(headers: &HeaderMap) -> bool {
    TraceParent::from_response_headers(headers).unwrap().is_some_and(|named| named.trace_id() == caller().trace_id())
}

async fn current() -> String {
    Trail::current().map_or("none".to_owned(), |trail| trail.trace_id().to_string())
}

/// The recipe: a script may send the three headers, and read the trace of a response.
fn cors() -> CorsLayer {
    let headers = ["traceparent", "tracestate", "x-fauna-tags"].map(HeaderName::from_static);
    CorsLayer::new()
        .allow_origin(HeaderValue::from_static(ORIGIN))
        .allow_methods([Method::GET])
        .allow_headers(headers)
        .expose_headers([HeaderName::from_static("traceparent")])
}

fn from_page(mut request: Request) -> Request {
    request.headers_mut().insert("origin", HeaderValue::from_static(ORIGIN));
    request
}

#[tokio::test]
async fn cors_lets_script_send_and_read_trace() {
    let app = Router::new().route("/", get(current)).layer(layer()).layer(cors());

    let preflight = Request::options("/").header("access-control-request-method", "GET");
    let preflight = preflight.header("access-control-request-headers", "traceparent,x-fauna-tags");
    let (code, headers, _) = respond(app.clone(), from_page(preflight.body(Body::empty()).unwrap())).await;
    assert_eq!(code, StatusCode::OK);
    assert_eq!(headers["access-control-allow-origin"], ORIGIN);
    assert_eq!(headers["access-control-allow-headers"], "traceparent,tracestate,x-fauna-tags");

    let (_, headers, body) = respond(app, from_page(get_as_caller("/"))).await;
    assert!(has_callers_trace(&headers));
    assert_eq!(headers["access-control-expose-headers"], "traceparent");
    assert_eq!(body, caller().trace_id().to_string());
}

fn with_invalid_tags() -> Request {
    let mut request = from_page(get_as_caller("/"));
    request.headers_mut().insert("x-fauna-tags", HeaderValue::from_static("a=b=c"));
    request
}

#[tokio::test]
async fn cors_outside_shows_rejection_and_inside_hides_it() {
    let app = Router::new().route("/", get(current));
    let (code, headers, _) = respond(app.clone().layer(layer()).layer(cors()), with_invalid_tags()).await;
    assert_eq!((code, has_callers_trace(&headers)), (StatusCode::BAD_REQUEST, true));
    assert_eq!(headers["access-control-allow-origin"], ORIGIN);
    assert_eq!(headers["access-control-expose-headers"], "traceparent");

    let (code, headers, _) = respond(app.layer(cors()).layer(layer()), with_invalid_tags()).await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    assert!(!headers.contains_key("access-control-allow-origin"));
}

/// The order that the recipes show.
#[tokio::test]
async fn recommended_order_adds_trace_and_cors_to_every_response() {
    let layers = ServiceBuilder::new()
        .layer(cors())
        .layer(layer())
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
        (from_page(get_as_caller("/")), StatusCode::OK),
        (from_page(get_as_caller("/nowhere")), StatusCode::NOT_FOUND),
        (from_page(get_as_caller("/panic")), StatusCode::INTERNAL_SERVER_ERROR),
        (from_page(get_as_caller("/slow")), StatusCode::GATEWAY_TIMEOUT),
        (with_invalid_tags(), StatusCode::BAD_REQUEST),
    ];
    for (request, expected) in rows {
        let (code, headers, _) = respond(app.clone(), request).await;
        assert_eq!((code, has_callers_trace(&headers)), (expected, true));
        assert_eq!(headers["access-control-expose-headers"], "traceparent");
    }
}

#[tokio::test]
async fn compression_works_on_both_sides() {
    // Created while the body is polled, and long enough to be compressed.
    let streamed = || async {
        Body::from_stream(futures_util::stream::once(async { Ok::<_, Infallible>(current().await.repeat(100)) }))
    };
    let app = Router::new().route("/", get(streamed));
    let orders =
        [app.clone().layer(CompressionLayer::new()).layer(layer()), app.layer(layer()).layer(CompressionLayer::new())];
    for app in orders {
        let mut request = get_as_caller("/");
        request.headers_mut().insert("accept-encoding", HeaderValue::from_static("gzip"));
        let (head, body) = app.oneshot(request).await.unwrap().into_parts();
        assert!(has_callers_trace(&head.headers) && head.headers["content-encoding"] == "gzip");
        let compressed = body.collect().await.unwrap().to_bytes();
        let mut response = Response::new(Body::from(compressed));
        *response.headers_mut() = head.headers;
        let decompress = tower_http::decompression::DecompressionLayer::new();
        let service = decompress.layer(service_fn(move |_: Request| {
            let response = std::mem::take(&mut response);
            async { Ok::<_, Infallible>(response) }
        }));
        let body = service.oneshot(get_as_caller("/")).await.unwrap().into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, caller().trace_id().to_string().repeat(100));
    }
}

#[tokio::test]
async fn timeout_response_has_trace_only_inside() {
    let app = Router::new().route("/", get(std::future::pending::<()>));
    let time_out = || TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, Duration::from_millis(10));
    let (code, headers, _) = respond(app.clone().layer(time_out()).layer(layer()), get_as_caller("/")).await;
    assert_eq!((code, has_callers_trace(&headers)), (StatusCode::GATEWAY_TIMEOUT, true));
    let (code, headers, _) = respond(app.layer(layer()).layer(time_out()), get_as_caller("/")).await;
    assert_eq!((code, has_callers_trace(&headers)), (StatusCode::GATEWAY_TIMEOUT, false));
    assert!(Trail::current().is_none());
}

async fn panics() {
    panic!("on purpose")
}

#[tokio::test]
async fn caught_panic_response_has_trace_only_inside() {
    let app = Router::new().route("/", get(panics));
    let (code, headers, _) =
        respond(app.clone().layer(CatchPanicLayer::new()).layer(layer()), get_as_caller("/")).await;
    assert_eq!((code, has_callers_trace(&headers)), (StatusCode::INTERNAL_SERVER_ERROR, true));
    let (code, headers, _) =
        respond(app.clone().layer(layer()).layer(CatchPanicLayer::new()), get_as_caller("/")).await;
    assert_eq!((code, has_callers_trace(&headers)), (StatusCode::INTERNAL_SERVER_ERROR, false));
    assert!(Trail::current().is_none());
    // Nothing inside catches it.
    assert!(AssertUnwindSafe(respond(app.layer(layer()), get_as_caller("/"))).catch_unwind().await.is_err());
    assert!(Trail::current().is_none());
}

#[tokio::test]
async fn body_limit_response_has_trace_only_inside() {
    let app = Router::new().route("/", get(current));
    let too_long = || {
        let mut request = get_as_caller("/");
        request.headers_mut().insert("content-length", HeaderValue::from_static("100"));
        request
    };
    let limit = || RequestBodyLimitLayer::new(10);
    let (code, headers, _) = respond(app.clone().layer(limit()).layer(layer()), too_long()).await;
    assert_eq!((code, has_callers_trace(&headers)), (StatusCode::PAYLOAD_TOO_LARGE, true));
    let (code, headers, _) = respond(app.layer(layer()).layer(limit()), too_long()).await;
    assert_eq!((code, has_callers_trace(&headers)), (StatusCode::PAYLOAD_TOO_LARGE, false));
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
async fn request_id_can_be_trace_id_only_inside() {
    let ids = || {
        ServiceBuilder::new()
            .layer(SetRequestIdLayer::x_request_id(TraceIds))
            .layer(PropagateRequestIdLayer::x_request_id())
    };
    let app = Router::new().route("/", get(current));
    let (_, headers, _) = respond(app.clone().layer(ids()).layer(layer()), get_as_caller("/")).await;
    assert!(has_callers_trace(&headers));
    assert_eq!(headers["x-request-id"], caller().trace_id().to_string());
    let (_, headers, _) = respond(app.layer(layer()).layer(ids()), get_as_caller("/")).await;
    assert!(has_callers_trace(&headers) && !headers.contains_key("x-request-id"));
}

#[tokio::test]
async fn propagated_traceparent_outside_replaces_ours() {
    let propagate = || PropagateHeaderLayer::new(HeaderName::from_static("traceparent"));
    let restarts = || InboundLayer::new(Admit::Restart);
    let app = Router::new().route("/", get(current));
    // Inside, this crate's layer replaces it: a restarted trace has a different id.
    let (_, headers, body) = respond(app.clone().layer(propagate()).layer(restarts()), get_as_caller("/")).await;
    assert_eq!(TraceParent::from_response_headers(&headers).unwrap().unwrap().trace_id().to_string(), body);
    // Outside, it replaces ours: the response names a trace that this service does not know.
    let (_, headers, body) = respond(app.layer(restarts()).layer(propagate()), get_as_caller("/")).await;
    assert_eq!(headers["traceparent"], caller().to_string());
    assert_ne!(caller().trace_id().to_string(), body);
}

#[tokio::test]
async fn two_layers_are_two_spans_of_one_trace() {
    let app = Router::new().route("/", get(current)).layer(layer()).layer(layer());
    let (_, headers, body) = respond(app, get_as_caller("/")).await;
    assert!(has_callers_trace(&headers));
    assert_eq!(body, caller().trace_id().to_string());
    assert_eq!(headers.get_all("traceparent").iter().count(), 1);
    // With `Restart`, the inner layer starts a separate trace: one layer is enough.
    let restarts = || InboundLayer::new(Inbound::new(Admit::Restart).echo(Echo::TRACEPARENT));
    let app = Router::new().route("/", get(current)).layer(restarts()).layer(restarts());
    let (_, headers, body) = respond(app, get_as_caller("/")).await;
    assert_ne!(TraceParent::from_response_headers(&headers).unwrap().unwrap().trace_id().to_string(), body);
}

#[tokio::test]
async fn axum_layer_wraps_only_earlier_routes() {
    // `layer` covers the fallback, `route_layer` does not.
    let app = Router::new().route("/", get(current));
    let (code, headers, _) = respond(app.clone().layer(layer()), get_as_caller("/nowhere")).await;
    assert_eq!((code, has_callers_trace(&headers)), (StatusCode::NOT_FOUND, true));
    let (code, headers, _) = respond(app.route_layer(layer()), get_as_caller("/nowhere")).await;
    assert_eq!((code, has_callers_trace(&headers)), (StatusCode::NOT_FOUND, false));
    // A route that is added after the layer is outside it, and the extractor says so.
    let app = Router::new().layer(layer()).route("/", get(|trail: Trail| async move { trail.trace_id().to_string() }));
    let (code, _, body) = respond(app, get_as_caller("/")).await;
    assert_eq!(code, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(body.contains("InboundLayer"), "{body}");
}

#[tokio::test]
async fn buffer_below_layer_keeps_trail() {
    let (trail, received) = (Trail::start(Sample::Always), Received::default());
    let client = ServiceBuilder::new().layer(OutboundLayer::new(Disclose::All)).buffer(1).service(received.ok_app());
    trail.scope(client.oneshot(crate::support::get("/"))).await.unwrap();
    assert_eq!(received.assert_one_trace(), trail.trace_id());
}

/// A buffer calls the inner service from a separate task, where nothing is current.
#[tokio::test]
async fn buffer_above_layer_loses_trail() {
    let (trail, received) = (Trail::start(Sample::Always), Received::default());
    let app = received.ok_app();
    let client = || ServiceBuilder::new().buffer(1).layer(OutboundLayer::new(Disclose::All)).service(app.clone());
    trail.scope(client().oneshot(crate::support::get("/"))).await.unwrap();
    assert_ne!(received.assert_one_trace(), trail.trace_id());
    // The request's extensions are still there.
    let mut request = crate::support::get("/");
    request.extensions_mut().insert(trail.clone());
    client().oneshot(request).await.unwrap();
    assert_eq!(received.traceparents()[1].trace_id(), trail.trace_id());
    // So are its headers, and the trace that they name.
    trail.scope(client().oneshot(crate::support::get_as_caller("/"))).await.unwrap();
    assert_eq!(received.traceparents()[2].trace_id(), crate::support::caller().trace_id());
}
