mod decide;
mod echo;
mod rejection;
mod scope;
mod service;
mod tags;

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use tagtrail::{Inbound, InboundLayer, Trail};
use tower::{Layer, ServiceExt, service_fn};

/// Sends a request with these header lines through the layer. Returns the trail that the handler saw, if it was
/// called, and the response.
async fn send(inbound: impl Into<Inbound>, lines: &[(&'static str, &str)]) -> (Option<Trail>, Response<Bytes>) {
    let seen = Arc::new(Mutex::new(None));
    let handler = service_fn(|request: Request<Full<Bytes>>| {
        let seen = Arc::clone(&seen);
        // The trail is current in the synchronous part of `call` already.
        let in_call = Trail::current().unwrap();
        async move {
            let trail = request.extensions().get::<Trail>().unwrap().clone();
            assert_eq!(in_call.span_id(), trail.span_id());
            assert_eq!(Trail::current().unwrap().span_id(), trail.span_id());
            *seen.lock().unwrap() = Some(trail);
            Ok::<_, Infallible>(Response::new(Full::from("handled")))
        }
    });
    let mut request = Request::new(Full::default());
    for (name, value) in lines {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        request.headers_mut().append(HeaderName::from_static(name), value);
    }
    let response = InboundLayer::new(inbound).layer(handler).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    assert!(Trail::current().is_none());
    (seen.lock().unwrap().take(), Response::from_parts(parts, body))
}
