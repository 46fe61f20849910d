//! One value, in memory.

use std::hint::black_box;
use std::str::FromStr;

use emit_traceparent::{Traceparent, Tracestate};
use http::{HeaderMap, HeaderValue};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{TraceContextExt, TraceState};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use rand::Rng;
use regex::bytes::Regex;
use tagtrail_benches::case::Case;
use tagtrail_benches::inputs::{Head, TAGS, TRACEPARENT, TRACESTATE, members, sliced, tags};
use tagtrail_benches::ours::cleared;
use trace_context_level3 as level3;

const OTEL: &str = "opentelemetry";
const FASTRACE: &str = "fastrace";
const EMIT: &str = "emit_traceparent";
const LEVEL3: &str = "trace-context-level3";
/// In brackets: what does less than the work.
const FASTRAND: &str = "(fastrand, whose numbers can be predicted)";
const REGEX: &str = "(a regex, without limits and doubles)";

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(from_bytes());
    cases.extend(from_map());
    cases.extend(into_map());
    cases.extend(tracestate());
    cases.extend(tag_values());
    cases.extend(ids());
    cases
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok()
}

fn from_bytes() -> Vec<Case> {
    let work = "traceparent-from-bytes";
    let input = || str::from_utf8(black_box(TRACEPARENT.as_bytes())).expect("ASCII");
    vec![
        Case::new(work, EMIT, move || Traceparent::try_from_str(input()).is_ok()),
        Case::new(work, FASTRACE, move || fastrace::prelude::SpanContext::decode_w3c_traceparent(input())),
        Case::new(work, LEVEL3, move || level3::TraceParent::from_str(input()).is_ok()),
    ]
}

fn from_map() -> Vec<Case> {
    let (traceparent, context) = ("traceparent-from-map", "context-from-map");
    let both = Head::with(&[("traceparent", TRACEPARENT), ("tracestate", TRACESTATE)]).map();
    let one = Head::with(&[("traceparent", TRACEPARENT)]).map();
    let otel = |map: HeaderMap| {
        let propagator = TraceContextPropagator::new();
        move || propagator.extract(&HeaderExtractor(black_box(&map)))
    };
    let parent = |map: &HeaderMap| map.get("traceparent").and_then(text).map(level3::TraceParent::from_str);
    let (of_level3, of_level3_both) = (one.clone(), both.clone());
    let level3_both = move || {
        let map = black_box(&of_level3_both);
        let lines = map.get_all("tracestate").iter().filter_map(text);
        (parent(map), level3::TraceState::parse_lenient_many(lines))
    };
    let emit = |map: &HeaderMap| {
        map.get("traceparent").and_then(text).is_some_and(|value| Traceparent::try_from_str(value).is_ok())
    };
    let (of_emit, of_emit_both) = (one.clone(), both.clone());
    let emit_both = move || {
        let map = black_box(&of_emit_both);
        (emit(map), map.get("tracestate").and_then(text).map(Tracestate::new_owned_raw))
    };
    let of_fastrace = one.clone();
    let fastrace = move || {
        let value = black_box(&of_fastrace).get("traceparent").and_then(text);
        value.and_then(fastrace::prelude::SpanContext::decode_w3c_traceparent)
    };
    vec![
        Case::new(traceparent, OTEL, otel(one)),
        Case::new(traceparent, FASTRACE, fastrace),
        Case::new(traceparent, LEVEL3, move || parent(black_box(&of_level3))),
        Case::new(traceparent, EMIT, move || emit(black_box(&of_emit))),
        Case::new(context, OTEL, otel(both)),
        Case::new(context, LEVEL3, level3_both),
        Case::new(context, "(emit_traceparent, which keeps tracestate unread)", emit_both),
    ]
}

fn into_map() -> Vec<Case> {
    let work = "traceparent-into-map";
    let map = Head::with(&[("traceparent", TRACEPARENT)]).map();
    let propagator = TraceContextPropagator::new();
    let context = propagator.extract(&HeaderExtractor(&map));
    assert!(context.span().span_context().is_valid());
    let of_fastrace = fastrace::prelude::SpanContext::decode_w3c_traceparent(TRACEPARENT).expect("valid");
    let emit = Traceparent::try_from_str(TRACEPARENT).expect("valid");
    let level3 = level3::TraceParent::from_str(TRACEPARENT).expect("valid");
    let insert = |map: &mut HeaderMap, text: String| {
        map.insert("traceparent", HeaderValue::try_from(text).expect("a header value"));
    };
    [
        Case::new("map-cleared", "bare", cleared(|_| ())),
        Case::new(
            work,
            OTEL,
            cleared(move |map| {
                propagator.inject_context(black_box(&context), &mut HeaderInjector(map));
            }),
        ),
        Case::new(work, FASTRACE, cleared(move |map| insert(map, black_box(&of_fastrace).encode_w3c_traceparent()))),
        Case::new(work, EMIT, cleared(move |map| insert(map, black_box(&emit).to_string()))),
        Case::new(work, LEVEL3, cleared(move |map| insert(map, black_box(&level3).to_string()))),
    ]
    .into_iter()
    .map(|case| if case.work == work { case.over("map-cleared") } else { case })
    .collect()
}

fn tracestate() -> Vec<Case> {
    let value = sliced(&members(32));
    let of_level3 = value.clone();
    vec![
        Case::new("tracestate-32", OTEL, move || TraceState::from_str(text(black_box(&value)).expect("ASCII"))),
        Case::new("tracestate-32", LEVEL3, move || {
            level3::TraceState::from_str(text(black_box(&of_level3)).expect("ASCII"))
        }),
    ]
}

fn tag_values() -> Vec<Case> {
    let pair = "[A-Za-z0-9_]+=[A-Za-z0-9_]+";
    let regex = Regex::new(&format!(r"(?-u)\A{pair}(?:,{pair})*\z")).expect("a regex");
    let value = |work: &'static str, list: &str| {
        let (regex, value) = (regex.clone(), sliced(list));
        Case::new(work, REGEX, move || assert!(regex.is_match(black_box(&value).as_bytes())))
    };
    vec![value("tags-1", "project=blog"), value("tags-5", TAGS), value("tags-25", &tags(25))]
}

fn ids() -> Vec<Case> {
    let otel = RandomIdGenerator::default();
    vec![
        Case::new("ids", "(rand's default generator alone)", || {
            let mut rng = rand::rng();
            (rng.next_u64(), rng.next_u64(), rng.next_u64())
        }),
        Case::new("ids", FASTRAND, || (fastrand::u128(..), fastrand::u64(..))),
        Case::new("ids", "(opentelemetry, whose numbers can be predicted)", move || {
            (otel.new_trace_id(), otel.new_span_id())
        }),
        Case::new("ids", FASTRACE, || (fastrace::prelude::TraceId::random(), fastrace::prelude::SpanId::random())),
        Case::new("ids", LEVEL3, || (level3::TraceId::random(), level3::ParentId::random())),
    ]
}
