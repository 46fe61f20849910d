//! axum-tracing-opentelemetry, with its response layer: spans of `tracing`, recorded by tracing-opentelemetry.

use axum_tracing_opentelemetry::middleware::{OtelAxumLayer, OtelInResponseLayer};
use tagtrail_benches::case::Case;
use tagtrail_benches::service::Bare;
use tower::ServiceBuilder;

use crate::tower_otel::subscribe;
use crate::{bare_servers, server};

pub(crate) fn cases() -> Vec<Case> {
    subscribe();
    let mut cases: Vec<Case> = bare_servers().collect();
    cases.extend(server!("axum-tracing-opentelemetry", {
        ServiceBuilder::new().layer(OtelAxumLayer::default()).layer(OtelInResponseLayer).service(Bare)
    }));
    cases
}
