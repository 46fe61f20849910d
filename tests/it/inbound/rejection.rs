//! What a caller gets whose tags are invalid, and what the service learns of it.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tagtrail::{Admit, Inbound, InboundLayer, InvalidTags, InvalidTagsKind, InvalidTagsPolicy, TagOptions, Trail};
use tower::{Layer, Service, ServiceExt, service_fn};

use super::send;
use crate::support::{CALLER, TRACE_ID, block_on, response_traceparent};

#[tokio::test]
async fn invalid_tags_are_rejected_with_json_and_trace() {
    let (seen, response) =
        send(Admit::Continue, &[("traceparent", CALLER), ("x-fauna-tags", "a=1,b c=\"\u{e9}\"")]).await;
    assert!(seen.is_none());
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response_traceparent(response.headers()).trace_id().to_string(), TRACE_ID);
    let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    let message = "Invalid header 'x-fauna-tags': invalid tags: pair 2, character 6: expected a name of letters, \
                   digits and '_', then '='";
    assert_eq!(
        body,
        serde_json::json!({
            "error": {"code": "invalid_request", "message": message},
            "errors": [{"code": "bad request", "description": message}],
        })
    );
}

#[tokio::test]
async fn grpc_request_gets_grpc_rejection() {
    for (content_type, expected) in [
        ("application/grpc", Some("application/grpc")),
        ("application/grpc+proto", Some("application/grpc")),
        ("Application/GRPC; charset=utf-8", Some("application/grpc")),
        ("application/grpc-web", Some("application/grpc-web")),
        ("application/grpc-web+proto", Some("application/grpc-web")),
        ("application/grpc-web-text", Some("application/grpc-web-text")),
        ("application/grpcish", None),
        ("application/grp", None),
        ("application/json", None),
    ] {
        let (_, response) = send(Admit::Continue, &[("content-type", content_type), ("x-fauna-tags", "a")]).await;
        response_traceparent(response.headers());
        let Some(expected) = expected else {
            assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{content_type}");
            continue;
        };
        assert_eq!((response.status(), response.body().len()), (StatusCode::OK, 0), "{content_type}");
        assert_eq!(response.headers()["content-type"], expected);
        assert_eq!(response.headers()["grpc-status"], "3");
        let message = response.headers()["grpc-message"].to_str().unwrap();
        assert!(message.starts_with("Invalid header 'x-fauna-tags': invalid tags: pair 1"), "{message}");
    }
}

#[tokio::test]
async fn grpc_message_is_percent_encoded() {
    let percent =
        Inbound::new(Admit::Continue).tag_options(TagOptions::default().header_name("x%tags".parse().unwrap()));
    let (_, response) = send(percent, &[("content-type", "application/grpc"), ("x%tags", "a")]).await;
    assert!(response.headers()["grpc-message"].to_str().unwrap().starts_with("Invalid header 'x%25tags': "));
}

#[tokio::test]
async fn custom_rejection_response_is_sent() {
    let inbound = Inbound::new(Admit::Continue).invalid_tags(InvalidTagsPolicy::reject_with(|parts, trail, error| {
        assert_eq!(parts.headers["x-fauna-tags"], "a=1,a=2");
        let body = format!("{} {}", trail.trace_id(), error.kind().as_str());
        Response::builder().status(422).body(Bytes::from(body)).unwrap()
    }));
    let lines = [("traceparent", CALLER), ("x-fauna-tags", "a=1,a=2")];
    let (seen, response) = send(inbound.clone(), &lines).await;
    assert!(seen.is_none());
    assert_eq!((response.status().as_u16(), &**response.body()), (422, format!("{TRACE_ID} duplicate key").as_bytes()));
    assert_eq!(response_traceparent(response.headers()).trace_id().to_string(), TRACE_ID);

    let (seen, response) = send(inbound, &[("x-fauna-tags", "a=1")]).await;
    assert_eq!((seen.is_some(), response.status()), (true, StatusCode::OK));
}

