//! Spans of a whole service: of the SDK, and of `tracing` through `tracing-opentelemetry`.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use opentelemetry::trace::{FutureExt, Span as _, SpanKind, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanData, SpanProcessor};
use reqwest_middleware::ClientBuilder;
use tagtrail::{
    Disclose, OpenTelemetryBridge, OpenTelemetryTagsExt, Outbound, OutboundLayer, OutboundMiddleware, Trail,
};
use tower::{Layer, ServiceExt};
use tower_http::trace::TraceLayer;
use tracing::Instrument;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt;

use super::{Sdk, bridged_layer, span_id, trace_id};
use crate::support::{self, Received, caller, get_as_caller, response_traceparent, serve, trail};

#[tokio::test]
async fn server_span_and_client_span_join_trace_of_caller() {
    let sdk = Sdk::new();
    let downstream = Received::default();
    let address = serve(downstream.ok_app()).await;
    let client = ClientBuilder::new(reqwest::Client::new())
        .with(OutboundMiddleware::new(Outbound::new(Disclose::All).parent_span(OpenTelemetryBridge::active_span)))
        .build();

    let tracer = sdk.tracer.clone();
    let handler = move || async move {
        let server =
            Context::current_with_span(tracer.span_builder("server").with_kind(SpanKind::Server).start(&tracer));
        async {
            let client_span = Context::current_with_span(tracer.start("client"));
            client.get(format!("http://{address}/")).send().with_context(client_span).await.unwrap();
        }
        .with_context(server)
        .await;
    };
    let app = Router::new().route("/", get(handler)).layer(bridged_layer());
    let response = app.oneshot(get_as_caller("/")).await.unwrap();

    let (server, client) = (sdk.span("server"), sdk.span("client"));
    assert_eq!(server.span_context.trace_id(), trace_id(caller().trace_id()));
    assert_eq!(server.parent_span_id, span_id(caller().parent_id()));
    assert!(server.parent_span_is_remote);
    assert_eq!(client.span_context.trace_id(), trace_id(caller().trace_id()));
    assert_eq!(client.parent_span_id, server.span_context.span_id());
    let sent = downstream.traceparents();
    assert_eq!(span_id(sent[0].parent_id()), client.span_context.span_id());
    assert_eq!(sent[0].trace_id(), caller().trace_id());
    // The response names the trail's own operation, as without the bridge.
    let echoed = response_traceparent(response.headers());
    assert_eq!(echoed.trace_id(), caller().trace_id());
    assert_ne!(echoed.parent_id(), caller().parent_id());
}

/// Gives each span the tags of the current trail as attributes.
#[derive(Debug)]
struct TagAttributes;

impl SpanProcessor for TagAttributes {
    fn on_start(&self, span: &mut Span, _: &Context) {
        if let Some(trail) = Trail::current() {
            span.set_attributes(trail.tags().key_values("tag."));
        }
    }

    fn on_end(&self, _: SpanData) {}

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

#[test]
fn span_processor_can_add_tags_as_attributes() {
    let sdk = Sdk::with(SdkTracerProvider::builder().with_span_processor(TagAttributes));
    trail().in_scope(|| sdk.tracer.in_span("inside", |_| ()));
    sdk.tracer.in_span("outside", |_| ());
    assert_eq!(sdk.span("inside").attributes, [KeyValue::new("tag.project", "blog")]);
    assert_eq!(sdk.span("outside").attributes, []);
}

/// Sends the spans of `tracing` on this thread to the SDK.
fn subscribe(sdk: &Sdk) -> DefaultGuard {
    let layer = tracing_opentelemetry::layer().with_tracer(sdk.tracer.clone());
    tracing::subscriber::set_default(tracing_subscriber::registry().with(layer))
}

#[tokio::test]
async fn tracing_spans_inside_layer_join_trace_of_caller() {
    let sdk = Sdk::new();
    let _guard = subscribe(&sdk);

    let downstream = Received::default();
    let client = OutboundLayer::new(Outbound::new(Disclose::All).parent_span(OpenTelemetryBridge::active_span))
        .layer(downstream.ok_app());
    let handler = move || {
        let call = async move {
            client.oneshot(support::get("/")).await.unwrap();
        };
        call.instrument(tracing::info_span!("client"))
    };
    let trace_layer =
        TraceLayer::new_for_http().make_span_with(|_: &http::Request<Body>| tracing::info_span!("server"));
    let app = Router::new().route("/", get(handler)).layer(trace_layer).layer(bridged_layer());
    app.oneshot(get_as_caller("/")).await.unwrap();

    let (server, client) = (sdk.span("server"), sdk.span("client"));
    assert_eq!(server.span_context.trace_id(), trace_id(caller().trace_id()));
    assert_eq!(server.parent_span_id, span_id(caller().parent_id()));
    assert_eq!(client.parent_span_id, server.span_context.span_id());
    assert_eq!(span_id(downstream.traceparents()[0].parent_id()), client.span_context.span_id());
}

#[tokio::test]
async fn tracing_span_outside_layer_is_in_other_trace() {
    let sdk = Sdk::new();
    let _guard = subscribe(&sdk);

    let trace_layer =
        TraceLayer::new_for_http().make_span_with(|_: &http::Request<Body>| tracing::info_span!("outside"));
    let handler = || async { tracing::info_span!("inside").in_scope(|| ()) };
    let app = Router::new().route("/", get(handler)).layer(bridged_layer()).layer(trace_layer);
    app.oneshot(get_as_caller("/")).await.unwrap();

    assert_ne!(sdk.span("outside").span_context.trace_id(), trace_id(caller().trace_id()));
    assert_eq!(sdk.span("inside").span_context.trace_id(), trace_id(caller().trace_id()));
}
