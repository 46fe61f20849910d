//! tower-otel: spans of `tracing`, recorded by tracing-opentelemetry.

use tagtrail_benches::case::Case;
use tagtrail_benches::service::Bare;
use tower::Layer;
use tower_otel::trace::HttpLayer;
use tracing::Level;
use tracing_subscriber::layer::SubscriberExt;

use crate::opentelemetry::propagate;
use crate::{bare_client, bare_servers, client, server};

/// For the whole process: the spans of `tracing` are those of OpenTelemetry, too.
pub fn subscribe() {
    let layer = tracing_opentelemetry::layer().with_tracer(propagate());
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::set_global_default(subscriber).expect("the only subscriber");
}

pub(crate) fn cases() -> Vec<Case> {
    subscribe();
    let mut cases: Vec<Case> = bare_servers().collect();
    cases.extend(server!("tower-otel", HttpLayer::server(Level::INFO).trace_body().layer(Bare)));
    cases.push(bare_client());
    cases.push(client!("tower-otel", HttpLayer::client(Level::INFO).layer(Bare)));
    cases
}
