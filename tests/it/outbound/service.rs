//! Errors and readiness through the layer.

use std::error::Error;
use std::fmt;
use std::pin::pin;
use std::time::Duration;

use http::{Request, Response};
use tagtrail::{Disclose, InvalidTags, OutboundLayer, OutboundService, RequestTags};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use super::get;
use crate::support::{NotReady, block_on};

#[tokio::test]
async fn composes_with_boxed_error_layers() {
    let failing = service_fn(|_: Request<()>| async { Err::<Response<()>, BoxError>("refused".into()) });
    let stack = ServiceBuilder::new()
        .timeout(Duration::from_secs(9))
        .layer(OutboundLayer::new(Disclose::All))
        .timeout(Duration::from_secs(9));
    let error = stack.service(failing).oneshot(get()).await.unwrap_err();
    assert_eq!(error.to_string(), "refused");
}

#[test]
#[should_panic = "polled after completion"]
fn unsent_future_panics_if_polled_after_completion() {
    let unreachable = service_fn(|_: Request<()>| async { panic!("it was sent") as Result<Response<()>, BoxError> });
    let mut request = get();
    request.extensions_mut().insert(RequestTags::new([("a", "?")]));
    let mut future = pin!(OutboundLayer::new(Disclose::All).layer(unreachable).call(request));
    assert!(block_on(future.as_mut()).unwrap_err().is::<InvalidTags>());
    let _ = block_on(future);
}

#[tokio::test]
async fn inner_error_keeps_type_and_sources() {
    let failing = service_fn(|_: Request<()>| async { Err::<Response<()>, _>(Failed(fmt::Error)) });
    let error = OutboundLayer::new(Disclose::All).layer(failing).oneshot(get()).await.unwrap_err();
    assert!(error.is::<Failed>());
    assert!(error.source().unwrap().is::<fmt::Error>());
}

/// An error that has a source.
#[derive(Debug)]
struct Failed(fmt::Error);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("failed")
    }
}

impl Error for Failed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

#[tokio::test]
async fn service_is_created_without_layer() {
    let client = || service_fn(|request: Request<()>| async move { Ok::<_, BoxError>(request.into_parts().0.headers) });
    let by_layer = OutboundService::layer(Disclose::All).layer(client());
    for service in [OutboundService::new(client(), Disclose::All), by_layer] {
        assert!(service.oneshot(get()).await.unwrap().contains_key("traceparent"));
    }
}

#[tokio::test]
async fn inner_error_passes_unchanged() {
    let failing = service_fn(|_: Request<()>| async { Err::<Response<()>, BoxError>("refused".into()) });
    let error = OutboundLayer::new(Disclose::All).layer(failing).oneshot(get()).await.unwrap_err();
    assert_eq!(error.to_string(), "refused");
}

#[tokio::test]
async fn readiness_comes_from_inner_service() {
    let mut client = OutboundLayer::new(Disclose::All).layer(NotReady);
    assert_eq!(client.ready().await.err().unwrap().to_string(), "not ready");
}
