mod generated;
mod oracle;
mod rows;
mod sweep;

use http::{HeaderMap, HeaderValue};
use tagtrail::{InvalidTags, TagOptions, Tags, TraceParent, TraceState};

use oracle::{Limits, Pairs};

/// Field lines of one header as a server gets them; `None` if a line is not a header value.
fn header_map(name: &'static str, lines: &[Vec<u8>]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(name, HeaderValue::from_bytes(line).ok()?);
    }
    Some(headers)
}

fn owned<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Pairs {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Asserts that the parser agrees with the oracle. Returns whether the value is valid.
#[track_caller]
fn check_traceparent(value: &[u8]) -> bool {
    let read = TraceParent::from_bytes(value).ok().map(|parent| parent.to_string());
    let expected = oracle::traceparent(value).map(|parent| parent.written());
    assert_eq!(read, expected, "{:?}", String::from_utf8_lossy(value));
    if let Some(text) = &read {
        assert_eq!(text.parse::<TraceParent>().unwrap().to_string(), *text);
    }
    read.is_some()
}

/// Asserts that the parser agrees with the oracle. Returns whether the list is valid.
#[track_caller]
fn check_tracestate(lines: &[Vec<u8>]) -> bool {
    let expected = oracle::tracestate(&oracle::joined(lines));
    let members = |state: TraceState| {
        let members = owned(state.iter());
        assert_eq!(state.as_str().is_empty(), members.is_empty());
        members
    };
    if let [line] = lines {
        let read = TraceState::from_bytes(line).ok().map(members);
        assert_eq!(read, expected, "{:?}", String::from_utf8_lossy(line));
    }
    if let Some(headers) = header_map("tracestate", lines) {
        let read = TraceState::from_headers(&headers).ok().map(|state| members(state.unwrap_or_default()));
        assert_eq!(read, expected, "{lines:?}");
    }
    expected.is_some()
}

/// Asserts that the parser agrees with the oracle. Returns whether the list is valid.
#[track_caller]
fn check_tags(lines: &[Vec<u8>]) -> bool {
    let expected = oracle::tags(&oracle::joined(lines), Limits::DEFAULT);
    let verdict = |read: Result<Tags, InvalidTags>| match read {
        Ok(tags) => {
            let pairs = owned(tags.iter());
            assert_eq!(tags.as_str(), oracle::written(&pairs));
            Ok(pairs)
        }
        Err(error) => Err(error.kind().as_str()),
    };
    if let [line] = lines {
        assert_eq!(verdict(Tags::from_bytes(line)), expected, "{:?}", String::from_utf8_lossy(line));
    }
    if let Some(headers) = header_map("x-fauna-tags", lines) {
        let read = TagOptions::default().from_headers(&headers).map(Option::unwrap_or_default);
        assert_eq!(verdict(read), expected, "{lines:?}");
    }
    expected.is_ok()
}
