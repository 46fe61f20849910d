//! Sending requests through the layer.

use axum::Router;
use axum::body::{Body, to_bytes};
use http::{Request, Response};
use tagtrail::Admit;
use tagtrail_querylog::{QueryLogLayer, Record};
use tower::ServiceExt;

use crate::support::common::{Frames, Logged, Step};

pub(super) fn request(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

/// Sends requests to a router, reads the responses to their ends, and returns the records.
pub(super) async fn records(
    routes: Router,
    layer: impl FnOnce(QueryLogLayer) -> QueryLogLayer,
    requests: Vec<Request<Body>>,
) -> Vec<Record> {
    let logged = Logged::new();
    let app = routes.layer(layer(QueryLogLayer::new(logged.log.clone())).with_inbound(Admit::Continue));
    for request in requests {
        let response = app.clone().oneshot(request).await.unwrap();
        let _ = to_bytes(response.into_body(), usize::MAX).await;
    }
    logged.records()
}

pub(super) async fn record_of(routes: Router, request: Request<Body>) -> Record {
    let mut records = records(routes, |layer| layer, vec![request]).await;
    assert_eq!(records.len(), 1);
    records.remove(0)
}

/// Returns a router that responds to every request with a body.
pub(super) fn streaming(frames: &[Step]) -> Router {
    let frames = frames.to_vec();
    Router::new().fallback(move || async move { Response::new(Body::new(Frames::new(frames))) })
}
