//! OpenTelemetry's context beside a trail: where it is current, and what it holds.

use std::cell::RefCell;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Waker;

use axum::body::Body;
use futures_util::StreamExt;
use http_body_util::BodyExt;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::{SpanId, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue, TraceId};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SdkTracerProvider};
use tagtrail::{Admit, Inbound, OpenTelemetryBridge, Sample, Tags, Trail};
use tower::{Layer, ServiceExt, service_fn};

use super::{Sdk, active_span, bridged_inbound, bridged_layer, bridged_trail, span_id, trace_id};
use crate::support::{caller, get_as_caller, trail};

#[tokio::test]
async fn context_is_current_in_call_poll_and_body_only() {
    let seen: Arc<Mutex<Vec<(&str, TraceId)>>> = Arc::default();
    let record = {
        let seen = Arc::clone(&seen);
        move |place| seen.lock().unwrap().push((place, active_span().trace_id()))
    };
    let service = service_fn(move |_| {
        record("call");
        let record = record.clone();
        async move {
            record("poll");
            tokio::task::yield_now().await;
            record("poll");
            let chunks = futures_util::stream::iter(0..2).map(move |_| {
                record("body");
                Ok::<_, Infallible>("chunk")
            });
            Ok::<_, Infallible>(http::Response::new(Body::from_stream(chunks)))
        }
    });
    let response = bridged_layer().layer(service).oneshot(get_as_caller("/")).await.unwrap();
    response.into_body().collect().await.unwrap();

    let expected = ["call", "poll", "poll", "body", "body"].map(|place| (place, trace_id(caller().trace_id())));
    assert_eq!(*seen.lock().unwrap(), expected);
    assert!(!active_span().is_valid());
}

#[tokio::test]
async fn context_follows_trail_into_spawned_work() {
    let trail = bridged_trail();
    let expected = trace_id(trail.trace_id());
    let (future, thread) = (trail.clone(), trail.clone());
    let spawned = tokio::spawn(future.scope(async { active_span().trace_id() })).await.unwrap();
    let blocking = tokio::task::spawn_blocking(move || thread.in_scope(|| active_span().trace_id())).await.unwrap();
    assert_eq!((spawned, blocking), (expected, expected));
    let derived = trail.with_tags(Tags::from_pairs([("a", "1")]).unwrap());
    assert_eq!(derived.in_scope(active_span).trace_id(), expected);
    assert!(!active_span().is_valid());
}

#[test]
fn future_can_be_dropped_while_thread_shuts_down() {
    thread_local! {
        static LEFTOVER: RefCell<Option<Pin<Box<dyn Future<Output = ()>>>>> = const { RefCell::new(None) };
    }
    let thread = std::thread::spawn(|| {
        // Created first, so dropped last: OpenTelemetry's own thread local is gone by then.
        LEFTOVER.with(|leftover| drop(leftover.borrow_mut().take()));
        let (mut parts, ()) = http::Request::new(()).into_parts();
        let trail = bridged_inbound(Admit::Continue).receive(&mut parts).unwrap();
        let mut future = Box::pin(trail.scope(std::future::pending()));
        let mut cx = std::task::Context::from_waker(Waker::noop());
        assert!(future.as_mut().poll(&mut cx).is_pending());
        LEFTOVER.with(|leftover| *leftover.borrow_mut() = Some(future));
    });
    thread.join().unwrap();
}

#[test]
fn trail_without_bridge_attaches_no_context() {
    assert!(!Trail::start(Sample::Always).in_scope(active_span).is_valid());
}

#[test]
fn context_has_newest_tracestate_of_trail() {
    let trail = bridged_trail();
    let derived = trail.with_tracestate("a=1".parse().unwrap());
    let seen = [&trail, &derived].map(|trail| trail.in_scope(|| active_span().trace_state().header()));
    assert_eq!(seen, ["", "a=1"]);
}

#[test]
fn active_span_of_same_trace_stays_active() {
    let sdk = Sdk::new();
    let trail = bridged_trail();
    trail.in_scope(|| {
        sdk.tracer.in_span("server", |server| {
            trail.with_tags(Tags::empty()).in_scope(|| {
                assert_eq!(active_span().span_id(), server.span().span_context().span_id());
            });
        });
    });
}

#[test]
fn active_span_of_other_trace_is_replaced() {
    let sdk = Sdk::new();
    let trail = bridged_trail();
    sdk.tracer.in_span("other", |_| {
        assert_eq!(trail.in_scope(active_span).trace_id(), trace_id(trail.trace_id()));
        assert_ne!(active_span().trace_id(), trace_id(trail.trace_id()));
    });
}

