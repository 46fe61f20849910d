//! The server layer's future and body: the trail is current in every part, and never left behind.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use futures_util::{FutureExt, StreamExt, stream};
use http_body_util::BodyExt;
use tagtrail::{Admit, Disclose, InboundLayer, OutboundLayer, TraceContext, TraceId, TraceState, Trail};
use tokio::task::{spawn_blocking, yield_now};
use tower::{Layer, Service, ServiceExt, service_fn};

use super::spawned::RecordOnDrop;
use crate::support::{CALLER, Received, block_on, caller, current_trace, empty_response, get, get_as_caller};

fn inbound_layer() -> InboundLayer {
    InboundLayer::new(Admit::Continue)
}

fn expected() -> TraceId {
    caller().trace_id()
}

#[tokio::test]
async fn trail_is_current_in_call_and_in_polls() {
    for method in [Method::GET, Method::HEAD, Method::CONNECT] {
        let mut service = inbound_layer().layer(service_fn(|_: Request| {
            let in_call = current_trace();
            async move {
                yield_now().await;
                assert_eq!((in_call, current_trace()), (Some(expected()), Some(expected())));
                Ok::<_, Infallible>(empty_response(StatusCode::OK))
            }
        }));
        let request = Request::builder().method(method).header("traceparent", CALLER).body(Body::empty()).unwrap();
        let response = service.call(request);
        assert_eq!(current_trace(), None);
        assert!(response.await.unwrap().headers().contains_key("traceparent"));
        assert_eq!(current_trace(), None);
    }
}

async fn panicking() -> Result<Response, Infallible> {
    yield_now().await;
    panic!("on purpose")
}

#[tokio::test]
async fn panic_in_call_or_poll_leaves_no_trail_behind() {
    let panics = [true, false].map(|in_call| {
        service_fn(move |_: Request| {
            assert!(!in_call, "on purpose");
            panicking()
        })
    });
    for service in panics {
        let mut service = inbound_layer().layer(service);
        let outcome = AssertUnwindSafe(async { service.call(get_as_caller("/")).await }).catch_unwind().await;
        assert!(outcome.is_err());
        assert_eq!(current_trace(), None);
    }
}

#[tokio::test]
async fn trail_is_current_when_half_polled_future_is_dropped() {
    let seen = Arc::new(Mutex::new(None));
    let record = Arc::clone(&seen);
    let mut service = inbound_layer().layer(service_fn(move |_: Request| {
        let dropped = RecordOnDrop(Arc::clone(&record));
        async move {
            let _dropped = dropped;
            std::future::pending::<Result<Response, Infallible>>().await
        }
    }));
    let mut response = Box::pin(service.call(get_as_caller("/")));
    assert!(response.as_mut().now_or_never().is_none());
    drop(response);
    assert_eq!((*seen.lock().unwrap(), current_trace()), (Some(expected()), None));
}

#[tokio::test]
async fn trail_is_current_in_body_after_future_is_done() {
    let mut service = inbound_layer().layer(service_fn(|_: Request| async {
        let chunks = stream::iter(0..3).then(|_| async {
            yield_now().await;
            assert_eq!(current_trace(), Some(expected()));
            Ok::<_, Infallible>("chunk")
        });
        Ok::<_, Infallible>(Response::new(Body::from_stream(chunks)))
    }));
    let body = service.call(get_as_caller("/")).await.unwrap().into_body();
    // On another thread, too.
    let collected = spawn_blocking(|| block_on(body.collect())).await.unwrap();
    assert_eq!(collected.unwrap().to_bytes(), "chunkchunkchunk");
    assert_eq!(current_trace(), None);
}

/// A service that calls a service that calls a service, in memory.
#[tokio::test]
async fn nested_services_stay_in_one_trace() {
    let received = Received::default();
    let innermost = OutboundLayer::new(Disclose::All).layer(inbound_layer().layer(received.ok_app()));
    let middle = inbound_layer().layer(service_fn(move |_: Request| {
        let client = innermost.clone();
        async move {
            let before = current_trace();
            client.oneshot(get("/")).await.unwrap();
            assert_eq!((before, current_trace()), (Some(expected()), Some(expected())));
            Ok::<_, Infallible>(empty_response(StatusCode::OK))
        }
    }));
    let client = OutboundLayer::new(Disclose::All).layer(middle);
    let trail = Trail::from_context(TraceContext::new(caller(), TraceState::empty()));
    trail.scope(client.oneshot(get("/"))).await.unwrap();
    assert_eq!(received.assert_one_trace(), expected());
    assert_eq!(current_trace(), None);
}
