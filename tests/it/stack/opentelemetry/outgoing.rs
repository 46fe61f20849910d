//! Spans as parents of requests that are sent.

use std::sync::{Arc, Mutex};

use axum::http::HeaderMap;
use opentelemetry::Context;
use opentelemetry::trace::{FutureExt, TraceContextExt, Tracer};
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tagtrail::{Disclose, OpenTelemetryBridge, Outbound, OutboundLayer, Sample, TraceParent, Trail};
use tower::{Layer, ServiceExt};

use crate::support::{CALLER, Received, empty_response};

use super::{Otel, headers, id, trace};

/// Returns the `traceparent` of a request that has no trail in its extensions.
fn sent(outbound: &Outbound) -> TraceParent {
    let mut headers = HeaderMap::new();
    outbound.apply(&"http://a.example/".parse().unwrap(), &mut headers, &http::Extensions::new()).unwrap();
    TraceParent::from_headers(&headers).unwrap().unwrap()
}

#[test]
fn active_span_id_and_decision_are_sent() {
    let bridged = Outbound::new(Disclose::All).parent_span(OpenTelemetryBridge::active_span);
    let plain = Outbound::new(Disclose::All);
    for (sampler, recorded) in [(Sampler::AlwaysOn, true), (Sampler::AlwaysOff, false)] {
        let otel = Otel::with(SdkTracerProvider::builder().with_sampler(sampler));
        let sent_ids = Arc::new(Mutex::new(Vec::new()));
        // The trail's flag is the opposite of the sampler's decision.
        let trail = Trail::start(if recorded { Sample::Never } else { Sample::Always })
            .with_context_hook(OpenTelemetryBridge::new());
        let listener = Arc::clone(&sent_ids);
        trail.add_send_listener(move |id| listener.lock().unwrap().push(id));
        trail.in_scope(|| {
            otel.tracer.in_span("client", |context| {
                let sent_bridged = sent(&bridged);
                let span = context.span().span_context().clone();
                assert_eq!(id(sent_bridged.parent_id()), span.span_id());
                assert_eq!(sent_bridged.flags().is_sampled(), recorded);
                assert_eq!(sent_bridged.flags().is_random(), trail.flags().is_random());
                assert_eq!(sent_bridged.trace_id(), trail.trace_id());
                assert_eq!(*sent_ids.lock().unwrap(), [sent_bridged.parent_id()]);
                // Without the bridge, the parent-id is new, and the flags are those of the trail.
                let sent_plain = sent(&plain);
                assert_ne!(id(sent_plain.parent_id()), span.span_id());
                assert_eq!(sent_plain.flags(), trail.flags());
            });
            // The remote parent is not a span of this program.
            let between = sent(&bridged);
            assert_ne!(between.parent_id(), trail.span_id());
            assert_eq!(between.trace_id(), trail.trace_id());
        });
    }
}

#[test]
fn span_of_other_trace_is_not_sent() {
    let otel = Otel::new();
    let bridged = Outbound::new(Disclose::All).parent_span(OpenTelemetryBridge::active_span);
    otel.tracer.in_span("other", |context| {
        let other = context.span().span_context().clone();
        let trail = Trail::start(Sample::Always);
        let sent_of_trail = trail.in_scope(|| sent(&bridged));
        assert_eq!(sent_of_trail.trace_id(), trail.trace_id());
        assert_ne!(id(sent_of_trail.parent_id()), other.span_id());
        // Without a trail, the request belongs to the trace of the span.
        let sent_of_span = sent(&bridged);
        assert_eq!((trace(sent_of_span.trace_id()), id(sent_of_span.parent_id())), (other.trace_id(), other.span_id()));
        // It does not belong to the trace that its headers name.
        let mut named = headers(&[("traceparent", CALLER)]);
        bridged.apply(&"http://a.example/".parse().unwrap(), &mut named, &http::Extensions::new()).unwrap();
        assert_eq!(TraceParent::from_headers(&named).unwrap(), Some(sent_of_span));
    });
}

#[tokio::test]
async fn attempts_with_separate_spans_have_separate_ids() {
    let otel = Otel::new();
    let heads = Received::default();
    let layer = OutboundLayer::new(Outbound::new(Disclose::All).parent_span(OpenTelemetryBridge::active_span));
    let client = layer.layer(heads.app(|_, _| empty_response(http::StatusCode::SERVICE_UNAVAILABLE)));
    let trail = Trail::start(Sample::Always).with_context_hook(OpenTelemetryBridge::new());
    trail
        .scope(async {
            for _ in 0..3 {
                let attempt = Context::current_with_span(otel.tracer.start("attempt"));
                client.clone().oneshot(crate::support::get("/")).with_context(attempt).await.unwrap();
            }
        })
        .await;
    assert_eq!(heads.assert_one_trace(), trail.trace_id());
}
