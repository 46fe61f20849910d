//! The crate's own cases.

use std::hint::black_box;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body_util::Full;
use tagtrail::{
    Admit, Disclose, Inbound, InboundLayer, OutboundLayer, ParentId, Sample, TagOptions, Tags, TraceContext, TraceId,
    TraceParent, TraceState, Trail,
};
use tower::Layer;

use crate::case::{Case, empty};
use crate::inputs::{Head, TAGS, TRACEPARENT, TRACESTATE, X_FAUNA_TAGS, alike, members, sliced, tags};
use crate::service::{Bare, drive, outgoing, request};

const US: &str = "tagtrail";

/// Returns all cases, starting with those that others are compared with.
pub fn cases() -> Vec<Case> {
    let mut cases = vec![empty()];
    cases.extend(values());
    cases.extend(server());
    cases.extend(client());
    cases.extend(series());
    cases
}

/// One value, in memory.
fn values() -> Vec<Case> {
    let present = Head::present().map();
    let from_map = present.clone();
    let parent: TraceParent = TRACEPARENT.parse().expect("valid");
    let options = TagOptions::default();
    vec![
        Case::new("traceparent-from-bytes", US, || TraceParent::from_bytes(black_box(TRACEPARENT.as_bytes()))),
        Case::new("traceparent-from-map", US, move || TraceParent::from_headers(black_box(&from_map))),
        Case::new("map-cleared", "bare", cleared(|_| ())),
        Case::new("traceparent-into-map", US, cleared(move |map| black_box(&parent).insert_into(map)))
            .over("map-cleared"),
        Case::new("context-from-map", US, {
            let map = present.clone();
            move || TraceContext::from_headers(black_box(&map))
        }),
        tracestate("tracestate-32", &members(32)),
        tag_value("tags-1", "project=blog"),
        tag_value("tags-5", TAGS),
        tag_value("tags-25", &tags(25)),
        Case::new("tags-5-from-map", US, move || options.from_headers(black_box(&present))),
        Case::new("ids", US, || (TraceId::random(), ParentId::random())),
    ]
}

/// A map with room, empty whenever `write` is called.
pub fn cleared(mut write: impl FnMut(&mut HeaderMap) + 'static) -> impl FnMut() {
    let mut map = HeaderMap::with_capacity(8);
    move || {
        map.clear();
        write(black_box(&mut map));
    }
}

fn tracestate(work: &str, list: &str) -> Case {
    let value = sliced(list);
    Case::new(work, US, move || TraceState::try_from(black_box(&value)).expect("valid"))
}

fn tag_value(work: &str, list: &str) -> Case {
    let value = sliced(list);
    Case::new(work, US, move || Tags::try_from(black_box(&value)).expect("valid"))
}

/// A request through the server layer, everything on.
fn server() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, head) in [("present", Head::present()), ("absent", Head::absent())] {
        let (bare, layered) = (format!("server-{name}-bare"), format!("server-{name}"));
        let mut service = InboundLayer::new(Inbound::admit_with(|_| Admit::Continue)).layer(Bare);
        let of_bare = head.clone();
        cases.push(Case::new(&*bare, "bare", move || drive(&mut Bare, request(&of_bare, Full::<Bytes>::default()))));
        cases.push(
            Case::new(layered, US, move || drive(&mut service, request(&head, Full::<Bytes>::default()))).over(&bare),
        );
    }
    cases
}

/// A request through the client layer, sent while a trail is current.
fn client() -> Vec<Case> {
    let tags = Tags::from_bytes(TAGS.as_bytes()).expect("valid");
    let state: TraceState = TRACESTATE.parse().expect("valid");
    let alone = Trail::start(Sample::Always);
    let all = alone.with_tags(tags).with_tracestate(state);
    let service = OutboundLayer::new(Disclose::All).layer(Bare);
    let mut cases = Vec::new();
    let current = alone.clone();
    cases.push(Case::new("client-bare", "bare", move || current.in_scope(|| drive(&mut Bare, outgoing()))));
    for (name, trail) in [("client-traceparent", alone), ("client-all", all)] {
        let mut service = service.clone();
        let run = move || trail.in_scope(|| drive(&mut service, outgoing()));
        cases.push(Case::new(name, US, run).over("client-bare"));
    }
    cases
}

/// The same work on more and more input: the cost grows linearly, and stops at the limits.
fn series() -> Vec<Case> {
    let mut cases = Vec::new();
    for count in 0..=25 {
        cases.push(tag_value(&format!("series-tags-{count}"), &tags(count)));
        cases.push(tag_value(&format!("series-alike-{count}"), &alike(count)));
    }
    for count in 0..=32 {
        cases.push(tracestate(&format!("series-members-{count}"), &members(count)));
    }
    for count in [1, 2, 5, 10, 20, 32, 50, 100, 200, 400, 600, 800, 1000] {
        cases.push(lines("tracestate", count));
        cases.push(lines("tags", count));
    }
    cases
}

/// Lines of one header, parsed as the server layer parses them.
fn lines(header: &'static str, count: usize) -> Case {
    let options = TagOptions::default();
    let mut map = HeaderMap::new();
    map.insert("traceparent", HeaderValue::from_static(TRACEPARENT));
    for index in 0..count {
        let line = sliced(&format!("name_{index}=value_{index}"));
        map.append(if header == "tags" { X_FAUNA_TAGS.clone() } else { "tracestate".parse().expect("valid") }, line);
    }
    Case::new(format!("series-lines-{header}-{count}"), US, move || {
        (options.from_headers(black_box(&map)), TraceContext::from_headers(black_box(&map)))
    })
}
