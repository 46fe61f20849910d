//! The bare services that layers wrap, and how a request is sent through one.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower::Service;

use crate::inputs::Head;

/// What a server adds to the extensions of a request before our layer sees it.
#[derive(Clone, Copy)]
#[expect(dead_code, reason = "nobody reads it")]
struct Peer([u8; 4]);

/// A service whose response is `ok`, with a header.
#[derive(Clone, Copy)]
pub struct Bare;

impl<B> Service<Request<B>> for Bare {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        let mut response = Response::new(Full::new(Bytes::from_static(b"ok")));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        ready(Ok(response))
    }
}

/// A request that arrived, with something in its extensions.
pub fn request<B>(head: &Head, body: B) -> Request<B> {
    let mut request = Request::new(body);
    *request.headers_mut() = head.map();
    request.extensions_mut().insert(Peer([127, 0, 0, 1]));
    request
}

/// A request that is about to be sent, with three other headers; a client adds `host` later. The map has room for
/// three more, since the first header makes room for six.
pub fn outgoing() -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    for (name, value) in [(ACCEPT, "*/*"), (USER_AGENT, "bench/1.0"), (ACCEPT_ENCODING, "gzip, br")] {
        request.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    request
}

/// Sends a request through a service that never waits: polls its future and the whole response body.
pub fn drive<S, B, R>(service: &mut S, request: Request<B>) -> usize
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body,
{
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(())) = service.poll_ready(&mut cx) else { panic!("the service is not ready") };
    let mut future = pin!(service.call(request));
    let Poll::Ready(Ok(response)) = future.as_mut().poll(&mut cx) else { panic!("the service has no response") };
    let headers = response.headers().len();
    let mut body = pin!(response.into_body());
    while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut cx) {
        drop(frame);
    }
    headers
}
