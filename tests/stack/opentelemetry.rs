//! OpenTelemetry both ways, with its SDK and an exporter in memory; and through `tracing-opentelemetry`.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue};
use axum::routing::get;
use futures_util::StreamExt;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{
    FutureExt, Span as _, SpanContext, SpanId, SpanKind, TraceContextExt, TraceState as OtelState, Tracer,
    TracerProvider,
};
use opentelemetry::{Context, KeyValue, TraceFlags, TraceId};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    IdGenerator, InMemorySpanExporter, InMemorySpanExporterBuilder, RandomIdGenerator, Sampler, SdkTracer,
    SdkTracerProvider, Span, SpanData, SpanProcessor,
};
use tagtrail::{
    Admit, Disclose, Inbound, InboundLayer, OpenTelemetry, Outbound, OutboundLayer, OutboundMiddleware, ParentId,
    Propagator, Tags, TraceParent, Trail,
};
use tower::{Layer, ServiceExt, service_fn};
use tracing_subscriber::layer::SubscriberExt;

use crate::support::{CALLER, Heads, called, caller, serve, status};

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
    InboundLayer::new(Inbound::new(Admit::Continue).with_opentelemetry(&OpenTelemetry::new()))
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
    let downstream = Heads::default();
    let address = serve(downstream.app(|_, _| status(http::StatusCode::OK))).await;
    let client = reqwest_middleware::ClientBuilder::new(reqwest::Client::new())
        .with(OutboundMiddleware::new(Outbound::new(Disclose::All).with_opentelemetry()))
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
    let answer = app.oneshot(called("/")).await.unwrap();

    let (server, client) = (otel.span("server"), otel.span("client"));
    assert_eq!(server.span_context.trace_id(), trace(caller().trace_id()));
    assert_eq!(server.parent_span_id, id(caller().parent_id()));
    assert!(server.parent_span_is_remote);
    assert_eq!(client.span_context.trace_id(), trace(caller().trace_id()));
    assert_eq!(client.parent_span_id, server.span_context.span_id());
    let sent = downstream.traceparents();
    assert_eq!(id(sent[0].parent_id()), client.span_context.span_id());
    assert_eq!(sent[0].trace_id(), caller().trace_id());
    // The answer names the trail's own operation, as without the bridge.
    let answered = tagtrail::TraceParent::of_answer(answer.headers()).unwrap();
    assert_eq!(answered.trace_id(), caller().trace_id());
    assert_ne!(answered.parent_id(), caller().parent_id());
}

#[tokio::test]
async fn the_context_is_there_in_call_poll_and_body_and_not_after() {
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
    let answer = bridged().layer(service).oneshot(called("/")).await.unwrap();
    http_body_util::BodyExt::collect(answer.into_body()).await.unwrap();

    let expected = ["call", "poll", "poll", "body", "body"].map(|place| (place, trace(caller().trace_id())));
    assert_eq!(*seen.lock().unwrap(), expected);
    assert!(!active().is_valid());
}

fn active() -> SpanContext {
    Context::map_current(|context| context.span().span_context().clone())
}

#[tokio::test]
async fn the_context_goes_with_a_trail_into_spawned_work() {
    let trail = Trail::start(true).with_opentelemetry(&OpenTelemetry::new());
    let expected = trace(trail.trace_id());
    let (future, thread) = (trail.clone(), trail.clone());
    let spawned = tokio::spawn(future.scope(async { active().trace_id() })).await.unwrap();
    let blocking = tokio::task::spawn_blocking(move || thread.enter(|| active().trace_id())).await.unwrap();
    assert_eq!((spawned, blocking), (expected, expected));
    let renamed = trail.with_tags(Tags::new([("a", "1")]).unwrap());
    assert_eq!(renamed.enter(active).trace_id(), expected);
    assert!(!active().is_valid());
}

