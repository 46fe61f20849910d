//! Where the layer finds a request's trail, and when it starts a new trace.

use http::{HeaderMap, HeaderName, HeaderValue};
use tagtrail::{Disclose, NewTraces, Outbound, Sample, TraceParent, Trail};

use super::{get, get_with_extension, get_with_headers, send, sent, trail_with_state};
use crate::support::{CALLER, TRACE_ID};

#[tokio::test]
async fn each_request_gets_its_own_parent_id() {
    let trail = trail_with_state();
    let (one, other) = trail
        .scope(async { (send(Disclose::All, get()).await.unwrap(), send(Disclose::All, get()).await.unwrap()) })
        .await;
    for headers in [&one, &other] {
        assert_eq!((sent(headers).trace_id(), sent(headers).flags()), (trail.trace_id(), trail.flags()));
        assert_ne!(sent(headers).parent_id(), trail.span_id());
        assert_eq!(headers["tracestate"], "foo=1,bar=2");
        assert_eq!(headers["x-fauna-tags"], "project=blog");
    }
    assert_ne!(sent(&one).parent_id(), sent(&other).parent_id());
}

#[tokio::test]
async fn trail_lookup_prefers_extensions_then_current_then_headers() {
    let (current, own) = (trail_with_state(), trail_with_state());
    let lines = [("traceparent", CALLER), ("tracestate", "own=1"), ("x-fauna-tags", "own=1")];
    let mut full = get_with_headers(&lines);
    full.extensions_mut().insert(own.clone());

    let headers = current.scope(send(Disclose::All, full)).await.unwrap();
    assert_eq!(sent(&headers).trace_id(), own.trace_id());

    let headers = current.scope(send(Disclose::All, get_with_headers(&lines))).await.unwrap();
    assert_eq!(sent(&headers).trace_id(), current.trace_id());
    assert_eq!(headers["tracestate"], "foo=1,bar=2");
    assert_eq!(headers["x-fauna-tags"], "project=blog");

    let headers = send(Disclose::All, get_with_headers(&lines)).await.unwrap();
    assert_eq!(sent(&headers).trace_id().to_string(), TRACE_ID);
    assert_ne!(headers["traceparent"], CALLER);
    assert_eq!(headers["tracestate"], "own=1");
    assert_eq!(headers["x-fauna-tags"], "own=1");

    let headers = send(Disclose::All, get()).await.unwrap();
    assert_eq!(sent(&headers).flags().bits(), 0b11);
    assert_eq!(headers.len(), 1);
}

#[tokio::test]
async fn new_trace_is_sampled_as_configured() {
    let headers =
        send(Outbound::new(Disclose::All).new_traces(NewTraces::Sampled(Sample::Never)), get()).await.unwrap();
    assert_eq!(sent(&headers).flags().bits(), 0b10);
    let headers =
        send(Outbound::new(Disclose::All).new_traces(NewTraces::Sampled(Sample::Always)), get()).await.unwrap();
    assert_eq!(sent(&headers).flags().bits(), 0b11);
}

#[tokio::test]
async fn new_traces_can_be_disabled() {
    let quiet = Outbound::new(Disclose::All).new_traces(NewTraces::Never);
    assert!(send(quiet.clone(), get()).await.unwrap().is_empty());
    // Tags need no trace.
    let lines = [("traceparent", "bad"), ("tracestate", "a=1"), ("x-fauna-tags", "a=1")];
    let headers = send(quiet.clone(), get_with_headers(&lines)).await.unwrap();
    assert_eq!((headers.len(), &headers["x-fauna-tags"]), (1, &HeaderValue::from_static("a=1")));
    // An existing trace continues.
    let headers = send(quiet.clone(), get_with_extension(trail_with_state())).await.unwrap();
    assert!(headers.contains_key("traceparent"));
    let headers = send(quiet, get_with_headers(&[("traceparent", CALLER)])).await.unwrap();
    assert!(headers.contains_key("traceparent"));
}

#[tokio::test]
async fn client_can_continue_trace_of_response() {
    let mut response = HeaderMap::new();
    assert!(Trail::from_response_headers(&response).is_none());
    response.insert("traceparent", HeaderValue::from_static(CALLER));
    let trail = Trail::from_response_headers(&response).unwrap();
    let headers = send(Disclose::All, get_with_extension(trail)).await.unwrap();
    assert_eq!(sent(&headers).trace_id().to_string(), TRACE_ID);
    assert_ne!(headers["traceparent"], CALLER);
}

#[test]
fn traceresponse_is_read_without_valid_traceparent() {
    for traceparent in [Some("bad"), None] {
        let mut response = HeaderMap::new();
        if let Some(value) = traceparent {
            response.insert(HeaderName::from_static("traceparent"), HeaderValue::from_static(value));
        }
        response.insert("traceresponse", HeaderValue::from_static(CALLER));
        assert_eq!(TraceParent::from_response_headers(&response).unwrap().unwrap().to_string(), CALLER);
    }
}
