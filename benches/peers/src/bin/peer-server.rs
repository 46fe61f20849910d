//! Serves within the layers of a peer.

use axum_tracing_opentelemetry::middleware::{OtelAxumLayer, OtelInResponseLayer};
use fastrace_axum::FastraceLayer;
use opentelemetry_instrumentation_tower::http::server::LayerBuilder;
use peers::{propagate, report, subscribe};
use tagtrail_benches::server::{app, serve};
use tower::ServiceBuilder;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::trace::TraceLayer;
use tower_otel::trace::HttpLayer;
use tracing::Level;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("(tower-http TraceLayer, which propagates nothing)") => serve(app().layer(TraceLayer::new_for_http())),
        Some("(tower-http request-id, one opaque id)") => serve(
            app().layer(
                ServiceBuilder::new()
                    .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
                    .layer(PropagateRequestIdLayer::x_request_id()),
            ),
        ),
        Some("fastrace-axum") => {
            report();
            serve(app().layer(FastraceLayer::default()));
        }
        Some("opentelemetry-instrumentation-tower") => {
            propagate();
            serve(app().layer(LayerBuilder::builder().with_metrics(false).build().expect("a layer")));
        }
        Some("axum-tracing-opentelemetry") => {
            subscribe();
            serve(app().layer(OtelInResponseLayer).layer(OtelAxumLayer::default()));
        }
        Some("tower-otel") => {
            subscribe();
            serve(app().layer(HttpLayer::server(Level::INFO).trace_body()));
        }
        Some("bare") => serve(app()),
        _ => panic!("no peer has this name"),
    }
}
