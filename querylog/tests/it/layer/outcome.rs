//! What is recorded of responses, however they end.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::routing::get;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tagtrail::Admit;
use tagtrail_querylog::{Outcome, QueryLogLayer, RecordHandle};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

use super::send::{record_of, request, streaming};
use crate::support::common::{Frames, Logged, Step};

#[tokio::test]
async fn streamed_response_is_recorded_with_its_full_size_and_duration() {
    let steps = [Step::Data("12345"), Step::Wait(30), Step::Data("678"), Step::Wait(30), Step::Data("9")];
    let record = record_of(streaming(&steps), request("/")).await;
    assert_eq!((record.response.outcome, record.response.body_bytes), (Some(Outcome::Complete), 9));
    assert!(record.duration.unwrap() >= Duration::from_millis(60), "{:?}", record.duration);
}

#[tokio::test]
async fn response_has_failed_if_its_body_does() {
    let record = record_of(streaming(&[Step::Data("12345"), Step::Fail]), request("/")).await;
    assert_eq!((record.response.outcome, record.response.body_bytes), (Some(Outcome::Failed), 5));
    assert_eq!(record.response.status, Some(200));
    assert_eq!(record.response.error.as_deref(), Some("the body fails"));
    assert!(record.has_failed());
}

/// An error with a source.
#[derive(Debug, thiserror::Error)]
#[error("cannot load the page")]
struct PageError(#[source] std::io::Error);

#[tokio::test]
async fn error_is_recorded_with_its_sources() {
    let error = || PageError(std::io::Error::other("the disk is gone"));
    let expected = Some("cannot load the page: the disk is gone");
    // As a body of axum has it, and as a service of tower.
    let routes = Router::new().fallback(move || async move {
        Body::from_stream(futures_util::stream::iter([Ok(Bytes::from_static(b"12345")), Err(error())]))
    });
    let record = record_of(routes, request("/")).await;
    assert_eq!(record.response.error.as_deref(), expected);

    let logged = Logged::new();
    let layer = QueryLogLayer::new(logged.log.clone()).standalone();
    let service = layer.layer(service_fn(|_| async move { Err::<Response<Full<Bytes>>, _>(BoxError::from(error())) }));
    service.oneshot(request("/")).await.unwrap_err();
    let record = logged.records().remove(0);
    assert_eq!((record.response.outcome, record.response.error.as_deref()), (Some(Outcome::Failed), expected));
}

#[tokio::test]
async fn request_is_aborted_if_the_client_disconnects() {
    let logged = Logged::new();
    let routes = streaming(&[Step::Data("12345"), Step::Wait(60_000)]);
    let routes = routes.route("/never", get(std::future::pending::<()>));
    let app = routes.layer(QueryLogLayer::new(logged.log.clone()).with_inbound(Admit::Continue));
    let mut body = app.clone().oneshot(request("/")).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    let pending = tokio::time::timeout(Duration::from_millis(20), app.oneshot(request("/never"))).await;
    assert!(pending.is_err());
    let records = logged.records();
    assert_eq!(records[0].response.outcome, Some(Outcome::Aborted));
    assert_eq!((records[0].response.status, records[0].response.body_bytes), (Some(200), 5));
    assert_eq!((records[1].response.status, records[1].response.outcome), (None, Some(Outcome::Aborted)));
    assert_eq!(records[1].request.route.as_deref(), Some("/never"));
}

#[tokio::test]
async fn panic_is_recorded_wherever_it_happens() {
    async fn panics(record: RecordHandle) -> String {
        record.update(|notes| notes.add("before", 1));
        panic!("in the handler")
    }
    let logged = Logged::new();
    let steps = vec![Step::Data("12345"), Step::Panic];
    let routes = Router::new()
        .route("/handler", get(panics))
        .route("/body", get(move || async move { Response::new(Body::new(Frames::new(steps))) }));
    let app = routes
        .layer(QueryLogLayer::new(logged.log.clone()).with_inbound(Admit::Continue))
        .layer(tower_http::catch_panic::CatchPanicLayer::new());
    let response = app.clone().oneshot(request("/handler")).await.unwrap();
    assert_eq!(response.status(), 500);
    let body = app.clone().oneshot(request("/body")).await.unwrap().into_body();
    assert!(tokio::spawn(to_bytes(body, 100)).await.unwrap_err().is_panic());

    let layer = QueryLogLayer::new(logged.log.clone()).standalone();
    let mut service = layer.layer(service_fn(|_| {
        panic!("in call");
        #[allow(unreachable_code, reason = "the type of the response")]
        std::future::ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())))
    }));
    let call = std::panic::AssertUnwindSafe(|| service.call(request("/call")));
    assert!(std::panic::catch_unwind(call).is_err());

    let records = logged.records();
    let recorded: Vec<_> =
        records.iter().map(|r| (r.request.path.as_str(), r.response.status, r.response.body_bytes)).collect();
    assert_eq!(recorded, [("/handler", None, 0), ("/body", Some(200), 5), ("/call", None, 0)]);
    assert!(records.iter().all(|record| record.response.outcome == Some(Outcome::Panicked)));
    assert_eq!(records[0].notes.counter("before"), 1);
}

