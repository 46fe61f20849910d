//! `tracing`: each log line of a request carries its trace-id and tags; and nothing depends on a span.

use std::io;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
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

use crate::support::{CALLER, Heads, called, caller, status};

/// The lines that are logged on this thread, as JSON.
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
    fn logged_from(level: LevelFilter) -> (Self, DefaultGuard) {
        let lines = Self::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt().json().with_max_level(level).with_writer(move || writer.clone());
        (lines, tracing::subscriber::set_default(subscriber.finish()))
    }

    fn read(&self) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// The recipe: the span of a request, with its trace and tags.
fn span_of(request: &Request) -> Span {
    let Some(trail) = request.extensions().get::<Trail>() else { return tracing::info_span!("request") };
    tracing::info_span!("request", trace_id = %trail.trace_id(), tags = %trail.tags())
}

/// Logs a line in the handler, and one for each chunk of the body.
async fn chatty() -> Body {
    tracing::info!("in the handler");
    Body::from_stream(futures_util::stream::iter(0..2).map(|chunk| {
        tracing::info!(chunk, "in the body");
        Ok::<_, io::Error>("chunk")
    }))
}

async fn answer_of(app: Router) {
    let mut request = called("/");
    request.headers_mut().insert("x-fauna-tags", "project=blog".parse().unwrap());
    let answer = app.oneshot(request).await.unwrap();
    answer.into_body().collect().await.unwrap();
}

#[tokio::test]
async fn each_line_of_a_request_carries_its_trace_and_tags() {
    let (lines, _logs) = Lines::logged_from(LevelFilter::INFO);
    let app = Router::new().route("/", get(chatty));
    answer_of(app.layer(TraceLayer::new_for_http().make_span_with(span_of)).layer(InboundLayer::new(Admit::Continue)))
        .await;
    let lines = lines.read();
    assert_eq!(lines.len(), 3, "{lines:?}");
    for line in lines {
        assert_eq!(line["span"]["trace_id"], caller().trace_id().to_string(), "{line}");
        assert_eq!(line["span"]["tags"], "project=blog", "{line}");
    }
}

#[tokio::test]
async fn outside_of_the_layer_the_span_knows_no_trail() {
    let (lines, _logs) = Lines::logged_from(LevelFilter::INFO);
    let app = Router::new().route("/", get(chatty));
    answer_of(app.layer(InboundLayer::new(Admit::Continue)).layer(TraceLayer::new_for_http().make_span_with(span_of)))
        .await;
    assert!(lines.read().iter().all(|line| line["span"]["trace_id"].is_null()));
}

/// The most common fault of tracing stacks: no span, no propagation.
#[tokio::test]
async fn with_spans_disabled_by_level_the_trace_goes_on() {
    for level in [LevelFilter::OFF, LevelFilter::ERROR, LevelFilter::TRACE] {
        let (_lines, _logs) = Lines::logged_from(level);
        let downstream = Heads::default();
        let client = OutboundLayer::new(Disclose::All).layer(downstream.app(|_, _| status(StatusCode::OK)));
        let handler = move || async move { client.oneshot(crate::support::get("/")).await.unwrap().status() };
        let debug_span = move |_: &Request| {
            let span = tracing::span!(Level::DEBUG, "request");
            assert_eq!(span.is_disabled(), level != LevelFilter::TRACE);
            span
        };
        let app = Router::new()
            .route("/", get(handler))
            .layer(TraceLayer::new_for_http().make_span_with(debug_span))
            .layer(InboundLayer::new(Admit::Continue));
        let answer = app.oneshot(called("/")).await.unwrap();
        assert_eq!(downstream.traceparents()[0].trace_id(), caller().trace_id());
        assert_eq!(tagtrail::TraceParent::of_answer(answer.headers()).unwrap().trace_id(), caller().trace_id());
    }
}

#[tokio::test]
async fn nothing_of_a_caller_can_forge_a_line() {
    let (lines, _logs) = Lines::logged_from(LevelFilter::INFO);
    let app = Router::new()
        .route("/", get(chatty))
        .layer(TraceLayer::new_for_http().make_span_with(span_of))
        .layer(InboundLayer::new(Admit::Continue));
    for (name, value) in
        [("x-fauna-tags", "a=1\tb"), ("traceparent", "00-\"}"), ("x-fauna-tags", "a=\"}"), ("tracestate", "}")]
    {
        let mut request = crate::support::get("/");
        request.headers_mut().insert("traceparent", CALLER.parse().unwrap());
        request.headers_mut().insert(name, value.parse().unwrap());
        app.clone().oneshot(request).await.unwrap().into_body().collect().await.unwrap();
    }
    // The two requests with bad tags never came to the handler.
    assert_eq!(lines.read().len(), 2 * 3);
}
