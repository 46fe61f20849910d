//! Trace contexts as OpenTelemetry's span contexts, and back.

use opentelemetry::trace::{SpanContext, SpanId};

use crate::header::{ParentId, TraceContext, TraceFlags, TraceId, TraceParent, TraceState};

/// Returns the trace context of a span; `None` if the span is invalid.
pub(super) fn trace_context(span: &SpanContext) -> Option<TraceContext> {
    let parent = TraceParent::new(
        TraceId::from_bytes(span.trace_id().to_bytes())?,
        ParentId::from_bytes(span.span_id().to_bytes())?,
        TraceFlags::from_bits_truncate(span.trace_flags().to_u8()),
    );
    let state = match span.trace_state().header() {
        list if list.is_empty() => TraceState::empty(),
        list => TraceState::from_bytes(list.as_bytes()).unwrap_or_default(),
    };
    Some(TraceContext::new(parent, state))
}

/// Creates the span context of a trace that was received.
pub(super) fn remote_span(parent: &TraceParent, state: &TraceState) -> SpanContext {
    SpanContext::new(
        opentelemetry::TraceId::from_bytes(parent.trace_id().to_bytes()),
        SpanId::from_bytes(parent.parent_id().to_bytes()),
        opentelemetry::TraceFlags::new(parent.flags().bits()),
        true,
        members(state),
    )
}

/// Returns the members that OpenTelemetry accepts: it follows Level 1's rule for keys.
fn members(state: &TraceState) -> opentelemetry::trace::TraceState {
    use opentelemetry::trace::TraceState as Members;
    let is_accepted = |member: &(&str, &str)| Members::from_key_value([*member]).is_ok();
    Members::from_key_value(state)
        .or_else(|_| Members::from_key_value(state.iter().filter(is_accepted)))
        .unwrap_or_default()
}