#[test]
fn a_thread_that_ends_may_drop_what_is_left_of_a_request() {
    thread_local! {
        static LEFT: RefCell<Option<Pin<Box<dyn Future<Output = ()>>>>> = const { RefCell::new(None) };
    }
    let thread = std::thread::spawn(|| {
        // First made, last dropped: then the thread has no context any more.
        LEFT.with(|left| drop(left.borrow_mut().take()));
        let (mut head, ()) = http::Request::new(()).into_parts();
        let inbound = Inbound::new(Admit::Continue).with_opentelemetry(&OpenTelemetry::new());
        let trail = inbound.receive(&mut head).unwrap();
        let mut left = Box::pin(trail.scope(std::future::pending()));
        let mut task = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(left.as_mut().poll(&mut task).is_pending());
        LEFT.with(|slot| *slot.borrow_mut() = Some(left));
    });
    thread.join().unwrap();
}

#[test]
fn a_trail_by_itself_attaches_nothing() {
    assert!(!Trail::start(true).enter(active).is_valid());
}

#[test]
fn spans_have_the_tracestate_that_a_trail_was_given_last() {
    let bridged = Trail::start(true).with_opentelemetry(&OpenTelemetry::new());
    let stated = bridged.with_tracestate("a=1".parse().unwrap());
    let seen = [&bridged, &stated].map(|trail| trail.enter(|| active().trace_state().header()));
    assert_eq!(seen, ["", "a=1"]);
}

/// Gives each span the tags as attributes.
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
fn tags_are_attributes_by_a_processor() {
    let otel = Otel::with(SdkTracerProvider::builder().with_span_processor(TagAttributes));
    let trail = Trail::start(true).with_tags(Tags::new([("project", "blog")]).unwrap());
    trail.enter(|| otel.tracer.in_span("tagged", |_| ()));
    otel.tracer.in_span("outside", |_| ());
    assert_eq!(otel.span("tagged").attributes, [KeyValue::new("tag.project", "blog")]);
    assert_eq!(otel.span("outside").attributes, []);
}

#[test]
fn an_active_span_of_the_trace_stays_active() {
    let otel = Otel::new();
    let trail = Trail::start(true).with_opentelemetry(&OpenTelemetry::new());
    trail.enter(|| {
        otel.tracer.in_span("server", |server| {
            trail.with_tags(Tags::empty()).enter(|| {
                assert_eq!(active().span_id(), server.span().span_context().span_id());
            });
        });
    });
    // One of another trace does not.
    otel.tracer.in_span("other", |_| {
        assert_eq!(trail.enter(active).trace_id(), trace(trail.trace_id()));
        assert_ne!(active().trace_id(), trace(trail.trace_id()));
    });
}

#[test]
fn the_samplers_decision_is_the_trails() {
    for (admit, sampled) in [(Admit::Continue, true), (Admit::Unsample, false)] {
        let otel = Otel::new();
        let inbound = Inbound::new(admit).with_opentelemetry(&OpenTelemetry::new());
        let (mut head, _) = called("/").into_parts();
        let trail = inbound.receive(&mut head).unwrap();
        trail.enter(|| otel.tracer.in_span("server", |_| ()));
        assert_eq!(otel.exporter.get_finished_spans().unwrap().len(), usize::from(sampled));
    }
}

#[test]
fn a_trace_that_starts_here_is_the_spans_trace_too() {
    let otel = Otel::new();
    let trail = Trail::start(true).with_opentelemetry(&OpenTelemetry::new());
    trail.enter(|| otel.tracer.in_span("server", |_| ()));
    let server = otel.span("server");
    assert_eq!(server.span_context.trace_id(), trace(trail.trace_id()));
    assert_eq!(server.parent_span_id, id(trail.operation_id()));
}

