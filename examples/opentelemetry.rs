//! Two axum services that send their spans to OpenTelemetry through `tracing`: one tree, from the caller's span down.
//! `cargo run --example opentelemetry`
//!
//! The exporter keeps the spans in memory; a real one would send them to a collector.

use std::error::Error;
use std::time::Duration;

use axum::extract::Request;
use axum::{Router, routing::get};
use opentelemetry::trace::{SpanId, TracerProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use tagtrail::{Admit, Disclose, Inbound, InboundLayer, OpenTelemetryBridge, Outbound, OutboundMiddleware, Trail};
use tokio::net::TcpListener;
use tower_http::trace::TraceLayer;
use tracing::{Instrument, info_span};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Serves on a free port, with a span for each request inside the layer that assigns its trail.
async fn serve(name: &'static str, app: Router) -> Result<String, Box<dyn Error>> {
    let span = move |request: &Request| {
        let trail = request.extensions().get::<Trail>();
        info_span!(
            "request",
            "otel.name" = name,
            "otel.kind" = "server",
            tags = trail.map(|trail| trail.tags().as_str())
        )
    };
    let inbound = Inbound::new(Admit::Continue).context_hook(OpenTelemetryBridge::new());
    let app = app.layer(TraceLayer::new_for_http().make_span_with(span)).layer(InboundLayer::new(inbound));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    tokio::spawn(async { axum::serve(listener, app).await });
    Ok(url)
}

/// Calls the backend inside a separate span, whose id is sent as the parent-id.
async fn call(client: ClientWithMiddleware, url: String) -> String {
    let sent = client.get(url).send().instrument(info_span!("call", "otel.kind" = "client")).await;
    sent.map_or_else(|error| error.to_string(), |response| response.status().to_string())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("example")).with_location(false);
    tracing_subscriber::registry().with(spans).init();

    let outbound = Outbound::new(Disclose::All).parent_span(OpenTelemetryBridge::active_span);
    let client = ClientBuilder::new(reqwest::Client::new()).with(OutboundMiddleware::new(outbound)).build();
    let backend = serve("backend", Router::new().route("/", get(|| async { "hello" }))).await?;
    let gateway = serve("gateway", Router::new().route("/", get(move || call(client, backend)))).await?;

    let request = reqwest::Client::new().get(gateway).header("traceparent", CALLER);
    let response = request.header("x-fauna-tags", "project=blog").send().await?;
    println!("response: {:?}", response.headers().get("traceparent"));
    println!("{}", response.text().await?);

    // A server's span ends when the end of the response is sent, which may be after the caller has read it.
    let mut spans = exporter.get_finished_spans()?;
    for _ in 0..1_000 {
        if spans.len() == 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        spans = exporter.get_finished_spans()?;
    }
    let caller = SpanId::from_hex("b7ad6b7169203331")?;
    println!("caller {caller}");
    let shown = show(&spans, caller, 1);
    if shown == 3 { Ok(()) } else { Err(format!("{shown} of {} spans are in the tree", spans.len()).into()) }
}

/// Prints the spans under one, and returns how many there are.
fn show(spans: &[SpanData], parent: SpanId, depth: usize) -> usize {
    let children = spans.iter().filter(|span| span.parent_span_id == parent);
    children
        .map(|span| {
            let (id, trace) = (span.span_context.span_id(), span.span_context.trace_id());
            println!("{}{} {id}, in trace {trace}", "  ".repeat(depth), span.name);
            1 + show(spans, id, depth + 1)
        })
        .sum()
}
