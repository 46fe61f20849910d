//! The answer to a request whose tags are refused: a 400 in the one JSON form that drivers of either generation read,
//! or, for gRPC, the form that its clients read.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Response, StatusCode};

use crate::tags::InvalidTags;

/// The answer to a request with these headers.
pub(crate) fn answer(headers: &HeaderMap, fault: &InvalidTags) -> Response<Bytes> {
    if is_grpc(headers) { grpc(fault) } else { json(fault) }
}

/// Whether the content type is `application/grpc`, plain, with a suffix (`+proto`) or with parameters.
fn is_grpc(headers: &HeaderMap) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    let Some((start, rest)) = headers.get(CONTENT_TYPE).and_then(|value| value.as_bytes().split_at_checked(GRPC.len()))
    else {
        return false;
    };
    start.eq_ignore_ascii_case(GRPC) && matches!(rest.first(), None | Some(b'+' | b';' | b' ' | b'\t'))
}

fn json(fault: &InvalidTags) -> Response<Bytes> {
    // The text of a fault has no quotes, backslashes or control characters: the characters of a header's name, and
    // words of ours.
    let body = format!(
        r#"{{"error":{{"code":"invalid_request","message":"{fault}"}},"errors":[{{"code":"bad request","description":"{fault}"}}]}}"#
    );
    respond(StatusCode::BAD_REQUEST, "application/json", Bytes::from(body))
}

/// A response of trailers only, as gRPC over HTTP/2 has it: status 3 is `INVALID_ARGUMENT`.
fn grpc(fault: &InvalidTags) -> Response<Bytes> {
    let mut response = respond(StatusCode::OK, "application/grpc", Bytes::new());
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
