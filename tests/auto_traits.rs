//! What users rely on without asking: public types go between threads, and what holds no secret can be shown.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use http::Request;
use tagtrail::{
    Admit, Disclose, Echo, Inbound, InboundBody, InboundFuture, InboundLayer, InboundService, InvalidTags,
    InvalidTarget, InvalidTraceParent, InvalidTraceState, Outbound, OutboundError, OutboundFuture, OutboundLayer,
    OutboundMiddleware, OutboundService, ParentId, Refusal, RequestTags, Sample, Scoped, TagRules, Tags, Targets,
    TraceContext, TraceFlags, TraceId, TraceParent, TraceState, Trail,
};

fn plain<T: Clone + Debug + Send + Sync + Unpin + 'static>() {}
fn shared<T: Debug + Send + Sync + Unpin + 'static>() {}
fn error<T: std::error::Error + Send + Sync + 'static>() {}

#[test]
fn public_types_are_what_users_expect() {
    plain::<(TraceId, ParentId, TraceFlags, TraceParent, TraceState, TraceContext)>();
    plain::<(Tags, TagRules, RequestTags, Trail, Targets)>();
    plain::<(Admit, Disclose, Sample, Echo, Inbound, Outbound)>();
    plain::<(InboundLayer, InboundService<()>, OutboundLayer, OutboundService<()>, OutboundMiddleware)>();
    plain::<Refusal<'static>>();
    shared::<(Scoped<()>, InboundFuture<()>, InboundBody<()>, OutboundFuture<(), ()>)>();
    error::<InvalidTags>();
    error::<InvalidTarget>();
    error::<InvalidTraceParent>();
    error::<InvalidTraceState>();
    error::<OutboundError<Box<dyn std::error::Error + Send + Sync>>>();
}

#[test]
fn what_is_shown_is_what_helps_and_no_secret() {
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut request = Request::new(());
    for (name, value) in [("traceparent", parent), ("tracestate", "a=1"), ("x-fauna-tags", "b=2,b=2")] {
        request.headers_mut().append(name, value.parse().unwrap());
    }
    request.headers_mut().insert("authorization", "Bearer secret".parse().unwrap());
    let told = Arc::new(Mutex::new(String::new()));
    let teller = Arc::clone(&told);
    let inbound = Inbound::new(Admit::Continue).on_refusal(move |refusal| {
        *teller.lock().unwrap() = format!("{refusal:?}");
    });
    let (mut head, ()) = request.into_parts();
    inbound.receive(&mut head).unwrap_err();
    let told = told.lock().unwrap();
    assert!(told.starts_with("Refusal { trail: Trail { traceparent: TraceParent(00-0af7651916cd43dd"), "{told}");
    assert!(told.contains("tracestate: {\"a\": \"1\"}, tags: {}") && told.contains("status: 400"), "{told}");
    assert!(!told.contains("secret"), "{told}");

    let shown = format!("{inbound:?} {:?}", Outbound::new(Disclose::TraceOnly));
    for part in ["Inbound { admit: Continue, sample: Always", "x-fauna-tags", "Outbound { disclose: TraceOnly"] {
        assert!(shown.contains(part), "{shown}");
    }
    assert_eq!(format!("{:?}", InboundBody::<()>::default()), "InboundBody { .. }");
}