#[tokio::test]
async fn rejection_callbacks_run_in_order() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let slow = Duration::from_millis(5);
    let inbound = Inbound::new(Admit::Continue)
        .invalid_tags(InvalidTagsPolicy::reject_with(move |_, _, _| {
            std::thread::sleep(slow);
            Response::builder().status(422).body(Bytes::new()).unwrap()
        }))
        .on_rejection({
            let calls = Arc::clone(&calls);
            move |parts, rejection| {
                assert_eq!(parts.method, Method::GET);
                assert_eq!(Trail::current().unwrap().span_id(), rejection.trail().span_id());
                assert!(rejection.elapsed() >= slow && rejection.elapsed() < Duration::from_secs(60));
                assert!(!format!("{rejection:?}").contains("a=1"));
                assert_eq!(rejection.response().headers()["traceparent"], rejection.trail().traceparent().to_string());
                calls.lock().unwrap().push((
                    1,
                    rejection.response().status().as_u16(),
                    rejection.error().kind().as_str(),
                ));
            }
        })
        .on_rejection({
            let calls = Arc::clone(&calls);
            move |_, rejection| {
                calls.lock().unwrap().push((
                    2,
                    rejection.response().status().as_u16(),
                    rejection.error().kind().as_str(),
                ));
            }
        });
    send(inbound.clone(), &[("traceparent", CALLER), ("x-fauna-tags", "a=1,a=2")]).await;
    // Valid tags run neither.
    send(inbound, &[("x-fauna-tags", "a=1")]).await.0.unwrap();
    assert_eq!(*calls.lock().unwrap(), [(1, 422, "duplicate key"), (2, 422, "duplicate key")]);
}

/// The crate itself logs nothing, so bad requests cannot flood a log; the callback runs once for each.
#[tokio::test]
async fn rejection_callback_runs_once_per_request() {
    let calls = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&calls);
    let inbound = Inbound::new(Admit::Restart).on_rejection(move |_, _| *counter.lock().unwrap() += 1);
    let handler = service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(())) });
    let mut service = InboundLayer::new(inbound).layer(handler);
    for _ in 0..100_000 {
        let request = Request::builder().header("x-fauna-tags", "?").header("traceparent", "?").body(()).unwrap();
        assert_eq!(service.ready().await.unwrap().call(request).await.unwrap().status(), 400);
    }
    assert_eq!(*calls.lock().unwrap(), 100_000);
}

#[tokio::test]
async fn rejected_response_shows_reason_to_outer_layers() {
    let lines = [("traceparent", CALLER), ("x-fauna-tags", "a=1,a=2")];
    let custom = InvalidTagsPolicy::reject_with(|_, _, _| Response::new(Bytes::new()));
    for policy in [InvalidTagsPolicy::reject(), custom] {
        let (_, response) = send(Inbound::new(Admit::Continue).invalid_tags(policy), &lines).await;
        let error = response.extensions().get::<InvalidTags>().unwrap();
        assert_eq!(error.kind(), InvalidTagsKind::DuplicateName);
        let trail = response.extensions().get::<Trail>().unwrap();
        assert_eq!(*trail.traceparent(), response_traceparent(response.headers()));
        assert!(trail.tags().is_empty());
    }
    let (_, response) = send(Admit::Continue, &[("x-fauna-tags", "a=1")]).await;
    assert!(response.extensions().get::<InvalidTags>().is_none());
}

#[test]
#[should_panic = "polled after completion"]
fn rejected_future_panics_if_polled_after_completion() {
    let handler = service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) });
    let request = Request::builder().header("x-fauna-tags", "?").body(()).unwrap();
    let mut future = pin!(InboundLayer::new(Admit::Continue).layer(handler).call(request));
    assert_eq!(block_on(future.as_mut()).unwrap().status(), 400);
    let _ = block_on(future);
}

#[tokio::test]
async fn head_rejection_has_content_length_and_no_body() {
    let handler = service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) });
    let reject = async |method: Method| {
        let request = Request::builder().method(method).header("x-fauna-tags", "?").body(()).unwrap();
        InboundLayer::new(Admit::Continue).layer(handler).oneshot(request).await.unwrap()
    };
    let get = reject(Method::GET).await;
    assert_eq!(get.status(), 400);
    assert!(!get.body().is_end_stream());
    let length = get.into_body().collect().await.unwrap().to_bytes().len();
    assert!(length > 0);

    let head = reject(Method::HEAD).await;
    assert_eq!(head.status(), 400);
    assert!(head.body().is_end_stream());
    assert_eq!(head.headers()["content-length"], length.to_string());
    assert_eq!(head.into_body().collect().await.unwrap().to_bytes().len(), 0);
}

#[tokio::test]
async fn rejection_body_size_is_exact() {
    let handler = service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) });
    let request = Request::builder().header("x-fauna-tags", "?").body(()).unwrap();
    let response = InboundLayer::new(Admit::Continue).layer(handler).oneshot(request).await.unwrap();
    let size = response.body().size_hint().exact().unwrap();
    assert_eq!(size, response.into_body().collect().await.unwrap().to_bytes().len() as u64);
}