#[tokio::test]
async fn response_is_complete_if_servers_need_not_poll_its_body() {
    let head = Request::head("/").body(Body::empty()).unwrap();
    let logged = Logged::new();
    let routes = Router::new()
        .route("/none", get(|| async { StatusCode::NO_CONTENT }))
        .route(
            "/sized",
            get(|| async {
                ([("content-length", "5")], Body::new(Frames::new(vec![Step::Data("12345"), Step::Wait(60_000)])))
            }),
        )
        .fallback(|| async { "hello" });
    let app = routes.layer(QueryLogLayer::new(logged.log.clone()).with_inbound(Admit::Continue));
    drop(app.clone().oneshot(head).await.unwrap());
    drop(app.clone().oneshot(request("/none")).await.unwrap());
    // A server that knows the length does not poll any further.
    let mut sized = app.clone().oneshot(request("/sized")).await.unwrap().into_body();
    sized.frame().await.unwrap().unwrap();
    drop(sized);
    // A body that is dropped before its end is not complete.
    drop(app.clone().oneshot(request("/unread")).await.unwrap());
    let outcomes: Vec<_> = logged.records().iter().map(|record| record.response.outcome.unwrap()).collect();
    assert_eq!(outcomes, [Outcome::Complete, Outcome::Complete, Outcome::Complete, Outcome::Aborted]);
}

#[tokio::test]
async fn error_of_the_service_is_returned_and_recorded() {
    let logged = Logged::new();
    let layer = QueryLogLayer::new(logged.log.clone()).standalone();
    let service = layer.layer(service_fn(|_| async { Err::<Response<Full<Bytes>>, _>("down") }));
    assert_eq!(service.oneshot(request("/")).await.unwrap_err(), "down");
    let record = logged.records().remove(0);
    assert_eq!((record.response.status, record.response.outcome), (None, Some(Outcome::Failed)));
    assert_eq!(record.response.error.as_deref(), Some("down"));
}

#[tokio::test]
async fn response_is_held_until_its_record_is_on_disk() {
    let logged = Logged::new();
    let routes = streaming(&[Step::Data("12345"), Step::Wait(5), Step::Data("67890")]);
    let routes = routes.route("/empty", get(|| async {})).route("/whole", get(|| async { "hello" }));
    let app = routes
        .layer(QueryLogLayer::new(logged.log.clone()).hold_response_until_written().with_inbound(Admit::Continue));
    for (path, length) in [("/stream", 10), ("/empty", 0), ("/whole", 5)] {
        let response = app.clone().oneshot(request(path)).await.unwrap();
        let body = to_bytes(response.into_body(), 100).await.unwrap();
        assert_eq!(body.len(), length);
        let last = logged.read().pop().unwrap();
        assert_eq!(
            (last.request.path.as_str(), last.response.body_bytes),
            (path, length as u64),
            "the record is already in the file"
        );
    }
    // A record that cannot be written does not hold a response forever.
    logged.log.close_blocking(Duration::from_secs(5)).unwrap();
    let response = app.clone().oneshot(request("/whole")).await.unwrap();
    assert_eq!(to_bytes(response.into_body(), 100).await.unwrap(), "hello");
    assert_eq!(logged.log.stats().shed, 1);
}

#[tokio::test]
async fn running_requests_are_reported_when_the_log_is_closed() {
    let logged = Logged::new();
    let app = Router::new().route("/", get(std::future::pending::<()>));
    let app = app.layer(QueryLogLayer::new(logged.log.clone()).with_inbound(Admit::Continue));
    let running: Vec<_> = (0..3).map(|_| tokio::spawn(app.clone().oneshot(request("/")))).collect();
    tokio::time::timeout(Duration::from_secs(5), async {
        while logged.log.stats().open < 3 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    logged.log.close(Duration::from_secs(5)).await.unwrap();
    running.iter().for_each(tokio::task::JoinHandle::abort);
    let gaps = logged.gaps();
    assert_eq!(gaps.len(), 1);
    assert_eq!((gaps[0].count, &*gaps[0].why), (Some(3), "not ended when the log was closed"));
}

/// The response is the same, byte for byte, as without a log.
#[tokio::test]
async fn response_is_unchanged_by_the_layer() {
    let logged = Logged::new();
    let inner = service_fn(|_: Request<_>| async {
        let frames = Frames::new(vec![Step::Data("12345"), Step::Trailers]);
        Ok::<_, Infallible>(Response::builder().status(418).header("x", "y").body(frames).unwrap())
    });
    for layer in
        [QueryLogLayer::new(logged.log.clone()), QueryLogLayer::new(logged.log.clone()).hold_response_until_written()]
    {
        let response = layer.standalone().layer(inner).oneshot(request("/")).await.unwrap();
        assert_eq!((response.status().as_u16(), response.headers().len()), (418, 1));
        let collected = response.into_body().collect().await.unwrap();
        assert_eq!(collected.trailers().unwrap()["t"], "1");
        assert_eq!(collected.to_bytes(), "12345");
    }
    assert!(logged.records().iter().all(|record| record.response.outcome == Some(Outcome::Complete)));
}

/// Covers the future of a response that the layer itself sends, and of one that is held until its record is written.
#[tokio::test]
async fn futures_panic_if_polled_after_completion() {
    let logged = Logged::new();
    let handler = service_fn(async |_: Request<_>| Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())));
    let acknowledged = QueryLogLayer::new(logged.log.clone()).standalone().hold_response_until_written();
    for layer in [QueryLogLayer::new(logged.log.clone()), acknowledged] {
        let mut future = Box::pin(layer.layer(handler).call(request("/")));
        future.as_mut().await.unwrap();
        let panic = tokio::spawn(future).await.unwrap_err().into_panic();
        let text = panic.downcast_ref::<String>().map_or(*panic.downcast_ref().unwrap_or(&""), String::as_str);
        assert!(text.contains("polled after completion"), "{text}");
    }
}
