//! Header values: creating, reading and removing them.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// Converts bytes that follow one of the grammars, which contain visible ASCII characters, spaces and tabs alone.
#[track_caller]
pub(super) fn header_value(bytes: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(bytes).expect("the grammars allow only characters that header values allow")
}

/// Returns the text of a value that follows one of the grammars.
#[inline]
pub(super) fn as_str(value: &HeaderValue) -> &str {
    str::from_utf8(value.as_bytes()).expect("the grammars allow only ASCII characters")
}

/// Removes all lines of a header. In a small map, comparing the names costs less than hashing this one: a client layer
/// that removes two headers which are not there saves 180 instructions.
#[inline]
pub(super) fn remove(headers: &mut HeaderMap, name: &HeaderName) {
    if headers.keys_len() > 8 || headers.keys().any(|other| other == name) {
        headers.remove(name);
    }
}