/// Gives the SDK the trace-id of the current trail.
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
fn own_roots_have_no_parent() {
    let otel = Otel::with(SdkTracerProvider::builder().with_id_generator(TrailIds(RandomIdGenerator::default())));
    let bridge = OpenTelemetry::new().own_roots();
    let started = Trail::start(true).with_opentelemetry(&bridge);
    started.enter(|| otel.tracer.in_span("root", |_| otel.tracer.in_span("child", |_| ())));
    let (root, child) = (otel.span("root"), otel.span("child"));
    assert_eq!(root.span_context.trace_id(), trace(started.trace_id()));
    assert_eq!(root.parent_span_id, SpanId::INVALID);
    assert_eq!(child.parent_span_id, root.span_context.span_id());

    // Made inside of a span of another trace.
    otel.tracer.in_span("other", |_| {
        let trail = Trail::start(true).with_opentelemetry(&bridge);
        trail.enter(|| otel.tracer.in_span("second root", |_| ()));
        assert_eq!(otel.span("second root").span_context.trace_id(), trace(trail.trace_id()));
    });
    assert_eq!(otel.span("second root").parent_span_id, SpanId::INVALID);

    // A caller's trace goes on as ever.
    let (mut head, _) = called("/").into_parts();
    let continued = Inbound::new(Admit::Continue).with_opentelemetry(&bridge).receive(&mut head).unwrap();
    continued.enter(|| otel.tracer.in_span("server", |_| ()));
    assert_eq!(otel.span("server").parent_span_id, id(caller().parent_id()));
}

#[test]
fn tags_are_baggage_where_asked_for() {
    let trail = Trail::start(true).with_tags(Tags::new([("project", "blog")]).unwrap());
    let baggage = |name: &str| Context::map_current(|context| context.baggage().get(name).map(ToString::to_string));

    let plain = trail.with_opentelemetry(&OpenTelemetry::new());
    assert_eq!(plain.enter(|| baggage("project")), None);

    let outer = Context::current_with_baggage([KeyValue::new("held", "1")]).attach();
    let asked = trail.with_opentelemetry(&OpenTelemetry::new().tags_as_baggage("tag."));
    drop(outer);
    asked.enter(|| {
        assert_eq!((baggage("tag.project").as_deref(), baggage("held").as_deref()), (Some("blog"), Some("1")));
        let changed = asked.with_tags(Tags::new([("project", "shop")]).unwrap());
        assert_eq!(changed.enter(|| baggage("tag.project")).as_deref(), Some("shop"));
    });
    assert_eq!(baggage("tag.project"), None);
}

/// What is sent of a request without a trail in its extensions, to a client that tells everything.
fn sent(outbound: &Outbound) -> TraceParent {
    let mut headers = HeaderMap::new();
    outbound.apply(&"http://a.example/".parse().unwrap(), &mut headers, &http::Extensions::new()).unwrap();
    TraceParent::from_headers(&headers).unwrap().unwrap()
}

#[test]
fn the_active_spans_id_and_decision_are_sent() {
    let bridged = Outbound::new(Disclose::All).with_opentelemetry();
    let plain = Outbound::new(Disclose::All);
    for (sampler, recorded) in [(Sampler::AlwaysOn, true), (Sampler::AlwaysOff, false)] {
        let otel = Otel::with(SdkTracerProvider::builder().with_sampler(sampler));
        let told = Arc::new(Mutex::new(Vec::new()));
        // The opposite of what the sampler decides.
        let trail = Trail::start(!recorded).with_opentelemetry(&OpenTelemetry::new());
        let listener = Arc::clone(&told);
        trail.on_send(move |id| listener.lock().unwrap().push(id));
        trail.enter(|| {
            otel.tracer.in_span("client", |context| {
                let sent_bridged = sent(&bridged);
                let span = context.span().span_context().clone();
                assert_eq!(id(sent_bridged.parent_id()), span.span_id());
                assert_eq!(sent_bridged.flags().is_sampled(), recorded);
                assert_eq!(sent_bridged.flags().is_random(), trail.flags().is_random());
                assert_eq!(sent_bridged.trace_id(), trail.trace_id());
                assert_eq!(*told.lock().unwrap(), [sent_bridged.parent_id()]);
                // Where nothing is bridged, the parent-id is new, and the flags are the trail's.
                let sent_plain = sent(&plain);
                assert_ne!(id(sent_plain.parent_id()), span.span_id());
                assert_eq!(sent_plain.flags(), trail.flags());
            });
            // The remote parent is no span of ours.
            let between = sent(&bridged);
            assert_ne!(between.parent_id(), trail.operation_id());
            assert_eq!(between.trace_id(), trail.trace_id());
        });
    }
}

