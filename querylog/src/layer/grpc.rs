//! What a gRPC response says of its call, in its headers or trailers.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};

use crate::model::grpc::UNKNOWN;
use crate::model::record::Record;

/// Returns whether a response is one of gRPC. Those of gRPC-Web are not: their trailers are part of the body.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    const NAME: &[u8] = b"application/grpc";
    let value = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    value.split_at_checked(NAME.len()).is_some_and(|(name, rest)| {
        name.eq_ignore_ascii_case(NAME) && matches!(rest.first(), None | Some(b'+' | b';' | b' ' | b'\t'))
    })
}

/// Notes what headers or trailers say of a gRPC call.
pub(crate) fn note_call(record: &mut Record, fields: &HeaderMap) {
    if let Some(status) = status(fields) {
        record.response.grpc_status = Some(status);
        record.response.error = message(fields);
    }
}

/// Returns the status of the call. One that is not a number is `UNKNOWN`.
fn status(fields: &HeaderMap) -> Option<u16> {
    let value = fields.get("grpc-status")?;
    let number = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    Some(number.and_then(|text| text.parse().ok()).unwrap_or(UNKNOWN))
}

/// Returns the message of the call, if it has one.
fn message(fields: &HeaderMap) -> Option<String> {
    let value = fields.get("grpc-message").filter(|value| !value.is_empty() && !value.is_sensitive())?;
    Some(percent_decoded(value.as_bytes()))
}

/// Decodes `%` with two hexadecimal digits; others stay as they are, as gRPC demands.
fn percent_decoded(mut bytes: &[u8]) -> String {
    let mut decoded = Vec::with_capacity(bytes.len());
    while let Some((&first, rest)) = bytes.split_first() {
        bytes = rest;
        let digits = (first == b'%').then_some(rest).and_then(<[u8]>::split_first_chunk);
        match digits.and_then(|([high, low], after)| Some((digit(*high)? * 16 + digit(*low)?, after))) {
            Some((byte, after)) => {
                decoded.push(byte);
                bytes = after;
            }
            None => decoded.push(first),
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(name: &'static str, value: &[u8]) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap())])
    }

    #[test]
    fn response_is_grpc_by_its_content_type() {
        for (value, expected) in [
            ("application/grpc", true),
            ("Application/gRPC", true),
            ("application/grpc+proto", true),
            ("application/grpc; charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/grp", false),
            ("application/json", false),
            ("", false),
        ] {
            assert_eq!(is_grpc(&fields("content-type", value.as_bytes())), expected, "{value}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }

    #[test]
    fn status_is_a_number_or_unknown() {
        for (value, expected) in [("0", 0), ("14", 14), ("17", 17), ("99999", 2), ("", 2), ("+1", 2), ("-1", 2)] {
            assert_eq!(status(&fields("grpc-status", value.as_bytes())), Some(expected), "{value}");
        }
        assert_eq!(status(&HeaderMap::new()), None);
    }

    #[test]
    fn message_is_percent_decoded() {
        for (value, expected) in [
            (&b"plain text"[..], "plain text"),
            (b"caf%C3%A9 %25", "caf\u{e9} %"),
            (b"caf%c3%a9", "caf\u{e9}"),
            (b"100%", "100%"),
            (b"%4", "%4"),
            (b"%zz%41", "%zzA"),
            (b"%%41", "%A"),
            (b"%ff", "\u{fffd}"),
            (b"caf\xc3\xa9", "caf\u{e9}"),
        ] {
            assert_eq!(message(&fields("grpc-message", value)).as_deref(), Some(expected));
        }
        assert_eq!(message(&fields("grpc-message", b"")), None);
    }
}
