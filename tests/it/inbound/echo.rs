//! Which response headers carry the trace and the tags.

use std::convert::Infallible;

use http::{HeaderMap, Request, Response};
use tagtrail::{Admit, Echo, Inbound, InboundLayer};
use tower::{Layer, ServiceExt, service_fn};

use super::send;
use crate::support::{CALLER, TRACE_ID, response_traceparent};

#[tokio::test]
async fn echo_selects_response_headers() {
    let lines = [("traceparent", CALLER), ("x-fauna-tags", "a=1")];
    let sorted_names = |headers: &HeaderMap| {
        let mut names: Vec<_> = headers.keys().map(|name| name.as_str().to_owned()).collect();
        names.sort();
        names
    };
    for (echo, expected) in [
        (Echo::default(), &["traceparent"][..]),
        (Echo::NONE, &[]),
        (Echo::TRACERESPONSE, &["traceresponse"]),
        (Echo::TRACEPARENT | Echo::SERVER_TIMING, &["server-timing", "traceparent"]),
        (Echo::TAGS | Echo::TAGS, &["x-fauna-tags"]),
        (Echo::NONE | Echo::TAGS | Echo::TRACERESPONSE, &["traceresponse", "x-fauna-tags"]),
    ] {
        let (seen, response) = send(Inbound::new(Admit::Continue).echo(echo), &lines).await;
        assert_eq!(sorted_names(response.headers()), expected, "{echo:?}");
        let traceparent = seen.unwrap().traceparent().to_string();
        for (name, value) in response.headers() {
            let expected = match name.as_str() {
                "x-fauna-tags" => "a=1".to_owned(),
                "server-timing" => format!("trace;desc={traceparent}"),
                _ => traceparent.clone(),
            };
            assert_eq!(*value, expected, "{name}");
        }
    }
}

#[tokio::test]
async fn echo_sends_no_tag_header_without_tags() {
    let (_, response) = send(Inbound::new(Admit::Continue).echo(Echo::TAGS), &[("x-fauna-tags", "")]).await;
    assert!(response.headers().is_empty());
}

#[tokio::test]
async fn echo_replaces_trace_headers_and_appends_server_timing() {
    let handler = service_fn(|_: Request<()>| async {
        let response = Response::builder()
            .header("traceparent", CALLER)
            .header("traceparent", "copied from another service")
            .header("traceresponse", CALLER)
            .header("x-fauna-tags", "of=the_handler")
            .header("server-timing", "db;dur=53");
        Ok::<_, Infallible>(response.body(()).unwrap())
    });
    let all = Echo::TRACEPARENT | Echo::TRACERESPONSE | Echo::SERVER_TIMING | Echo::TAGS;
    let layer = InboundLayer::new(Inbound::new(Admit::Continue).echo(all));
    let response = layer.layer(handler).oneshot(Request::new(())).await.unwrap();
    let own = response_traceparent(response.headers());
    assert_ne!(own.trace_id().to_string(), TRACE_ID);
    assert_eq!(response.headers().get_all("traceresponse").iter().collect::<Vec<_>>(), [&own.to_string()]);
    // The request had no tags, so the handler's header stays.
    assert_eq!(response.headers()["x-fauna-tags"], "of=the_handler");
    let metrics: Vec<_> = response.headers().get_all("server-timing").iter().collect();
    assert_eq!(metrics, ["db;dur=53", &*format!("trace;desc={own}")]);
}
