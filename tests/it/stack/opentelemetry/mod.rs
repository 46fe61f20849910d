//! OpenTelemetry in both directions, with its SDK and an in-memory exporter, and through `tracing-opentelemetry`.

mod bridge;
mod outgoing;
mod propagator;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue};
use axum::routing::get;
use opentelemetry::trace::{FutureExt, SpanContext, SpanId, SpanKind, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, TraceId};
use opentelemetry_sdk::trace::{
    InMemorySpanExporter, InMemorySpanExporterBuilder, SdkTracer, SdkTracerProvider, SpanData,
};
use tagtrail::{
    Admit, Disclose, Inbound, InboundLayer, OpenTelemetryBridge, Outbound, OutboundMiddleware, ParentId, TraceParent,
};
use tower::ServiceExt;

use crate::support::{Received, caller, empty_response, get_as_caller, serve};

struct Otel {
    tracer: SdkTracer,
    exporter: InMemorySpanExporter,
    _provider: SdkTracerProvider,
}

impl Otel {
    fn new() -> Self {
        Self::with(SdkTracerProvider::builder())
    }

    fn with(builder: opentelemetry_sdk::trace::TracerProviderBuilder) -> Self {
        let exporter = InMemorySpanExporterBuilder::new().build();
        let provider = builder.with_simple_exporter(exporter.clone()).build();
        Self { tracer: provider.tracer("test"), exporter, _provider: provider }
    }

    fn span(&self, name: &str) -> SpanData {
        let spans = self.exporter.get_finished_spans().unwrap();
        let found: Vec<_> = spans.iter().filter(|span| span.name == *name).collect();
        assert_eq!(found.len(), 1, "one span {name:?} among {spans:?}");
        found[0].clone()
    }
}

fn bridged() -> InboundLayer {
    InboundLayer::new(Inbound::new(Admit::Continue).context_hook(OpenTelemetryBridge::new()))
}

fn id(parent: ParentId) -> SpanId {
    SpanId::from_bytes(parent.to_bytes())
}

fn trace(id: tagtrail::TraceId) -> TraceId {
    TraceId::from_bytes(id.to_bytes())
}

#[tokio::test]
async fn server_span_client_span_and_remote_parent_are_one_trace() {
    let otel = Otel::new();
    let downstream = Received::default();
    let address = serve(downstream.app(|_, _| empty_response(http::StatusCode::OK))).await;
    let client = reqwest_middleware::ClientBuilder::new(reqwest::Client::new())
        .with(OutboundMiddleware::new(Outbound::new(Disclose::All).parent_span(OpenTelemetryBridge::active_span)))
        .build();

    let tracer = otel.tracer.clone();
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
    let app = Router::new().route("/", get(handler)).layer(bridged());
    let response = app.oneshot(get_as_caller("/")).await.unwrap();

    let (server, client) = (otel.span("server"), otel.span("client"));
    assert_eq!(server.span_context.trace_id(), trace(caller().trace_id()));
    assert_eq!(server.parent_span_id, id(caller().parent_id()));
    assert!(server.parent_span_is_remote);
    assert_eq!(client.span_context.trace_id(), trace(caller().trace_id()));
    assert_eq!(client.parent_span_id, server.span_context.span_id());
    let sent = downstream.traceparents();
    assert_eq!(id(sent[0].parent_id()), client.span_context.span_id());
    assert_eq!(sent[0].trace_id(), caller().trace_id());
    // The response names the trail's own span, as it does without the bridge.
    let named = TraceParent::from_response_headers(response.headers()).unwrap().unwrap();
    assert_eq!(named.trace_id(), caller().trace_id());
    assert_ne!(named.parent_id(), caller().parent_id());
}

fn active() -> SpanContext {
    Context::map_current(|context| context.span().span_context().clone())
}

type Lines = &'static [(&'static str, &'static str)];

fn headers(lines: Lines) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    headers
}
