//! The answer to a request whose tags are refused: a 400 in the one JSON form that drivers of either generation read,
//! or, for gRPC, the form that its clients read.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Response, StatusCode};

use crate::tags::InvalidTags;

/// The answer to a request with these headers.
pub(crate) fn answer(headers: &HeaderMap, fault: &InvalidTags) -> Response<Bytes> {
    match headers.get(CONTENT_TYPE).and_then(grpc_form) {
        Some(content_type) => grpc(content_type, fault),
        None => json(fault),
    }
}

/// The content type to answer with, where the request's is `application/grpc`: plain, for the web, with a suffix
/// (`+proto`) or with parameters.
fn grpc_form(of_request: &HeaderValue) -> Option<&'static str> {
    const GRPC: &str = "application/grpc";
    let begins_with = |form: &str| {
        let start = of_request.as_bytes().split_at_checked(form.len());
        start.is_some_and(|(start, rest)| {
            start.eq_ignore_ascii_case(form.as_bytes()) && !rest.first().is_some_and(u8::is_ascii_alphanumeric)
        })
    };
    ["application/grpc-web-text", "application/grpc-web", GRPC].into_iter().find(|form| begins_with(form))
}

/// The answer to a request of `HEAD`: its body's length in place of its body.
pub(crate) fn without_body(answer: Response<Bytes>) -> Response<Bytes> {
    let (mut head, body) = answer.into_parts();
    head.headers.entry(CONTENT_LENGTH).or_insert_with(|| body.len().into());
    Response::from_parts(head, Bytes::new())
}

fn json(fault: &InvalidTags) -> Response<Bytes> {
    // The text of a fault has no quotes, backslashes or control characters: the characters of a header's name, and
    // words of ours.
    let body = format!(
        r#"{{"error":{{"code":"invalid_request","message":"{fault}"}},"errors":[{{"code":"bad request","description":"{fault}"}}]}}"#
    );
    respond(StatusCode::BAD_REQUEST, "application/json", Bytes::from(body))
}

/// A response of trailers only, as gRPC has it: status 3 is `INVALID_ARGUMENT`.
fn grpc(content_type: &'static str, fault: &InvalidTags) -> Response<Bytes> {
    let mut response = respond(StatusCode::OK, content_type, Bytes::new());
    response.headers_mut().insert("grpc-status", HeaderValue::from_static("3"));
    // The one character that a fault can hold and that is to be encoded; a header's name may have it.
    let message = fault.to_string().replace('%', "%25");
    if let Ok(message) = HeaderValue::try_from(message) {
        response.headers_mut().insert("grpc-message", message);
    }
    response
}

fn respond(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
