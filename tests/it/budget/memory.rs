//! How much memory open streams hold, and that finished requests leave none.

use std::convert::Infallible;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue};
use http_body_util::{BodyExt, Full};
use tagtrail::{Admit, Disclose, InboundLayer, OutboundLayer, Trail};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{CALLER, OpenStreams, block_on, get_as_caller};

#[test]
fn ten_thousand_open_streams_cost_little_and_leave_nothing() {
    const STREAMS: usize = 10_000;
    let bytes_of_stream = |layered: bool| {
        let streams = OpenStreams::default();
        let handler = {
            let streams = streams.clone();
            service_fn(move |_: Request| std::future::ready(Ok::<_, Infallible>(Response::new(streams.endless_body()))))
        };
        let mut service = if layered {
            InboundLayer::new(Admit::Continue).layer(handler).map_response(IntoResponse::into_response).boxed_clone()
        } else {
            handler.boxed_clone()
        };
        let mut open = Vec::with_capacity(STREAMS);
        let mut open_one = || {
            let mut body = block_on(service.call(get_as_caller("/"))).unwrap().into_body();
            assert_eq!(block_on(body.frame()).unwrap().unwrap().into_data().unwrap(), "data: first\n\n");
            body
        };
        // Run once before, for what is made once, such as the state of the random generator.
        drop(open_one());
        let held = allocation_counter::measure(|| open.extend((0..STREAMS).map(|_| open_one())));
        assert_eq!(streams.count(), STREAMS);
        let freed = allocation_counter::measure(|| open.clear());
        assert_eq!(streams.count(), 0);
        assert_eq!(held.bytes_current, -freed.bytes_current, "everything is freed");
        held.bytes_current / i64::try_from(STREAMS).unwrap()
    };
    let (layered, bare) = (bytes_of_stream(true), bytes_of_stream(false));
    println!("an open stream holds {layered} bytes, {bare} of them without the layer");
    assert!(layered - bare < 512, "{layered} {bare}");
}

/// A million takes seconds in optimized code only.
const REQUESTS: usize = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };

#[test]
fn million_requests_leave_memory_flat() {
    let server = InboundLayer::new(Admit::Continue).layer(service_fn(|request: http::Request<()>| {
        let tags = Trail::current().map_or(0, |trail| trail.tags().len());
        drop(request);
        std::future::ready(Ok::<_, Infallible>(http::Response::new(Full::<bytes::Bytes>::from(vec![0; tags]))))
    }));
    let mut service = OutboundLayer::new(Disclose::All).layer(server);
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", HeaderValue::from_static(CALLER));
    headers.insert("tracestate", HeaderValue::from_static("a=1,b=2,c=3"));
    headers.insert("x-fauna-tags", HeaderValue::from_static("project=blog,env=prod"));
    let mut send = |count: usize| {
        for _ in 0..count {
            let mut request = http::Request::new(());
            request.headers_mut().clone_from(&headers);
            let response = block_on(service.call(request)).unwrap();
            assert!(response.headers().contains_key("traceparent"));
            assert_eq!(block_on(response.into_body().collect()).unwrap().to_bytes().len(), 2);
        }
    };
    // Run once before, for what is made once, such as the state of the random generator.
    send(1);
    let memory = allocation_counter::measure(|| send(REQUESTS));
    assert_eq!(memory.bytes_current, 0);
    assert!(memory.bytes_max < 16 * 1024, "{memory:?}");
}
