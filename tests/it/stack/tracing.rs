//! `tracing`: each log line of a request carries its trace-id and tags, and propagation does not depend on a span.

use std::io;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::get;
use futures_util::StreamExt;
use http_body_util::BodyExt;
use serde_json::Value;
use tagtrail::{Admit, Disclose, InboundLayer, OutboundLayer, Trail};
use tower::{Layer, ServiceExt};
use tower_http::trace::TraceLayer;
use tracing::subscriber::DefaultGuard;
use tracing::{Level, Span};
use tracing_subscriber::filter::LevelFilter;

use crate::support::{self, CALLER, Received, TRACE_ID, caller, get_as_caller, response_traceparent};

/// The lines that this thread logs, as JSON.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn capture(level: LevelFilter) -> (Self, DefaultGuard) {
        let lines = Self::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt().json().with_max_level(level).with_writer(move || writer.clone());
        (lines, tracing::subscriber::set_default(subscriber.finish()))
    }

    #[track_caller]
    fn read(&self) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let mut lines = Vec::new();
        for line in text.lines() {
            lines.push(serde_json::from_str(line).unwrap());
        }
        lines
    }
}

/// The recipe of the docs: the span of a request has its trace and tags.
fn request_span(request: &Request) -> Span {
    let Some(trail) = request.extensions().get::<Trail>() else { return tracing::info_span!("request") };
    tracing::info_span!("request", trace_id = %trail.trace_id(), tags = %trail.tags())
}

/// A handler that logs a line itself, and one for each chunk of the body.
async fn logging_handler() -> Body {
    tracing::info!("in the handler");
    Body::from_stream(futures_util::stream::iter(0..2).map(|chunk| {
        tracing::info!(chunk, "in the body");
        Ok::<_, io::Error>("chunk")
    }))
}

/// Sends a request with tags, and reads the response to its end.
async fn send_with_tags(app: Router) {
    let mut request = get_as_caller("/");
    request.headers_mut().insert("x-fauna-tags", "project=blog".parse().unwrap());
    app.oneshot(request).await.unwrap().into_body().collect().await.unwrap();
}

#[tokio::test]
async fn span_inside_layer_puts_trace_and_tags_on_every_line() {
    let (lines, _guard) = Lines::capture(LevelFilter::INFO);
    let app = Router::new()
        .route("/", get(logging_handler))
        .layer(TraceLayer::new_for_http().make_span_with(request_span))
        .layer(InboundLayer::new(Admit::Continue));
    send_with_tags(app).await;
    let lines = lines.read();
    assert_eq!(lines.len(), 3, "{lines:?}");
    for line in lines {
        assert_eq!(line["span"]["trace_id"], TRACE_ID, "{line}");
        assert_eq!(line["span"]["tags"], "project=blog", "{line}");
    }
}

#[tokio::test]
async fn span_outside_layer_has_no_trace() {
    let (lines, _guard) = Lines::capture(LevelFilter::INFO);
    let app = Router::new()
        .route("/", get(logging_handler))
        .layer(InboundLayer::new(Admit::Continue))
        .layer(TraceLayer::new_for_http().make_span_with(request_span));
    send_with_tags(app).await;
    let lines = lines.read();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines.iter().all(|line| line["span"]["name"] == "request" && line["span"]["trace_id"].is_null()));
}

/// In many tracing stacks a disabled span silently stops propagation.
#[tokio::test]
async fn trace_continues_when_spans_are_disabled() {
    for level in [LevelFilter::OFF, LevelFilter::ERROR, LevelFilter::TRACE] {
        let (_lines, _guard) = Lines::capture(level);
        let downstream = Received::default();
        let client = OutboundLayer::new(Disclose::All).layer(downstream.ok_app());
        let handler = move || async move { client.oneshot(support::get("/")).await.unwrap().status() };
        let debug_span = move |_: &Request| {
            let span = tracing::span!(Level::DEBUG, "request");
            assert_eq!(span.is_disabled(), level != LevelFilter::TRACE);
            span
        };
        let app = Router::new()
            .route("/", get(handler))
            .layer(TraceLayer::new_for_http().make_span_with(debug_span))
            .layer(InboundLayer::new(Admit::Continue));
        let response = app.oneshot(get_as_caller("/")).await.unwrap();
        assert_eq!(downstream.traceparents()[0].trace_id(), caller().trace_id());
        assert_eq!(response_traceparent(response.headers()).trace_id(), caller().trace_id());
    }
}

#[tokio::test]
async fn header_values_cannot_forge_log_lines() {
    let (lines, _guard) = Lines::capture(LevelFilter::INFO);
    let app = Router::new()
        .route("/", get(logging_handler))
        .layer(TraceLayer::new_for_http().make_span_with(request_span))
        .layer(InboundLayer::new(Admit::Continue));
    for (name, value) in
        [("x-fauna-tags", "a=1\tb"), ("traceparent", "00-\"}"), ("x-fauna-tags", "a=\"}"), ("tracestate", "}")]
    {
        let mut request = support::get("/");
        request.headers_mut().insert("traceparent", CALLER.parse().unwrap());
        request.headers_mut().insert(name, value.parse().unwrap());
        app.clone().oneshot(request).await.unwrap().into_body().collect().await.unwrap();
    }
    // The two requests with invalid tags never reached the handler.
    assert_eq!(lines.read().len(), 2 * 3);
}