#[test]
fn a_span_of_another_trace_is_not_sent() {
    let otel = Otel::new();
    let bridged = Outbound::new(Disclose::All).with_opentelemetry();
    otel.tracer.in_span("other", |context| {
        let other = context.span().span_context().clone();
        let trail = Trail::start(true);
        let sent_of_trail = trail.enter(|| sent(&bridged));
        assert_eq!(sent_of_trail.trace_id(), trail.trace_id());
        assert_ne!(id(sent_of_trail.parent_id()), other.span_id());
        // Without a trail the request belongs to the trace of the span.
        let sent_of_span = sent(&bridged);
        assert_eq!((trace(sent_of_span.trace_id()), id(sent_of_span.parent_id())), (other.trace_id(), other.span_id()));
        // Not to that which its headers name.
        let mut named = headers(&[("traceparent", CALLER)]);
        bridged.apply(&"http://a.example/".parse().unwrap(), &mut named, &http::Extensions::new()).unwrap();
        assert_eq!(TraceParent::from_headers(&named).unwrap(), Some(sent_of_span));
    });
}

#[tokio::test]
async fn each_attempt_with_a_span_of_its_own_has_an_id_of_its_own() {
    let otel = Otel::new();
    let heads = Heads::default();
    let layer = OutboundLayer::new(Outbound::new(Disclose::All).with_opentelemetry());
    let client = layer.layer(heads.app(|_, _| status(http::StatusCode::SERVICE_UNAVAILABLE)));
    let trail = Trail::start(true).with_opentelemetry(&OpenTelemetry::new());
    trail
        .scope(async {
            for _ in 0..3 {
                let attempt = Context::current_with_span(otel.tracer.start("attempt"));
                client.clone().oneshot(crate::support::get("/")).with_context(attempt).await.unwrap();
            }
        })
        .await;
    assert_eq!(heads.one_trace(), trail.trace_id());
}

#[tokio::test]
async fn spans_of_tracing_belong_to_the_trail() {
    let otel = Otel::new();
    let subscriber =
        tracing_subscriber::registry().with(tracing_opentelemetry::layer().with_tracer(otel.tracer.clone()));
    let _subscriber = tracing::subscriber::set_default(subscriber);

    let downstream = Heads::default();
    let client = OutboundLayer::new(Outbound::new(Disclose::All).with_opentelemetry())
        .layer(downstream.app(|_, _| status(http::StatusCode::OK)));
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
    app.oneshot(called("/")).await.unwrap();

    let (server, client) = (otel.span("server"), otel.span("client"));
    assert_eq!(server.span_context.trace_id(), trace(caller().trace_id()));
    assert_eq!(server.parent_span_id, id(caller().parent_id()));
    assert_eq!(client.parent_span_id, server.span_context.span_id());
    assert_eq!(id(downstream.traceparents()[0].parent_id()), client.span_context.span_id());
}

