//! The options of the tag header, and tags that are ignored or replaced.

use http::HeaderName;
use tagtrail::{Admit, Inbound, InvalidTagsPolicy, TagOptions};

use super::send;
use crate::support::CALLER;

#[tokio::test]
async fn tag_header_name_and_limits_are_configurable() {
    let options = TagOptions::default().header_name(HeaderName::from_static("x-query-tags")).max_tags(1);
    let inbound = Inbound::new(Admit::Continue).tag_options(options);
    let trail = send(inbound.clone(), &[("x-query-tags", "a=1"), ("x-fauna-tags", "not; tags")]).await.0.unwrap();
    assert_eq!(trail.tags().as_str(), "a=1");
    let (_, response) = send(inbound, &[("x-query-tags", "a=1,b=2")]).await;
    let expected = br#"{"error":{"code":"invalid_request","message":"Invalid header 'x-query-tags': too many tags"#;
    assert!(response.body().starts_with(expected));
}

#[tokio::test]
async fn invalid_tags_can_be_ignored() {
    let lenient = Inbound::new(Admit::Continue).invalid_tags(InvalidTagsPolicy::ignore());
    let trail = send(lenient.clone(), &[("x-fauna-tags", "a=1,a=2")]).await.0.unwrap();
    assert!(trail.tags().is_empty());
    assert_eq!(trail.invalid_tags().unwrap().kind().as_str(), "duplicate key");
    let trail = send(lenient, &[("x-fauna-tags", "a=1")]).await.0.unwrap();
    assert_eq!((trail.tags().as_str(), trail.invalid_tags()), ("a=1", None));
}

#[tokio::test]
async fn trail_with_new_tags_keeps_everything_else() {
    let lenient = Inbound::new(Admit::Continue).invalid_tags(InvalidTagsPolicy::ignore());
    let trail = send(lenient, &[("traceparent", CALLER), ("x-fauna-tags", "?")]).await.0.unwrap();
    let derived = trail.with_tags("a=1".parse().unwrap()).with_tracestate("b=2".parse().unwrap());
    assert_eq!((derived.traceparent(), derived.parent_span_id()), (trail.traceparent(), trail.parent_span_id()));
    assert!(derived.parent_span_id().is_some());
    assert_eq!((derived.tags().as_str(), derived.tracestate().as_str()), ("a=1", "b=2"));
    assert!(trail.invalid_tags().is_some() && derived.invalid_tags().is_none());
}
