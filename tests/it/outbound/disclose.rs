//! What each receiver gets.

use tagtrail::{Disclose, Outbound, Sample, Targets, Trail};

use super::{get_with_extension, get_with_headers, send, trail_with_state};
use crate::support::CALLER;

/// Headers that a proxy copied from the request it received.
const COPIED: [(&str, &str); 6] = [
    ("traceparent", CALLER),
    ("traceparent", CALLER),
    ("tracestate", "a=1"),
    ("tracestate", "b=1"),
    ("x-fauna-tags", "a=1"),
    ("x-fauna-tags", "?"),
];

#[tokio::test]
async fn disclose_limits_headers_and_replaces_copied_lines() {
    for (disclose, names) in [
        (Disclose::All, &["traceparent", "tracestate", "x-fauna-tags"][..]),
        (Disclose::TraceOnly, &["traceparent", "tracestate"]),
        (Disclose::Nothing, &[]),
    ] {
        let headers = trail_with_state().scope(send(disclose, get_with_headers(&COPIED))).await.unwrap();
        let mut left: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
        left.sort_unstable();
        assert_eq!(left, names, "{disclose:?}");
        assert!(headers.values().all(|value| value != CALLER && value != "a=1"));
    }
}

#[tokio::test]
async fn copied_lines_are_removed_when_trail_has_no_tracestate_and_no_tags() {
    let headers = Trail::start(Sample::Always).scope(send(Disclose::All, get_with_headers(&COPIED))).await.unwrap();
    assert_eq!(headers.keys().collect::<Vec<_>>(), ["traceparent"]);
    assert_eq!(headers.len(), 1);
}

#[tokio::test]
async fn url_decides_what_is_disclosed() {
    let targets = Targets::with_default(Disclose::Nothing)
        .host("*.internal.example", Disclose::All)
        .and_then(|targets| targets.host("partner.example:443", Disclose::TraceOnly))
        .unwrap();
    let by_function = || {
        Outbound::disclose_with(|uri| match uri.host() {
            Some(host) if host.ends_with(".internal.example") => Disclose::All,
            Some("partner.example") => Disclose::TraceOnly,
            _ => Disclose::Nothing,
        })
    };
    for (uri, count) in [
        ("http://users.internal.example/", 3),
        ("https://partner.example/", 2),
        ("https://evil.example/users.internal.example", 0),
    ] {
        for outbound in [Outbound::from(targets.clone()), by_function()] {
            let mut request = get_with_extension(trail_with_state());
            *request.uri_mut() = uri.parse().unwrap();
            assert_eq!(send(outbound, request).await.unwrap().len(), count, "{uri}");
        }
    }
}
