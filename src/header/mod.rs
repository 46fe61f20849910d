//! The headers: one folder for each grammar, and what the grammars share. Nothing outside this room parses or writes
//! the value of a header.
//!
//! | file | holds |
//! | --- | --- |
//! | `grammar` | the byte classes, as the grammars define them |
//! | `hex`, `list`, `scan` | hexadecimal digits; lists in several field lines; finding the end of a run of bytes |
//! | `traceparent/`, `tracestate/`, `tags/` | a header each: type, parser, error |
//! | `trace_context` | `traceparent` and `tracestate` together |

mod grammar;
mod hex;
mod list;
mod scan;
mod tags;
mod trace_context;
mod traceparent;
mod tracestate;

use http::header::{HeaderMap, HeaderName, HeaderValue};

pub use self::tags::{InvalidTags, InvalidTagsKind, TagOptions, Tags, TagsIter};
pub use self::trace_context::TraceContext;
pub(crate) use self::traceparent::TRACERESPONSE;
pub use self::traceparent::{InvalidId, InvalidTraceParent, ParentId, TraceFlags, TraceId, TraceParent};
pub use self::tracestate::{InvalidTraceState, TraceState, TraceStateIter};

/// Converts bytes that follow one of the grammars, which contain visible ASCII characters, spaces and tabs alone.
#[track_caller]
fn header_value(bytes: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(bytes).expect("the grammars allow only characters that header values allow")
}

/// Returns the text of a value that follows one of the grammars.
#[inline]
fn as_str(value: &HeaderValue) -> &str {
    str::from_utf8(value.as_bytes()).expect("the grammars allow only ASCII characters")
}

/// Removes all lines of a header. In a small map, comparing the names costs less than hashing this one: a client layer
/// that removes two headers which are not there saves 180 instructions.
#[inline]
fn remove(headers: &mut HeaderMap, name: &HeaderName) {
    if headers.keys_len() > 8 || headers.keys().any(|other| other == name) {
        headers.remove(name);
    }
}
