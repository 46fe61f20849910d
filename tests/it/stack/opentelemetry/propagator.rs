//! The W3C propagator for OpenTelemetry.

use axum::http::{HeaderMap, HeaderValue};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceState};
use opentelemetry::{Context, TraceFlags, TraceId};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use tagtrail::TraceContextPropagator;

use super::{Lines, headers, span_id};
use crate::support::{CALLER, caller};

/// Headers, and the flags of the extracted span context, if there is one.
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
fn propagator_extracts_valid_traceparent_only() {
    for (lines, flags) in EXTRACTED {
        let context = TraceContextPropagator::new().extract(&HeaderExtractor(&headers(lines)));
        let span = context.span().span_context().clone();
        assert_eq!(span.is_valid().then(|| span.trace_flags().to_u8()), *flags, "{lines:?}");
        assert_eq!(span.is_remote(), flags.is_some());
        assert!(flags.is_none() || span.span_id() == span_id(caller().parent_id()));
    }
}

fn injected(context: &Context) -> HeaderMap {
    let mut headers = HeaderMap::new();
    TraceContextPropagator::new().inject_context(context, &mut HeaderInjector(&mut headers));
    headers
}

#[test]
fn propagator_carries_tracestate() {
    let rows: &[(&[&str], Option<&str>)] = &[
        (&["a=1,b=2"], Some("a=1,b=2")),
        (&["", "a=1", "b=2"], Some("a=1,b=2")),
        (&["a=1,,b"], None),
        (&["a="], None),
        (&[], None),
        // OpenTelemetry does not know the keys of the newest draft: they are lost, and the others kept.
        (&["a=1,x@y@z=2,b=3"], Some("a=1,b=3")),
    ];
    for (lines, expected) in rows {
        let mut received = headers(&[("traceparent", CALLER)]);
        for line in *lines {
            received.append("tracestate", HeaderValue::from_str(line).unwrap());
        }
        let context = TraceContextPropagator::new().extract(&HeaderExtractor(&received));
        let injected = injected(&context);
        assert_eq!(injected["traceparent"], CALLER);
        assert_eq!(injected.get("tracestate").map(|value| value.to_str().unwrap()), *expected, "{lines:?}");
    }
}

#[test]
fn propagator_injects_nothing_without_span() {
    assert!(injected(&Context::new()).is_empty());
}

#[test]
fn propagator_injects_no_invalid_tracestate() {
    // OpenTelemetry accepts an empty value, the W3C does not.
    let state = TraceState::from_key_value([("a", "")]).unwrap();
    let span = SpanContext::new(TraceId::from(1), SpanId::from(2), TraceFlags::new(0xff), false, state);
    let injected = injected(&Context::new().with_remote_span_context(span));
    assert_eq!(injected["traceparent"], "00-00000000000000000000000000000001-0000000000000002-03");
    assert!(!injected.contains_key("tracestate"));
}

#[test]
fn propagator_names_its_fields() {
    assert_eq!(TraceContextPropagator::new().fields().collect::<Vec<_>>(), ["traceparent", "tracestate"]);
}
