//! What must hold for any bytes: the bodies of the fuzz targets, and of the test that runs them over the corpus.
//!
//! Each check compares the crate with a slow, obvious reader that shares nothing with it: a regular expression, or a
//! loop over `split`. The tests of the crate use the same readers.

mod inbound;
#[path = "../../tests/it/parse/oracle.rs"]
mod oracle;
mod outbound;
mod tags;
mod traceparent;
mod tracestate;

use http::HeaderValue;
use http::header::HeaderMap;

pub use inbound::inbound;
pub use outbound::outbound;
pub use tags::tags;
pub use traceparent::traceparent;
pub use tracestate::tracestate;

/// Field lines of one header as a server gets them; `None` if a line is not a header value.
fn header_map(name: &'static str, lines: &[&[u8]]) -> Option<HeaderMap> {
    let mut map = HeaderMap::new();
    for line in lines {
        map.append(name, HeaderValue::from_bytes(line).ok()?);
    }
    Some(map)
}

/// Asserts that an error's text is bounded, and safe to log.
#[track_caller]
fn check_message(message: &str, start: &str) {
    assert!(message.starts_with(start), "{message}");
    assert!(message.len() < 200 && message.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{message}");
}
