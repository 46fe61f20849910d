use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use http::Request;
use tagtrail::{
    Admit, Disclose, Echo, FollowRedirects, Inbound, InboundBody, InboundFuture, InboundLayer, InboundService,
    InvalidId, InvalidTags, InvalidTagsPolicy, InvalidTarget, InvalidTraceParent, InvalidTraceState, NewTraces,
    OpenTelemetryBridge, Outbound, OutboundFuture, OutboundLayer, OutboundMiddleware, OutboundService, ParentId,
    RedirectError, Rejection, RequestTags, Sample, Scoped, TagOptions, Tags, Targets, TraceContext, TraceFlags,
    TraceId, TraceParent, TraceState, Trail,
};

use crate::support::CALLER;

fn assert_value<T: Clone + Debug + Send + Sync + Unpin + 'static>() {}
fn assert_thread_safe<T: Debug + Send + Sync + Unpin + 'static>() {}
fn assert_error<T: std::error::Error + Send + Sync + 'static>() {}

#[test]
fn public_types_have_expected_auto_traits() {
    assert_value::<(TraceId, ParentId, TraceFlags, TraceParent, TraceState, TraceContext)>();
    assert_value::<(Tags, TagOptions, RequestTags, Trail, Targets)>();
    assert_value::<(Admit, Disclose, Sample, Echo, Inbound, Outbound)>();
    assert_value::<(InboundLayer, InboundService<()>, OutboundLayer, OutboundService<()>, OutboundMiddleware)>();
    assert_value::<(Rejection, InvalidTagsPolicy, NewTraces, FollowRedirects, OpenTelemetryBridge)>();
    assert_thread_safe::<(Scoped<()>, InboundFuture<()>, InboundBody<()>, OutboundFuture<()>)>();
    assert_error::<InvalidTags>();
    assert_error::<InvalidTarget>();
    assert_error::<InvalidTraceParent>();
    assert_error::<InvalidTraceState>();
    assert_error::<InvalidId>();
    assert_error::<RedirectError>();
    assert_error::<Rejection>();
}

#[test]
fn debug_output_omits_secrets() {
    let mut request = Request::new(());
    for (name, value) in [("traceparent", CALLER), ("tracestate", "a=1"), ("x-fauna-tags", "b=2,b=2")] {
        request.headers_mut().append(name, value.parse().unwrap());
    }
    request.headers_mut().insert("authorization", "Bearer secret".parse().unwrap());
    let output = Arc::new(Mutex::new(String::new()));
    let writer = Arc::clone(&output);
    let inbound = Inbound::new(Admit::Continue).on_rejection(move |_, rejection| {
        *writer.lock().unwrap() = format!("{rejection:?}");
    });
    let (mut parts, ()) = request.into_parts();
    inbound.receive(&mut parts).unwrap_err();
    let output = output.lock().unwrap();
    assert!(output.starts_with("Rejection { trail: Trail { traceparent: TraceParent(00-0af7651916cd43dd"), "{output}");
    assert!(output.contains("tracestate: {\"a\": \"1\"}, tags: {}") && output.contains("status: 400"), "{output}");
    assert!(!output.contains("secret"), "{output}");
}

#[test]
fn debug_output_shows_settings() {
    let inbound = Inbound::new(Admit::Continue);
    let output = format!("{inbound:?} {:?}", Outbound::new(Disclose::TraceOnly));
    for part in ["Inbound { admit: Continue, sample: Always", "x-fauna-tags", "Outbound { disclose: TraceOnly"] {
        assert!(output.contains(part), "{output}");
    }
    assert_eq!(format!("{:?}", InboundBody::<()>::default()), "InboundBody { .. }");
}
