//! OpenTelemetry in both directions, with its SDK and an in-memory exporter, and through `tracing-opentelemetry`.

mod bridge;
mod outgoing;
mod propagator;
mod spans;

use axum::http::{HeaderMap, HeaderValue};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TracerProvider};
use opentelemetry::{Context, TraceId};
use opentelemetry_sdk::trace::{
    InMemorySpanExporter, InMemorySpanExporterBuilder, SdkTracer, SdkTracerProvider, SpanData, TracerProviderBuilder,
};
use tagtrail::{Admit, Inbound, InboundLayer, OpenTelemetryBridge, ParentId, Sample, Trail};

/// A tracer whose finished spans are kept in memory.
struct Sdk {
    tracer: SdkTracer,
    exporter: InMemorySpanExporter,
    _provider: SdkTracerProvider,
}

impl Sdk {
    fn new() -> Self {
        Self::with(SdkTracerProvider::builder())
    }

    fn with(builder: TracerProviderBuilder) -> Self {
        let exporter = InMemorySpanExporterBuilder::new().build();
        let provider = builder.with_simple_exporter(exporter.clone()).build();
        Self { tracer: provider.tracer("test"), exporter, _provider: provider }
    }

    /// The one finished span of this name.
    #[track_caller]
    fn span(&self, name: &str) -> SpanData {
        let spans = self.exporter.get_finished_spans().unwrap();
        let found: Vec<_> = spans.iter().filter(|span| span.name == *name).collect();
        assert_eq!(found.len(), 1, "one span {name:?} among {spans:?}");
        found[0].clone()
    }
}

/// The server layer with the bridge.
fn bridged_layer() -> InboundLayer {
    InboundLayer::new(bridged_inbound(Admit::Continue))
}

fn bridged_inbound(admit: Admit) -> Inbound {
    Inbound::new(admit).context_hook(OpenTelemetryBridge::new())
}

/// A sampled trail with the bridge.
fn bridged_trail() -> Trail {
    Trail::start(Sample::Always).with_context_hook(OpenTelemetryBridge::new())
}

fn span_id(id: ParentId) -> SpanId {
    SpanId::from_bytes(id.to_bytes())
}

fn trace_id(id: tagtrail::TraceId) -> TraceId {
    TraceId::from_bytes(id.to_bytes())
}

/// The span of OpenTelemetry's current context.
fn active_span() -> SpanContext {
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
