//! Trails as parents of spans.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use futures_util::StreamExt;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::{Span as _, SpanId, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue, TraceId};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SdkTracerProvider, Span, SpanData, SpanProcessor};
use tagtrail::{
    Admit, Disclose, Inbound, OpenTelemetryBridge, OpenTelemetryTagsExt, Outbound, OutboundLayer, Sample, Tags, Trail,
};
use tower::{Layer, ServiceExt, service_fn};
use tracing_subscriber::layer::SubscriberExt;

use crate::support::{Received, caller, empty_response, get_as_caller};

use super::{Otel, active, bridged, id, trace};

#[tokio::test]
async fn context_is_attached_in_call_poll_and_body_and_not_after() {
    let seen: Arc<Mutex<Vec<(&str, TraceId)>>> = Arc::default();
    let note = {
        let seen = Arc::clone(&seen);
        move |place| seen.lock().unwrap().push((place, active().trace_id()))
    };
    let service = service_fn(move |_| {
        note("call");
        let note = note.clone();
        async move {
            note("poll");
            tokio::task::yield_now().await;
            note("poll");
            let chunks = futures_util::stream::iter(0..2).map(move |_| {
                note("body");
                Ok::<_, std::convert::Infallible>("chunk")
            });
            Ok::<_, std::convert::Infallible>(http::Response::new(Body::from_stream(chunks)))
        }
    });
    let response = bridged().layer(service).oneshot(get_as_caller("/")).await.unwrap();
    http_body_util::BodyExt::collect(response.into_body()).await.unwrap();

    let expected = ["call", "poll", "poll", "body", "body"].map(|place| (place, trace(caller().trace_id())));
    assert_eq!(*seen.lock().unwrap(), expected);
    assert!(!active().is_valid());
}

#[tokio::test]
async fn context_follows_trail_into_spawned_work() {
    let trail = Trail::start(Sample::Always).with_context_hook(OpenTelemetryBridge::new());
    let expected = trace(trail.trace_id());
    let (future, thread) = (trail.clone(), trail.clone());
    let spawned = tokio::spawn(future.scope(async { active().trace_id() })).await.unwrap();
    let blocking = tokio::task::spawn_blocking(move || thread.in_scope(|| active().trace_id())).await.unwrap();
    assert_eq!((spawned, blocking), (expected, expected));
    let renamed = trail.with_tags(Tags::from_pairs([("a", "1")]).unwrap());
    assert_eq!(renamed.in_scope(active).trace_id(), expected);
    assert!(!active().is_valid());
}

#[test]
fn ending_thread_can_drop_unfinished_request() {
    thread_local! {
        static LEFT: RefCell<Option<Pin<Box<dyn Future<Output = ()>>>>> = const { RefCell::new(None) };
    }
    let thread = std::thread::spawn(|| {
        // Created first, so dropped last: by then the thread has no context any more.
        LEFT.with(|left| drop(left.borrow_mut().take()));
        let (mut head, ()) = http::Request::new(()).into_parts();
        let inbound = Inbound::new(Admit::Continue).context_hook(OpenTelemetryBridge::new());
        let trail = inbound.receive(&mut head).unwrap();
        let mut left = Box::pin(trail.scope(std::future::pending()));
        let mut task = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(left.as_mut().poll(&mut task).is_pending());
        LEFT.with(|slot| *slot.borrow_mut() = Some(left));
    });
    thread.join().unwrap();
}

#[test]
fn trail_without_bridge_attaches_nothing() {
    assert!(!Trail::start(Sample::Always).in_scope(active).is_valid());
}

#[test]
fn spans_have_latest_tracestate_of_trail() {
    let bridged = Trail::start(Sample::Always).with_context_hook(OpenTelemetryBridge::new());
    let stated = bridged.with_tracestate("a=1".parse().unwrap());
    let seen = [&bridged, &stated].map(|trail| trail.in_scope(|| active().trace_state().header()));
    assert_eq!(seen, ["", "a=1"]);
}

