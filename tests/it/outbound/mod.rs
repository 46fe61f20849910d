mod by_hand;
mod disclose;
mod hooks;
mod service;
mod tags;
mod trail_lookup;

use http::{HeaderMap, HeaderValue, Request, Response};
use tagtrail::{Outbound, OutboundLayer, TraceParent, Trail};
use tower::{BoxError, Layer, ServiceExt, service_fn};

/// Sends a request through the layer. Returns the headers that it is sent with.
async fn send(outbound: impl Into<Outbound>, request: Request<()>) -> Result<HeaderMap, BoxError> {
    let client = service_fn(|request: Request<()>| async move {
        let mut response = Response::new(());
        *response.headers_mut() = request.headers().clone();
        Ok::<_, BoxError>(response)
    });
    Ok(OutboundLayer::new(outbound).layer(client).oneshot(request).await?.into_parts().0.headers)
}

fn get() -> Request<()> {
    Request::get("http://users.example/7").body(()).unwrap()
}

fn get_with_headers(lines: &[(&'static str, &'static str)]) -> Request<()> {
    let mut request = get();
    for (name, value) in lines {
        request.headers_mut().append(*name, HeaderValue::from_static(value));
    }
    request
}

fn get_with_extension(extension: impl Clone + Send + Sync + 'static) -> Request<()> {
    let mut request = get();
    request.extensions_mut().insert(extension);
    request
}

/// A sampled trail with a tag and a `tracestate` of two members.
fn trail_with_state() -> Trail {
    crate::support::trail().with_tracestate("foo=1,bar=2".parse().unwrap())
}

/// The `traceparent` that was sent.
#[track_caller]
fn sent(headers: &HeaderMap) -> TraceParent {
    TraceParent::from_headers(headers).unwrap().unwrap()
}
