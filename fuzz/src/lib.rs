//! What must hold for any bytes: the bodies of the fuzz targets, and of the test that runs them over the corpus.
//!
//! Every check is against a reader that shares nothing with the crate's, and is slow and obvious: a regular
//! expression, or a loop over `split`.

mod inbound;
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

/// Field lines of one header, as a server gets them; `None` where a line is no header value.
fn header_map(name: &'static str, lines: &[&[u8]]) -> Option<HeaderMap> {
    let mut map = HeaderMap::new();
    for line in lines {
        map.append(name, HeaderValue::from_bytes(line).ok()?);
    }
    Some(map)
}

/// What errors say is bounded, and is text that a log can hold.
fn check_message(message: &str, header: &str) {
    assert!(message.starts_with(&format!("Invalid header '{header}': ")), "{message}");
    assert!(message.len() < 200 && message.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{message}");
}