#[test]
fn sampler_follows_trail() {
    for (admit, sampled) in [(Admit::Continue, true), (Admit::Unsample, false)] {
        let sdk = Sdk::new();
        let (mut parts, _) = get_as_caller("/").into_parts();
        let trail = bridged_inbound(admit).receive(&mut parts).unwrap();
        trail.in_scope(|| sdk.tracer.in_span("server", |_| ()));
        assert_eq!(sdk.exporter.get_finished_spans().unwrap().len(), usize::from(sampled));
    }
}

#[test]
fn span_of_new_trace_is_child_of_trail() {
    let sdk = Sdk::new();
    let trail = bridged_trail();
    trail.in_scope(|| sdk.tracer.in_span("server", |_| ()));
    let server = sdk.span("server");
    assert_eq!(server.span_context.trace_id(), trace_id(trail.trace_id()));
    assert_eq!(server.parent_span_id, span_id(trail.span_id()));
}

/// Gives the SDK the trace-id of the current trail.
#[derive(Debug)]
struct TrailIds(RandomIdGenerator);

impl IdGenerator for TrailIds {
    fn new_trace_id(&self) -> TraceId {
        Trail::current().map_or_else(|| self.0.new_trace_id(), |trail| trace_id(trail.trace_id()))
    }

    fn new_span_id(&self) -> SpanId {
        self.0.new_span_id()
    }
}

fn sdk_with_trail_ids() -> Sdk {
    Sdk::with(SdkTracerProvider::builder().with_id_generator(TrailIds(RandomIdGenerator::default())))
}

#[test]
fn own_roots_start_root_spans_in_trace_of_trail() {
    let sdk = sdk_with_trail_ids();
    let trail = Trail::start(Sample::Always).with_context_hook(OpenTelemetryBridge::new().root_spans());
    trail.in_scope(|| sdk.tracer.in_span("root", |_| sdk.tracer.in_span("child", |_| ())));
    let (root, child) = (sdk.span("root"), sdk.span("child"));
    assert_eq!(root.span_context.trace_id(), trace_id(trail.trace_id()));
    assert_eq!(root.parent_span_id, SpanId::INVALID);
    assert_eq!(child.parent_span_id, root.span_context.span_id());
}

#[test]
fn own_roots_ignore_active_span_of_other_trace() {
    let sdk = sdk_with_trail_ids();
    sdk.tracer.in_span("other", |_| {
        let trail = Trail::start(Sample::Always).with_context_hook(OpenTelemetryBridge::new().root_spans());
        trail.in_scope(|| sdk.tracer.in_span("root", |_| ()));
        assert_eq!(sdk.span("root").span_context.trace_id(), trace_id(trail.trace_id()));
    });
    assert_eq!(sdk.span("root").parent_span_id, SpanId::INVALID);
}

#[test]
fn own_roots_keep_remote_parent_of_caller() {
    let sdk = sdk_with_trail_ids();
    let (mut parts, _) = get_as_caller("/").into_parts();
    let inbound = Inbound::new(Admit::Continue).context_hook(OpenTelemetryBridge::new().root_spans());
    let trail = inbound.receive(&mut parts).unwrap();
    trail.in_scope(|| sdk.tracer.in_span("server", |_| ()));
    assert_eq!(sdk.span("server").parent_span_id, span_id(caller().parent_id()));
}

#[test]
fn tags_become_baggage_only_when_enabled() {
    let baggage = |name: &str| Context::map_current(|context| context.baggage().get(name).map(ToString::to_string));

    let without = trail().with_context_hook(OpenTelemetryBridge::new());
    assert_eq!(without.in_scope(|| baggage("project")), None);

    let outer = Context::current_with_baggage([KeyValue::new("existing", "1")]).attach();
    let with = trail().with_context_hook(OpenTelemetryBridge::new().tags_as_baggage("tag."));
    drop(outer);
    with.in_scope(|| {
        assert_eq!((baggage("tag.project").as_deref(), baggage("existing").as_deref()), (Some("blog"), Some("1")));
        let changed = with.with_tags(Tags::from_pairs([("project", "shop")]).unwrap());
        assert_eq!(changed.in_scope(|| baggage("tag.project")).as_deref(), Some("shop"));
    });
    assert_eq!(baggage("tag.project"), None);
}
