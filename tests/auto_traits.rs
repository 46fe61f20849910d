//! What users rely on without asking: public types go between threads, and what holds no secret can be shown.

use std::fmt::Debug;

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