/// Adds the tags to each span as attributes.
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
fn processor_adds_tags_as_attributes() {
    let otel = Otel::with(SdkTracerProvider::builder().with_span_processor(TagAttributes));
    let trail = Trail::start(Sample::Always).with_tags(Tags::from_pairs([("project", "blog")]).unwrap());
    trail.in_scope(|| otel.tracer.in_span("tagged", |_| ()));
    otel.tracer.in_span("outside", |_| ());
    assert_eq!(otel.span("tagged").attributes, [KeyValue::new("tag.project", "blog")]);
    assert_eq!(otel.span("outside").attributes, []);
}

#[test]
fn active_span_of_same_trace_stays_active() {
    let otel = Otel::new();
    let trail = Trail::start(Sample::Always).with_context_hook(OpenTelemetryBridge::new());
    trail.in_scope(|| {
        otel.tracer.in_span("server", |server| {
            trail.with_tags(Tags::empty()).in_scope(|| {
                assert_eq!(active().span_id(), server.span().span_context().span_id());
            });
        });
    });
    // A span of another trace does not.
    otel.tracer.in_span("other", |_| {
        assert_eq!(trail.in_scope(active).trace_id(), trace(trail.trace_id()));
        assert_ne!(active().trace_id(), trace(trail.trace_id()));
    });
}

#[test]
fn sampler_follows_trail() {
    for (admit, sampled) in [(Admit::Continue, true), (Admit::Unsample, false)] {
        let otel = Otel::new();
        let inbound = Inbound::new(admit).context_hook(OpenTelemetryBridge::new());
        let (mut head, _) = get_as_caller("/").into_parts();
        let trail = inbound.receive(&mut head).unwrap();
        trail.in_scope(|| otel.tracer.in_span("server", |_| ()));
        assert_eq!(otel.exporter.get_finished_spans().unwrap().len(), usize::from(sampled));
    }
}

#[test]
fn new_trace_is_trace_of_span() {
    let otel = Otel::new();
    let trail = Trail::start(Sample::Always).with_context_hook(OpenTelemetryBridge::new());
    trail.in_scope(|| otel.tracer.in_span("server", |_| ()));
    let server = otel.span("server");
    assert_eq!(server.span_context.trace_id(), trace(trail.trace_id()));
    assert_eq!(server.parent_span_id, id(trail.span_id()));
}

/// Generates the trace-id of the current trail.
#[derive(Debug)]
struct TrailIds(RandomIdGenerator);

impl IdGenerator for TrailIds {
    fn new_trace_id(&self) -> TraceId {
        Trail::current().map_or_else(|| self.0.new_trace_id(), |trail| trace(trail.trace_id()))
    }

    fn new_span_id(&self) -> SpanId {
        self.0.new_span_id()
    }
}

#[test]
fn root_spans_have_no_parent() {
    let otel = Otel::with(SdkTracerProvider::builder().with_id_generator(TrailIds(RandomIdGenerator::default())));
    let bridge = OpenTelemetryBridge::new().root_spans();
    let started = Trail::start(Sample::Always).with_context_hook(bridge.clone());
    started.in_scope(|| otel.tracer.in_span("root", |_| otel.tracer.in_span("child", |_| ())));
    let (root, child) = (otel.span("root"), otel.span("child"));
    assert_eq!(root.span_context.trace_id(), trace(started.trace_id()));
    assert_eq!(root.parent_span_id, SpanId::INVALID);
    assert_eq!(child.parent_span_id, root.span_context.span_id());

    // Created inside a span of another trace.
    otel.tracer.in_span("other", |_| {
        let trail = Trail::start(Sample::Always).with_context_hook(bridge.clone());
        trail.in_scope(|| otel.tracer.in_span("second root", |_| ()));
        assert_eq!(otel.span("second root").span_context.trace_id(), trace(trail.trace_id()));
    });
    assert_eq!(otel.span("second root").parent_span_id, SpanId::INVALID);

    // A caller's trace is continued as usual.
    let (mut head, _) = get_as_caller("/").into_parts();
    let continued = Inbound::new(Admit::Continue).context_hook(bridge).receive(&mut head).unwrap();
    continued.in_scope(|| otel.tracer.in_span("server", |_| ()));
    assert_eq!(otel.span("server").parent_span_id, id(caller().parent_id()));
}

