//! The headers that all are given.

use bytes::{Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue};

/// A `traceparent` of version `00`, sampled.
pub const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// A `tracestate` of three members, as three vendors write them.
pub const TRACESTATE: &str = "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7,dd=s:2;o:rum;t.dm:-4";
/// Five tags.
pub const TAGS: &str = "project=blog,env=prod,region=eu_west_1,team=identity,release=2026_11_21";

/// The name of the tag header.
pub static X_FAUNA_TAGS: HeaderName = HeaderName::from_static("x-fauna-tags");

/// Headers that a request has anyway.
const OTHERS: [(&str, &str); 4] =
    [("host", "users.example.com"), ("user-agent", "bench/1.0"), ("accept", "*/*"), ("accept-encoding", "gzip, br")];

/// Names and values of the headers of a request, the values sliced from one buffer, as hyper makes them.
#[derive(Clone)]
pub struct Head(Vec<(HeaderName, HeaderValue)>);

impl Head {
    /// A request without headers of ours.
    pub fn absent() -> Self {
        Self::with(&[])
    }

    /// A request with all three.
    pub fn present() -> Self {
        Self::with(&[("traceparent", TRACEPARENT), ("tracestate", TRACESTATE), ("x-fauna-tags", TAGS)])
    }

    /// A request with the others, and these.
    pub fn with(ours: &[(&str, &str)]) -> Self {
        let lines = OTHERS.iter().chain(ours);
        let buffer = received(lines.clone().flat_map(|(_, value)| value.bytes()));
        let mut start = 0;
        let slice = |(name, value): &(&str, &str)| {
            let end = start + value.len();
            let value = HeaderValue::from_maybe_shared(buffer.slice(start..end)).expect("a header value");
            start = end;
            (name.parse().expect("a header name"), value)
        };
        Self(lines.map(slice).collect())
    }

    /// The headers, put into a map one by one.
    pub fn map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.0.len());
        for (name, value) in &self.0 {
            map.append(name.clone(), value.clone());
        }
        map
    }
}

/// A buffer as hyper has it: split off from a larger one, and shared from then on.
fn received(bytes: impl Iterator<Item = u8>) -> Bytes {
    let mut buffer: BytesMut = bytes.collect();
    let length = buffer.len();
    buffer.extend_from_slice(b"the body");
    buffer.split_to(length).freeze()
}

/// A header value sliced from a larger buffer.
pub fn sliced(value: &str) -> HeaderValue {
    let buffer = received(value.bytes());
    HeaderValue::from_maybe_shared(buffer.slice(..value.len())).expect("a header value")
}

/// Creates a `tracestate` of `count` members of 30 characters each.
pub fn members(count: usize) -> String {
    let members: Vec<String> =
        (0..count).map(|index| format!("vendor{index:02}@system=00f067aa0ba9{index:02}")).collect();
    members.join(",")
}

/// Creates `count` tags whose names differ only in the middle: what makes duplicates most expensive to find.
pub fn alike(count: usize) -> String {
    let tag = |index: usize| format!("{:n<20}{index:02}{:n<18}={:v<78}", "", "", "");
    let tags: Vec<String> = (0..count).map(tag).collect();
    tags.join(",")
}

/// Creates `count` tags; 25 of them fill the 3,000 characters that are allowed, others have 119 or 120 characters each.
pub fn tags(count: usize) -> String {
    let tag = |index: usize| {
        // 24 commas between 25 tags: 2,976 characters are left for them, 119 each and one over.
        let value = if index == 0 { 79 } else { 78 };
        format!("{:n<40}={:v<value$}", format!("name{index:02}_"), format!("value{index:02}_"))
    };
    let tags: Vec<String> = (0..count).map(tag).collect();
    tags.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tagtrail::{Tags, TraceParent, TraceState};

    #[test]
    fn all_is_valid_and_as_large_as_it_says() {
        assert!(TraceParent::from_bytes(TRACEPARENT.as_bytes()).is_ok());
        assert_eq!(TRACESTATE.parse::<TraceState>().unwrap().len(), 3);
        assert_eq!(TAGS.parse::<Tags>().unwrap().len(), 5);
        assert_eq!(tags(25).len(), 3000);
        for count in 0..=25 {
            assert_eq!(tags(count).parse::<Tags>().unwrap().len(), count);
            assert_eq!(alike(count).parse::<Tags>().unwrap().len(), count);
        }
        for count in 0..=32 {
            assert_eq!(members(count).parse::<TraceState>().unwrap().len(), count);
        }
    }

    #[test]
    fn a_head_holds_what_was_sent() {
        let map = Head::present().map();
        assert_eq!(map.len(), 7);
        assert_eq!(map["tracestate"], TRACESTATE);
    }
}
