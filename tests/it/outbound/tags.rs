//! The tags of one request, and tags that are invalid.

use http::{Request, Response};
use tagtrail::{Disclose, InvalidTags, InvalidTagsKind, Outbound, OutboundLayer, RequestTags, TagOptions, Tags};
use tower::{BoxError, Layer, ServiceExt, service_fn};

use super::{get_with_extension, get_with_headers, send, trail_with_state};

#[tokio::test]
async fn request_tags_replace_tags_of_trail() {
    let nightly = get_with_extension(RequestTags::new([("job", "nightly")]));
    let headers = trail_with_state().scope(send(Disclose::All, nightly)).await.unwrap();
    assert_eq!(headers["x-fauna-tags"], "job=nightly");

    let none = get_with_extension(RequestTags::from(Tags::empty()));
    let headers = trail_with_state().scope(send(Disclose::All, none)).await.unwrap();
    assert!(!headers.contains_key("x-fauna-tags"));
}

/// The error of a request that is not sent.
#[track_caller]
fn error_before_sending(outbound: Outbound, request: Request<()>) -> InvalidTags {
    let unreachable = service_fn(|_: Request<()>| async { panic!("it was sent") as Result<Response<()>, BoxError> });
    let sending = OutboundLayer::new(outbound).layer(unreachable).oneshot(request);
    *crate::support::block_on(sending).unwrap_err().downcast().unwrap()
}

#[test]
fn invalid_request_tags_fail_before_sending() {
    let request = get_with_extension(RequestTags::new([("job", "every night")]));
    for disclose in [Disclose::All, Disclose::TraceOnly, Disclose::Nothing] {
        let error = error_before_sending(Outbound::new(disclose), request.clone());
        assert_eq!(error.kind(), InvalidTagsKind::Grammar);
        let expected = "Invalid header 'x-fauna-tags': invalid tags: pair 1";
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}

#[test]
fn request_tags_are_checked_by_limits_of_client() {
    let narrow = Outbound::new(Disclose::All).tag_options(TagOptions::default().max_value(3));
    let error = error_before_sending(narrow, get_with_extension(RequestTags::new([("job", "nightly")])));
    assert_eq!(error.kind(), InvalidTagsKind::ValueTooLong);
}

#[test]
fn invalid_tag_header_without_trail_fails_before_sending() {
    let request = get_with_headers(&[("x-fauna-tags", "a b=1")]);
    let error = error_before_sending(Outbound::new(Disclose::All), request);
    assert_eq!(error.kind(), InvalidTagsKind::Grammar);
}