#[tokio::test]
async fn a_span_made_outside_of_the_layer_is_in_a_trace_of_its_own() {
    let otel = Otel::new();
    let subscriber =
        tracing_subscriber::registry().with(tracing_opentelemetry::layer().with_tracer(otel.tracer.clone()));
    let _subscriber = tracing::subscriber::set_default(subscriber);

    let trace_layer = tower_http::trace::TraceLayer::new_for_http()
        .make_span_with(|_: &http::Request<Body>| tracing::info_span!("outside"));
    let handler = || async { tracing::info_span!("inside").in_scope(|| ()) };
    let app = Router::new().route("/", get(handler)).layer(bridged()).layer(trace_layer);
    app.oneshot(called("/")).await.unwrap();

    assert_ne!(otel.span("outside").span_context.trace_id(), trace(caller().trace_id()));
    assert_eq!(otel.span("inside").span_context.trace_id(), trace(caller().trace_id()));
}

type Lines = &'static [(&'static str, &'static str)];

/// Headers, and the flags of the span context that is read of them, if one is.
const EXTRACTED: &[(Lines, Option<u8>)] = &[
    (&[("traceparent", CALLER)], Some(1)),
    (&[("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff")], Some(3)),
    (&[("traceparent", "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more")], Some(1)),
    (&[("traceparent", "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.more")], None),
    (&[("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1")], None),
    (&[("traceparent", "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")], None),
    (&[("traceparent", "00-af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")], None),
    (&[("traceparent", CALLER), ("traceparent", CALLER)], None),
    (&[("tracestate", "a=1")], None),
    (&[], None),
];

#[test]
fn the_propagator_reads_by_the_rules_of_the_w3c() {
    for (lines, flags) in EXTRACTED {
        let context = Propagator::new().extract(&HeaderExtractor(&headers(lines)));
        let span = context.span().span_context().clone();
        assert_eq!(span.is_valid().then(|| span.trace_flags().to_u8()), *flags, "{lines:?}");
        assert_eq!(span.is_remote(), flags.is_some());
        assert!(flags.is_none() || span.span_id() == id(caller().parent_id()));
    }
}

fn headers(lines: Lines) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

#[test]
fn the_propagator_carries_tracestate() {
    let rows: &[(&[&str], Option<&str>)] = &[
        (&["a=1,b=2"], Some("a=1,b=2")),
        (&["", "a=1", "b=2"], Some("a=1,b=2")),
        (&["a=1,,b"], None),
        (&["a="], None),
        (&[], None),
        // Keys of the newest draft, which OpenTelemetry does not know: they are lost, and the others kept.
        (&["a=1,x@y@z=2,b=3"], Some("a=1,b=3")),
    ];
    for (lines, expected) in rows {
        let mut received = headers(&[("traceparent", CALLER)]);
        for line in *lines {
            received.append("tracestate", HeaderValue::from_str(line).unwrap());
        }
        let context = Propagator::new().extract(&HeaderExtractor(&received));
        let mut injected = HeaderMap::new();
        Propagator::new().inject_context(&context, &mut HeaderInjector(&mut injected));
        assert_eq!(injected["traceparent"], CALLER);
        assert_eq!(injected.get("tracestate").map(|value| value.to_str().unwrap()), *expected, "{lines:?}");
    }
}

#[test]
fn the_propagator_writes_nothing_that_is_invalid() {
    let mut injected = HeaderMap::new();
    Propagator::new().inject_context(&Context::new(), &mut HeaderInjector(&mut injected));
    assert!(injected.is_empty());

    // OpenTelemetry takes an empty value, the W3C does not.
    let state = OtelState::from_key_value([("a", "")]).unwrap();
    let span = SpanContext::new(TraceId::from(1), SpanId::from(2), TraceFlags::new(0xff), false, state);
    let context = Context::new().with_remote_span_context(span);
    Propagator::new().inject_context(&context, &mut HeaderInjector(&mut injected));
    assert_eq!(injected["traceparent"], "00-00000000000000000000000000000001-0000000000000002-03");
    assert!(!injected.contains_key("tracestate"));
    assert_eq!(Propagator::new().fields().collect::<Vec<_>>(), ["traceparent", "tracestate"]);
}