#[test]
fn tags_are_baggage_if_enabled() {
    let trail = Trail::start(Sample::Always).with_tags(Tags::from_pairs([("project", "blog")]).unwrap());
    let baggage = |name: &str| Context::map_current(|context| context.baggage().get(name).map(ToString::to_string));

    let plain = trail.with_context_hook(OpenTelemetryBridge::new());
    assert_eq!(plain.in_scope(|| baggage("project")), None);

    let outer = Context::current_with_baggage([KeyValue::new("held", "1")]).attach();
    let asked = trail.with_context_hook(OpenTelemetryBridge::new().tags_as_baggage("tag."));
    drop(outer);
    asked.in_scope(|| {
        assert_eq!((baggage("tag.project").as_deref(), baggage("held").as_deref()), (Some("blog"), Some("1")));
        let changed = asked.with_tags(Tags::from_pairs([("project", "shop")]).unwrap());
        assert_eq!(changed.in_scope(|| baggage("tag.project")).as_deref(), Some("shop"));
    });
    assert_eq!(baggage("tag.project"), None);
}

#[tokio::test]
async fn tracing_spans_belong_to_trail() {
    let otel = Otel::new();
    let subscriber =
        tracing_subscriber::registry().with(tracing_opentelemetry::layer().with_tracer(otel.tracer.clone()));
    let _subscriber = tracing::subscriber::set_default(subscriber);

    let downstream = Received::default();
    let client = OutboundLayer::new(Outbound::new(Disclose::All).parent_span(OpenTelemetryBridge::active_span))
        .layer(downstream.app(|_, _| empty_response(http::StatusCode::OK)));
    let handler = move || {
        tracing::Instrument::instrument(
            async move {
                client.oneshot(crate::support::get("/")).await.unwrap();
            },
            tracing::info_span!("client"),
        )
    };
    let trace_layer = tower_http::trace::TraceLayer::new_for_http()
        .make_span_with(|_: &http::Request<Body>| tracing::info_span!("server"));
    let app = Router::new().route("/", get(handler)).layer(trace_layer).layer(bridged());
    app.oneshot(get_as_caller("/")).await.unwrap();

    let (server, client) = (otel.span("server"), otel.span("client"));
    assert_eq!(server.span_context.trace_id(), trace(caller().trace_id()));
    assert_eq!(server.parent_span_id, id(caller().parent_id()));
    assert_eq!(client.parent_span_id, server.span_context.span_id());
    assert_eq!(id(downstream.traceparents()[0].parent_id()), client.span_context.span_id());
}

#[tokio::test]
async fn span_outside_layer_is_in_separate_trace() {
    let otel = Otel::new();
    let subscriber =
        tracing_subscriber::registry().with(tracing_opentelemetry::layer().with_tracer(otel.tracer.clone()));
    let _subscriber = tracing::subscriber::set_default(subscriber);

    let trace_layer = tower_http::trace::TraceLayer::new_for_http()
        .make_span_with(|_: &http::Request<Body>| tracing::info_span!("outside"));
    let handler = || async { tracing::info_span!("inside").in_scope(|| ()) };
    let app = Router::new().route("/", get(handler)).layer(bridged()).layer(trace_layer);
    app.oneshot(get_as_caller("/")).await.unwrap();

    assert_ne!(otel.span("outside").span_context.trace_id(), trace(caller().trace_id()));
    assert_eq!(otel.span("inside").span_context.trace_id(), trace(caller().trace_id()));
}
