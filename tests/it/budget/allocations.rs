//! How often a request allocates, compared with the bare tower service.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Body;
use http_body_util::Full;
use tagtrail::{Admit, Disclose, InboundLayer, OutboundLayer, Sample, TagOptions, Tags, TraceState, Trail};
use tower::{Layer, Service};

/// Responds at once, with these headers.
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
        let mut response = Response::new(Full::from("handled"));
        *response.headers_mut() = std::mem::take(&mut self.0);
        ready(Ok(response))
    }
}

/// A request whose extensions and headers are not empty. Header values are slices of one buffer, as hyper's are.
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

/// Counts the allocations of a call, its future and the whole body of its response.
#[track_caller]
fn allocations<S, B>(mut service: S, request: Request<()>) -> u64
where
    S: Service<Request<()>, Response = Response<B>>,
    B: Body,
{
    let mut cx = Context::from_waker(Waker::noop());
    let counted = allocation_counter::measure(|| {
        let future = pin!(service.call(request));
        let Poll::Ready(Ok(response)) = future.poll(&mut cx) else { panic!("not ready") };
        let mut body = pin!(response.into_body());
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
fn server_request_costs_at_most_four_allocations() {
    let layer = InboundLayer::new(Admit::Continue);
    for lines in [EVERYTHING, &EVERYTHING[..1], &[]] {
        // Run once before, so that the thread's random generator exists.
        allocations(layer.layer(handler()), request(lines));
        let bare = allocations(handler(), request(lines));
        let layered = allocations(layer.layer(handler()), request(lines));
        assert!(layered > bare && layered - bare <= 4, "{layered} over {bare} with {} headers", lines.len());
    }
}

#[test]
fn client_request_costs_at_most_three_allocations() {
    let layer = OutboundLayer::new(Disclose::All);
    let state = EVERYTHING[1].1.parse().unwrap();
    let full = Trail::start(Sample::Always).with_tracestate(state).with_tags(EVERYTHING[2].1.parse::<Tags>().unwrap());
    for trail in [full, Trail::start(Sample::Always)] {
        trail.in_scope(|| {
            let bare = allocations(handler(), request(&[]));
            let layered = allocations(layer.layer(handler()), request(&[]));
            assert!(layered > bare && layered - bare <= 3, "{layered} over {bare} with {trail:?}");
        });
    }
}

#[test]
fn send_listener_costs_one_allocation_and_none_per_request() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let layer = OutboundLayer::new(Disclose::All);
    let trail = Trail::start(Sample::Always);
    let without_listener = trail.in_scope(|| allocations(layer.layer(handler()), request(&[])));
    let added = allocation_counter::measure(|| {
        trail.add_send_listener(|_| {
            CALLS.fetch_add(1, Ordering::Relaxed);
        });
    });
    assert_eq!(added.count_total, 1);
    let with_listener = trail.in_scope(|| allocations(layer.layer(handler()), request(&[])));
    assert_eq!((with_listener, CALLS.load(Ordering::Relaxed)), (without_listener, 1));
}

/// The limit of a header bounds the memory, not what a caller sends.
#[test]
fn thousand_full_lines_are_rejected_without_joining() {
    let tag_line = (0..24).map(|n| format!("{n:0>40}={}", "v".repeat(80))).collect::<Vec<_>>().join(",");
    let state_line = (0..32).map(|n| format!("{n:0>256}={}", "v".repeat(256))).collect::<Vec<_>>().join(",");
    for count in [2, 1_000] {
        let mut headers = HeaderMap::new();
        for _ in 0..count {
            headers.append("x-fauna-tags", HeaderValue::from_str(&tag_line).unwrap());
            headers.append("tracestate", HeaderValue::from_str(&state_line).unwrap());
        }
        let tags = allocation_counter::measure(|| assert!(TagOptions::default().from_headers(&headers).is_err()));
        let state = allocation_counter::measure(|| assert!(TraceState::from_headers(&headers).is_err()));
        assert!(tags.bytes_total <= 3_000 * 3, "{} bytes for {count} lines", tags.bytes_total);
        assert!(state.bytes_total <= 16_447 * 3, "{} bytes for {count} lines", state.bytes_total);
    }
}
