//! When the trail is current: for every frame of a body, and for everything that is dropped.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tagtrail::{Admit, InboundLayer, ParentId, Trail};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::response_traceparent;

/// The operation that was current at each step of a body.
type Log = Arc<Mutex<Vec<Option<ParentId>>>>;

/// A body that records the current operation for each frame, for its end, and when it is dropped.
struct RecordingBody {
    frames: usize,
    log: Log,
}

impl RecordingBody {
    fn record(&self) {
        self.log.lock().unwrap().push(Trail::current().map(|trail| trail.span_id()));
    }
}

impl Body for RecordingBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.record();
        if self.frames == 0 {
            return Poll::Ready(None);
        }
        self.frames -= 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from("frame")))))
    }
}

impl Drop for RecordingBody {
    fn drop(&mut self) {
        self.record();
    }
}

#[tokio::test]
async fn trail_is_current_for_every_frame_and_when_body_is_dropped() {
    let log = Log::default();
    let handler = service_fn(|_: Request<()>| {
        let body = RecordingBody { frames: 2, log: Arc::clone(&log) };
        async move { Ok::<_, Infallible>(Response::new(body)) }
    });
    let response = InboundLayer::new(Admit::Continue).layer(handler).oneshot(Request::new(())).await.unwrap();
    let operation = Some(response_traceparent(response.headers()).parent_id());
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "frameframe");
    // Two frames, the end, and the drop.
    assert_eq!(*log.lock().unwrap(), [operation; 4]);
    assert!(Trail::current().is_none());
}

#[tokio::test]
async fn trail_is_current_when_unpolled_future_is_dropped() {
    let log = Log::default();
    let handler = service_fn(|_: Request<()>| {
        let body = RecordingBody { frames: 2, log: Arc::clone(&log) };
        let operation = Trail::current().unwrap().span_id();
        log.lock().unwrap().push(Some(operation));
        async move { Ok::<_, Infallible>(Response::new(body)) }
    });
    drop(InboundLayer::new(Admit::Continue).layer(handler).call(Request::new(())));
    let seen = log.lock().unwrap();
    assert!(seen.len() == 2 && seen[0].is_some() && seen[0] == seen[1], "{seen:?}");
    assert!(Trail::current().is_none());
}
