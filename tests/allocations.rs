//! How often a request allocates, over the bare tower service: a budget that is kept.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Body;
use http_body_util::Full;
use tagtrail::{Admit, Disclose, InboundLayer, OutboundLayer, TagRules, Tags, TraceState, Trail};
use tower::{Layer, Service};

/// Answers at once, with a response whose headers hold something.
#[derive(Clone)]
struct Handler(HeaderMap);

impl Service<Request<()>> for Handler {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        drop(request);
        let mut answer = Response::new(Full::from("handled"));
        *answer.headers_mut() = std::mem::take(&mut self.0);
        ready(Ok(answer))
    }
}

/// A request whose extensions and headers hold something; header values are parts of one buffer, as hyper's are.
fn request(lines: &[(&'static str, &str)]) -> Request<()> {
    let mut request = Request::new(());
    request.extensions_mut().insert("something");
    request.headers_mut().insert("host", HeaderValue::from_static("localhost"));
    for (name, value) in lines {
        let buffer = Bytes::from([b"name: ", value.as_bytes(), b"\r\n"].concat());
        let value = buffer.slice(6..buffer.len() - 2);
        request.headers_mut().insert(*name, HeaderValue::from_maybe_shared(value).unwrap());
    }
    request
}

fn handler() -> Handler {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("text/plain"));
    Handler(headers)
}

/// Allocations of a call, its future and its answer's whole body.
fn allocations<S, B>(mut service: S, request: Request<()>) -> u64
where
    S: Service<Request<()>, Response = Response<B>>,
    B: Body,
{
    let mut cx = Context::from_waker(Waker::noop());
    let counted = allocation_counter::measure(|| {
        let future = pin!(service.call(request));
        let Poll::Ready(Ok(answer)) = future.poll(&mut cx) else { panic!("not ready") };
        let mut body = pin!(answer.into_body());
        while let Poll::Ready(Some(_)) = body.as_mut().poll_frame(&mut cx) {}
    });
    counted.count_total
}

const EVERYTHING: &[(&str, &str)] = &[
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ("tracestate", "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7,vendor@system=opaque"),
    ("x-fauna-tags", "project=blog,env=prod,team=reading,region=eu_1,version=v12"),
];

#[test]
fn a_request_that_carries_everything_costs_a_server_at_most_four() {
    let layer = InboundLayer::new(Admit::Continue);
    for lines in [EVERYTHING, &EVERYTHING[..1], &[]] {
        // Once before, so that the thread's generator is made.
        allocations(layer.layer(handler()), request(lines));
        let bare = allocations(handler(), request(lines));
        let ours = allocations(layer.layer(handler()), request(lines));
        assert!(ours > bare && ours - bare <= 4, "{ours} over {bare} with {} headers", lines.len());
    }
}

#[test]
fn who_listens_to_what_is_sent_costs_one_and_nothing_when_it_is_told() {
    static TOLD: AtomicUsize = AtomicUsize::new(0);
    let layer = OutboundLayer::new(Disclose::All);
    let trail = Trail::start(true);
    let deaf = trail.enter(|| allocations(layer.layer(handler()), request(&[])));
    let told = &TOLD;
    let added = allocation_counter::measure(|| {
        trail.on_send(move |_| {
            told.fetch_add(1, Ordering::Relaxed);
        });
    });
    assert_eq!(added.count_total, 1);
    let listening = trail.enter(|| allocations(layer.layer(handler()), request(&[])));
    assert_eq!((listening, TOLD.load(Ordering::Relaxed)), (deaf, 1));
}

/// Attack row 7: memory is bounded by what a limit allows, not by what was sent.
#[test]
fn a_thousand_lines_at_their_limit_are_not_joined() {
    let tag_line = (0..24).map(|n| format!("{n:0>40}={}", "v".repeat(80))).collect::<Vec<_>>().join(",");
    let state_line = (0..32).map(|n| format!("{n:0>256}={}", "v".repeat(256))).collect::<Vec<_>>().join(",");
    for count in [2, 1_000] {
        let mut headers = HeaderMap::new();
        for _ in 0..count {
            headers.append("x-fauna-tags", HeaderValue::from_str(&tag_line).unwrap());
            headers.append("tracestate", HeaderValue::from_str(&state_line).unwrap());
        }
        let tags = allocation_counter::measure(|| assert!(TagRules::default().from_headers(&headers).is_err()));
        let state = allocation_counter::measure(|| assert!(TraceState::from_headers(&headers).is_err()));
        assert!(tags.bytes_total <= 3_000 * 3, "{} bytes for {count} lines", tags.bytes_total);
        assert!(state.bytes_total <= 16_447 * 3, "{} bytes for {count} lines", state.bytes_total);
    }
}

#[test]
fn a_request_that_carries_everything_costs_a_client_at_most_three() {
    let layer = OutboundLayer::new(Disclose::All);
    let state = EVERYTHING[1].1.parse().unwrap();
    let full = Trail::start(true).with_tracestate(state).with_tags(EVERYTHING[2].1.parse::<Tags>().unwrap());
    for trail in [full, Trail::start(true)] {
        trail.enter(|| {
            let bare = allocations(handler(), request(&[]));
            let ours = allocations(layer.layer(handler()), request(&[]));
            assert!(ours > bare && ours - bare <= 3, "{ours} over {bare} with {trail:?}");
        });
    }
}
