//! Requests that are sent with the active span as their parent.

use std::sync::{Arc, Mutex};

use axum::http::{HeaderMap, StatusCode};
use opentelemetry::Context;
use opentelemetry::trace::{FutureExt, TraceContextExt, Tracer};
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tagtrail::{Disclose, OpenTelemetryBridge, Outbound, OutboundLayer, Sample, TraceParent, Trail};
use tower::{Layer, ServiceExt};

use super::{Sdk, bridged_trail, headers, span_id, trace_id};
use crate::support::{CALLER, Received, empty_response, get};

fn bridged_outbound() -> Outbound {
    Outbound::new(Disclose::All).parent_span(OpenTelemetryBridge::active_span)
}

/// The `traceparent` of a request with these headers and no extensions.
#[track_caller]
fn sent_with(outbound: &Outbound, mut headers: HeaderMap) -> TraceParent {
    outbound.apply(&"http://a.example/".parse().unwrap(), &mut headers, &http::Extensions::new()).unwrap();
    TraceParent::from_headers(&headers).unwrap().unwrap()
}

#[track_caller]
fn sent(outbound: &Outbound) -> TraceParent {
    sent_with(outbound, HeaderMap::new())
}

#[test]
fn active_span_is_sent_as_parent_with_its_sampling_decision() {
    for (sampler, recorded) in [(Sampler::AlwaysOn, true), (Sampler::AlwaysOff, false)] {
        let sdk = Sdk::with(SdkTracerProvider::builder().with_sampler(sampler));
        let log = Arc::new(Mutex::new(Vec::new()));
        // The opposite of what the sampler decides.
        let trail = Trail::start(if recorded { Sample::Never } else { Sample::Always })
            .with_context_hook(OpenTelemetryBridge::new());
        let listener = Arc::clone(&log);
        trail.add_send_listener(move |id| listener.lock().unwrap().push(id));
        trail.in_scope(|| {
            sdk.tracer.in_span("client", |context| {
                let bridged = sent(&bridged_outbound());
                let span = context.span().span_context().clone();
                assert_eq!(span_id(bridged.parent_id()), span.span_id());
                assert_eq!(bridged.flags().is_sampled(), recorded);
                assert_eq!(bridged.flags().is_random(), trail.flags().is_random());
                assert_eq!(bridged.trace_id(), trail.trace_id());
                assert_eq!(*log.lock().unwrap(), [bridged.parent_id()]);
                // Without the bridge the parent-id is new, and the flags are the trail's.
                let plain = sent(&Outbound::new(Disclose::All));
                assert_ne!(span_id(plain.parent_id()), span.span_id());
                assert_eq!(plain.flags(), trail.flags());
            });
        });
    }
}

#[test]
fn remote_parent_is_not_sent_as_active_span() {
    let trail = bridged_trail();
    trail.in_scope(|| {
        let sent = sent(&bridged_outbound());
        assert_ne!(sent.parent_id(), trail.span_id());
        assert_eq!(sent.trace_id(), trail.trace_id());
    });
}

#[test]
fn active_span_of_other_trace_is_not_sent() {
    let sdk = Sdk::new();
    sdk.tracer.in_span("other", |context| {
        let other = context.span().span_context().clone();
        let trail = Trail::start(Sample::Always);
        let sent = trail.in_scope(|| sent(&bridged_outbound()));
        assert_eq!(sent.trace_id(), trail.trace_id());
        assert_ne!(span_id(sent.parent_id()), other.span_id());
    });
}

#[test]
fn request_without_trail_continues_active_span_and_not_its_headers() {
    let sdk = Sdk::new();
    sdk.tracer.in_span("client", |context| {
        let span = context.span().span_context().clone();
        let without_headers = sent(&bridged_outbound());
        assert_eq!(trace_id(without_headers.trace_id()), span.trace_id());
        assert_eq!(span_id(without_headers.parent_id()), span.span_id());
        let with_headers = sent_with(&bridged_outbound(), headers(&[("traceparent", CALLER)]));
        assert_eq!(with_headers, without_headers);
    });
}

#[tokio::test]
async fn attempts_with_own_spans_have_own_parent_ids() {
    let sdk = Sdk::new();
    let received = Received::default();
    let app = received.app(|_, _| empty_response(StatusCode::SERVICE_UNAVAILABLE));
    let client = OutboundLayer::new(bridged_outbound()).layer(app);
    let trail = bridged_trail();
    trail
        .scope(async {
            for _ in 0..3 {
                let attempt = Context::current_with_span(sdk.tracer.start("attempt"));
                client.clone().oneshot(get("/")).with_context(attempt).await.unwrap();
            }
        })
        .await;
    assert_eq!(received.assert_one_trace(), trail.trace_id());
    assert_eq!(received.len(), 3);
}
