//! What passes through the layer unchanged: readiness, errors, body sizes, and the service inside.

use std::convert::Infallible;
use std::pin::pin;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tagtrail::{Admit, InboundLayer, InboundService, Trail};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{NotReady, block_on};

#[tokio::test]
async fn readiness_comes_from_inner_service() {
    assert_eq!(InboundLayer::new(Admit::Continue).layer(NotReady).ready().await.err(), Some("not ready"));
}

#[tokio::test]
async fn inner_error_passes_unchanged() {
    let failing = service_fn(|_: Request<()>| async { Err::<Response<()>, _>("the handler's own error") });
    let error = InboundLayer::new(Admit::Continue).layer(failing).oneshot(Request::new(())).await.unwrap_err();
    assert_eq!(error, "the handler's own error");
    assert!(Trail::current().is_none());
}

#[tokio::test]
async fn body_size_is_exact_through_layer() {
    let handler = service_fn(|request: Request<&'static str>| async move {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(request.into_body())))
    });
    for text in ["handled", ""] {
        let response = InboundLayer::new(Admit::Continue).layer(handler).oneshot(Request::new(text)).await.unwrap();
        assert_eq!(response.body().size_hint().exact(), Some(text.len() as u64));
        assert_eq!(response.body().is_end_stream(), text.is_empty());
    }
}

#[test]
#[should_panic = "polled after completion"]
fn future_panics_if_polled_after_completion() {
    let handler = service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) });
    let mut future = pin!(InboundLayer::new(Admit::Continue).layer(handler).call(Request::new(())));
    assert_eq!(block_on(future.as_mut()).unwrap().status(), 200);
    let _ = block_on(future);
}

#[tokio::test]
async fn service_is_created_without_layer() {
    let handler =
        || service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) });
    let by_layer = InboundService::layer(Admit::Continue).layer(handler());
    for service in [InboundService::new(handler(), Admit::Continue), by_layer] {
        let response = service.oneshot(Request::new(())).await.unwrap();
        assert!(response.headers().contains_key("traceparent"));
    }
}

#[tokio::test]
async fn inner_service_is_accessible() {
    let mut service = InboundLayer::new(Admit::Continue).layer(7);
    *service.get_mut() += 1;
    assert_eq!((*service.get_ref(), service.into_inner()), (8, 8));
}
